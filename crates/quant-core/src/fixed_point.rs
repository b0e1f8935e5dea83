//! Multiplying an integer by a real number in integers: how a sum of products becomes a code.
//!
//! ```text
//! M = mantissa * 2^-shift        mantissa an integer below 2^31        (3)
//! q = round(sum * mantissa * 2^-shift)                                 (4)
//! ```
//!
//! Jacob et al. 2018, section 2.2: M is known beforehand, so a chip multiplies by the mantissa and shifts. Equation (4) rounds
//! once, by one of three rules ([`FixedPoint::multiply`]). gemmlowp and TensorFlow Lite round twice, in the high half of the
//! doubled product and in the shift ([`FixedPoint::multiply_gemmlowp`]).
//!
//! [`FixedPoint::exact`] cuts the mantissa of a very small M so that `sum * mantissa` needs at most 53 bits wherever the result
//! is below 2^9, that is wherever an 8-bit code is not clamped: float64 then computes equation (4) without error too.

use crate::Rounding;

/// A positive number in the form of equation (3), or zero in place of one that is too small for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    mantissa: i32,
    shift: i32,
}

/// Bits of a result that is not clamped: codes and their zero points are below 2^9 in magnitude.
const RESULT_BITS: i32 = 9;
/// Bits that a float64 holds exactly.
const EXACT_BITS: i32 = f64::MANTISSA_DIGITS as i32;
/// Bits of a whole mantissa.
const MANTISSA_BITS: i32 = 31;

impl FixedPoint {
    /// Times any sum of 32 bits less than one.
    const ZERO: Self = Self {
        mantissa: 0,
        shift: 0,
    };

    /// `value` with a mantissa of 31 bits, half away from zero, as TensorFlow Lite's `QuantizeMultiplier`: below 2^-31, where
    /// only the multipliers of channels lie whose weights are all but zero, it is zero. None unless `value` is positive and
    /// below 2^30.
    pub fn new(value: f64) -> Option<Self> {
        Self::formed(value, |exponent| {
            Self::with_bits(value, exponent, MANTISSA_BITS)
        })
    }

    /// As [`FixedPoint::new`], with fewer bits where equation (4) would not be exact in float64: `44 - k` bits for
    /// `2^-(k+1) <= value < 2^-k`, at least 14.
    pub fn exact(value: f64) -> Option<Self> {
        Self::formed(value, |exponent| {
            let bits = MANTISSA_BITS.min(EXACT_BITS - RESULT_BITS + exponent);
            Self::with_bits(value, exponent, bits)
        })
    }

    /// The power of two nearest to `value` on a logarithmic scale.
    pub fn power_of_two(value: f64) -> Option<Self> {
        Self::formed(value, |_| {
            let power = value.log2().round() as i32;
            Self {
                mantissa: 1 << power.max(0),
                shift: (-power).max(0),
            }
        })
    }

    /// What `form` makes of a value's [`exponent`]; zero for one that is too small.
    fn formed(value: f64, form: impl FnOnce(i32) -> Self) -> Option<Self> {
        if value > 0.0 && value < 2f64.powi(-MANTISSA_BITS) {
            return Some(Self::ZERO);
        }
        exponent(value).map(form)
    }

    fn with_bits(value: f64, exponent: i32, bits: i32) -> Self {
        // In [2^(bits-1), 2^bits], because value is in [2^(exponent-1), 2^exponent).
        let mantissa = (value * 2f64.powi(bits - exponent)).round() as i64;
        let shift = bits - exponent;
        match i32::try_from(mantissa) {
            Ok(mantissa) => Self { mantissa, shift },
            Err(_) => Self {
                mantissa: (mantissa / 2) as i32,
                shift: shift - 1,
            },
        }
    }

    /// M itself; exact.
    pub fn value(self) -> f64 {
        f64::from(self.mantissa) * 2f64.powi(-self.shift)
    }

    /// The integer that M is a multiple of `2^-shift` by.
    pub fn mantissa(self) -> i32 {
        self.mantissa
    }

    /// Places that the product is shifted to the right; negative: to the left.
    pub fn shift(self) -> i32 {
        self.shift
    }

    /// Equation (4) in 64-bit integers, for `|sum| < 2^31`. `stochastic` has no meaning here and rounds half to even.
    pub fn multiply(self, sum: i64, rounding: Rounding) -> i64 {
        shift_right(sum * i64::from(self.mantissa), self.shift, rounding)
    }

    /// gemmlowp's two roundings, as TensorFlow Lite's `MultiplyByQuantizedMultiplier`: the high half of the doubled product,
    /// half away from zero, then a shift that rounds half away from zero. For mantissas of 31 bits.
    pub fn multiply_gemmlowp(self, sum: i32) -> i32 {
        let exponent = MANTISSA_BITS - self.shift;
        let left = exponent.clamp(0, MANTISSA_BITS) as u32;
        let raised = (i64::from(sum) << left).clamp(i32::MIN.into(), i32::MAX.into());
        let high = doubling_high_multiply(raised as i32, self.mantissa);
        rounding_shift(high, (-exponent).max(0) as u32)
    }
}

/// `e` with `2^(e-1) <= value < 2^e`, where equation (3) can hold it.
fn exponent(value: f64) -> Option<i32> {
    (value.is_normal() && value > 0.0)
        .then(|| value.log2().floor() as i32 + 1)
        .map(|guess| {
            // The logarithm may be off by a rounding next to a power of two.
            match value {
                v if v >= 2f64.powi(guess) => guess + 1,
                v if v < 2f64.powi(guess - 1) => guess - 1,
                _ => guess,
            }
        })
        .filter(|exponent| (-30..=30).contains(exponent))
}

/// `product * 2^-shift`, rounded.
fn shift_right(product: i64, shift: i32, rounding: Rounding) -> i64 {
    if shift <= 0 {
        return product << -shift;
    }
    if shift > 62 {
        // Less than half of one.
        return if rounding == Rounding::Floor && product < 0 {
            -1
        } else {
            0
        };
    }
    let floor = product >> shift;
    let rest = product - (floor << shift);
    let half = 1i64 << (shift - 1);
    let up = match rounding {
        Rounding::Floor => false,
        Rounding::HalfAway => rest > half || (rest == half && product > 0),
        Rounding::HalfEven | Rounding::Stochastic { .. } => {
            rest > half || (rest == half && floor & 1 == 1)
        }
    };
    floor + i64::from(up)
}

/// gemmlowp's `SaturatingRoundingDoublingHighMul` for a positive `b`: no pair of those saturates.
fn doubling_high_multiply(a: i32, b: i32) -> i32 {
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    // Division truncates, a shift would not.
    ((product + nudge) / (1 << 31)) as i32
}

/// gemmlowp's `RoundingDivideByPOT`: half away from zero.
fn rounding_shift(x: i32, exponent: u32) -> i32 {
    if exponent > 31 {
        return 0;
    }
    let x = i64::from(x);
    let mask = (1i64 << exponent) - 1;
    let threshold = (mask >> 1) + i64::from(x < 0);
    ((x >> exponent) + i64::from(x & mask > threshold)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: [Rounding; 3] = [Rounding::HalfEven, Rounding::HalfAway, Rounding::Floor];

    fn in_floats(sum: i64, m: f64, rounding: Rounding) -> f64 {
        let y = sum as f64 * m;
        match rounding {
            Rounding::HalfEven => y.round_ties_even(),
            Rounding::HalfAway => y.round(),
            _ => y.floor(),
        }
    }

    #[test]
    fn ties_go_where_the_rule_says() {
        let half = FixedPoint::new(0.5).unwrap();
        let all = |rounding| [-3, -1, 1, 3, 5].map(|sum| half.multiply(sum, rounding));
        assert_eq!(all(Rounding::HalfEven), [-2, 0, 0, 2, 2]);
        assert_eq!(all(Rounding::HalfAway), [-2, -1, 1, 2, 3]);
        assert_eq!(all(Rounding::Floor), [-2, -1, 0, 1, 2]);
        assert_eq!(
            [-3, -1, 1, 3, 5].map(|sum| half.multiply_gemmlowp(sum)),
            [-1, 0, 1, 2, 3]
        );
    }

    #[test]
    fn gemmlowp_rounds_twice() {
        // 2^-3 as mantissa 2^30 and exponent -2: 11 -> high half 5.5 -> 6 -> 6 / 4 = 1.5 -> 2, while 11 / 8 = 1.375 -> 1.
        let eighth = FixedPoint::new(0.125).unwrap();
        assert_eq!(eighth.mantissa(), 1 << 30);
        assert_eq!(eighth.multiply_gemmlowp(11), 2);
        assert_eq!(eighth.multiply(11, Rounding::HalfAway), 1);
    }

    #[test]
    fn what_has_no_form_is_refused() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 2f64.powi(31)] {
            assert!(FixedPoint::new(value).is_none(), "{value}");
            assert!(FixedPoint::exact(value).is_none(), "{value}");
            assert!(FixedPoint::power_of_two(value).is_none(), "{value}");
        }
    }

    #[test]
    fn what_makes_less_than_one_of_every_sum_is_zero() {
        for value in [1e-300, 1e-12, 2f64.powi(-31) * 0.999] {
            for form in [
                FixedPoint::new(value),
                FixedPoint::exact(value),
                FixedPoint::power_of_two(value),
            ] {
                let form = form.unwrap();
                assert_eq!(form.value(), 0.0);
                assert_eq!(form.multiply_gemmlowp(i32::MAX), 0);
                for rounding in RULES {
                    assert_eq!(form.multiply(-i64::from(i32::MAX), rounding), 0);
                }
            }
        }
        assert!(FixedPoint::new(2f64.powi(-31)).unwrap().value() > 0.0);
    }

    #[test]
    fn a_mantissa_that_rounds_up_to_2_to_the_31_is_halved() {
        let almost = FixedPoint::new(1.0 - 2f64.powi(-40)).unwrap();
        assert_eq!((almost.mantissa(), almost.shift()), (1 << 30, 30));
        assert_eq!(almost.value(), 1.0);
    }

    #[test]
    fn the_nearest_power_of_two_is_nearest_in_the_logarithm() {
        for (value, power) in [(0.26, 0.25), (0.35, 0.25), (0.36, 0.5), (3.0, 4.0)] {
            assert_eq!(FixedPoint::power_of_two(value).unwrap().value(), power);
        }
    }

    proptest! {
        #[test]
        fn the_value_is_within_half_a_unit_of_the_mantissa(value in 1e-9f64..1e6) {
            let error = (FixedPoint::new(value).unwrap().value() - value).abs();
            prop_assert!(error <= value * 2f64.powi(-31));
            if value >= 2f64.powi(-13) {
                prop_assert_eq!(FixedPoint::exact(value), FixedPoint::new(value));
            }
        }

        #[test]
        fn float64_computes_the_exact_form_without_error(
            value in (-29.0f64..2.0).prop_map(f64::exp2),
            sum in -(1i64 << 31) + 1..1i64 << 31,
        ) {
            let m = FixedPoint::exact(value).unwrap();
            for rounding in RULES {
                let floats = in_floats(sum, m.value(), rounding);
                let integers = m.multiply(sum, rounding);
                if integers.abs() < 1 << 9 {
                    prop_assert_eq!(integers as f64, floats);
                } else {
                    // Clamped either way.
                    prop_assert!(floats.abs() >= 512.0);
                }
            }
        }

        #[test]
        fn gemmlowp_is_within_one_of_the_rounded_product(
            value in 1e-6f64..1.0,
            sum in -(1i32 << 30)..1i32 << 30,
        ) {
            let m = FixedPoint::new(value).unwrap();
            let exact = f64::from(sum) * m.value();
            prop_assert!((f64::from(m.multiply_gemmlowp(sum)) - exact).abs() <= 1.0);
        }

        #[test]
        fn a_rounding_shift_rounds_half_away_from_zero(x in any::<i32>(), exponent in 0u32..31) {
            let exact = f64::from(x) / f64::from(1u32 << exponent);
            prop_assert_eq!(f64::from(rounding_shift(x, exponent)), exact.round());
        }
    }
}
