//! Run folders made up for tests, written through `results` like real ones.
#![allow(dead_code)] // Each test binary uses its part.

use std::path::Path;

use results::{Config, MetricRow, PredictionRow, Run, RunRow, Status, Store, metric};

/// A float run of a network with `images` test images.
pub fn float(images: u64) -> Config {
    Config::default()
        .with("model_name", "resnet20-synthetic")
        .with("model_arch", "cifar-resnet20")
        .with("dataset", "synthetic")
        .with("images", images)
        .with("weights_bits", 32)
        .with("activations_bits", 32)
        .with("bn", "kept")
        .with("execution", "simulate")
        .with("method", "float")
        .with("device", "cpu")
}

/// The preset `linear` with so many bits.
pub fn linear(images: u64, bits: u32) -> Config {
    float(images)
        .with("weights_bits", bits)
        .with("weights_mapping", "affine")
        .with("weights_granularity", "tensor")
        .with("weights_range", "minmax")
        .with("weights_rounding", "half_even")
        .with("bias", "same")
        .with("method", "linear")
}

/// Weights and activations with so many bits, by `ptq`, calibrated by minimum and maximum.
pub fn quantized(images: u64, weights: u32, activations: u32) -> Config {
    linear(images, weights)
        .with("activations_bits", activations)
        .with("activations_mapping", "affine")
        .with("bias", "int32")
        .with("bn", "folded")
        .with("shortcut", "rescale")
        .with("method", "ptq")
        .with("calibration_dataset", "synthetic")
        .with("calibration_images", 512)
        .with("calibration_method", "minmax")
}

/// The same in integers.
pub fn integer(config: Config, multiplier: &str, rounding: &str, accumulator: &str) -> Config {
    config
        .with("execution", "integer")
        .with("integer_multiplier", multiplier)
        .with("integer_rounding", rounding)
        .with("integer_accumulator", accumulator)
}

/// A run whose predictions are given as `(image, label, top1)`, with the metrics that follow from them.
pub fn run(experiment: &str, config: Config, predictions: &[(String, u16, u16)]) -> Run {
    let mut row = RunRow::new(
        experiment,
        config,
        &"ab12".repeat(16),
        &"cd34".repeat(16),
        None,
    );
    row.git_revision = "318b680318b680318b680318b680318b680318b6".into();
    let hits = predictions
        .iter()
        .filter(|(_, label, top1)| label == top1)
        .count();
    let n = predictions.len() as u64;
    let run_id = row.run_id.clone();
    let metric = |layer: &str, metric: &str, value: f64, unit: &str| MetricRow {
        run_id: run_id.clone(),
        layer: layer.into(),
        metric: metric.into(),
        value,
        n,
        unit: unit.into(),
    };
    let prediction = |(image, label, top1): &(String, u16, u16)| PredictionRow {
        image: image.clone(),
        label: *label,
        top1: *top1,
    };
    let metrics = vec![metric(
        "",
        metric::TOP1_CORRECT,
        hits as f64,
        metric::IMAGES,
    )];
    Run {
        row,
        metrics,
        predictions: predictions.iter().map(prediction).collect(),
        manifest: Vec::new(),
        epochs: Vec::new(),
    }
}

/// Adds a metric.
pub fn with(mut run: Run, layer: &str, metric: &str, value: f64) -> Run {
    let (run_id, n) = (run.row.run_id.clone(), run.predictions.len() as u64);
    run.metrics.push(MetricRow {
        run_id,
        layer: layer.into(),
        metric: metric.into(),
        value,
        n,
        unit: String::new(),
    });
    run
}

/// The same run, failed.
pub fn failed(mut run: Run, error: &str) -> Run {
    run.row.status = Status::Failed;
    run.row.error = Some(error.into());
    run.metrics.clear();
    run.predictions.clear();
    run
}

/// `n` images of ten classes, of which the first `right` are predicted right.
pub fn first_right(n: usize, right: usize) -> Vec<(String, u16, u16)> {
    (0..n)
        .map(|i| {
            let label = (i % 10) as u16;
            (
                format!("{i}"),
                label,
                if i < right { label } else { (label + 1) % 10 },
            )
        })
        .collect()
}

/// Writes runs.
pub fn write(root: &Path, runs: &[Run]) {
    let store = Store::open(root).unwrap();
    for run in runs {
        store.write(run).unwrap();
    }
}

/// The layers of ResNet-20 in order.
pub fn layers() -> Vec<String> {
    let mut layers = vec!["conv1".to_string()];
    for stage in 1..=3 {
        for block in 0..3 {
            layers.extend([1, 2].map(|conv| format!("layer{stage}.{block}.conv{conv}")));
        }
    }
    layers.push("linear".into());
    layers
}
