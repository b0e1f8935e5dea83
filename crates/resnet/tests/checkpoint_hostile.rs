//! Files that were cut, damaged or built to do harm: every one ends in an error of one line, without a panic, and in
//! bounded memory.
//!
//! The test runs itself once more as a child process whose address space the system limits (`ulimit -v`), so that an
//! allocation of gigabytes aborts it, and which looks at its own peak in the end.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use resnet::{Arch, load, read_tensors};
use support::Method::{Deflated, Stored};
use support::{Declared, archive, legacy, state_dict, text, torch_archive};

const CHILD: &str = "QUANTLAB_HOSTILE_CHILD";
/// What the pickle guard admits (128 MiB), twice over for the allocator and the test itself.
const MOST_RESIDENT_KB: u64 = 300 * 1024;
const MOST_VIRTUAL_KB: u64 = 1024 * 1024;

#[test]
fn hostile_files_end_in_an_error_within_bounded_memory() {
    if !cfg!(target_os = "linux") || std::env::var_os(CHILD).is_some() {
        return;
    }
    let child = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v {MOST_VIRTUAL_KB} && exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(
        said.contains("1 passed") && said.contains("files refused"),
        "{said}"
    );
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = built_files();
    for (what, bytes, expected) in &built {
        let path = folder.path().join("hostile");
        std::fs::write(&path, bytes).unwrap();
        for message in refusals(&path, what) {
            assert!(message.contains(expected), "{what}: {message}");
        }
    }
    let damaged: usize = fixtures()
        .iter()
        .map(|fixture| damage(fixture, folder.path()))
        .sum();
    let peak = peak_kb();
    assert!(peak < MOST_RESIDENT_KB, "peak memory {peak} KB");
    println!(
        "{} files refused, {damaged} damaged files read, peak {peak} KB",
        built.len()
    );
}

/// The errors of both ways to read a file; panics where there is none.
fn refusals(path: &Path, what: &str) -> Vec<String> {
    let errors = [load(path, None).err(), read_tensors(path).err()];
    errors
        .into_iter()
        .map(|error| {
            let message = error
                .unwrap_or_else(|| panic!("{what} was accepted"))
                .to_string();
            assert!(
                !message.contains('\n') && message.len() < 700,
                "{what}: {message}"
            );
            message
        })
        .collect()
}

/// Name, bytes, and a word of the error to expect.
fn built_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let zip = |pickle: &[u8]| archive(&[("a/data.pkl", pickle), ("a/data/0", &[0; 4])], Stored);
    let one = |declared: Declared| legacy(&state_dict(&[declared]), &[("0", &[0.0])]);
    let bomb = "memory bomb";
    let network: Vec<Declared> = Arch::parse("resnet152")
        .unwrap()
        .expected()
        .into_iter()
        .map(|(name, shape)| Declared {
            stride: vec![0; shape.len()],
            storage: (0, 1),
            ..Declared::contiguous(&name, 0, &shape)
        })
        .collect();
    let many: Vec<Declared> = (0..3000)
        .map(|n| Declared::expanded(&format!("t{n}"), 1 << 20))
        .collect();
    let odd = |shape: &[u64], numel: u64| Declared {
        name: "t".to_owned(),
        storage: (0, numel),
        offset: 0,
        shape: shape.to_vec(),
        stride: vec![1; shape.len()],
    };
    let long_rank = Declared {
        stride: vec![0; 20_000],
        ..odd(&[1; 20_000], 1)
    };
    let mut copied_ranks = state_dict(&[long_rank]);
    copied_ranks.truncate(copied_ranks.len() - 2);
    copied_ranks.extend(b"q\x01");
    for n in 0..2000u32 {
        text(&mut copied_ranks, &n.to_string());
        copied_ranks.extend(b"h\x01");
    }
    copied_ranks.extend(b"u.");
    let mut long_keys = b"\x80\x02}".to_vec();
    text(&mut long_keys, &"k".repeat(1 << 20));
    long_keys.extend(
        &state_dict(
            &(0..500)
                .map(|n| Declared::expanded(&n.to_string(), 1))
                .collect::<Vec<_>>(),
        )[2..],
    );
    long_keys.pop();
    long_keys.extend(b"s.");
    let nested = |depth: usize| [&b"\x80\x02)"[..], &b"\x85".repeat(depth), b"."].concat();
    let mut lookups = b"\x80\x02\x89q\x00".to_vec();
    lookups.extend(b"h\x00h\x00\x86q\x00".repeat(64));
    lookups.push(b'.');
    let zeros = vec![0; 32 << 20];
    let end_record = |entries: u16, size: u32, start: u32| {
        let mut out = zip(b"\x80\x02}.");
        let end = out.len() - 22;
        out[end + 8..end + 10].copy_from_slice(&entries.to_le_bytes());
        out[end + 10..end + 12].copy_from_slice(&entries.to_le_bytes());
        out[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
        out[end + 16..end + 20].copy_from_slice(&start.to_le_bytes());
        out
    };
    let torch = |pickle: &[u8]| torch_archive(&[("a/data.pkl", pickle), ("a/data/0", &[0; 4])]);
    let own = |own: &[u8]| [b"\x80\x02", own, b"."].concat();
    let with_field = |from_end: usize, bytes: &[u8]| {
        let mut out = torch(&state_dict(&[Declared::contiguous("t", 0, &[1])]));
        let at = out.len() - from_end;
        out[at..at + bytes.len()].copy_from_slice(bytes);
        out
    };
    let subclasses = {
        let mut out = b"\x80\x02](".to_vec();
        out.extend(b"K\x01".repeat(50_000));
        out.extend(b"eq\x00");
        out.extend(b"(ctorch._tensor\n_rebuild_from_type_v2\nq\x01");
        for _ in 0..1000 {
            out.extend(b"h\x01(cbuiltins\nlist\nN)h\x00tR");
        }
        out.extend(b"t.");
        out
    };
    // Copies of one large dictionary; a call that calls itself by way of an object and a list that holds itself.
    let copied_dictionary = {
        let mut out = b"\x80\x02K\x01q\x00}q\x01(".to_vec();
        out.extend(b"h\x00h\x00".repeat(500_000));
        out.extend(b"u(ccollections\nOrderedDict\nq\x02");
        out.extend(b"h\x02h\x01\x85R".repeat(2000));
        out.extend(b"t.");
        out
    };
    let calls_itself =
        own(b"ctorch._tensor\n_rebuild_from_type_v2\n)Rq\x00]q\x02(h\x00Nh\x02e0h\x00h\x02R");
    // What is met many times, and takes long each time.
    let module_met_often = {
        let mut out = b"\x80\x02(ctorch.nn.modules.linear\nLinear\n)\x81}(".to_vec();
        for table in ["_parameters", "_buffers", "_modules"] {
            text(&mut out, table);
            out.push(b'}');
        }
        out.extend(b"K\x01q\x02K\x01");
        out.extend(b"h\x02h\x02".repeat(400_000));
        out.extend(b"ubq\x01");
        out.extend(b"h\x01".repeat(400_000));
        out.extend(b"t.");
        out
    };
    let key_met_often = {
        let mut out = b"\x80\x02(}".to_vec();
        text(&mut out, &"k".repeat(1 << 20));
        out.extend(b"K\x01sq\x01");
        out.extend(b"h\x01".repeat(400_000));
        out.extend(b"t.");
        out
    };
    // The list of storage keys, an empty one here, is a pickle as well.
    let mut code_in_keys = legacy(b"\x80\x02}.", &[]);
    code_in_keys.truncate(code_in_keys.len() - b"\x80\x02](e.".len());
    code_in_keys.extend(b"\x80\x02c__builtin__\neval\n(V1\ntR.");
    let safetensors = |len: u64, rest: &str| [&len.to_le_bytes()[..], rest.as_bytes()].concat();
    let header = |json: &str| safetensors(json.len() as u64, json);
    vec![
        (
            "8 GiB through a stride of 0",
            one(Declared::expanded("t", 1 << 31)),
            "",
        ),
        (
            "a network through strides of 0",
            legacy(&state_dict(&network), &[("0", &[0.0])]),
            bomb,
        ),
        ("the same in a zip", zip(&state_dict(&network)), bomb),
        (
            "many expanded tensors",
            legacy(&state_dict(&many), &[("0", &[0.0])]),
            "",
        ),
        (
            "an element count that overflows",
            one(odd(&[1 << 40, 1 << 40], 1)),
            "",
        ),
        (
            "a storage beyond the file",
            one(odd(&[1 << 34], 1 << 34)),
            "",
        ),
        (
            "a storage beyond the archive",
            zip(&state_dict(&[odd(&[1 << 20], 1 << 20)])),
            "",
        ),
        (
            "a storage of 2^63 values",
            one(odd(&[u64::MAX >> 1], u64::MAX >> 1)),
            "",
        ),
        (
            "copies of a tensor of rank 20000",
            legacy(&copied_ranks, &[("0", &[0.0])]),
            bomb,
        ),
        (
            "a long key above many tensors",
            legacy(&long_keys, &[("0", &[0.0])]),
            bomb,
        ),
        ("memo lookups that double", zip(&lookups), bomb),
        (
            "the same in the legacy container",
            legacy(&lookups, &[]),
            bomb,
        ),
        ("millions of empty tuples", zip(&[b')'; 10 << 20]), bomb),
        ("nested 100000 deep", zip(&nested(100_000)), ""),
        (
            "nested 100000 deep, legacy",
            legacy(&nested(100_000), &[]),
            "",
        ),
        (
            "a dictionary in itself",
            torch(&own(b"}q\x00X\x01\0\0\0kh\x00s")),
            "deep",
        ),
        ("a list in itself", torch(&own(b"]q\x00h\x00a")), "deep"),
        (
            "a list in itself, many times",
            torch(&own(
                &[&b"]q\x00("[..], &b"h\x00".repeat(1000), b"e"].concat()
            )),
            "deep",
        ),
        ("subclasses with one large state", torch(&subclasses), bomb),
        ("copies of one dictionary", torch(&copied_dictionary), bomb),
        (
            "a call that calls itself",
            torch(&calls_itself),
            "of itself",
        ),
        (
            "a large module met many times",
            torch(&module_met_often),
            bomb,
        ),
        ("a long key met many times", torch(&key_met_often), bomb),
        (
            "keys for a number",
            torch(&own(b"K\x01X\x01\0\0\0kK\x02s")),
            "damaged",
        ),
        (
            "an entry that begins beyond the file",
            with_field(98 + 8 + 4, &[0xfe, 0xff, 0xff, 0x7f]),
            "damaged",
        ),
        (
            "more entries than the directory holds",
            with_field(22 + 20 + 56 - 32, &[3, 0, 0, 0, 0, 0, 0, 0]),
            "damaged",
        ),
        (
            "a zip64 directory beyond the file",
            with_field(22 + 20 + 8, &[0xff; 8]),
            "damaged",
        ),
        (
            "text of 4 GiB that is not there",
            zip(b"\x80\x02X\xff\xff\xff\xffhi."),
            bomb,
        ),
        (
            "a deflated pickle of zeros",
            archive(&[("a/data.pkl", &zeros)], Deflated),
            "compressed",
        ),
        (
            "a deflated storage of zeros",
            archive(
                &[("a/data.pkl", b"\x80\x02}."), ("a/data/0", &zeros)],
                Deflated,
            ),
            "compressed",
        ),
        (
            "two pickles",
            archive(
                &[("data.pkl", b"\x80\x02}."), ("a/data.pkl", b"\x80\x02}.")],
                Stored,
            ),
            "2 pickles",
        ),
        (
            "an archive of something else",
            archive(&[("word/document.xml", b"<xml/>")], Stored),
            "without data.pkl",
        ),
        (
            "TorchScript",
            archive(
                &[("a/data.pkl", b"\x80\x02}."), ("a/constants.pkl", b"")],
                Stored,
            ),
            "TorchScript",
        ),
        (
            "65535 entries that are not there",
            end_record(65535, 100, 0),
            "damaged",
        ),
        (
            "a directory beyond the file",
            end_record(2, u32::MAX, u32::MAX),
            "damaged",
        ),
        (
            "a shell",
            zip(b"cposix\nsystem\n(Vid\ntR."),
            "'posix.system'",
        ),
        (
            "a shell behind a plain pickle",
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.".to_vec(),
            "'posix.system'",
        ),
        ("eval in the storage keys", code_in_keys, "eval"),
        (
            "a plain pickle",
            b"\x80\x02}.".to_vec(),
            "without tensor data",
        ),
        (
            "a header of u64::MAX bytes",
            safetensors(u64::MAX, "{}"),
            "header of 18446744073709551615",
        ),
        (
            "a header of 2^63 bytes",
            safetensors(1 << 63, "{}"),
            "damaged",
        ),
        (
            "a header longer than the file",
            safetensors(1000, "{}"),
            "damaged",
        ),
        (
            "a header of 3 MiB",
            header(&format!("{{{}}}", " ".repeat(3 << 20))),
            "more than",
        ),
        (
            "deep JSON",
            header(&format!("{{\"a\":{}", "[".repeat(1 << 20))),
            "damaged",
        ),
        (
            "numbers as shape",
            header(&format!(
                "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}1],\"data_offsets\":[0,4]}}}}",
                "1,".repeat(400_000)
            )),
            "damaged",
        ),
        (
            "a shape that overflows",
            header(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,4],\"data_offsets\":[0,4]}}",
            ),
            "damaged",
        ),
        (
            "offsets that run backwards",
            header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}"),
            "damaged",
        ),
        (
            "data that is not there",
            header(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1000000000],\"data_offsets\":[0,4000000000]}}",
            ),
            "damaged",
        ),
        ("no JSON", header("{this is not JSON at all}"), "damaged"),
    ]
}

/// Cuts `fixture` at every length and changes every byte, or as many as the bound allows, evenly spread; returns how
/// many files that were.
fn damage(fixture: &Path, folder: &Path) -> usize {
    const MOST: usize = 250;
    let whole = std::fs::read(fixture).unwrap();
    let step = whole.len().div_ceil(MOST);
    let mut count = 0;
    let mut read = |bytes: &[u8]| -> bool {
        // A new name each time: some file systems flush a file that is overwritten.
        let path = folder.join(format!("damaged{count}"));
        std::fs::write(&path, bytes).unwrap();
        count += 1;
        let _ = load(&path, None);
        let accepted = read_tensors(&path).is_ok();
        std::fs::remove_file(&path).unwrap();
        accepted
    };
    for len in (0..whole.len()).step_by(step) {
        assert!(
            !read(&whole[..len]),
            "{} cut at {len} was accepted",
            fixture.display()
        );
    }
    for at in (0..whole.len()).step_by(step) {
        for mask in [0xff, 1 << (at % 8)] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            read(&bytes);
        }
    }
    count
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pth"))
        .collect();
    files.sort();
    assert!(files.len() >= 12);
    files
}

fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_network_written_without_pytorch_is_loaded_from_both_containers() {
    let folder = tempfile::tempdir().unwrap();
    let arch = Arch::parse("cifar-resnet20").unwrap();
    let expected = arch.expected();
    let keys: Vec<String> = (0..expected.len()).map(|key| key.to_string()).collect();
    let declared: Vec<Declared> = expected
        .iter()
        .enumerate()
        .map(|(key, (name, shape))| Declared::contiguous(&format!("module.{name}"), key, shape))
        .collect();
    let values: Vec<Vec<f32>> = expected
        .iter()
        .enumerate()
        .map(|(key, (_, shape))| {
            (0..shape.iter().product())
                .map(|n: usize| (key + n) as f32 / 64.0)
                .collect()
        })
        .collect();
    let pickle = state_dict(&declared);

    let storages: Vec<(&str, &[f32])> = keys
        .iter()
        .map(String::as_str)
        .zip(values.iter().map(Vec::as_slice))
        .collect();
    let bytes: Vec<Vec<u8>> = values
        .iter()
        .map(|values| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let names: Vec<String> = keys.iter().map(|key| format!("a/data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("a/data.pkl", &pickle)];
    entries.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(bytes.iter().map(Vec::as_slice)),
    );

    for file in [legacy(&pickle, &storages), archive(&entries, Stored)] {
        let path = folder.path().join("net");
        std::fs::write(&path, file).unwrap();
        let checkpoint = load(&path, None).unwrap();
        assert_eq!(checkpoint.arch, Some(arch));
        for ((name, shape), values) in expected.iter().zip(&values) {
            let tensor = checkpoint.tensors().get(name).unwrap();
            assert_eq!((&tensor.shape, &tensor.data), (shape, values), "{name}");
        }
    }
}

#[test]
fn paths_that_are_no_files_are_refused_before_they_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| load(path, None).unwrap_err().to_string();
    assert!(message(folder.path()).contains("a directory"));
    assert!(message(&folder.path().join("nothing.pth")).contains("nothing.pth"));
    let empty = folder.path().join("empty.pth");
    std::fs::write(&empty, b"").unwrap();
    assert!(message(&empty).contains("empty"));
    if cfg!(unix) {
        assert!(message(Path::new("/dev/zero")).contains("device"));
        let pipe = folder.path().join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(message(&pipe).contains("pipe"));
    }
    let huge = folder.path().join("huge.pth");
    std::fs::File::create(&huge)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(message(&huge).contains("1099511627776 bytes"));
}
