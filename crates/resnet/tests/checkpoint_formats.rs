//! Small files that PyTorch wrote (`fixtures/make.py`), and the real ones of the data folder: what they hold is what is
//! read.

#[path = "../../../testing/data.rs"]
mod testing;

use std::path::{Path, PathBuf};

use network::StateDict;
use resnet::{Arch, load, read_tensors};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn read(name: &str) -> StateDict {
    read_tensors(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(name: &str) -> String {
    let message = read_tensors(&fixture(name)).expect_err(name).to_string();
    assert!(
        message.contains(name) && !message.contains('\n') && message.len() < 600,
        "{message}"
    );
    message
}

/// `0/8 - 1, 1/8 - 1, ...`, as make.py fills its tensors.
fn eighths(count: usize) -> Vec<f32> {
    (0..count).map(|n| n as f32 / 8.0 - 1.0).collect()
}

fn assert_tensor(state: &StateDict, name: &str, shape: &[usize], data: &[f32]) {
    let tensor = state.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(
        (tensor.shape.as_slice(), tensor.data.as_slice()),
        (shape, data),
        "{name}"
    );
}

#[test]
fn every_container_and_float_type_gives_the_same_state() {
    let zip = read("types-zip.pth");
    assert_tensor(&zip, "a.weight", &[2, 3], &eighths(6));
    assert_tensor(&zip, "a.bias", &[2], &eighths(2));
    assert_tensor(&zip, "b.weight", &[3], &eighths(3));
    assert_tensor(&zip, "b.bias", &[2, 2], &eighths(4));
    assert_eq!(zip.len(), 4);
    for other in ["types-legacy.pth", "types-protocol4.pth"] {
        assert_eq!(read(other), zip, "{other}");
        assert_eq!(read(other).sha256(), zip.sha256());
    }
}

#[test]
fn nested_dictionaries_are_read_under_flat_names() {
    let state = read("nested-legacy.pth");
    assert_tensor(&state, "state_dict.module.a.weight", &[2, 3], &eighths(6));
    assert_tensor(
        &state,
        "optimizer.state.0.momentum_buffer",
        &[2, 3],
        &eighths(6),
    );
}

#[test]
fn a_whole_module_is_read_as_its_state_dict() {
    let state = read("module-zip.pth");
    assert_tensor(&state, "weight", &[2, 3], &eighths(6));
    assert_tensor(&state, "bias", &[2], &eighths(2));
}

#[test]
fn views_are_gathered_in_row_major_order() {
    let base = eighths(12);
    let pick = |at: &[usize]| at.iter().map(|&at| base[at]).collect::<Vec<_>>();
    let transposed = pick(&[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    for name in ["views-legacy.pth", "views-zip.pth"] {
        let state = read(name);
        assert_tensor(&state, "transposed", &[3, 4], &transposed);
        assert_tensor(&state, "step", &[2], &pick(&[1, 7]));
        assert_tensor(&state, "expanded", &[2, 3], &[-1.0; 6]);
    }
    let state = read("views-legacy.pth");
    assert_tensor(&state, "row", &[3], &pick(&[6, 7, 8]));
    assert_tensor(&state, "scalar", &[], &pick(&[11]));
    assert_tensor(&state, "shared", &[4, 3], &base);
    assert_tensor(&state, "empty", &[0, 3], &[]);
}

#[test]
fn code_in_a_pickle_is_named_and_not_run() {
    for name in ["code-zip.pth", "code-legacy.pth"] {
        assert!(refusal(name).contains("calls 'posix.system'"));
    }
    assert!(!Path::new("/tmp/quantlab-was-here").exists());
}

#[test]
fn what_cannot_be_weights_is_refused_with_the_reason() {
    assert!(refusal("sparse-zip.pth").contains("sparse"));
    assert!(
        refusal("bigendian-zip.pth")
            .to_lowercase()
            .contains("big-endian")
    );
    assert!(
        refusal("bigendian-legacy.pth")
            .to_lowercase()
            .contains("big-endian")
    );
    let integers = read_tensors(&fixture("integers-legacy.pth"))
        .unwrap_err()
        .to_string();
    assert!(
        integers.contains("'a.weight'") && integers.contains("int64"),
        "{integers}"
    );
    let nan = read_tensors(&fixture("nan-legacy.pth"))
        .unwrap_err()
        .to_string();
    assert!(
        nan.contains("'a.weight'") && nan.contains("NaN at index 1"),
        "{nan}"
    );
}

#[test]
fn small_files_are_no_network_and_say_so() {
    let message = load(&fixture("types-zip.pth"), None)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("types-zip.pth") && message.contains("no ResNet"),
        "{message}"
    );
}

#[test]
fn published_checkpoints_load_and_keep_their_identity_as_safetensors() {
    let Some(data) = testing::data(&["weights/resnet18-pqf.pth"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (file, arch, sha256) in [
        ("resnet20-12fca82f.th", "cifar-resnet20", "12fca82f"),
        ("resnet56-4bfd9763.th", "cifar-resnet56", "4bfd9763"),
        ("resnet18-pqf.pth", "resnet18", "e7e9e78b"),
    ] {
        let checkpoint = load(&data.join("weights").join(file), None).unwrap();
        let arch = Arch::parse(arch).unwrap();
        assert_eq!(
            (checkpoint.arch, checkpoint.folded),
            (Some(arch), false),
            "{file}"
        );
        assert!(checkpoint.file_sha256.starts_with(sha256), "{file}");
        assert_eq!(checkpoint.tensors().len(), arch.expected().len());

        let copy = folder.path().join("copy");
        std::fs::write(
            &copy,
            resnet::to_safetensors(checkpoint.tensors(), &Default::default()).unwrap(),
        )
        .unwrap();
        let again = load(&copy, Some(&arch)).unwrap();
        assert_eq!(again.sha256, checkpoint.sha256);
        assert_eq!(again.tensors(), checkpoint.tensors());
        assert_ne!(again.file_sha256, checkpoint.file_sha256);
    }
}
