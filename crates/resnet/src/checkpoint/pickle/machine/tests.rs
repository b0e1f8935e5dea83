//! What pickles give, cost, and must not do.

use super::*;

fn check(mut pickle: &[u8]) -> Result<(), Refusal> {
    read(&mut pickle, &mut Budget::default()).map(|_| ())
}

fn text(len: usize) -> Vec<u8> {
    let mut out = vec![b'X'];
    out.extend((len as u32).to_le_bytes());
    out.extend(vec![b'k'; len]);
    out
}

#[test]
fn ordinary_pickles_pass_and_the_input_stands_behind_them() {
    // pickle.dumps({'a': 1, 'b': [1.5, True, None], 'c': b'xy'}, protocol=4), then one byte more.
    let pickle = b"\x80\x04\x95\x28\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(G?\xf8\0\0\0\0\0\0\x88Ne\x8c\x01c\x94C\x02xy\x94u.!";
    let mut input = &pickle[..];
    let (tree, root) = read(&mut input, &mut Budget::default()).unwrap();
    assert_eq!(input, b"!");
    let Value::Dict(entries) = tree.get(root) else {
        panic!("no dictionary")
    };
    let keys: Vec<_> = entries.iter().map(|&(key, _)| tree.key(key)).collect();
    assert_eq!(keys, ["a", "b", "c"].map(|key| Some(key.into())));
    assert!(matches!(tree.get(entries[0].1), Value::Int(1)));
    // Protocol 0.
    check(b"(dp0\nVn\np1\nI-3\nsVf\np2\nF2.5\nsVbig\np4\nL1099511627776L\ns.").unwrap();
}

#[test]
fn whole_numbers_of_any_length_are_read_or_passed_over() {
    for (pickle, number) in [
        (&b"\x8a\x00."[..], Some(0)),
        (b"\x8a\x01\xff.", Some(-1)),
        (b"\x8a\x02\x00\x01.", Some(256)),
        (
            b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00.",
            Some(i64::MAX),
        ),
        (b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", None),
        (b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00.", None),
        (b"L18446744073709551616L\n.", None),
    ] {
        let (tree, root) = read(&mut &pickle[..], &mut Budget::default()).unwrap();
        match tree.get(root) {
            Value::Int(found) => assert_eq!(Some(*found), number),
            _ => assert_eq!(None, number, "{pickle:?}"),
        }
    }
    assert!(check(b"Lnope\n.").is_err());
}

#[test]
fn a_call_of_the_shell_is_named() {
    // os.system("id") by __reduce__, protocol 0 and protocol 4 (the memo between name and use).
    assert_eq!(
        check(b"cposix\nsystem\n(Vid\ntR."),
        Err(Refusal::Code("'posix.system'".into()))
    );
    assert_eq!(
        check(b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."),
        Err(Refusal::Code("'posix.system'".into()))
    );
    assert_eq!(
        check(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93)R."),
        Err(Refusal::Code("'os.system'".into()))
    );
    assert_eq!(
        check(b"c__builtin__\neval\n(V1\ntR."),
        Err(Refusal::Code("'__builtin__.eval'".into()))
    );
    check(b"c__builtin__\nset\n(]tR.").unwrap();
    check(b"ccollections\nOrderedDict\n)R.").unwrap();
}

#[test]
fn a_million_small_objects_are_refused() {
    assert_eq!(check(&[b')'; 1 << 20]), Err(Refusal::Bomb));
}

#[test]
fn a_tree_that_is_looked_up_costs_no_copy_of_it() {
    let mut pickle = b"}".to_vec();
    pickle.extend(text(1 << 20));
    pickle.extend(b"Nsq\x00");
    pickle.extend(b"h\x00".repeat(200));
    pickle.push(b'.');
    check(&pickle).unwrap();
    let lookups = [&b"K\x01q\x00"[..], &b"h\x00".repeat(10 << 20), b"."].concat();
    assert_eq!(check(&lookups), Err(Refusal::Bomb));
}

#[test]
fn declared_lengths_reserve_nothing() {
    assert_eq!(check(b"X\xff\xff\xff\xffhi."), Err(Refusal::Bomb));
    assert_eq!(check(b"X\xff\xff\x00\x00hi."), Err(cut()));
    assert_eq!(
        check(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi."),
        Err(Refusal::Bomb)
    );
    assert_eq!(
        check(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffhi."),
        Err(Refusal::Bomb)
    );
}

#[test]
fn cut_and_senseless_pickles_are_damaged() {
    for pickle in [
        &b""[..],
        b"K",
        b".",
        b"R.",
        b"(.",
        b"h\x05.",
        b"\xff.",
        b"I12",
        b"}K\x01u.",
        b"(K\x01d.",
        b"K\x01K\x02K\x03s.",
        b"K\x01(0t.",
    ] {
        assert!(
            matches!(check(pickle), Err(Refusal::Damaged(_))),
            "{pickle:?}"
        );
    }
}
