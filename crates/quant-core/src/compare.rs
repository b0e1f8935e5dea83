//! How far an approximation is from its reference, and what it costs to store.
//!
//! SQNR = 10 log10(sum x^2 / sum (x - y)^2) in dB. All sums are float64 in a fixed order: eight interleaved partial sums, added from
//! the first to the last; the same bits on every machine.

use crate::maths::log2;
use crate::{Mapping, Outcome, Quantized};

/// The distance between two vectors of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// How many elements were compared.
    pub n: usize,
    /// The largest |x - y|.
    pub max_abs: f64,
    /// The mean of |x - y|.
    pub mean_abs: f64,
    /// The mean of (x - y)^2.
    pub mse: f64,
    /// The mean of x^2, the power of the signal.
    pub signal: f64,
    /// The signal-to-quantization-noise ratio in dB. `None` when there is no noise (`mse` is 0: nothing was lost), no signal
    /// (`signal` is 0), or a value that is not finite.
    pub sqnr_db: Option<f64>,
}

/// Compares element by element. Nothing to compare gives zeros with `n` = 0; slices of different lengths, and NaNs, give NaN.
pub fn compare(reference: &[f32], approximation: &[f32]) -> Comparison {
    let n = reference.len().min(approximation.len());
    if reference.len() != approximation.len() {
        let nan = f64::NAN;
        return Comparison {
            n,
            max_abs: nan,
            mean_abs: nan,
            mse: nan,
            signal: nan,
            sqnr_db: None,
        };
    }
    let (mut absolute, mut squared, mut signal) = ([0.0_f64; 8], [0.0_f64; 8], [0.0_f64; 8]);
    let mut largest = [0.0_f64; 8];
    let mut add = |lane: usize, x: f32, y: f32| {
        let x = f64::from(x);
        let difference = (x - f64::from(y)).abs();
        absolute[lane] += difference;
        squared[lane] += difference * difference;
        signal[lane] += x * x;
        // A NaN fails the comparison that keeps the old maximum, and so gets in.
        largest[lane] = if difference <= largest[lane] {
            largest[lane]
        } else {
            difference
        };
    };
    let (x_blocks, x_rest) = reference.as_chunks::<8>();
    let (y_blocks, y_rest) = approximation.as_chunks::<8>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..8 {
            add(lane, x[lane], y[lane]);
        }
    }
    for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
        add(lane, x, y);
    }
    let mean = |sums: [f64; 8]| {
        if n == 0 {
            0.0
        } else {
            sums.iter().sum::<f64>() / n as f64
        }
    };
    let (mean_abs, mse, signal) = (mean(absolute), mean(squared), mean(signal));
    // The sums tell a NaN: a running maximum may have lost one again.
    let max_abs = if mean_abs.is_nan() {
        mean_abs
    } else {
        largest.into_iter().fold(0.0, f64::max)
    };
    Comparison {
        n,
        max_abs,
        mean_abs,
        mse,
        signal,
        sqnr_db: sqnr_db(signal, mse),
    }
}

/// 10 log10(`signal` / `noise`), of powers or of sums of squares; `None` where one of them is 0 or not finite. The same bits on
/// every machine.
pub fn sqnr_db(signal: f64, noise: f64) -> Option<f64> {
    (noise > 0.0 && signal > 0.0 && noise.is_finite() && signal.is_finite())
        .then(|| (log2(signal) - log2(noise)) * 10.0 * std::f64::consts::LOG10_2)
}

/// Bits of storage per value, parameters included. A quantized group costs `bits` a value, 32 for its scale, and for an affine
/// mapping `bits` for its zero point (32 under `linear`, which does not clamp it); a group that was left in float costs 32 a value.
pub fn bits_per_value(quantized: &Quantized) -> f64 {
    let scheme = &quantized.scheme;
    let bits = f64::from(scheme.bits().get());
    let zero_point = match scheme.mapping() {
        Mapping::Affine if scheme.is_linear() => 32.0,
        Mapping::Affine => bits,
        Mapping::Symmetric | Mapping::PowerOfTwo => 0.0,
    };
    let cost = |(group, outcome): (std::ops::Range<usize>, &Outcome)| match outcome {
        Outcome::Quantized { .. } => group.len() as f64 * bits + 32.0 + zero_point,
        Outcome::Float(_) => group.len() as f64 * 32.0,
    };
    let total: f64 = quantized
        .layout
        .groups()
        .zip(&quantized.outcomes)
        .map(cost)
        .sum();
    total / quantized.values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, CodeRange, Granularity, RangeMethod, Rounding, Scheme, Values, quantize};

    #[test]
    fn measures_are_those_of_the_definitions() {
        let x: Vec<f32> = (0..19).map(|i| i as f32).collect();
        let y: Vec<f32> = x
            .iter()
            .enumerate()
            .map(|(i, v)| if i == 18 { v + 2.0 } else { v - 1.0 })
            .collect();
        let c = compare(&x, &y);
        let signal: f64 = x.iter().map(|v| f64::from(v * v)).sum::<f64>() / 19.0;
        assert_eq!(
            (c.n, c.max_abs, c.mean_abs, c.mse, c.signal),
            (19, 2.0, 20.0 / 19.0, 22.0 / 19.0, signal)
        );
        assert!((c.sqnr_db.unwrap() - 10.0 * (signal / c.mse).log10()).abs() < 1e-12);
    }

    #[test]
    fn sqnr_is_absent_without_noise_or_without_signal() {
        let exact = compare(&[1.0, 2.0], &[1.0, 2.0]);
        assert_eq!((exact.sqnr_db, exact.mse), (None, 0.0));
        let silent = compare(&[0.0, 0.0], &[0.0, 1.0]);
        assert_eq!((silent.sqnr_db, silent.signal), (None, 0.0));
        let nothing = compare(&[], &[]);
        assert_eq!((nothing.n, nothing.mse, nothing.sqnr_db), (0, 0.0, None));
    }

    #[test]
    fn a_nan_or_a_missing_element_is_not_averaged_away() {
        for (x, y) in [
            (&[1.0, f32::NAN, 1.0][..], &[1.0; 3][..]),
            (&[1.0, 2.0], &[1.0]),
        ] {
            let c = compare(x, y);
            assert!(
                c.mse.is_nan() && c.max_abs.is_nan() && c.mean_abs.is_nan() && c.sqnr_db.is_none()
            );
        }
    }

    #[test]
    fn storage_counts_scales_zero_points_and_groups_left_in_float() {
        let w = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, -1.0, 0.5];
        let values = Values::new("w", &w, &[2, 4]).unwrap();
        let bits = Bits::new(4).unwrap();
        assert_eq!(
            bits_per_value(&quantize(&values, &Scheme::linear(bits))),
            4.0 + 64.0 / 8.0
        );
        let scheme = |mapping| {
            let (codes, range) = (CodeRange::Narrow, RangeMethod::MinMax);
            Scheme::new(
                bits,
                mapping,
                codes,
                Granularity::Channel,
                range,
                Rounding::HalfEven,
            )
            .unwrap()
        };
        // The first channel is all zero and stays in float.
        let affine = quantize(&values, &scheme(Mapping::Affine));
        assert_eq!(
            bits_per_value(&affine),
            (4.0 * 32.0 + 4.0 * 4.0 + 32.0 + 4.0) / 8.0
        );
        let symmetric = quantize(&values, &scheme(Mapping::Symmetric));
        assert_eq!(
            bits_per_value(&symmetric),
            (4.0 * 32.0 + 4.0 * 4.0 + 32.0) / 8.0
        );
    }
}
