//! From the values of one group to its parameters: the range as its method finds it, then scale and zero point.
//!
//! | mapping | scale | zero point |
//! |---|---|---|
//! | affine | (hi - lo) / (2^b - 1), [lo, hi] widened to contain 0 | clamp(round(-lo / scale), 0, 2^b - 1), half to even |
//! | affine as found (`linear`) | (hi - lo) / (2^b - 1) | round(-lo / scale), half to even |
//! | symmetric narrow | T / (2^(b-1) - 1) | 0 |
//! | symmetric full | T / ((quant_max - quant_min) / 2), as PyTorch's observers | 0 |
//! | power of two | see below | 0 |
//!
//! `power_of_two` with `minmax`: the smallest 2^k that is not below T / quant_max (T / 0.5 at 1 bit, whose quant_max is 0), so that
//! rounding to nearest clips nothing. With `mse`: the 2^k of least error among that one and the smaller ones. With the others: of the
//! two powers of two around the symmetric scale, the one with the smaller squared error on the group; on a tie the larger.
//!
//! A method may find an empty range in a group that is not empty of information (the 90th percentile of |x| when 95 % of the values
//! are 0); then the range is the minimum and the maximum.

use crate::extremes::extremes;
use crate::range::error_sum::squared_error;
use crate::range::{entropy, gaussian, mse, percentile};
use crate::{CodeRange, Mapping, QParams, RangeMethod, Reason, Scheme};

/// The parameters of one group under `scheme`; `group` holds finite values only.
///
/// # Errors
/// The [`Reason`] why the group cannot be quantized.
pub(crate) fn fit(group: &[f32], scheme: &Scheme) -> Result<QParams, Reason> {
    let (min, max) = extremes(group);
    if min == 0.0 && max == 0.0 {
        return Err(Reason::AllZero);
    }
    match scheme.mapping() {
        Mapping::Affine if !scheme.is_widened() => affine(scheme, min, max),
        Mapping::Affine => fit_affine(group, scheme, min.min(0.0), max.max(0.0)),
        Mapping::Symmetric | Mapping::PowerOfTwo => fit_signed(group, scheme, (-min).max(max)),
    }
}

/// An affine group; `lo <= 0 <= hi` are its widened minimum and maximum.
fn fit_affine(group: &[f32], scheme: &Scheme, lo: f32, hi: f32) -> Result<QParams, Reason> {
    let whole = affine(scheme, lo, hi)?;
    let (new_lo, new_hi) = match scheme.range() {
        RangeMethod::MinMax => return Ok(whole),
        RangeMethod::Mse { exponent } => {
            return Ok(mse::search_affine(
                group,
                lo,
                hi,
                whole,
                exponent,
                |lo, hi| affine(scheme, lo, hi).ok(),
            ));
        }
        RangeMethod::Percentile(percent) => percentile::two_sided(group, percent),
        RangeMethod::Entropy => entropy::window(group, lo, hi, scheme.bits().steps() as usize + 1),
        RangeMethod::Gaussian => {
            gaussian::affine(group, gaussian::Density::Gaussian, scheme.bits())
        }
        RangeMethod::Laplacian => {
            gaussian::affine(group, gaussian::Density::Laplacian, scheme.bits())
        }
    };
    // An estimated range never reaches past the values: that would spend codes on nothing.
    let (new_lo, new_hi) = (new_lo.max(lo).min(0.0), new_hi.min(hi).max(0.0));
    if new_lo == new_hi {
        Ok(whole)
    } else {
        affine(scheme, new_lo, new_hi)
    }
}

/// A symmetric or power-of-two group; `bound` is its largest magnitude, above 0.
fn fit_signed(group: &[f32], scheme: &Scheme, bound: f32) -> Result<QParams, Reason> {
    let whole = signed(scheme, bound)?;
    let is_shift = scheme.mapping() == Mapping::PowerOfTwo;
    let estimate = match scheme.range() {
        RangeMethod::MinMax => return Ok(whole),
        RangeMethod::Mse { exponent } if is_shift => {
            return Ok(mse::search_shift(group, whole, exponent));
        }
        RangeMethod::Mse { exponent } => {
            return Ok(mse::search_signed(group, bound, whole, exponent, |bound| {
                signed(scheme, bound).ok()
            }));
        }
        RangeMethod::Percentile(percent) => percentile::of_magnitude(group, percent),
        RangeMethod::Entropy => {
            let (quant_min, quant_max) = scheme.quant_bounds();
            entropy::window(group, -bound, bound, (quant_max - quant_min) as usize + 1).1
        }
        RangeMethod::Gaussian => {
            gaussian::signed(group, gaussian::Density::Gaussian, scheme) * steps_to_bound(scheme)
        }
        RangeMethod::Laplacian => {
            gaussian::signed(group, gaussian::Density::Laplacian, scheme) * steps_to_bound(scheme)
        }
    };
    let estimate = estimate.min(bound);
    if estimate == 0.0 {
        return Ok(whole);
    }
    if !is_shift {
        return signed(scheme, estimate);
    }
    // The bound is not the one that rounds up here, but the symmetric scale between two powers of two.
    let above = power_of_two_at_least(estimate / steps_to_bound(scheme));
    let candidate = |scale| checked(QParams { scale, ..whole }, f32::MIN_POSITIVE);
    let (above, below) = (candidate(above)?, candidate(above / 2.0));
    match below {
        Ok(below) if squared_error(group, &below) < squared_error(group, &above) => Ok(below),
        _ => Ok(above),
    }
}

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

/// Scale of a signed range [-bound, bound].
fn signed(scheme: &Scheme, bound: f32) -> Result<QParams, Reason> {
    let (quant_min, quant_max) = scheme.quant_bounds();
    let scale = match scheme.mapping() {
        // Rounded up only once it is known not to be subnormal, which rounding up would hide.
        Mapping::PowerOfTwo => {
            let exact = bound / (quant_max as f32).max(0.5);
            if exact < f32::MIN_POSITIVE {
                exact
            } else {
                power_of_two_at_least(exact)
            }
        }
        _ => bound / steps_to_bound(scheme),
    };
    checked(
        QParams {
            scale,
            zero_point: 0,
            quant_min,
            quant_max,
        },
        f32::MIN_POSITIVE,
    )
}

/// How many steps lie between 0 and the bound of a symmetric range.
fn steps_to_bound(scheme: &Scheme) -> f32 {
    let (quant_min, quant_max) = scheme.quant_bounds();
    match scheme.codes() {
        CodeRange::Narrow => quant_max as f32,
        CodeRange::Full => (quant_max - quant_min) as f32 / 2.0,
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
fn power_of_two_at_least(x: f32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    // Adding the mantissa's mask carries into the exponent unless the mantissa is 0: exact, where log2 would not be.
    f32::from_bits((x.to_bits() + MANTISSA) & !MANTISSA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, Granularity, Rounding};

    fn scheme(bits: u32, mapping: Mapping, codes: CodeRange, range: RangeMethod) -> Scheme {
        let bits = Bits::new(bits).unwrap();
        Scheme::new(
            bits,
            mapping,
            codes,
            Granularity::Tensor,
            range,
            Rounding::HalfEven,
        )
        .unwrap()
    }

    #[test]
    fn linear_takes_the_range_as_found_and_leaves_the_zero_point_alone() {
        let params = fit(&[10.0, 10.5, 11.5], &Scheme::linear(Bits::new(2).unwrap())).unwrap();
        assert_eq!(
            params,
            QParams {
                scale: 0.5,
                zero_point: -20,
                quant_min: 0,
                quant_max: 3
            }
        );
        let params = fit(&[-11.5, -10.0], &Scheme::linear(Bits::new(2).unwrap())).unwrap();
        assert_eq!(params.zero_point, 23);
    }

    #[test]
    fn an_ordinary_affine_range_contains_zero() {
        let affine = scheme(2, Mapping::Affine, CodeRange::Narrow, RangeMethod::MinMax);
        assert_eq!(
            fit(&[1.5, 3.0], &affine).unwrap(),
            QParams {
                scale: 1.0,
                zero_point: 0,
                quant_min: 0,
                quant_max: 3
            }
        );
        assert_eq!(fit(&[-3.0, -1.5], &affine).unwrap().zero_point, 3);
    }

    #[test]
    fn symmetric_scales_are_those_of_the_reference_and_of_pytorch_observers() {
        let w = [-2.0, 1.0];
        let narrow = scheme(
            8,
            Mapping::Symmetric,
            CodeRange::Narrow,
            RangeMethod::MinMax,
        );
        assert_eq!(fit(&w, &narrow).unwrap().scale, 2.0 / 127.0);
        let full = scheme(8, Mapping::Symmetric, CodeRange::Full, RangeMethod::MinMax);
        assert_eq!(fit(&w, &full).unwrap().scale, 2.0 / 127.5);
    }

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
        let shift = scheme(
            4,
            Mapping::PowerOfTwo,
            CodeRange::Narrow,
            RangeMethod::MinMax,
        );
        assert_eq!(fit(&[-7.0, 2.0], &shift).unwrap().scale, 1.0);
        assert_eq!(fit(&[-7.1, 2.0], &shift).unwrap().scale, 2.0);
    }
}
