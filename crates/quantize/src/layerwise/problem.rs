//! The least-squares problem of a layer: which weights make, of what the quantized network hands it, what the float layer made of
//! what the float network handed it.
//!
//! With x~ the patches that the quantized network reads, y the outputs of the float layer, m the means of both, N points and w the
//! float weights of an output channel:
//!
//! ```text
//! H = sum (x~ - m~)(x~ - m~)' / N        b = sum (x~ - m~)(y - my) / N        l = damping * mean diagonal of H
//! A = H + l I                            t = b + l w                                                    (1)
//! w* = A^-1 t    minimises    E (w x~ + c - y)^2 + l |w - w*|^2    and    |A^(1/2) (q - w*)|^2 is what codes q lose of that
//! ```
//!
//! b is G w of the methods that sum G = x~ x' (GPTAQ, Qronos arXiv 2505.11695): from outputs it costs as many columns as there are
//! outputs, not as many as there are weights in each. With `target = float` w* is w and t = A w, which is GPTQ's (arXiv 2210.17323).

use std::borrow::Cow;

use engine::{Moments, Products, product as matrix_product};
use rayon::prelude::*;

use super::cholesky::{Cholesky, dot};
use super::patches::{BLOCK, Geometry, Point};

/// Rows of H whose products are summed by one thread.
const ROWS: usize = 64;

/// The problem of one group of a convolution.
pub(super) struct Problem {
    /// Weights of an output channel.
    pub taps: usize,
    /// A, `[taps][taps]`.
    pub a: Vec<f32>,
    /// t, `[outputs][taps]`.
    pub t: Vec<f64>,
    /// w*, `[outputs][taps]`.
    pub best: Vec<f64>,
    /// Means of the inputs, `[taps]`, and of the outputs.
    pub means: (Vec<f64>, Vec<f64>),
    /// Of the outputs' squares about their means.
    variance: Vec<f64>,
    h: Vec<f64>,
    b: Vec<f64>,
    /// l; and whether A is that alone.
    damping: f64,
    is_blank: bool,
    factor: Cholesky,
}

/// Why there is no problem to solve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Blank {
    #[error("the layer reads constants")]
    Constant,
    /// H is singular, and nothing is added to it.
    #[error("the inputs' products are singular; give some gram.damping")]
    Singular,
}

/// The sums that a problem is made of, of one group.
pub(super) fn sums(
    geometry: &Geometry,
    group: usize,
    points: &[Point],
    (input, output): (&[f32], &[f32]),
) -> (Products, Vec<f64>) {
    let own = geometry.to.channels / geometry.groups;
    let mut moments = Moments::new(geometry.taps() + 1, own);
    let mut squares = vec![0.0; own];
    for points in points.chunks(BLOCK) {
        let mut x = geometry.patches(input, group, points);
        // A row of ones: products with it are the sums of inputs and outputs.
        x.extend(std::iter::repeat_n(1.0, points.len()));
        let y = geometry.outputs(output, group, points);
        for (square, y) in squares.iter_mut().zip(y.chunks_exact(points.len())) {
            *square += y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>();
        }
        moments.add(&x, &y, points.len());
    }
    (moments.finish(), squares)
}

impl Problem {
    /// Equation (1) from [`sums`], for the float weights `w`, `[outputs][taps]`. `is_group`: one of several, which may read constants
    /// while others do not.
    pub fn new(
        (products, squares): (Products, Vec<f64>),
        w: &[f32],
        (damping, is_float): (f64, bool),
        is_group: bool,
    ) -> Result<Self, Blank> {
        let n = products.points as f64;
        let (outputs, rows) = (squares.len(), w.len() / squares.len() + 1);
        let taps = rows - 1;
        let mean: Vec<f64> = (0..taps)
            .map(|k| products.xx[taps * rows + k] / n)
            .collect();
        let means: Vec<f64> = (0..outputs)
            .map(|o| products.yx[o * rows + taps] / n)
            .collect();
        let mut h = vec![0.0; taps * taps];
        h.par_chunks_mut(taps).enumerate().for_each(|(i, row)| {
            let sums = &products.xx[i * rows..];
            for (j, h) in row.iter_mut().enumerate() {
                *h = sums[j] / n - mean[i] * mean[j];
            }
        });
        let diagonal = (0..taps).map(|k| h[k * taps + k]).sum::<f64>() / taps as f64;
        // What float32 leaves of a constant's square less its mean's.
        let scale = (0..taps)
            .map(|k| products.xx[k * rows + k] / n)
            .sum::<f64>()
            / taps as f64;
        let is_blank = !(diagonal.is_finite() && diagonal > 1e-6 * scale);
        if is_blank && !is_group {
            return Err(Blank::Constant);
        }
        // With nothing to go by every weight counts the same: the nearest codes.
        let (damping, mut a) = match is_blank {
            true => (1.0, vec![0.0; taps * taps]),
            false => (damping * diagonal, h.clone()),
        };
        (0..taps).for_each(|k| a[k * taps + k] += damping);
        let factor = Cholesky::new(a.clone(), taps).ok_or(Blank::Singular)?;
        let w: Vec<f64> = w.iter().map(|&w| f64::from(w)).collect();
        let b: Vec<f64> = (0..outputs * taps)
            .map(|i| {
                let (o, k) = (i / taps, i % taps);
                products.yx[o * rows + k] / n - means[o] * mean[k]
            })
            .collect();
        let (t, best) = if is_float {
            let t = w
                .par_chunks(taps)
                .flat_map_iter(|w| product(&a, w))
                .collect();
            (t, w)
        } else {
            let t: Vec<f64> = b.iter().zip(&w).map(|(b, w)| b + damping * w).collect();
            let mut best = t.clone();
            factor.solve(&mut best);
            (t, best)
        };
        let variance = (0..outputs).map(|o| (squares[o] / n - means[o].powi(2)).max(0.0));
        Ok(Self {
            taps,
            a: a.iter().map(|&a| a as f32).collect(),
            t,
            best,
            variance: variance.collect(),
            means: (mean, means),
            h,
            b,
            damping,
            is_blank,
            factor,
        })
    }

    /// Of every channel the mean squared error with the weights `q`, `[outputs][taps]`, and the best bias, and the variance of its
    /// outputs.
    pub fn errors(&self, q: &[f32]) -> Vec<[f64; 2]> {
        let taps = self.taps;
        let q: Vec<f64> = q.iter().map(|&q| f64::from(q)).collect();
        // Row by row of H, which is larger than a cache, for all channels at once; blocks of rows are added in their order.
        let squares = self.h.par_chunks(ROWS * taps).enumerate();
        let squares: Vec<Vec<f64>> = squares
            .map(|(block, rows)| {
                let mut sums = vec![0.0; self.variance.len()];
                for (i, row) in (block * ROWS..).zip(rows.chunks_exact(taps)) {
                    for (sum, q) in sums.iter_mut().zip(q.chunks_exact(taps)) {
                        *sum += q[i] * dot(row, q);
                    }
                }
                sums
            })
            .collect();
        let each = self.variance.iter().enumerate().map(|(o, &variance)| {
            let own = o * taps..(o + 1) * taps;
            let cross = dot(&self.b[own.clone()], &q[own]);
            let square: f64 = squares.iter().map(|sums| sums[o]).sum();
            [(variance - 2.0 * cross + square).max(0.0), variance]
        });
        each.collect()
    }

    /// The gradient of `(q - w*)' A (q - w*)` by the weights `q`, both `[taps][outputs]`.
    pub fn gradient(&self, q: &[f32]) -> Vec<f32> {
        let (taps, outputs) = (self.taps, q.len() / self.taps);
        let mut gradient = matrix_product(&self.a, q, [taps, taps, outputs]);
        for (k, line) in gradient.chunks_exact_mut(outputs).enumerate() {
            for (o, g) in line.iter_mut().enumerate() {
                *g = 2.0 * (*g - self.t[o * taps + k] as f32);
            }
        }
        gradient
    }

    /// The mean variance of the outputs; 1 where they are constant.
    pub fn unit(&self) -> f64 {
        let mean = self.variance.iter().sum::<f64>() / self.variance.len() as f64;
        if mean > 0.0 { mean } else { 1.0 }
    }

    /// The bias of channel `o` that takes what is left of the mean with the weights `q`.
    pub fn bias(&self, o: usize, q: &[f32]) -> f64 {
        let pairs = q.iter().zip(&self.means.0);
        self.means.1[o] - pairs.map(|(&q, m)| f64::from(q) * m).sum::<f64>()
    }

    /// The order in which weights are looked at, last first, and the factor L of A in that order, `A = L L'`: as they lie, or the
    /// largest of A's diagonal last.
    pub fn sequence(&self, by_diagonal: bool) -> (Vec<usize>, Cow<'_, Cholesky>) {
        let taps = self.taps;
        let mut order: Vec<usize> = (0..taps).collect();
        if !by_diagonal {
            return (order, Cow::Borrowed(&self.factor));
        }
        let diagonal = |k: usize| self.a[k * taps + k];
        order.sort_by(|&i, &j| diagonal(i).total_cmp(&diagonal(j)));
        let mut a = vec![0.0; taps * taps];
        a.par_chunks_mut(taps).zip(&order).for_each(|(row, &i)| {
            for (a, &j) in row.iter_mut().zip(&order) {
                let h = if self.is_blank {
                    0.0
                } else {
                    self.h[i * taps + j]
                };
                *a = h + if i == j { self.damping } else { 0.0 };
            }
        });
        match Cholesky::new(a, taps) {
            Some(factor) => (order, Cow::Owned(factor)),
            // Singular but for the order of the sums.
            None => ((0..taps).collect(), Cow::Borrowed(&self.factor)),
        }
    }
}

/// `a x` for a square matrix.
fn product(a: &[f64], x: &[f64]) -> Vec<f64> {
    let rows = a.chunks_exact(x.len());
    rows.map(|row| dot(row, x)).collect()
}
