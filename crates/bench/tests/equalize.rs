//! Cross-layer equalization of real networks: what ONNX Runtime hits with weights that a script of its own equalized and quantized.

#[path = "../../../testing/data.rs"]
mod data;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use bench::device::Target;
use bench::evaluate::evaluate;
use bench::executable::Executable;
use dataset::folder::{self, FolderOptions};
use dataset::{Dataset, Normalization};
use network::Network;
use quant_core::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme};
use quantize::{BiasPolicy, BnMode, Equalization, Reach, WeightQuantization, equalize, quantize};

fn hits(network: Network, images: &Dataset) -> usize {
    let size = [images.height(), images.width()];
    let net = Executable::new(&Target::Engine, network, size, engine::Options::default()).unwrap();
    let running = AtomicBool::new(false);
    let found = evaluate(&net, images, 2, &|_, _| {}, &running).unwrap();
    let labels = (0..images.len()).map(|i| images.label(i));
    found
        .iter()
        .zip(labels)
        .filter(|(one, label)| one.top1 == *label)
        .count()
}

/// `network` with its weights quantized as a row of the grid has it.
fn rounded(network: &Network, scheme: &str, bits: u32) -> Network {
    let bits = Bits::new(bits).unwrap();
    let scheme = match scheme {
        "affine/tensor" => Scheme::linear(bits),
        _ => Scheme::new(
            bits,
            Mapping::Symmetric,
            CodeRange::Narrow,
            Granularity::Channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        )
        .unwrap(),
    };
    let how = WeightQuantization {
        scheme: Some(scheme),
        first_bits: None,
        last_bits: None,
        bits_of: BTreeMap::new(),
        bias: BiasPolicy::Float,
        bn: BnMode::Folded,
    };
    quantize(network, &how).unwrap().network().unwrap()
}

#[test]
fn equalized_mobilenets_hit_what_onnx_runtime_does_with_each_rule_for_dead_channels() {
    let Some(data) = data::data(&["imagenet/val", "../golden/onnx/mobilenet"]) else {
        return;
    };
    let golden = data.join("../golden/onnx/mobilenet");
    let mut grid = csv::Reader::from_path(golden.join("grid.csv")).unwrap();
    let grid: Vec<BTreeMap<String, String>> = grid.deserialize().map(Result::unwrap).collect();
    let lite = "0.49803922 0.49803922 0.49803922 / 0.50196078 0.50196078 0.50196078";
    for (name, normalization, outputs, offset, count) in [
        (
            "tf2_mobilenet_v2_1.0_224_ptq",
            Normalization::HALF,
            1001,
            1,
            10,
        ),
        ("efficientnet_lite0", lite.parse().unwrap(), 1000, 0, 5),
    ] {
        let path = golden.join(format!("{name}-float.onnx"));
        let network = resnet::load(&path, None).unwrap().network;
        let options = FolderOptions {
            normalization,
            ..FolderOptions::default()
        };
        let images = folder::open(&data.join("imagenet/val"), &options, &|_, _| {}).unwrap();
        let images = images.with_label_offset(offset, outputs).unwrap();
        let rows: Vec<_> = grid
            .iter()
            .filter(|row| {
                row["network"] == name
                    && row["act"] == "relu6_scaled"
                    && row["bias_correction"] == "none"
                    && row["bits"] != "4"
            })
            .collect();
        assert_eq!(rows.len(), count, "{name}");
        for dead in [false, true] {
            let how = Equalization {
                reach: Reach::Pairs,
                dead,
                ..Equalization::default()
            };
            let equalized = equalize(&network, &how).unwrap().network;
            let rule = if dead { "2" } else { "1" };
            for row in rows.iter().filter(|row| row["cle"] == rule) {
                let (scheme, bits) = (&row["scheme"], row["bits"].parse().unwrap());
                let found = match bits {
                    32 => hits(equalized.clone(), &images),
                    bits => hits(rounded(&equalized, scheme, bits), &images),
                };
                let expected: usize = row["hits_134"].parse().unwrap();
                eprintln!("{name}, rule {rule}, {scheme}, {bits} bits: {found}, there {expected}");
                assert!(found.abs_diff(expected) <= 2, "{name}, {scheme}, {bits}");
            }
        }
    }
}
