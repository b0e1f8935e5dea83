//! The error of a group under given parameters, in units of the step: sum |x/s - q|^p over the group, rounding to nearest.
//!
//! Each term is a float32, for the sake of vectors, and good to 1e-6 where p is not 1 or 2; the sums are float64, eight of them
//! interleaved, in a fixed order.

use crate::QParams;
use crate::kernel::nearest;
use crate::maths::power_f32;

/// sum (x - y)^2 under `q`, rounding to nearest.
pub(crate) fn squared_error(group: &[f32], q: &QParams) -> f64 {
    let scale = f64::from(q.scale);
    step_error(group, q, 2.0, f64::INFINITY) * scale * scale
}

/// sum |x/s - q|^p, or something above `enough` once the sum is past it.
pub(crate) fn step_error(group: &[f32], q: &QParams, exponent: f64, enough: f64) -> f64 {
    // The two exponents that people use have a loop of their own; a power costs ten times a multiplication.
    if exponent == 2.0 {
        sum_of_errors(group, q, enough, |d| d * d)
    } else if exponent == 1.0 {
        sum_of_errors(group, q, enough, |d| d)
    } else {
        let exponent = exponent as f32;
        sum_of_errors(group, q, enough, |d| power_f32(d, exponent))
    }
}

#[inline]
fn sum_of_errors(group: &[f32], q: &QParams, enough: f64, measure: impl Fn(f32) -> f32) -> f64 {
    let (low, high) = (
        (q.quant_min - q.zero_point) as f32,
        (q.quant_max - q.zero_point) as f32,
    );
    let error = |x: f32| {
        let v = x / q.scale;
        let inside = if v < low { low } else { v };
        let inside = if inside > high { high } else { inside };
        measure((v - nearest(inside)).abs())
    };
    let mut lanes = [0.0_f64; 8];
    for block in group.chunks(4096) {
        let (eights, rest) = block.as_chunks::<8>();
        for eight in eights {
            let errors: [f32; 8] = std::array::from_fn(|lane| error(eight[lane]));
            for lane in 0..8 {
                lanes[lane] += f64::from(errors[lane]);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(error(x));
        }
        if lanes.iter().sum::<f64>() > enough {
            break;
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rounding;
    use crate::rounding::uniform;

    fn bell(n: u64) -> Vec<f32> {
        (0..n)
            .map(|i| (0..12).map(|k| uniform(77, 12 * i + k)).sum::<f32>() - 6.0)
            .collect()
    }

    #[test]
    fn the_sum_is_the_error_of_the_reference() {
        let x = bell(1003);
        let q = QParams {
            scale: 0.21,
            zero_point: 6,
            quant_min: 0,
            quant_max: 15,
        };
        for p in [1.0, 2.0, 2.4] {
            let expected: f64 = x
                .iter()
                .map(|&x| {
                    f64::from((x - q.fake_quant(x, Rounding::HalfEven, 0)).abs() / q.scale).powf(p)
                })
                .sum();
            assert!((step_error(&x, &q, p, f64::INFINITY) / expected - 1.0).abs() < 1e-5);
        }
        assert!(
            (squared_error(&x, &q) / (0.21 * 0.21 * step_error(&x, &q, 2.0, 1e9)) - 1.0).abs()
                < 1e-6
        );
    }
}
