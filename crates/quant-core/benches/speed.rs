//! How long a tensor of 25 million values (the weights of a ResNet-50) takes: `cargo bench -p quant-core --bench speed`.

use std::time::Instant;

use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme, Statistics, Values, compare, fit_activation, quantize, uniform,
};

/// A bell of `n` values: the sum of four uniform draws.
fn bell(n: usize) -> Vec<f32> {
    (0..n as u64)
        .map(|i| (0..4).map(|k| uniform(1, 4 * i + k)).sum::<f32>() - 2.0)
        .collect()
}

fn main() {
    quantizing();
    calibrating();
}

fn quantizing() {
    let n = 25_000_000;
    let w = bell(n);
    // Output channels of the size of a 3x3 convolution with 128 inputs, about the mean of a ResNet-50.
    let shape = [n / 1000, 1000];
    let time = |scheme: Scheme| {
        let started = Instant::now();
        let values = Values::new("w", &w, &shape).unwrap();
        let checked = started.elapsed();
        let out = quantize(&values, &scheme);
        let done = started.elapsed();
        let sqnr = compare(&w, &out.values).sqnr_db;
        let compared = started.elapsed() - done;
        println!(
            "{scheme}: check {checked:.2?}, quantize {:.2?}, compare {compared:.2?}, {sqnr:.2?} dB",
            done - checked
        );
    };
    let eight = Bits::new(8).unwrap();
    for rounding in [
        Rounding::HalfEven,
        Rounding::HalfAway,
        Rounding::Floor,
        Rounding::Stochastic { seed: 1 },
    ] {
        time(Scheme::linear(eight).with_rounding(rounding));
    }
    for range in [
        RangeMethod::MinMax,
        RangeMethod::Percentile(99.9),
        RangeMethod::Mse { exponent: 2.0 },
        RangeMethod::Mse { exponent: 2.4 },
        RangeMethod::Entropy,
        RangeMethod::Gaussian,
        RangeMethod::Laplacian,
    ] {
        for (mapping, granularity) in [
            (Mapping::Affine, Granularity::Channel),
            (Mapping::Symmetric, Granularity::Channel),
            (Mapping::Affine, Granularity::Tensor),
        ] {
            let bits = Bits::new(4).unwrap();
            time(
                Scheme::new(
                    bits,
                    mapping,
                    CodeRange::Narrow,
                    granularity,
                    range,
                    Rounding::HalfEven,
                )
                .unwrap(),
            );
        }
    }
    let entropy = RangeMethod::Entropy;
    time(
        Scheme::new(
            eight,
            Mapping::Symmetric,
            CodeRange::Narrow,
            Granularity::Channel,
            entropy,
            Rounding::HalfEven,
        )
        .unwrap(),
    );
}

fn calibrating() {
    let n = 25_000_000;
    let signed = bell(n);
    let relu: Vec<f32> = signed.iter().map(|x| x.max(0.0)).collect();
    for (name, values) in [("bell", &signed), ("bell after ReLU", &relu)] {
        // Slices as a layer's output for one image: 64 channels of 56 x 56, and the 10 logits of a classifier.
        for slice in [200_704, 10] {
            let mut statistics = Statistics::new();
            let started = Instant::now();
            for part in values.chunks(slice) {
                statistics.add("site", 0, part).unwrap();
            }
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "{name}, {slice} at a time: {:.0} million values a second",
                n as f64 / seconds / 1e6
            );
        }
        let mut statistics = Statistics::new();
        statistics.add("site", 0, values).unwrap();
        let started = Instant::now();
        let mut merged = Statistics::new();
        for _ in 0..100 {
            merged.merge(&statistics);
        }
        println!("{name}, merge: {:.2?}", started.elapsed() / 100);
        for mapping in Mapping::ALL {
            for range in ["percentile", "mse", "entropy"] {
                let bits = Bits::new(8).unwrap();
                let range: ActivationRange = range.parse().unwrap();
                let codes = CodeRange::Narrow;
                let scheme =
                    ActivationScheme::new(bits, mapping, codes, range, Rounding::HalfEven).unwrap();
                let started = Instant::now();
                fit_activation(&statistics, &scheme).unwrap();
                println!("{name}, {scheme}: {:.2?}", started.elapsed());
            }
        }
    }
}
