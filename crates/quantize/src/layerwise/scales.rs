//! Scales by what they do to a layer's outputs: the range whose nearest codes q lose least,
//!
//! ```text
//! sum over rows (q - w*)' A (q - w*)    [+ ((q - w*) m~)^2 where the bias does not take the mean]          (1)
//! ```
//!
//! A, w* and m~ as in `problem.rs`. Searched as the range of least squared error of the weights themselves is: both ends of the whole
//! range times k/20, then steps of 1/80 around the best, then, of an affine range, one end alone times k/12. All scales of a tensor are
//! tried at once, so that one product with A serves them all. Of several scales in a row each is tried by itself, as if the others
//! lost nothing. On a tie the larger range stays.

use std::ops::Range;

use engine::{product, transposed};
use quant_core::{
    Layout, Mapping, QParams, Quantized, Rounding, Scheme, Values, quantize, quantize_by, shrunk,
};
use rayon::prelude::*;

use super::problem::Problem;

const COARSE: i32 = 20;
const FINE: i32 = 4;
const ONE_SIDE: i32 = 12;

/// What a layer's first codes are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scales {
    /// Those of the scheme.
    Own,
    /// Equation (1), with the means or without.
    LeastError { is_centred: bool },
}

impl Scales {
    /// `values`, `[outputs][taps]`, at their nearest codes. What is lost is measured from the best weights of `problems`.
    pub fn start(self, values: &Values, scheme: &Scheme, problems: &[Problem]) -> Quantized {
        let own = quantize(values, scheme);
        match self {
            Self::Own => own,
            Self::LeastError { is_centred } => {
                let params = search(values, scheme, (problems, is_centred));
                let made = quantize_by(values, scheme, &params);
                // A group that stays in float does so for its own reason.
                let outcomes = made.outcomes.iter().zip(own.outcomes);
                let outcomes =
                    outcomes.zip(&params).map(
                        |((new, own), params)| {
                            if params.is_float() { own } else { *new }
                        },
                    );
                Quantized {
                    outcomes: outcomes.collect(),
                    ..made
                }
            }
        }
    }
}

/// The best so far of what shares a scale.
struct Best {
    range: Range<usize>,
    /// Of the ends; and where they were when the present steps began.
    factors: [f32; 2],
    from: [f32; 2],
    params: Option<QParams>,
    error: f64,
}

/// The parameters of each group of `values`; a scale of 0 where it stays in float.
fn search(values: &Values, scheme: &Scheme, of: (&[Problem], bool)) -> Vec<QParams> {
    let layout = Layout::new(values.shape(), scheme.granularity());
    let best = |range| Best {
        range,
        factors: [1.0; 2],
        from: [1.0; 2],
        params: None,
        error: f64::INFINITY,
    };
    let mut all: Vec<Best> = layout.groups().map(best).collect();
    let offer = |all: &mut [Best], factors: &(dyn Fn(&Best) -> [f32; 2] + Sync)| {
        let params = all.par_iter().map(|best| {
            let factors = factors(best);
            (
                factors,
                shrunk(&values.data()[best.range.clone()], scheme, factors),
            )
        });
        let params: Vec<([f32; 2], Option<QParams>)> = params.collect();
        let lost = lost(values, all, &params, of.0);
        let errors = errors(&lost, layout, of);
        for ((best, (factors, params)), error) in all.iter_mut().zip(params).zip(errors) {
            if params.is_some() && error < best.error {
                (best.factors, best.params, best.error) = (factors, params, error);
            }
        }
    };
    for k in (1..=COARSE).rev() {
        offer(&mut all, &|_| [k as f32 / COARSE as f32; 2]);
    }
    all.iter_mut().for_each(|best| best.from = best.factors);
    for step in (1 - FINE..FINE).rev().filter(|&step| step != 0) {
        let by = step as f32 / (COARSE * FINE) as f32;
        offer(&mut all, &|best| {
            best.from.map(|factor| (factor + by).min(1.0))
        });
    }
    if scheme.mapping() == Mapping::Affine {
        for end in [1, 0] {
            all.iter_mut().for_each(|best| best.from = best.factors);
            for k in (1..=ONE_SIDE).rev() {
                offer(&mut all, &|best| {
                    let mut factors = best.from;
                    factors[end] = k as f32 / ONE_SIDE as f32;
                    factors
                });
            }
        }
    }
    let (quant_min, quant_max) = scheme.quant_bounds();
    let in_float = QParams {
        scale: 0.0,
        zero_point: 0,
        quant_min,
        quant_max,
    };
    let params = all.iter().map(|best| best.params.unwrap_or(in_float));
    params.collect()
}

/// q - w* with the nearest codes under `params`, which stay what they are where there are none.
fn lost(
    values: &Values,
    all: &[Best],
    params: &[([f32; 2], Option<QParams>)],
    problems: &[Problem],
) -> Vec<f32> {
    let mut lost: Vec<f32> = values.data().to_vec();
    for (best, (_, params)) in all.iter().zip(params) {
        if let Some(params) = params {
            let group = lost[best.range.clone()].par_iter_mut();
            group
                .with_min_len(1 << 12)
                .for_each(|w| *w = params.fake_quant(*w, Rounding::HalfEven, 0));
        }
    }
    let target = problems.iter().flat_map(|problem| &problem.best);
    let pairs = lost.iter_mut().zip(target);
    pairs.for_each(|(lost, &w)| *lost -= w as f32);
    lost
}

/// Equation (1) for each group of `layout`.
fn errors(lost: &[f32], layout: Layout, (problems, is_centred): (&[Problem], bool)) -> Vec<f64> {
    let taps = problems[0].taps;
    let outputs = lost.len() / taps / problems.len();
    let mean = |problem: &Problem, lost: &[f32], from: usize| match is_centred {
        true => 0.0,
        false => {
            let pairs = lost.iter().zip(&problem.means.0[from..]);
            pairs
                .map(|(&lost, m)| f64::from(lost) * m)
                .sum::<f64>()
                .powi(2)
        }
    };
    if layout.groups_per_channel() > 1 {
        let groups: Vec<Range<usize>> = layout.groups().collect();
        let of_group = |range: &Range<usize>| {
            let (row, from) = (range.start / taps, range.start % taps);
            let (problem, lost) = (&problems[row / outputs], &lost[range.clone()]);
            let lines = problem.a.chunks_exact(taps).skip(from).zip(lost);
            let square = lines.map(|(line, &lost_here)| {
                let pairs = line[from..].iter().zip(lost);
                f64::from(lost_here)
                    * pairs
                        .map(|(&a, &l)| f64::from(a) * f64::from(l))
                        .sum::<f64>()
            });
            square.sum::<f64>() + mean(problem, lost, from)
        };
        return groups.par_iter().map(of_group).collect();
    }
    let of_rows = problems.par_iter().zip(lost.par_chunks(outputs * taps));
    let rows: Vec<f64> = of_rows
        .flat_map_iter(|(problem, lost)| {
            let columns = transposed(lost, [outputs, taps]);
            let sums = product(&problem.a, &columns, [taps, taps, outputs]);
            let sums = transposed(&sums, [taps, outputs]);
            let rows = lost.chunks_exact(taps).zip(sums.chunks_exact(taps));
            let errors = rows.map(|(lost, sums)| {
                let pairs = lost.iter().zip(sums);
                let square: f64 = pairs.map(|(&l, &s)| f64::from(l) * f64::from(s)).sum();
                square + mean(problem, lost, 0)
            });
            errors.collect::<Vec<f64>>()
        })
        .collect();
    match layout.group_count() == rows.len() {
        true => rows,
        false => vec![rows.iter().sum()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layerwise::patches::Geometry;
    use crate::layerwise::problem::sums;
    use engine::{Shape, Window};
    use quant_core::{Bits, CodeRange, Granularity, RangeMethod, uniform};

    /// Two groups of three outputs, 18 weights each.
    fn problems(w: &[f32]) -> Vec<Problem> {
        let from = Shape::new(4, 5, 5);
        let geometry = Geometry {
            from,
            to: Shape::new(6, 5, 5),
            window: Window::square(3, 1, 1),
            groups: 2,
        };
        let values = |seed, count: usize| (0..count).map(move |i| uniform(seed, i as u64));
        let x: Vec<f32> = values(1, 4 * from.len()).collect();
        let y: Vec<f32> = values(2, 4 * 150).collect();
        let points = geometry.points(4, 0, 0);
        let of_group = |group: usize| {
            let sums = sums(&geometry, group, &points, (&x, &y));
            Problem::new(sums, &w[group * 54..][..54], (0.01, false), false).unwrap()
        };
        (0..2).map(of_group).collect()
    }

    fn weights() -> Vec<f32> {
        let weight = |i| (uniform(3, i) - 0.4) * (1.0 + 3.0 * uniform(4, i).powi(8));
        (0..108).map(weight).collect()
    }

    fn scheme(granularity: Granularity, mapping: Mapping) -> Scheme {
        let (bits, codes) = (Bits::new(3).unwrap(), CodeRange::Narrow);
        let range = RangeMethod::MinMax;
        Scheme::new(bits, mapping, codes, granularity, range, Rounding::HalfEven).unwrap()
    }

    /// Equation (1) by the letter, for what a group of weights has lost.
    fn plain(lost: &[f32], range: Range<usize>, problems: &[Problem], is_centred: bool) -> f64 {
        let rows = range
            .clone()
            .map(|i| i / 18)
            .collect::<std::collections::BTreeSet<_>>();
        let of_row = |row: usize| {
            let problem = &problems[row / 3];
            let own = (row * 18..(row + 1) * 18).filter(|i| range.contains(i));
            let (mut sum, mut mean) = (0.0, 0.0);
            for i in own.clone() {
                mean += f64::from(lost[i]) * problem.means.0[i % 18];
                for j in own.clone() {
                    let a = f64::from(problem.a[i % 18 * 18 + j % 18]);
                    sum += f64::from(lost[i]) * a * f64::from(lost[j]);
                }
            }
            sum + if is_centred { 0.0 } else { mean * mean }
        };
        rows.into_iter().map(of_row).sum()
    }

    #[test]
    fn errors_are_those_of_the_quadratic_form_for_every_granularity() {
        let w = weights();
        let problems = problems(&w);
        let group = Granularity::Group(7.try_into().unwrap());
        for granularity in [Granularity::Tensor, Granularity::Channel, group] {
            let layout = Layout::new(&[6, 2, 3, 3], granularity);
            for is_centred in [true, false] {
                let made = errors(&w, layout, (&problems, is_centred));
                assert_eq!(made.len(), layout.group_count());
                for (made, range) in made.into_iter().zip(layout.groups()) {
                    let expected = plain(&w, range, &problems, is_centred);
                    assert!((made / expected - 1.0).abs() < 1e-4, "{made} {expected}");
                }
            }
        }
    }

    #[test]
    fn no_group_loses_more_than_with_its_whole_range_and_a_blank_one_keeps_its_reason() {
        let mut w = weights();
        w[18..36].fill(0.0);
        let problems = problems(&w);
        let values = Values::new("w", &w, &[6, 2, 3, 3]).unwrap();
        for mapping in [Mapping::Affine, Mapping::Symmetric, Mapping::PowerOfTwo] {
            for granularity in [Granularity::Tensor, Granularity::Channel] {
                let scheme = scheme(granularity, mapping);
                let error = |made: &Quantized| -> Vec<f64> {
                    let best = problems.iter().flat_map(|problem| &problem.best);
                    let lost: Vec<f32> = made
                        .values
                        .iter()
                        .zip(best)
                        .map(|(q, &w)| q - w as f32)
                        .collect();
                    errors(&lost, made.layout, (&problems, true))
                };
                let scales = Scales::LeastError { is_centred: true };
                let own = Scales::Own.start(&values, &scheme, &problems);
                let best = scales.start(&values, &scheme, &problems);
                let (own_error, best_error) = (error(&own), error(&best));
                assert!(
                    own_error
                        .iter()
                        .zip(&best_error)
                        .all(|(own, best)| best <= own)
                );
                assert!(best_error.iter().sum::<f64>() < 0.99 * own_error.iter().sum::<f64>());
                assert_eq!(best.first_reason(), own.first_reason());
            }
        }
    }
}
