//! How long a tensor of 25 million values (the weights of a ResNet-50) takes: `cargo test --release --workspace --test speed -- --ignored
//! --nocapture`.

use std::time::Instant;

use quant_core::{
    Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, Values, compare,
    quantize, uniform,
};

/// A bell of `n` values: the sum of four uniform draws.
fn bell(n: usize) -> Vec<f32> {
    (0..n as u64)
        .map(|i| (0..4).map(|k| uniform(1, 4 * i + k)).sum::<f32>() - 2.0)
        .collect()
}

#[test]
#[ignore = "a measurement, not a claim"]
fn time_of_25_million_values() {
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
