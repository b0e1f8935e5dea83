//! From a range to the grid that spans it: scale and zero point.
//!
//! | mapping | scale | zero point |
//! |---|---|---|
//! | affine | (hi - lo) / (2^b - 1), [lo, hi] widened to contain 0 | clamp(round(-lo / scale), 0, 2^b - 1), half to even |
//! | affine as found (`linear`) | (hi - lo) / (2^b - 1) | round(-lo / scale), half to even |
//! | symmetric narrow | T / (2^(b-1) - 1) | 0 |
//! | symmetric full | T / ((quant_max - quant_min) / 2), as PyTorch's observers; T at 1 bit | 0 |
//! | power of two | the smallest 2^k not below T / quant_max; T at 1 bit, whose quant_max is 0 | 0 |
//! | the last two without a sign (activations that are never negative) | as above, quant_max = 2^b - 1 | 0, the smallest code |
//!
//! At 1 bit the signed codes are -1 and 0: the formulas above would give the scale 2 T, and every value of [-T, T] the code 0.
//!
//! All in float32. A grid whose scale underflows or whose ends overflow is refused with the [`Reason`].

use crate::{Bits, CodeRange, Mapping, QParams, Reason, Scheme};

/// Scale and zero point of an affine range.
pub(crate) fn affine(scheme: &Scheme, lo: f32, hi: f32) -> Result<QParams, Reason> {
    let (quant_min, quant_max) = scheme.quant_bounds();
    let scale = (hi - lo) / quant_max as f32;
    if scale == 0.0 {
        return Err(if lo == hi {
            Reason::Constant
        } else {
            Reason::ScaleUnderflow
        });
    }
    let zero_point = (-lo / scale).round_ties_even();
    let (zero_point, smallest) = if scheme.is_widened() {
        (zero_point.clamp(0.0, quant_max as f32), f32::MIN_POSITIVE)
    } else {
        (zero_point, 0.0)
    };
    if scale.is_finite() && zero_point.abs() >= 2_147_483_648.0 {
        return Err(Reason::ZeroPointOverflow);
    }
    checked(
        QParams {
            scale,
            zero_point: zero_point as i32,
            quant_min,
            quant_max,
        },
        smallest,
    )
}

/// The codes of a grid whose zero point is 0, and how it is stretched over a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Centred {
    pub(crate) quant_min: i32,
    pub(crate) quant_max: i32,
    /// How many steps lie between 0 and the bound of a symmetric range.
    pub(crate) steps_to_bound: f32,
    /// Whether the scale is a power of two.
    pub(crate) is_shift: bool,
}

impl Centred {
    /// The signed codes of a symmetric or power-of-two scheme.
    pub(crate) fn signed(scheme: &Scheme) -> Centred {
        let (quant_min, quant_max) = scheme.quant_bounds();
        Centred {
            quant_min,
            quant_max,
            steps_to_bound: match scheme.codes() {
                CodeRange::Narrow => quant_max as f32,
                CodeRange::Full => ((quant_max - quant_min) as f32 / 2.0).max(1.0),
            },
            is_shift: scheme.mapping() == Mapping::PowerOfTwo,
        }
    }

    /// The codes 0 ..= 2^bits - 1, for values that are never negative.
    pub(crate) fn unsigned(bits: Bits, is_shift: bool) -> Centred {
        Centred {
            quant_min: 0,
            quant_max: bits.steps(),
            steps_to_bound: bits.steps() as f32,
            is_shift,
        }
    }

    /// How many codes there are.
    pub(crate) fn levels(&self) -> usize {
        (self.quant_max - self.quant_min) as usize + 1
    }

    /// The grid over [-bound, bound] (or [0, bound]).
    pub(crate) fn over(&self, bound: f32) -> Result<QParams, Reason> {
        if !self.is_shift {
            return self.with_scale(bound / self.steps_to_bound);
        }
        // Rounded up only once it is known not to be subnormal, which rounding up would hide.
        let exact = bound / (self.quant_max as f32).max(1.0);
        self.with_scale(if exact < f32::MIN_POSITIVE {
            exact
        } else {
            power_of_two_at_least(exact)
        })
    }

    /// The grid of that scale.
    pub(crate) fn with_scale(&self, scale: f32) -> Result<QParams, Reason> {
        checked(
            QParams {
                scale,
                zero_point: 0,
                quant_min: self.quant_min,
                quant_max: self.quant_max,
            },
            f32::MIN_POSITIVE,
        )
    }
}

/// The parameters, if the scale is at least `smallest`, not 0, and every representable number is finite.
fn checked(params: QParams, smallest: f32) -> Result<QParams, Reason> {
    if params.scale == 0.0 || params.scale < smallest {
        Err(Reason::ScaleUnderflow)
    } else if params.scale.is_finite()
        && params.lowest().is_finite()
        && params.highest().is_finite()
    {
        Ok(params)
    } else {
        Err(Reason::ScaleOverflow)
    }
}

/// The smallest power of two that is not below a positive normal `x`; infinity past 2^127.
pub(crate) fn power_of_two_at_least(x: f32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    // Adding the mantissa's mask carries into the exponent unless the mantissa is 0: exact, where log2 would not be.
    f32::from_bits((x.to_bits() + MANTISSA) & !MANTISSA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_two_is_rounded_up_exactly() {
        for (x, up) in [
            (1.0, 1.0),
            (1.0 + f32::EPSILON, 2.0),
            (0.75, 1.0),
            (0.5, 0.5),
            (3.0, 4.0),
        ] {
            assert_eq!(power_of_two_at_least(x), up);
        }
        assert_eq!(power_of_two_at_least(f32::MIN_POSITIVE), f32::MIN_POSITIVE);
        assert_eq!(power_of_two_at_least(f32::MAX), f32::INFINITY);
    }

    #[test]
    fn without_a_sign_every_code_is_on_the_positive_side() {
        let eight = Bits::new(8).unwrap();
        let plain = Centred::unsigned(eight, false).over(51.0).unwrap();
        assert_eq!((plain.scale, plain.zero_point), (51.0 / 255.0, 0));
        assert_eq!((plain.quant_min, plain.quant_max), (0, 255));
        let shift = Centred::unsigned(eight, true);
        assert_eq!(shift.over(255.0).unwrap().scale, 1.0);
        assert_eq!(shift.over(255.1).unwrap().scale, 2.0);
        assert_eq!(shift.levels(), 256);
    }

    #[test]
    fn a_scale_that_float32_cannot_hold_is_refused() {
        for is_shift in [false, true] {
            let grid = Centred::unsigned(Bits::new(8).unwrap(), is_shift);
            assert_eq!(grid.over(1e-40), Err(Reason::ScaleUnderflow));
            assert!(grid.over(f32::MAX / 2.0).is_ok());
        }
        let shift = Centred::unsigned(Bits::MIN, true);
        assert_eq!(shift.over(f32::MAX), Err(Reason::ScaleOverflow));
    }
}
