//! The counts of other people's software on real data, through the binary that users run: PyTorch's hits on CIFAR-10
//! and ImageNet images stand as checks in the experiments themselves. Skipped, saying so, without a data folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The data folder, if it is set and holds `needed`.
fn data(needed: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("QUANTLAB_DATA").map(PathBuf::from) else {
        eprintln!("skipped: QUANTLAB_DATA is not set");
        return None;
    };
    // Tests run in the crate's folder; a relative setting is meant from the repository's root.
    let folder = root().join(folder);
    if !folder.join(needed).exists() {
        eprintln!("skipped: {} has no {needed}", folder.display());
        return None;
    }
    Some(folder)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs an experiment on the data folder; all of its `checks` must be compared and hold.
fn sweep(data: &Path, arguments: &[&str], checks: usize) {
    let scratch = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sweep"))
        .current_dir(root())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .arg("--results")
        .arg(scratch.path().join("results"))
        .arg("--cache")
        .arg(scratch.path().join("cache"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("{checks} of {checks} checks hold")),
        "{text}"
    );
}

#[test]
fn cifar10_hits_of_the_original_method_are_those_of_pytorch() {
    if let Some(data) = data("cifar10/test_batch.bin") {
        sweep(&data, &["experiments/cifar10-weight-bits.toml"], 9 - 1);
    }
}

#[test]
fn cifar10_hits_by_mapping_granularity_and_folding_are_those_of_pytorch() {
    if let Some(data) = data("cifar10/test_batch.bin") {
        // All of the grid takes half an hour on two cores; 4 bits is where the schemes differ most.
        let experiment = "experiments/cifar10-granularity.toml";
        sweep(&data, &[experiment, "--set", "weights.bits=4"], 8);
    }
}

#[test]
fn resnet56_hits_on_cifar10_are_those_published() {
    if let Some(data) = data("weights/resnet56-4bfd9763.th") {
        sweep(&data, &["experiments/cifar10-resnet56.toml"], 1);
    }
}

#[test]
fn imagenet_hits_are_those_of_torchvision() {
    if let Some(data) = data("imagenet/val") {
        sweep(&data, &["experiments/imagenet-weight-bits.toml"], 14);
        sweep(&data, &["experiments/imagenet-channel.toml"], 6);
    }
}
