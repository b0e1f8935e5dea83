//! The error of a group under given parameters, sum |(x - y) / unit|^p with y = fake-quantized x, rounding to nearest.
//!
//! The unit, some scale of the caller's, keeps the powers of tiny and of huge weights inside float32. y is the y of equation (2), rounded
//! as float32 rounds it, so that what is summed is the error that the network will see. Each term is a float32, for the sake of vectors,
//! and good to 1e-6 where p is not 1 or 2; the sums are float64, eight of them interleaved, in a fixed order.

use crate::QParams;
use crate::kernel::nearest;
use crate::maths::power_f32;

/// sum (x - y)^2 under `q`, rounding to nearest.
#[cfg(test)]
pub(crate) fn squared_error(group: &[f32], q: &QParams) -> f64 {
    let scale = f64::from(q.scale);
    error_sum(group, q, q.scale, 2.0, f64::INFINITY) * scale * scale
}

/// sum |(x - y) / unit|^exponent, or something above `enough` once the sum is past it.
pub(crate) fn error_sum(group: &[f32], q: &QParams, unit: f32, exponent: f64, enough: f64) -> f64 {
    // The two exponents that people use have a loop of their own; a power costs ten times a multiplication.
    if exponent == 2.0 {
        sum_of_terms(group, q, unit, enough, |d| d * d)
    } else if exponent == 1.0 {
        sum_of_terms(group, q, unit, enough, |d| d)
    } else {
        let exponent = exponent as f32;
        sum_of_terms(group, q, unit, enough, |d| power_f32(d, exponent))
    }
}

#[inline]
fn sum_of_terms(
    group: &[f32],
    q: &QParams,
    unit: f32,
    enough: f64,
    measure: impl Fn(f32) -> f32,
) -> f64 {
    let low = (q.quant_min - q.zero_point) as f32;
    let high = (q.quant_max - q.zero_point) as f32;
    let per_unit = 1.0 / unit;
    let error = |x: f32| {
        let v = x / q.scale;
        let v = if v < low { low } else { v };
        let v = if v > high { high } else { v };
        measure((x - q.scale * nearest(v)).abs() * per_unit)
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
        for (bits, scale) in [(4, 0.21), (16, 0.000_13)] {
            let top = (1 << bits) - 1;
            let q = QParams {
                scale,
                zero_point: top / 2,
                quant_min: 0,
                quant_max: top,
            };
            for p in [1.0, 2.0, 2.4] {
                let expected: f64 = x
                    .iter()
                    .map(|&x| {
                        f64::from((x - q.fake_quant(x, Rounding::HalfEven, 0)).abs() / 0.3).powf(p)
                    })
                    .sum();
                let found = error_sum(&x, &q, 0.3, p, f64::INFINITY);
                assert!(
                    (found / expected - 1.0).abs() < 3e-6,
                    "{bits} {p}: {found} {expected}"
                );
            }
            let in_units = error_sum(&x, &q, 0.3, 2.0, f64::INFINITY);
            assert!((squared_error(&x, &q) / (in_units * 0.09) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_sum_that_is_past_enough_may_stop_but_never_looks_smaller() {
        let x = bell(50_000);
        let q = QParams {
            scale: 0.21,
            zero_point: 6,
            quant_min: 0,
            quant_max: 15,
        };
        let whole = error_sum(&x, &q, 1.0, 2.0, f64::INFINITY);
        let stopped = error_sum(&x, &q, 1.0, 2.0, whole / 3.0);
        assert!(stopped > whole / 3.0 && stopped < whole);
        assert_eq!(error_sum(&x, &q, 1.0, 2.0, whole), whole);
    }
}
