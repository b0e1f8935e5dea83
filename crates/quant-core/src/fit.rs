//! From the values of one group to its parameters: the range as its method finds it, then the grid over it ([`crate::grid`]).
//!
//! `power_of_two` with `minmax`: the smallest scale 2^k that clips nothing when rounding to nearest. With `mse`: the 2^k of least error
//! among that one and the smaller ones. With the others: of the two powers of two around the symmetric scale, the one with the smaller
//! squared error on the group; on a tie the larger.
//!
//! A method may find an empty range in a group that is not empty of information (the 90th percentile of |x| when 95 % of the values
//! are 0); then the range is the minimum and the maximum.

use crate::extremes::extremes;
use crate::grid::{Centred, affine, power_of_two_at_least};
use crate::range::error_sum::error_sum;
use crate::range::{entropy, gaussian, mse, percentile};
use crate::{Mapping, QParams, RangeMethod, Reason, Scheme};

/// What a range method says about a range that is known to hold every value.
pub(crate) enum Estimate<T> {
    /// Take the whole of it.
    Whole,
    /// Take this one, cut to the whole: two ends for an affine range, a bound for a centred one.
    Cut(T),
    /// Search inside it for the least sum of |x - y|^exponent.
    Search {
        /// The exponent.
        exponent: f64,
    },
}

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

/// The parameters of `group` over its whole range, the lower end times the first of `factors` and the upper end times the second; of a
/// signed range the bound times the second. None where the group cannot be quantized so. For searches that know another error than
/// that of the values; how the scheme finds ranges plays no part.
pub fn shrunk(group: &[f32], scheme: &Scheme, factors: [f32; 2]) -> Option<QParams> {
    let (min, max) = extremes(group);
    if min == 0.0 && max == 0.0 {
        return None;
    }
    let made = match scheme.mapping() {
        Mapping::Affine => affine(scheme, min.min(0.0) * factors[0], max.max(0.0) * factors[1]),
        Mapping::Symmetric | Mapping::PowerOfTwo => {
            Centred::signed(scheme).over((-min).max(max) * factors[1])
        }
    };
    made.ok()
}

/// An affine group; `lo <= 0 <= hi` are its widened minimum and maximum.
fn fit_affine(group: &[f32], scheme: &Scheme, lo: f32, hi: f32) -> Result<QParams, Reason> {
    let density = |density| gaussian::affine(group, density, scheme.bits());
    let estimate = match scheme.range() {
        RangeMethod::MinMax => Estimate::Whole,
        RangeMethod::Mse { exponent } => Estimate::Search { exponent },
        RangeMethod::Percentile(percent) => Estimate::Cut(percentile::two_sided(group, percent)),
        RangeMethod::Entropy => {
            let levels = scheme.bits().steps() as usize + 1;
            Estimate::Cut(entropy::window(group, lo, hi, levels))
        }
        RangeMethod::Gaussian => Estimate::Cut(density(gaussian::Density::Gaussian)),
        RangeMethod::Laplacian => Estimate::Cut(density(gaussian::Density::Laplacian)),
    };
    settle_affine(scheme, (lo, hi), estimate, |q, unit, exponent, enough| {
        error_sum(group, q, unit, exponent, enough)
    })
}

/// A symmetric or power-of-two group; `bound` is its largest magnitude, above 0.
fn fit_signed(group: &[f32], scheme: &Scheme, bound: f32) -> Result<QParams, Reason> {
    let grid = Centred::signed(scheme);
    let density = |density| gaussian::signed(group, density, scheme) * grid.steps_to_bound;
    let estimate = match scheme.range() {
        RangeMethod::MinMax => Estimate::Whole,
        RangeMethod::Mse { exponent } => Estimate::Search { exponent },
        RangeMethod::Percentile(percent) => Estimate::Cut(percentile::of_magnitude(group, percent)),
        RangeMethod::Entropy => {
            Estimate::Cut(entropy::window(group, -bound, bound, grid.levels()).1)
        }
        RangeMethod::Gaussian => Estimate::Cut(density(gaussian::Density::Gaussian)),
        RangeMethod::Laplacian => Estimate::Cut(density(gaussian::Density::Laplacian)),
    };
    settle_centred(grid, bound, estimate, |q, unit, exponent, enough| {
        error_sum(group, q, unit, exponent, enough)
    })
}

/// The parameters of an affine range inside `lo <= 0 <= hi`, which holds every value. `error` is [`error_sum`] of the values:
/// parameters, unit, exponent, and the sum from which on it need not go on.
pub(crate) fn settle_affine(
    scheme: &Scheme,
    (lo, hi): (f32, f32),
    estimate: Estimate<(f32, f32)>,
    error: impl Fn(&QParams, f32, f64, f64) -> f64,
) -> Result<QParams, Reason> {
    let whole = affine(scheme, lo, hi)?;
    let (new_lo, new_hi) = match estimate {
        Estimate::Whole => return Ok(whole),
        Estimate::Search { exponent } => {
            let error = |q: &QParams, enough| error(q, whole.scale, exponent, enough);
            let make = |lo, hi| affine(scheme, lo, hi).ok();
            return Ok(mse::search_affine(error, (lo, hi), whole, make));
        }
        Estimate::Cut(range) => range,
    };
    // An estimated range never reaches past the values: that would spend codes on nothing.
    let (new_lo, new_hi) = (new_lo.max(lo).min(0.0), new_hi.min(hi).max(0.0));
    if new_lo == new_hi {
        Ok(whole)
    } else {
        affine(scheme, new_lo, new_hi)
    }
}

/// The parameters of a centred range inside `bound`, above 0, which no magnitude exceeds. `error` as in [`settle_affine`].
pub(crate) fn settle_centred(
    grid: Centred,
    bound: f32,
    estimate: Estimate<f32>,
    error: impl Fn(&QParams, f32, f64, f64) -> f64,
) -> Result<QParams, Reason> {
    let whole = grid.over(bound)?;
    let estimate = match estimate {
        Estimate::Whole => return Ok(whole),
        Estimate::Search { exponent } => {
            let error = |q: &QParams, enough| error(q, whole.scale, exponent, enough);
            return Ok(if grid.is_shift {
                mse::search_shift(error, whole)
            } else {
                mse::search_centred(error, bound, whole, |bound| grid.over(bound).ok())
            });
        }
        Estimate::Cut(estimate) => estimate.min(bound),
    };
    if estimate == 0.0 {
        return Ok(whole);
    }
    if !grid.is_shift {
        return grid.over(estimate);
    }
    // The bound is not the one that rounds up here, but the symmetric scale between two powers of two.
    let above = power_of_two_at_least(estimate / grid.steps_to_bound);
    let (above, below) = (grid.with_scale(above)?, grid.with_scale(above / 2.0));
    let squared = |q: &QParams| error(q, above.scale, 2.0, f64::INFINITY);
    match below {
        Ok(below) if squared(&below) < squared(&above) => Ok(below),
        _ => Ok(above),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bits, CodeRange, Granularity, Rounding};

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
    fn one_bit_has_the_codes_minus_one_and_zero() {
        let w = [-2.9_f32, -1.6, -1.0, 0.3, 2.0];
        for (mapping, scale) in [(Mapping::Symmetric, 2.9), (Mapping::PowerOfTwo, 4.0)] {
            for range in [RangeMethod::MinMax, RangeMethod::Mse { exponent: 2.0 }] {
                let params = fit(&w, &scheme(1, mapping, CodeRange::Full, range)).unwrap();
                assert_eq!((params.quant_min, params.quant_max), (-1, 0));
                let codes = w.map(|w| (w / params.scale).round_ties_even().clamp(-1.0, 0.0));
                assert!(
                    codes.contains(&-1.0) && codes.contains(&0.0),
                    "{mapping} {range}"
                );
                if range == RangeMethod::MinMax {
                    assert_eq!(params.scale, scale, "{mapping}");
                }
            }
        }
    }

    #[test]
    fn a_range_that_is_not_shrunk_is_the_whole_one_and_ends_shrink_by_themselves() {
        let w = [-2.0, 0.25, 1.0];
        for mapping in [Mapping::Affine, Mapping::Symmetric, Mapping::PowerOfTwo] {
            let scheme = scheme(4, mapping, CodeRange::Narrow, RangeMethod::MinMax);
            assert_eq!(shrunk(&w, &scheme, [1.0; 2]), fit(&w, &scheme).ok());
            assert_eq!(shrunk(&[0.0; 2], &scheme, [1.0; 2]), None);
        }
        let affine = scheme(4, Mapping::Affine, CodeRange::Narrow, RangeMethod::MinMax);
        let cut = shrunk(&w, &affine, [1.0, 0.25]).unwrap();
        assert_eq!(Ok(cut), fit(&[-2.0, 0.25], &affine));
    }

    #[test]
    fn a_power_of_two_scale_clips_nothing() {
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
