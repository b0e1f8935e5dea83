//! Both sets in both versions, whole and damaged; and the real test set, where the data folder is given.

use super::*;

/// A row whose byte at plane c, pixel p is c * 50 + p % 50 + shift.
fn row(label: u8, shift: u8) -> Vec<u8> {
    let pixel = |i: usize| (i / (SIDE * SIDE) * 50 + i % (SIDE * SIDE) % 50) as u8 + shift;
    std::iter::once(label)
        .chain((0..IMAGE).map(pixel))
        .collect()
}

#[test]
fn planes_become_interleaved_and_present_batches_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data_batch_4.bin"), row(9, 7)).unwrap();
    fs::write(
        folder.path().join("data_batch_2.bin"),
        [row(3, 0), row(0, 1)].concat(),
    )
    .unwrap();
    let set = open_train(Kind::Ten, folder.path()).unwrap();
    assert_eq!((0..3).map(|i| set.label(i)).collect::<Vec<_>>(), [3, 0, 9]);
    assert_eq!(set.image(0)[..6], [0, 50, 100, 1, 51, 101]);
    assert_eq!(set.image(2)[3 * 33..3 * 33 + 3], [40, 90, 140]);
    assert_eq!(set.classes()[9], "truck");
    assert_eq!(
        (set.height(), set.width(), set.id(2)),
        (32, 32, "2".to_string())
    );
}

#[test]
fn damaged_files_are_named_with_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let message = |bytes: Option<Vec<u8>>| {
        let path = folder.path().join("test_batch.bin");
        if let Some(bytes) = bytes {
            fs::write(path, bytes).unwrap();
        }
        open_test(Kind::Ten, folder.path()).unwrap_err().to_string()
    };
    let missing = message(None);
    assert!(
        missing.contains("test_batch.bin missing or empty") && missing.contains("fetch -- cifar10"),
        "{missing}"
    );
    assert!(message(Some(Vec::new())).contains("test_batch.bin missing or empty"));
    let short = message(Some([row(1, 0), vec![0; 3072]].concat()));
    assert!(
        short.contains("test_batch.bin: 6145 bytes")
            && short.contains("1 rows and 3072 bytes left"),
        "{short}"
    );
    fs::File::create(folder.path().join("test_batch.bin"))
        .unwrap()
        .set_len(3073 << 30)
        .unwrap();
    let huge = message(None);
    assert!(huge.contains("or more than a set has"), "{huge}");
    let label = message(Some([row(1, 0), row(10, 0)].concat()));
    assert!(
        label.contains("test_batch.bin: row 1 has label 10, but labels go from 0 to 9"),
        "{label}"
    );
    let none = open_train(Kind::Ten, &folder.path().join("absent"))
        .unwrap_err()
        .to_string();
    assert!(
        none.contains("absent: data_batch_1.bin .. data_batch_5.bin missing or empty"),
        "{none}"
    );
}

/// A pickle as Python writes it: a dictionary with an array and a list of labels. `old` as Python 2 with protocol 2 does it,
/// else as Python 3 with protocol 4.
fn pickle(old: bool, key: &str, rows: &[Vec<u8>]) -> Vec<u8> {
    let mut file = if old {
        b"\x80\x02}q\x01(".to_vec()
    } else {
        b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(".to_vec()
    };
    let name = |file: &mut Vec<u8>, name: &str| {
        file.push(if old { b'U' } else { b'C' });
        file.push(name.len() as u8);
        file.extend(name.as_bytes());
    };
    name(&mut file, "batch_label");
    name(&mut file, "testing batch 1 of 1");
    name(&mut file, key);
    file.extend(b"](");
    for row in rows {
        file.extend([b'K', row[0]]);
    }
    file.push(b'e');
    name(&mut file, "data");
    match old {
        true => file.extend(
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85U\x01b\x87R",
        ),
        false => {
            file.extend(b"\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94");
            file.extend(
                b"\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\0\x85\x94C\x01b\x94\x87\x94R\x94",
            );
        }
    }
    let [n, size] = [rows.len(), IMAGE];
    file.extend(b"(K\x01M");
    file.extend((n as u16).to_le_bytes());
    file.push(b'M');
    file.extend((size as u16).to_le_bytes());
    file.extend(b"\x86cnumpy\ndtype\n");
    name(&mut file, "u1");
    file.extend(b"K\0K\x01\x87R(K\x03");
    name(&mut file, "|");
    file.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89");
    file.push(if old { b'T' } else { b'B' });
    file.extend(((n * size) as u32).to_le_bytes());
    file.extend(rows.iter().flat_map(|row| &row[1..]));
    file.extend(b"tbu.");
    file
}

#[test]
fn the_python_version_is_the_same_set_wherever_it_lies() {
    let rows = [row(3, 0), row(9, 5), row(0, 1)];
    let binary = tempfile::tempdir().unwrap();
    fs::write(binary.path().join("test_batch.bin"), rows.concat()).unwrap();
    let expected = open_test(Kind::Ten, binary.path()).unwrap().sha256();
    assert_eq!(find(binary.path()), Some(Kind::Ten));
    for old in [true, false] {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(find(parent.path()), None);
        let inner = parent.path().join("cifar-10-batches-py");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("test_batch"), pickle(old, "labels", &rows)).unwrap();
        for folder in [parent.path(), &inner] {
            assert_eq!(find(folder), Some(Kind::Ten));
            assert_eq!(open_test(Kind::Ten, folder).unwrap().sha256(), expected);
        }
        assert!(open_train(Kind::Ten, parent.path()).is_err());
    }
    let parent = tempfile::tempdir().unwrap();
    fs::rename(binary.path(), parent.path().join("cifar-10-batches-bin")).unwrap();
    assert_eq!(
        open_test(Kind::Ten, parent.path()).unwrap().sha256(),
        expected
    );
}

#[test]
fn cifar100_has_fine_labels_in_both_versions() {
    assert_eq!(Kind::Hundred.classes().count(), 100);
    let rows = [row(99, 0), row(7, 5)];
    let parent = tempfile::tempdir().unwrap();
    let inner = parent.path().join("cifar-100-python");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("test"), pickle(true, "fine_labels", &rows)).unwrap();
    let binary: Vec<u8> = rows
        .iter()
        .flat_map(|row| [&[19], &row[..]].concat())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("test.bin"), binary).unwrap();
    let sets = [parent.path(), folder.path()].map(|folder| {
        assert_eq!(find(folder), Some(Kind::Hundred));
        open_test(Kind::Hundred, folder).unwrap()
    });
    assert_eq!(sets[0].sha256(), sets[1].sha256());
    assert_eq!((sets[1].label(0), sets[1].label(1)), (99, 7));
    assert_eq!(sets[1].classes()[99], "worm");
}

#[test]
fn damaged_pickles_are_errors_and_never_panics() {
    let whole = pickle(true, "labels", &[row(3, 0)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test_batch");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        open_test(Kind::Ten, folder.path()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&whole).unwrap().len(), 1);
    for cut in (1..200).chain([whole.len() - 1]) {
        let error = open(&whole[..cut]).unwrap_err();
        assert!(
            error.contains("test_batch: ") && !error.contains('\n'),
            "{error}"
        );
    }
    // Each byte of the frame changed: an error or another set, and an end.
    for at in 1..320 {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            let _ = open(&bytes);
        }
    }
    let other = open(&pickle(true, "fine_labels", &[row(3, 0)])).unwrap_err();
    assert!(
        other.contains("no `labels`") && other.contains("binary version"),
        "{other}"
    );
    let label = open(&pickle(true, "labels", &[row(10, 0)])).unwrap_err();
    assert!(label.contains("row 0 has label 10"), "{label}");
}

#[test]
fn the_real_test_set_has_a_thousand_images_of_each_class() {
    let Some(data) = crate::testing::data(&["cifar10/test_batch.bin"]) else {
        return;
    };
    let set = open_test(Kind::Ten, &data.join("cifar10")).unwrap();
    let mut counts = [0; 10];
    (0..set.len()).for_each(|i| counts[usize::from(set.label(i))] += 1);
    assert_eq!(counts, [1000; 10]);
}
