//! The error of a grid, integrated: what the values of a histogram bin lose, if they are spread evenly over it.
//!
//! With u = x / scale, codes c from `low` = quant_min - zero_point to `high` = quant_max - zero_point and rounding to nearest,
//!
//! ```text
//! e(u) = |u - c(u)|^p     c(u) = clamp(round(u), low, high)
//! F(u) = int_0^u e = c 2 (1/2)^(p+1) / (p+1) + sign(u - c) |u - c|^(p+1) / (p+1)
//! mean error of the bin [a, b] = (F(b) - F(a)) / (b - a)
//! ```
//!
//! exactly, whether a bin is a small part of a step (8 bits and less) or holds many steps (13 bits and more).

use crate::QParams;
use crate::maths::power;

/// F and e of one grid, in units of its scale.
pub(super) struct ErrorIntegral {
    low: f64,
    high: f64,
    per_step: f64,
    exponent: f64,
    /// The integral over one whole cell.
    cell: f64,
}

impl ErrorIntegral {
    pub(super) fn new(q: &QParams, exponent: f64) -> ErrorIntegral {
        ErrorIntegral {
            low: f64::from(q.quant_min) - f64::from(q.zero_point),
            high: f64::from(q.quant_max) - f64::from(q.zero_point),
            per_step: 1.0 / f64::from(q.scale),
            exponent,
            cell: 2.0 * power(0.5, exponent + 1.0) / (exponent + 1.0),
        }
    }

    /// F at x.
    pub(super) fn at(&self, x: f64) -> f64 {
        let (code, offset) = self.nearest(x);
        let distance = offset.abs();
        // The two exponents that people use, without logarithms.
        let tail = if self.exponent == 2.0 {
            distance * distance * distance / 3.0
        } else if self.exponent == 1.0 {
            distance * distance / 2.0
        } else {
            power(distance, self.exponent + 1.0) / (self.exponent + 1.0)
        };
        code * self.cell + tail.copysign(offset)
    }

    /// The mean error over `low ..= high`, of which F is known; the error at `low` where both are the same.
    pub(super) fn mean(&self, (low, f_low): (f64, f64), (high, f_high): (f64, f64)) -> f64 {
        let width = (high - low) * self.per_step;
        if width > 0.0 {
            (f_high - f_low) / width
        } else {
            power(self.nearest(low).1.abs(), self.exponent)
        }
    }

    /// The code less the zero point, and how far x lies from it in steps.
    fn nearest(&self, x: f64) -> (f64, f64) {
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let u = x * self.per_step;
        // 1.5 * 2^52 rounds half to even; clamped first, so that u is small enough for that.
        let code = (u.clamp(self.low, self.high) + MAGIC) - MAGIC;
        (code, u - code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_many_values_in_the_bin() {
        let q = QParams {
            scale: 0.3,
            zero_point: 2,
            quant_min: 0,
            quant_max: 7,
        };
        for exponent in [1.0, 2.0, 2.4, 4.0] {
            let error = ErrorIntegral::new(&q, exponent);
            for (low, high) in [
                (-3.0, -2.5),
                (-0.7, -0.1),
                (0.0, 0.05),
                (0.1, 1.4),
                (1.3, 9.0),
            ] {
                let n = 200_000;
                let expected: f64 = (0..n)
                    .map(|i| low + (high - low) * (f64::from(i) + 0.5) / f64::from(n))
                    .map(|x| {
                        let u = x / f64::from(q.scale);
                        (u - u.round_ties_even().clamp(-2.0, 5.0))
                            .abs()
                            .powf(exponent)
                    })
                    .sum::<f64>()
                    / f64::from(n);
                let found = error.mean((low, error.at(low)), (high, error.at(high)));
                assert!(
                    (found / expected - 1.0).abs() < 1e-6,
                    "{low} {found} {expected}"
                );
            }
            let at = error.mean((0.45, error.at(0.45)), (0.45, error.at(0.45)));
            assert!((at - (0.45 / f64::from(q.scale) - 2.0).abs().powf(exponent)).abs() < 1e-6);
        }
    }
}
