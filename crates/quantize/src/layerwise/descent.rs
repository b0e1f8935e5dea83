//! Codes that minimise `(q - w*)' A (q - w*)`: coordinate descent, error feedback, and scales in closed form.
//!
//! A row holds the gradient `g = A q - t`. A code moves to the nearest of `q_j - g_j / A_jj`, which no other code of the row could
//! better while the others stay: no step raises the objective. With c = q / s the codes less their zero point, the best scale of
//! what shares one is
//!
//! ```text
//! s = sum c' t / sum c' A c        c' A c = c' (g + t) / s                                               (1)
//! ```

use std::ops::Range;

use quant_core::{Layout, QParams};
use rayon::prelude::*;

use super::problem::Problem;

/// An output channel's codes less their zero point, and the gradient.
pub(super) struct Row {
    pub codes: Vec<i32>,
    g: Vec<f32>,
}

/// Codes of a whole tensor on their way; rows are output channels.
pub(super) struct Descent<'a> {
    pub problems: &'a [Problem],
    pub layout: Layout,
    /// Of each group of values that share a scale; those that stay in float have none.
    pub params: Vec<QParams>,
    pub rows: Vec<Row>,
}

impl<'a> Descent<'a> {
    /// Begins at `codes`, zero points included.
    pub fn new(
        problems: &'a [Problem],
        layout: Layout,
        params: Vec<QParams>,
        codes: &[i32],
    ) -> Self {
        let taps = problems[0].taps;
        let rows = codes.chunks_exact(taps).map(|codes| Row {
            codes: codes.to_vec(),
            g: Vec::new(),
        });
        let mut all = Self {
            problems,
            layout,
            params,
            rows: rows.collect(),
        };
        for o in 0..all.rows.len() {
            for j in 0..taps {
                all.rows[o].codes[j] -= all.params[group_of(&layout, taps, o, j)].zero_point;
            }
        }
        all.restart();
        all
    }

    fn problem(&self, o: usize) -> (&'a Problem, usize) {
        let each = self.rows.len() / self.problems.len();
        (&self.problems[o / each], o % each)
    }

    /// Computes every gradient from nothing.
    fn restart(&mut self) {
        let taps = self.problems[0].taps;
        let each = self.rows.len() / self.problems.len();
        let (problems, layout, params) = (self.problems, self.layout, &self.params);
        for (o, row) in self.rows.iter_mut().enumerate() {
            let t = &problems[o / each].t[o % each * taps..][..taps];
            row.g = t.iter().map(|&t| -t as f32).collect();
        }
        for columns in blocks(taps) {
            self.rows.par_iter_mut().enumerate().for_each(|(o, row)| {
                let problem = &problems[o / each];
                for j in columns.clone() {
                    let q = params[group_of(&layout, taps, o, j)].scale * row.codes[j] as f32;
                    add(&mut row.g, q, &problem.a[j * taps..][..taps]);
                }
            });
        }
    }

    /// Looks at every code once, in order.
    pub fn sweep(&mut self) {
        let taps = self.problems[0].taps;
        let each = self.rows.len() / self.problems.len();
        let (problems, layout, params) = (self.problems, self.layout, &self.params);
        for columns in blocks(taps) {
            self.rows.par_iter_mut().enumerate().for_each(|(o, row)| {
                let problem = &problems[o / each];
                for j in columns.clone() {
                    let param = &params[group_of(&layout, taps, o, j)];
                    if param.is_float() {
                        continue;
                    }
                    let line = &problem.a[j * taps..][..taps];
                    let code = row.codes[j];
                    let wanted = code as f32 - row.g[j] / (line[j] * param.scale);
                    let moved = clamped(param, wanted);
                    if moved != code {
                        row.codes[j] = moved;
                        add(&mut row.g, param.scale * (moved - code) as f32, line);
                    }
                }
            });
        }
    }

    /// Nearest codes one after the other, from the last to the first, each making up for what those before it lost: Babai's nearest
    /// plane on A = L L', which is GPTQ's error feedback. With `by_diagonal` the largest diagonal entry of A goes first.
    pub fn feedback(&mut self, by_diagonal: bool) {
        let taps = self.problems[0].taps;
        let each = self.rows.len() / self.problems.len();
        let (problems, layout, params) = (self.problems, self.layout, &self.params);
        let sequences: Vec<_> = problems
            .iter()
            .map(|problem| problem.sequence(by_diagonal))
            .collect();
        self.rows.par_iter_mut().enumerate().for_each(|(o, row)| {
            let problem = &problems[o / each];
            let (order, factor) = &sequences[o / each];
            let best = &problem.best[o % each * taps..][..taps];
            // In the order of the sequence.
            let mut carried = vec![0.0_f64; taps];
            for (i, &j) in order.iter().enumerate().rev() {
                let param = &params[group_of(&layout, taps, o, j)];
                let line = factor.row(i);
                let wanted = best[j] + carried[i] / line[i];
                if !param.is_float() {
                    row.codes[j] = clamped(param, (wanted / f64::from(param.scale)) as f32);
                }
                let left = best[j] - f64::from(param.scale) * f64::from(row.codes[j]);
                let lines = carried[..i].iter_mut().zip(line);
                lines.for_each(|(carried, l)| *carried += l * left);
            }
        });
        self.restart();
    }

    /// Equation (1) for every scale.
    pub fn refit(&mut self) {
        let taps = self.problems[0].taps;
        let mut sums = vec![[0.0_f64; 2]; self.params.len()];
        let is_whole = self.layout.groups_per_channel() == 1;
        for o in 0..self.rows.len() {
            let (problem, own) = self.problem(o);
            let t = &problem.t[own * taps..][..taps];
            let row = &self.rows[o];
            for (j, ((&c, &g), t)) in row.codes.iter().zip(&row.g).zip(t).enumerate() {
                let sums = &mut sums[group_of(&self.layout, taps, o, j)];
                let c = f64::from(c);
                sums[0] += c * t;
                sums[1] += c * (f64::from(g) + t);
            }
        }
        for (param, [ct, cac]) in self.params.iter_mut().zip(sums) {
            // c' A c holds what other groups of the row add, too: a step towards, not to, the best scale of several.
            let factor = ct / cac;
            if !param.is_float() && is_whole && factor.is_finite() && factor > 0.0 {
                let scale = (f64::from(param.scale) * factor) as f32;
                if scale.is_normal() {
                    param.scale = scale;
                }
            }
        }
        self.restart();
    }
}

/// Numbers of A that all rows look at before the next: they stay in the second-level cache.
const BLOCK: usize = 1 << 17;

/// Columns of A in blocks.
fn blocks(taps: usize) -> impl Iterator<Item = Range<usize>> {
    let each = (BLOCK / taps).max(16);
    let starts = (0..taps).step_by(each);
    starts.map(move |start| start..taps.min(start + each))
}

/// The nearest code to `wanted`, less the zero point.
fn clamped(param: &QParams, wanted: f32) -> i32 {
    let (low, high) = (
        param.quant_min - param.zero_point,
        param.quant_max - param.zero_point,
    );
    wanted.round_ties_even().max(low as f32).min(high as f32) as i32
}

/// Which scale weight j of output channel o has.
pub(super) fn group_of(layout: &Layout, taps: usize, o: usize, j: usize) -> usize {
    let at = o * taps + j;
    let (channel, inside) = (at / layout.channel_len(), at % layout.channel_len());
    channel * layout.groups_per_channel() + inside / layout.group_len()
}

/// `to += factor * line`.
fn add(to: &mut [f32], factor: f32, line: &[f32]) {
    to.iter_mut()
        .zip(line)
        .for_each(|(to, l)| *to += factor * l);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layerwise::patches::Geometry;
    use crate::layerwise::problem::sums;
    use engine::{Shape, Window};
    use quant_core::{
        Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, Values, quantize,
        uniform,
    };

    /// Codes by feedback for a layer that reads five channels, the c-th `size[c]` large.
    fn codes(size: [f32; 5], w: &[f32], by_diagonal: bool, reads: [usize; 5]) -> Vec<i32> {
        let shape = Shape::new(5, 6, 6);
        let geometry = Geometry {
            from: shape,
            to: Shape::new(2, 6, 6),
            window: Window::square(1, 1, 0),
            groups: 1,
        };
        let value = |image: usize, c: usize, p: usize| {
            let common = uniform(5, (image * 36 + p) as u64);
            size[c] * (common + uniform(6 + c as u64, (image * 36 + p) as u64))
        };
        let mut x = Vec::new();
        for (image, c) in (0..4).flat_map(|image| reads.map(|c| (image, c))) {
            x.extend((0..36).map(|p| value(image, c, p)));
        }
        let points = geometry.points(4, 0, 0);
        let y = vec![0.0; 4 * 72];
        let sums = sums(&geometry, 0, &points, (&x, &y));
        let w: Vec<f32> = (0..2).flat_map(|o| reads.map(|c| w[o * 5 + c])).collect();
        let problem = [Problem::new(sums, &w, (0.01, true), false).unwrap()];
        let (bits, codes) = (Bits::new(3).unwrap(), CodeRange::Narrow);
        let scheme = Scheme::new(
            bits,
            Mapping::Symmetric,
            codes,
            Granularity::Channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        );
        let start = quantize(
            &Values::new("w", &w, &[2, 5, 1, 1]).unwrap(),
            &scheme.unwrap(),
        );
        let mut descent = Descent::new(&problem, start.layout, start.params, &start.codes);
        descent.feedback(by_diagonal);
        let made = descent.rows.iter().flat_map(|row| {
            let place = |c: usize| reads.iter().position(|&read| read == c).unwrap();
            (0..5).map(|c| row.codes[place(c)]).collect::<Vec<_>>()
        });
        made.collect()
    }

    #[test]
    fn feedback_by_the_diagonal_is_that_of_weights_which_lie_in_its_order() {
        let (size, sorted) = ([2.0, 0.5, 3.0, 1.0, 0.1], [4, 1, 3, 0, 2]);
        let natural = [0, 1, 2, 3, 4];
        let mut differ = 0;
        for seed in 0..8 {
            let w: Vec<f32> = (0..10).map(|i| uniform(seed, i) - 0.5).collect();
            let by_diagonal = codes(size, &w, true, natural);
            assert_eq!(by_diagonal, codes(size, &w, false, sorted));
            differ += usize::from(by_diagonal != codes(size, &w, false, natural));
        }
        assert!(differ > 0);
    }
}
