//! The counts of other people's software on real data, through the binary that users run: PyTorch's hits on CIFAR-10
//! and ImageNet images stand as checks in the experiments themselves. Skipped, saying so, without a data folder.

mod program;
#[path = "../../../testing/data.rs"]
mod testing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bench::device::Target;
use bench::evaluate::{logits, outcome};
use bench::executable::Executable;
use burn::tensor::Device;
use dataset::decode::decode;
use dataset::resize::{Geometry, resize_and_crop};
use dataset::{Dataset, Normalization, Record, Sampling, Source};
use program::quantlab;
use quant_core::{Bits, Scheme};
use quantize::{BiasPolicy, BnMode, WeightQuantization};
use tempfile::TempDir;
use testing::data;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs an experiment on the data folder; all of its `checks` must be compared and hold.
fn sweep(data: &Path, arguments: &[&str], checks: usize) {
    let scratch = TempDir::new().unwrap();
    let output = quantlab("sweep")
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
fn the_shipped_model_hits_what_the_committed_results_say() {
    let scratch = TempDir::new().unwrap();
    std::fs::create_dir(scratch.path().join("data")).unwrap();
    let set = "weights.bits=[32, 8, 3]";
    sweep(
        &scratch.path().join("data"),
        &["experiments/weight-bits.toml", "--set", set],
        3,
    );
}

#[test]
fn by_winograds_algorithm_the_shipped_model_hits_the_same() {
    let scratch = TempDir::new().unwrap();
    std::fs::create_dir(scratch.path().join("data")).unwrap();
    let set = "weights.bits=[32, 8, 3]";
    sweep(
        &scratch.path().join("data"),
        &["experiments/convolution.toml", "--set", set],
        3,
    );
}

/// By its definition, and by Winograd's algorithm.
#[test]
fn cifar10_hits_of_the_original_method_are_those_of_pytorch_by_either_convolution() {
    if let Some(data) = data(&["cifar10/test_batch.bin"]) {
        let experiment = "experiments/cifar10-weight-bits.toml";
        sweep(&data, &[experiment], 9 - 1);
        let winograd = "convolution=winograd";
        sweep(&data, &[experiment, "--set", winograd], 9 - 1);
    }
}

#[test]
fn cifar10_hits_by_mapping_granularity_and_folding_are_those_of_pytorch() {
    if let Some(data) = data(&["cifar10/test_batch.bin"]) {
        // All of the grid takes half an hour on two cores; 4 bits is where the schemes differ most.
        let experiment = "experiments/cifar10-granularity.toml";
        sweep(&data, &[experiment, "--set", "weights.bits=4"], 8);
    }
}

#[test]
fn resnet56_hits_on_cifar10_are_those_published() {
    if let Some(data) = data(&["weights/resnet56-4bfd9763.th"]) {
        sweep(&data, &["experiments/cifar10-resnet56.toml"], 1);
    }
}

#[test]
fn imagenet_hits_are_those_of_torchvision() {
    if let Some(data) = data(&["imagenet/val"]) {
        sweep(&data, &["experiments/imagenet-weight-bits.toml"], 14);
        sweep(&data, &["experiments/imagenet-channel.toml"], 6);
    }
}

/// Real depthwise networks as ONNX files: what ONNX Runtime hits with weights quantized by a script of its own, BatchNorm folded.
#[test]
fn mobilenets_lose_by_bits_and_granularity_what_onnx_runtime_does() {
    let Some(data) = data(&["imagenet/val", "../golden/onnx/mobilenet"]) else {
        return;
    };
    let folder = data.join("../golden/onnx/mobilenet");
    let mut grid = csv::Reader::from_path(folder.join("grid.csv")).unwrap();
    let grid: Vec<BTreeMap<String, String>> = grid.deserialize().map(Result::unwrap).collect();
    let half = "0.5 0.5 0.5 / 0.5 0.5 0.5";
    let lite = "0.49803922 0.49803922 0.49803922 / 0.50196078 0.50196078 0.50196078";
    for (name, [resize, size], normalization, offset) in [
        ("tf2_mobilenet_v2_1.0_224_ptq", [256, 224], half, 1),
        ("mobilenet_v1_0.25_128_quant", [146, 128], half, 1),
        ("efficientnet_lite0", [256, 224], lite, 0),
    ] {
        let model = folder.join(format!("{name}-float.onnx"));
        let images = data.join("imagenet/val");
        let mut text = format!(
            r#"question = "What do few bits cost?"
expects = "What they cost elsewhere."
[fixed]
model.weights = {model:?}
dataset = {images:?}
input = {{ normalization = "{normalization}", resize = {resize}, size = {size} }}
labels.offset = {offset}
bn = "folded"
[vary]
weights.bits = [32, 8, 6, 4]
"weights.mapping, weights.granularity" = [["affine", "tensor"], ["symmetric", "channel"]]
"#
        );
        let mut checks = 0;
        for row in grid.iter().filter(|row| {
            let plain = ["act", "cle", "bias_correction"].map(|key| row[key].as_str());
            row["network"] == name && plain == ["relu6", "0", "none"]
        }) {
            let chosen = match row["scheme"].split_once('/') {
                Some((mapping, granularity)) => {
                    let mapping = match mapping {
                        "symm" => "symmetric",
                        other => other,
                    };
                    format!(
                        ", weights.mapping = \"{mapping}\", weights.granularity = \"{granularity}\""
                    )
                }
                None => String::new(),
            };
            let (bits, hits, top5) = (&row["bits"], &row["hits_134"], &row["hits5_134"]);
            for (metric, expected) in [("top1_correct", hits), ("top5_correct", top5)] {
                text += &format!(
                    "[[check]]\nwhere = {{ weights.bits = {bits}{chosen} }}\nmetric = \"{metric}\"\nexpected = {expected}\ntolerance = 1\n"
                );
                checks += 1;
            }
        }
        assert_eq!(checks, 2 * (1 + 6), "{name}");
        let scratch = TempDir::new().unwrap();
        let experiment = scratch.path().join("mobilenet.toml");
        std::fs::write(&experiment, text).unwrap();
        sweep(&data, &[experiment.to_str().unwrap()], checks);
    }
}

/// A NumPy file's shape and raw little-endian values (format version 1, C order).
fn npy(path: &Path) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\0", "{}", path.display());
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'fortran_order': False"));
    let shape = header
        .split("'shape': (")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap();
    let shape = shape
        .split(',')
        .filter_map(|extent| extent.trim().parse().ok())
        .collect();
    (shape, bytes[start..].to_vec())
}

/// 224 x 224 crops as a test set with made-up labels.
fn crops(pixels: &[Vec<u8>]) -> Dataset {
    let records = (0..pixels.len())
        .map(|i| Record {
            offset: i * 224 * 224 * 3,
            label: 0,
            digest: None,
            id: None,
        })
        .collect();
    let source = Source {
        name: "crops".to_owned(),
        preprocessing: "made elsewhere".to_owned(),
        classes: (0..1000).map(|c| c.to_string()).collect(),
        height: 224,
        width: 224,
        normalization: Normalization::IMAGENET,
        sampling: Sampling::First,
    };
    Dataset::new(source, Arc::new(pixels.concat()), records).unwrap()
}

#[test]
fn imagenet_crops_are_those_of_pillow_and_logits_those_of_torchvision() {
    let golden = "../golden/imagenet-resnet18";
    let Some(data) = data(&["imagenet/samples", golden]) else {
        return;
    };
    let golden = data.join(golden);
    let mut names: Vec<String> = std::fs::read_dir(data.join("imagenet/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let theirs: Vec<Vec<u8>> = names
        .iter()
        .map(|name| {
            let (shape, pixels) = npy(&golden.join(format!("crops/{name}.npy")));
            assert_eq!(shape, [224, 224, 3]);
            pixels
        })
        .collect();
    let geometry = Geometry {
        resize: 256,
        crop: 224,
    };
    for (name, theirs) in names.iter().zip(&theirs) {
        let bytes = std::fs::read(data.join("imagenet/samples").join(name)).unwrap();
        let image = decode(&bytes).unwrap();
        let ours = resize_and_crop(&image.pixels, image.width, image.height, geometry);
        assert!(ours == *theirs, "{name}: the crop is not Pillow's");
    }

    let checkpoint = resnet::load(&data.join("weights/resnet18-pqf.pth"), None).unwrap();
    let how = WeightQuantization {
        scheme: Some(Scheme::linear(Bits::new(8).unwrap())),
        first_bits: None,
        last_bits: None,
        bits_of: BTreeMap::new(),
        bias: BiasPolicy::Same,
        bn: BnMode::Kept,
    };
    let float = &checkpoint.network;
    let quantized = quantize::quantize(float, &how).unwrap();
    for (network, file) in [
        (float, "logits_fp32.npy"),
        (&quantized.network().unwrap(), "logits_w8.npy"),
    ] {
        let (shape, bytes) = npy(&golden.join(file));
        assert_eq!(shape, [names.len(), 1000]);
        let expected: Vec<f32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| f32::from_le_bytes(*word))
            .collect();
        let running = AtomicBool::new(false);
        let run = |target: Target| {
            let net = Executable::new(
                &target,
                network.clone(),
                [224, 224],
                engine::Options::default(),
            )
            .unwrap();
            logits(&net, &crops(&theirs), 2, &|_| {}, &running).unwrap()
        };
        let found = run(Target::Engine);
        let flex = run(Target::Burn(Device::flex()));
        let largest = expected.iter().fold(0.0_f32, |m, z| m.max(z.abs()));
        for (who, other) in [("PyTorch", &expected), ("burn flex", &flex)] {
            let distances = found.iter().zip(other).map(|(a, b)| (a - b).abs());
            let distance = distances.fold(0.0, f32::max) / largest;
            eprintln!("{file}: {distance:.1e} of the largest logit away from {who}");
            assert!(distance <= 1e-4, "{file}, {who}: {distance}");
        }
        let classes = |logits: &[f32]| -> Vec<Option<u16>> {
            logits
                .chunks_exact(1000)
                .map(|row| outcome(row, 0).map(|outcome| outcome.top1))
                .collect()
        };
        assert_eq!(classes(&found), classes(&expected), "{file}");
    }
}
