//! The range of least error, E(range) = sum |x - y|^p with y = fake-quantized x, found by shrinking the range of the values.
//!
//! E has no closed form and many small local minima, so it is searched on a fixed grid: the whole range times k/40 for every
//! k = 1 ..= 40, then steps of 1/320 around the best; an affine range then tries, for its upper and for its lower end alone, k/24 of
//! the whole for every k = 1 ..= 24. A signed range costs at most 54 passes over the group, an affine one 102; a pass ends early
//! when its sum is past the best. A power of two tries 12 halvings of the scale that clips nothing.
//! The search rounds to nearest, whatever the scheme's rounding, so that it is a function of the values alone.
//!
//! The error is the caller's: of the values themselves ([`crate::range::error_sum`]) or of a histogram of them, in units of the scale of
//! the whole range. Ties keep the larger range.

use crate::QParams;

const COARSE: i32 = 40;
const FINE: i32 = 8;
const ONE_SIDE: i32 = 24;
const HALVINGS: i32 = 12;

/// The best affine range inside `lo <= 0 <= hi`, whose parameters are `whole`; `make` gives the parameters of a range. `error` gives
/// the error of parameters, or anything above its second argument once it is known to be past that.
pub(crate) fn search_affine(
    error: impl Fn(&QParams, f64) -> f64,
    (lo, hi): (f32, f32),
    whole: QParams,
    make: impl Fn(f32, f32) -> Option<QParams>,
) -> QParams {
    let mut search = Search::new(error, whole, (lo, hi));
    search.shrink(|factor| (lo * factor, hi * factor), &make);
    // One tail is often longer than the other, so each end gets its own turn.
    if lo < 0.0 && hi > 0.0 {
        let (best_lo, _) = search.best_range;
        for k in 1..=ONE_SIDE {
            search.offer((best_lo, hi * k as f32 / ONE_SIDE as f32), &make);
        }
        let (_, best_hi) = search.best_range;
        for k in 1..=ONE_SIDE {
            search.offer((lo * k as f32 / ONE_SIDE as f32, best_hi), &make);
        }
    }
    search.best
}

/// The best range [-T, T] (or [0, T]) inside `bound`, whose parameters are `whole`.
pub(crate) fn search_centred(
    error: impl Fn(&QParams, f64) -> f64,
    bound: f32,
    whole: QParams,
    make: impl Fn(f32) -> Option<QParams>,
) -> QParams {
    let mut search = Search::new(error, whole, (-bound, bound));
    search.shrink(|factor| (-bound * factor, bound * factor), &|_, bound| {
        make(bound)
    });
    search.best
}

/// The best power of two among `whole`, which clips nothing, and the smaller ones.
pub(crate) fn search_shift(error: impl Fn(&QParams, f64) -> f64, whole: QParams) -> QParams {
    let mut search = Search::new(error, whole, (0.0, 0.0));
    let mut scale = whole.scale / 2.0;
    for _ in 0..HALVINGS {
        if scale < f32::MIN_POSITIVE {
            break;
        }
        search.offer((0.0, 0.0), &|_, _| Some(QParams { scale, ..whole }));
        scale /= 2.0;
    }
    search.best
}

struct Search<E> {
    error: E,
    best: QParams,
    best_range: (f32, f32),
    best_error: f64,
}

impl<E: Fn(&QParams, f64) -> f64> Search<E> {
    fn new(error: E, whole: QParams, range: (f32, f32)) -> Search<E> {
        let best_error = error(&whole, f64::INFINITY);
        Search {
            error,
            best: whole,
            best_range: range,
            best_error,
        }
    }

    /// The coarse grid downwards from the whole range, then the fine one around the best.
    fn shrink(
        &mut self,
        range: impl Fn(f32) -> (f32, f32),
        make: &impl Fn(f32, f32) -> Option<QParams>,
    ) {
        let mut best = COARSE * FINE;
        for k in (1..COARSE).rev() {
            if self.offer(range(k as f32 / COARSE as f32), make) {
                best = k * FINE;
            }
        }
        for fine in (best - FINE + 1..best + FINE).rev() {
            if fine != best && fine < COARSE * FINE {
                self.offer(range(fine as f32 / (COARSE * FINE) as f32), make);
            }
        }
    }

    /// Takes a range if its error is below the best so far; says whether it did.
    fn offer(&mut self, range: (f32, f32), make: &impl Fn(f32, f32) -> Option<QParams>) -> bool {
        let Some(candidate) = make(range.0, range.1) else {
            return false;
        };
        let error = (self.error)(&candidate, self.best_error);
        if error < self.best_error {
            (self.best, self.best_range, self.best_error) = (candidate, range, error);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extremes::extremes;
    use crate::grid::affine;
    use crate::range::error_sum::squared_error;
    use crate::rounding::uniform;
    use crate::{
        Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, Values, compare,
        parameters, quantize,
    };

    fn bell(n: u64) -> Vec<f32> {
        (0..n)
            .map(|i| (0..12).map(|k| uniform(77, 12 * i + k)).sum::<f32>() - 6.0)
            .collect()
    }

    fn scheme(bits: u32, mapping: Mapping, range: RangeMethod) -> Scheme {
        let bits = Bits::new(bits).unwrap();
        Scheme::new(
            bits,
            mapping,
            CodeRange::Narrow,
            Granularity::Tensor,
            range,
            Rounding::HalfEven,
        )
        .unwrap()
    }

    #[test]
    fn the_search_beats_the_whole_range_and_comes_close_to_a_dense_scan() {
        let mut x = bell(4000);
        x.push(12.0);
        let whole = QParams {
            scale: 12.0 / 7.0,
            zero_point: 0,
            quant_min: -7,
            quant_max: 7,
        };
        let dense = (1..=2000)
            .map(|k| {
                squared_error(
                    &x,
                    &QParams {
                        scale: whole.scale * k as f32 / 2000.0,
                        ..whole
                    },
                )
            })
            .fold(f64::INFINITY, f64::min);
        let values = Values::new("w", &x, &[4001]).unwrap();
        let out = quantize(
            &values,
            &scheme(4, Mapping::Symmetric, RangeMethod::Mse { exponent: 2.0 }),
        );
        let found = compare(&x, &out.values).mse * 4001.0;
        assert!(found < 1.01 * dense, "{found} {dense}");
        assert!(found < 0.5 * squared_error(&x, &whole));
    }

    #[test]
    fn an_affine_search_cuts_the_longer_tail_alone() {
        let mut x = bell(4000);
        x.push(20.0);
        let scheme = scheme(4, Mapping::Affine, RangeMethod::Mse { exponent: 2.0 });
        let (lo, hi) = extremes(&x);
        let together = (1..=2000)
            .map(|k| k as f32 / 2000.0)
            .map(|factor| squared_error(&x, &affine(&scheme, lo * factor, hi * factor).unwrap()))
            .fold(f64::INFINITY, f64::min);
        let values = Values::new("w", &x, &[4001]).unwrap();
        let q = parameters(&values, &scheme)[0];
        assert!(squared_error(&x, &q) < 0.9 * together);
        assert!(q.highest() < 12.0 && q.lowest() < -1.5, "{q:?}");
    }

    #[test]
    fn a_larger_exponent_keeps_more_of_the_tails() {
        let x = bell(20_000);
        let values = Values::new("w", &x, &[20_000]).unwrap();
        let scale = |exponent| {
            quantize(
                &values,
                &scheme(3, Mapping::Symmetric, RangeMethod::Mse { exponent }),
            )
            .params[0]
                .scale
        };
        assert!(scale(1.0) < scale(2.0) && scale(2.0) < scale(4.0));
    }

    #[test]
    fn a_power_of_two_search_finds_the_best_exponent() {
        let mut x = bell(4000);
        x.push(40.0);
        let values = Values::new("w", &x, &[4001]).unwrap();
        let found = quantize(
            &values,
            &scheme(4, Mapping::PowerOfTwo, RangeMethod::Mse { exponent: 2.0 }),
        )
        .params[0];
        let best = (-12..4)
            .map(|e| QParams {
                scale: 2f32.powi(e),
                ..found
            })
            .min_by(|a, b| squared_error(&x, a).total_cmp(&squared_error(&x, b)))
            .unwrap();
        assert_eq!(found, best);
    }

    #[test]
    fn tiny_weights_are_searched_as_well_as_large_ones() {
        let x = bell(2000);
        let tiny: Vec<f32> = x.iter().map(|v| v * 2f32.powi(-110)).collect();
        let range = RangeMethod::Mse { exponent: 4.0 };
        let scale = |x: &[f32]| {
            quantize(
                &Values::new("w", x, &[2000]).unwrap(),
                &scheme(4, Mapping::Symmetric, range),
            )
            .params[0]
                .scale
        };
        assert_eq!(scale(&tiny), scale(&x) * 2f32.powi(-110));
    }
}
