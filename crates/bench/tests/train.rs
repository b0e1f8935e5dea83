//! `train`, whole: any network, to a file that everything else reads.

mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use engine::Function;
use network::{Op, Topology};
use program::quantlab;
use resnet::{Checkpoint, load};
use tempfile::TempDir;

fn train(folder: &Path, more: &[&str]) -> Output {
    let mut command = quantlab("train");
    let short = [
        "--train-images=32",
        "--test-images=16",
        "--batch=16",
        "--shards=2",
        "--epochs=1",
    ];
    command.args(short).args(more).current_dir(folder);
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    command.env("QUANTLAB_DATA", data).output().unwrap()
}

fn trained(folder: &Path, out: &str, more: &[&str]) -> Checkpoint {
    let output = train(folder, &[more, &["--out", out]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    load(&folder.join(out), None).unwrap()
}

fn refusal(folder: &Path, more: &[&str]) -> String {
    let output = train(folder, more);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_network_that_is_no_resnet_is_trained_to_onnx_and_from_onnx() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let first = trained(path, "net.onnx", &["--arch", "cifar-mobilenet"]);
    let expected = resnet::topology_named("cifar-mobilenet").unwrap();
    assert_eq!(
        first.network.topology().nodes().len(),
        expected.nodes().len()
    );
    assert!(!first.folded && first.network.topology().has_norms());
    // Its network again: with the same random weights it is trained to the same bytes, with its own it goes on.
    let again = trained(path, "again.onnx", &["--arch", "net.onnx"]);
    assert_eq!(again.sha256, first.sha256);
    let on = trained(
        path,
        "on.onnx",
        &["--arch", "net.onnx", "--init", "net.onnx"],
    );
    assert_ne!(on.sha256, first.sha256);
    assert_eq!(on.network.topology(), first.network.topology());
}

#[test]
fn winograds_algorithm_trains_nearly_the_same_weights_and_is_part_of_what_a_training_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let direct = trained(path, "direct.safetensors", &["--lr=0.01"]);
    let word = ["--lr=0.01", "--convolution=winograd"];
    let winograd = trained(path, "winograd.safetensors", &word);
    assert_ne!(winograd.sha256, direct.sha256);
    let again = [&word[..], &["--threads=1"]].concat();
    assert_eq!(
        trained(path, "again.safetensors", &again).sha256,
        winograd.sha256
    );
    for (name, tensor) in direct.network.tensors() {
        let other = winograd.network.tensors().get(name).unwrap();
        let largest = tensor
            .data
            .iter()
            .fold(1e-2_f32, |most, x| most.max(x.abs()));
        for (a, b) in tensor.data.iter().zip(&other.data) {
            assert!((a - b).abs() <= 2e-3 * largest, "{name}: {a}, {b}");
        }
    }
    std::fs::remove_file(path.join("winograd.safetensors")).unwrap();
    let resumed = ["--lr=0.01", "--resume", "--out", "winograd.safetensors"];
    let said = refusal(path, &resumed);
    assert!(
        said.contains("convolution") && said.contains("winograd"),
        "{said}"
    );
    let said = train(path, &["--convolution=fft", "--out", "no.safetensors"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("direct, winograd"), "{said}");
}

#[test]
fn a_resnets_tensors_are_enough_and_another_networks_are_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let net = trained(path, "net.safetensors", &["--arch", "cifar-resnet20"]);
    assert_eq!(net.architecture, "cifar-resnet20");
    let net = trained(path, "own.safetensors", &["--arch", "cifar-mobilenet"]);
    assert_eq!(net.architecture, "cifar_mobilenet");
    // The same tensors with another function between them.
    let topology = resnet::topology_named("cifar-mobilenet").unwrap();
    let mut nodes = topology.nodes().to_vec();
    for node in nodes.iter_mut().filter(|node| node.name.ends_with(".relu")) {
        node.op = Op::Function(Function::Silu);
    }
    let other = Topology::new(topology.input(), nodes).unwrap();
    let other = resnet::random_network(other, 1).unwrap();
    let file = quantize::float_onnx(&other, &BTreeMap::new()).unwrap();
    std::fs::write(path.join("other.onnx"), file).unwrap();
    let said = refusal(path, &["--arch", "other.onnx", "--out", "a.safetensors"]);
    assert!(said.contains("name it .onnx"), "{said}");
    trained(path, "more.onnx", &["--arch", "other.onnx"]);
    let other = ["--arch", "cifar-mobilenet", "--init", "net.safetensors"];
    let said = refusal(path, &[&other[..], &["--out", "a.onnx"]].concat());
    assert!(
        said.contains("tensor 'stem.conv.weight' is missing"),
        "{said}"
    );
    let said = refusal(path, &["--arch", "cifar-mobile", "--out", "a.onnx"]);
    assert!(
        said.contains("cifar-mobilenet") && said.lines().count() == 1,
        "{said}"
    );
    let said = refusal(path, &["--arch", "none.onnx", "--out", "a.onnx"]);
    assert!(
        said.contains("none.onnx") && said.lines().count() == 1,
        "{said}"
    );
}
