//! Fake quantization with straight-through gradients, in one pass there and one back.
//!
//! ```text
//! v = x / s      q = clamp(round(v) + z, low, high)      y = s (q - z)                              (1)
//!
//!            inside              outside              inside: low <= round(v) + z <= high
//! dy/dx      1                   0                                                                  (2)
//! dy/ds      round(v) - v        q - z                Learns::Step                                  (3)
//! dy/ds      0                   q - z                Learns::Clip                                  (4)
//! dy/dz      0                   -s                                                                 (5)
//! ```
//!
//! (2) is the straight-through estimator (Bengio et al. 2013, arXiv 1308.3432), (3) equation 3 of Esser et al. 2020
//! (arXiv 1902.08153), (4) equation 2 of Choi et al. 2018 (arXiv 1805.06085) by the chain rule.
//!
//! Rounding is half to even and the values are those of [`quant_core::QParams::fake_quant`] bit for bit. An infinite x gives NaN,
//! as in `v + (round(v) - v)`, so that a training that has left float32 shows it. Sums over x are those of `sums.rs`: they do not
//! depend on the number of threads.

use quant_core::qat::{Learns, Stays};
use rayon::prelude::*;

use super::sums::{RUN, sum_of};
use crate::error::{Error, expect};
use crate::kernel::{Body, Isa, wide};

/// Values that a thread takes at once.
const TASK: usize = 16 << 10;

/// The grids of a tensor's values, and which gradients they get.
#[derive(Clone, Debug, PartialEq)]
pub struct FakeQuant {
    /// One for all values, or one for each of as many equal parts of them, in order.
    pub grids: Vec<StepGrid>,
    /// The smallest code, a whole number.
    pub low: f32,
    /// The largest.
    pub high: f32,
    /// (3), (4), or neither.
    pub learns: Learns,
    /// Numbers with y = x, dy/dx = 1 and no other gradient.
    pub stays: Option<Stays>,
}

/// s and z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepGrid {
    /// Above 0.
    pub scale: f32,
    /// A whole number.
    pub zero_point: f32,
}

/// What a step's gradients are made of: the sum of (3) or (4) and that of the gradients outside.
type Sums = [f64; 2];

/// The terms of a run's sums.
type Terms = [[f32; RUN]; 2];

impl FakeQuant {
    /// Equation (1): `x` to `y`.
    ///
    /// # Errors
    /// [`Error::Length`] where the slices differ in length, or have no equal parts for the grids.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.forward_by(Isa::best(), x, y)
    }

    pub(super) fn forward_by(&self, isa: Isa, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        let part = self.part(x, y)?;
        y.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .zip(&self.grids)
            .enumerate()
            .for_each(|(of, ((y, x), &grid))| {
                let tasks = y.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
                tasks.enumerate().for_each(|(at, (y, x))| {
                    let start = of * part + at * TASK;
                    wide(isa, (self, grid, start, Work::Round(x, y)));
                });
            });
        Ok(())
    }

    /// The gradients of scale and zero point, a pair for each grid, zeros where nothing is learned; `gradient` is dy and becomes dx.
    ///
    /// # Errors
    /// As [`FakeQuant::forward`].
    pub fn backward(&self, x: &[f32], gradient: &mut [f32]) -> Result<Vec<[f32; 2]>, Error> {
        self.backward_by(Isa::best(), x, gradient)
    }

    pub(super) fn backward_by(
        &self,
        isa: Isa,
        x: &[f32],
        gradient: &mut [f32],
    ) -> Result<Vec<[f32; 2]>, Error> {
        let part = self.part(x, gradient)?;
        let sums = gradient
            .par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .zip(&self.grids)
            .enumerate()
            .map(|(of, ((g, x), &grid))| {
                let tasks = g.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
                let tasks = tasks.enumerate().map(|(at, (g, x))| {
                    let start = of * part + at * TASK;
                    wide(isa, (self, grid, start, Work::Back(g, x)))
                });
                // In the order of the tasks, which are of a fixed size.
                let mut total = [0.0; 2];
                let parts: Vec<Sums> = tasks.collect();
                parts.iter().for_each(|&sums| add(&mut total, sums));
                total
            });
        let sums: Vec<Sums> = sums.collect();
        Ok(self.gradients(&sums))
    }

    /// Equation (1) from number `start` on.
    #[inline(always)]
    fn round(&self, grid: StepGrid, start: usize, x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let [_, _, _, step] = self.place(grid, x);
            *y = step * grid.scale;
        }
        if let Some(stays) = self.stays {
            stays.each(start, y.len(), |i, stays| {
                y[i] = if stays { x[i] } else { y[i] };
            });
        }
    }

    /// Equation (2) in place for at most [`RUN`] values from number `start` on, and their sums. `terms` may hold anything.
    #[inline(always)]
    fn back(
        &self,
        grid: StepGrid,
        start: usize,
        g: &mut [f32],
        x: &[f32],
        terms: &mut Terms,
    ) -> Sums {
        let Some(stays) = self.stays else {
            return self.back_all(grid, g, x, terms);
        };
        let mut kept = [0.0; RUN];
        stays.each(start, g.len(), |i, stays| {
            kept[i] = if stays { g[i] } else { 0.0 };
            g[i] = if stays { 0.0 } else { g[i] };
        });
        let sums = self.back_all(grid, g, x, terms);
        g.iter_mut().zip(&kept).for_each(|(g, kept)| *g += kept);
        sums
    }

    #[inline(always)]
    fn back_all(&self, grid: StepGrid, g: &mut [f32], x: &[f32], terms: &mut Terms) -> Sums {
        match self.learns {
            Learns::Nothing => {
                for (g, &x) in g.iter_mut().zip(x) {
                    let [_, _, code, _] = self.place(grid, x);
                    *g = if self.is_inside(code) { *g } else { 0.0 };
                }
                [0.0; 2]
            }
            Learns::Step { .. } => self.back_run(grid, g, x, terms, |v, rounded| rounded - v),
            Learns::Clip { .. } => self.back_run(grid, g, x, terms, |_, _| 0.0),
        }
    }

    /// `within` is dy/ds inside.
    ///
    /// The terms are put aside and summed afterwards: a loop that does both does not compile to vectors.
    #[inline(always)]
    fn back_run(
        &self,
        grid: StepGrid,
        g: &mut [f32],
        x: &[f32],
        terms: &mut Terms,
        within: impl Fn(f32, f32) -> f32,
    ) -> Sums {
        let [scale, outside] = terms;
        let (scale, outside) = (&mut scale[..x.len()], &mut outside[..x.len()]);
        let places = g
            .iter_mut()
            .zip(x)
            .zip(scale.iter_mut().zip(outside.iter_mut()));
        for ((g, &x), (scale, outside)) in places {
            let [v, rounded, code, step] = self.place(grid, x);
            let inside = self.is_inside(code);
            let slope = within(v, rounded);
            *scale = *g * if inside { slope } else { step };
            *outside = if inside { 0.0 } else { *g };
            *g = if inside { *g } else { 0.0 };
        }
        [sum_of(scale, |term| term), sum_of(outside, |term| term)]
    }

    /// The gradients of scale and zero point from every grid's sums.
    fn gradients(&self, sums: &[Sums]) -> Vec<[f32; 2]> {
        let factor = match self.learns {
            Learns::Nothing => return vec![[0.0; 2]; sums.len()],
            Learns::Step { factor } | Learns::Clip { factor } => f64::from(factor),
        };
        let each = sums.iter().zip(&self.grids);
        each.map(|(sums, grid)| {
            let zero_point = -f64::from(grid.scale) * sums[1];
            [sums[0], zero_point].map(|sum| (factor * sum) as f32)
        })
        .collect()
    }

    /// v, round(v), round(v) + z and q - z.
    #[inline(always)]
    fn place(&self, grid: StepGrid, x: f32) -> [f32; 4] {
        let v = x / grid.scale;
        let rounded = v + (nearest(v) - v);
        let code = rounded + grid.zero_point;
        let clipped = if code < self.low { self.low } else { code };
        let clipped = if clipped > self.high {
            self.high
        } else {
            clipped
        };
        [v, rounded, code, clipped - grid.zero_point]
    }

    #[inline(always)]
    fn is_inside(&self, code: f32) -> bool {
        // Both compared: a short circuit would be a branch.
        (code >= self.low) & (code <= self.high)
    }

    /// Values of a grid.
    fn part(&self, x: &[f32], y: &[f32]) -> Result<usize, Error> {
        expect("the output", y.len(), x.len())?;
        let part = x.len() / self.grids.len().max(1);
        expect("the input", x.len(), part * self.grids.len())?;
        Ok(part.max(1))
    }
}

/// What is done with some values, from a number on.
enum Work<'a> {
    /// Equation (1).
    Round(&'a [f32], &'a mut [f32]),
    /// Equation (2).
    Back(&'a mut [f32], &'a [f32]),
}

impl Body for (&FakeQuant, StepGrid, usize, Work<'_>) {
    type Out = Sums;

    #[inline(always)]
    fn run(self) -> Sums {
        let (quant, grid, start, work) = self;
        let mut total = [0.0; 2];
        match work {
            Work::Round(x, y) => quant.round(grid, start, x, y),
            Work::Back(g, x) => {
                let mut terms = [[0.0; RUN]; 2];
                let runs = g.chunks_mut(RUN).zip(x.chunks(RUN));
                for (run, (g, x)) in runs.enumerate() {
                    let start = start + run * RUN;
                    add(&mut total, quant.back(grid, start, g, x, &mut terms));
                }
            }
        }
        total
    }
}

/// Adds sums, in order.
#[inline(always)]
fn add(total: &mut Sums, sums: Sums) {
    for (total, sum) in total.iter_mut().zip(sums) {
        *total += sum;
    }
}

/// The nearest whole number, of two the even one. Below 2^23, adding that leaves no room for a fraction; above it there is
/// none. Unlike the library's function, this needs no instruction past SSE2.
#[inline(always)]
fn nearest(v: f32) -> f32 {
    const WHOLE: f32 = (1 << 23) as f32;
    let large = WHOLE.copysign(v);
    let rounded = (v + large) - large;
    if v.abs() < WHOLE { rounded } else { v }
}
