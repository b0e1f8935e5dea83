//! Fake quantization with straight-through gradients, in one pass there and one back.
//!
//! ```text
//! v = x / s      q = clamp(round(v) + z, quant_min, quant_max)      y = s (q - z)                   (1)
//!
//!            inside              outside              inside: quant_min <= round(v) + z <= quant_max
//! dy/dx      1                   0                                                                  (2)
//! dy/ds      round(v) - v        q - z                Learns::Step                                  (3)
//! dy/ds      0                   q - z                Learns::Clip                                  (4)
//! dy/dz      0                   -s                                                                 (5)
//! ```
//!
//! (2) is the straight-through estimator (Bengio et al. 2013, arXiv 1308.3432), (3) equation 3 of Esser et al. 2020
//! (arXiv 1902.08153), (4) equation 2 of Choi et al. 2018 (arXiv 1805.06085) by the chain rule.
//!
//! Rounding is half to even and the values are those of [`quant_core::QParams::fake_quant`] bit for bit. An infinite x gives NaN, as
//! in `v + (round(v) - v)`, so that a training that has left float32 shows it. Sums over x are made in float32 within 1024
//! values, in sixteen interleaved parts, and in float64 from there on, in order: they do not depend on the number of threads.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use quant_core::qat::{self, Grid, Learns, Stays};

use super::flex::pool;
use super::flex::{Argument, apply, into_values, recycle, values};

/// Values that a thread takes at once.
const TASK: usize = 16 << 10;
/// Values whose sum is made in float32.
const RUN: usize = 1024;
/// Interleaved parts of it.
const LANES: usize = 16;

/// The fake-quantized `x`: [`qat::fake_quant`].
pub fn fake_quant<const D: usize>(x: Tensor<D>, grid: &Grid) -> Tensor<D> {
    on_flex(&x, grid, None).unwrap_or_else(|| qat::fake_quant(x, grid))
}

/// [`fake_quant`] of those numbers that do not stay as they are: [`qat::fake_quant_in_part`].
pub fn fake_quant_in_part<const D: usize>(x: Tensor<D>, grid: &Grid, stays: Stays) -> Tensor<D> {
    on_flex(&x, grid, Some(stays)).unwrap_or_else(|| qat::fake_quant_in_part(x, grid, stays))
}

/// Equation (1) with its gradients, for `x` on the flex device; `None` where it is on another, or the shapes do not fit.
/// Scale and zero point have one value each, or one for each channel of x's axis 0; the scale is above 0. A number that stays as it is
/// has y = x, dy/dx = 1 and no other gradient.
pub(super) fn on_flex<const D: usize>(
    x: &Tensor<D>,
    grid: &Grid,
    stays: Option<Stays>,
) -> Option<Tensor<D>> {
    let [groups] = grid.scale.dims();
    let zero_point = grid.zero_point.as_ref();
    let fits =
        (groups == 1 || groups == x.dims()[0]) && zero_point.is_none_or(|z| z.dims() == [groups]);
    let (x, s) = (Argument::of(x)?, Argument::of(&grid.scale)?);
    if !fits {
        return None;
    }
    let codes = Codes {
        low: grid.quant_min as f32,
        high: grid.quant_max as f32,
        learns: grid.learns,
        stays,
    };
    Some(match zero_point {
        None => {
            apply([x, s], FakeQuant, |[x, s], tracked| {
                forward(codes, x, s, None, tracked)
            })
            .0
        }
        Some(z) => {
            let z = Argument::of(z)?;
            apply([x, s, z], FakeQuant, |[x, s, z], tracked| {
                forward(codes, x, s, Some(z), tracked)
            })
            .0
        }
    })
}

/// What all groups have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Codes {
    low: f32,
    high: f32,
    learns: Learns,
    stays: Option<Stays>,
}

/// A group's grid.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    scale: f32,
    zero_point: f32,
    low: f32,
    high: f32,
}

impl Group {
    /// v, round(v), round(v) + z and q - z.
    #[inline(always)]
    fn place(self, x: f32) -> [f32; 4] {
        let v = x / self.scale;
        let rounded = v + (nearest(v) - v);
        let code = rounded + self.zero_point;
        let clipped = if code < self.low { self.low } else { code };
        let clipped = if clipped > self.high {
            self.high
        } else {
            clipped
        };
        [v, rounded, code, clipped - self.zero_point]
    }

    #[inline(always)]
    fn is_inside(self, code: f32) -> bool {
        code >= self.low && code <= self.high
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

#[derive(Clone, Debug)]
struct State {
    codes: Codes,
    x: FlexTensor,
    grids: Vec<Group>,
}

fn forward(
    codes: Codes,
    x: FlexTensor,
    scale: FlexTensor,
    zero_point: Option<FlexTensor>,
    tracked: bool,
) -> (FlexTensor, Option<State>, ()) {
    let (x, scale) = (x.to_contiguous(), scale.to_contiguous());
    let zero_point = zero_point.map(|z| z.to_contiguous());
    let zero_points = zero_point.as_ref().map(values);
    let grids: Vec<Group> = values(&scale)
        .iter()
        .enumerate()
        .map(|(group, &scale)| Group {
            scale,
            zero_point: zero_points.map_or(0.0, |z| z[group]),
            low: codes.low,
            high: codes.high,
        })
        .collect();
    let mut y = pool::take(values(&x).len());
    let group = group_len(&x, &grids);
    y.par_chunks_mut(group)
        .zip(values(&x).par_chunks(group))
        .zip(&grids)
        .enumerate()
        .for_each(|(of, ((y, x), &grid))| {
            let tasks = y.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
            tasks.enumerate().for_each(|(at, (y, x))| {
                for (y, &x) in y.iter_mut().zip(x) {
                    let [_, _, _, step] = grid.place(x);
                    *y = step * grid.scale;
                }
                if let Some(stays) = codes.stays {
                    stays.each(of * group + at * TASK, y.len(), |i, stays| {
                        y[i] = if stays { x[i] } else { y[i] };
                    });
                }
            });
        });
    let y = FlexTensor::from_data(TensorData::new(y, x.shape()));
    (y, tracked.then_some(State { codes, x, grids }), ())
}

/// Values of a group.
fn group_len(x: &FlexTensor, grids: &[Group]) -> usize {
    (values(x).len() / grids.len().max(1)).max(1)
}

/// Operands: x, scale, and a zero point or none.
#[derive(Debug)]
struct FakeQuant;

impl<const N: usize> Backward<Flex, N> for FakeQuant {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = into_values(grads.consume::<Flex>(&ops.node));
        let State { codes, x, grids } = ops.state;
        let group = group_len(&x, &grids);
        let sums: Vec<[f64; 2]> = gradient
            .par_chunks_mut(group)
            .zip(values(&x).par_chunks(group))
            .zip(&grids)
            .enumerate()
            .map(|(of, ((g, x), &grid))| {
                let tasks = g.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
                let rounded = |g: &mut [f32], x: &[f32]| match codes.learns {
                    Learns::Nothing => {
                        for (g, &x) in g.iter_mut().zip(x) {
                            let [_, _, code, _] = grid.place(x);
                            *g = if grid.is_inside(code) { *g } else { 0.0 };
                        }
                        [0.0; 2]
                    }
                    Learns::Step { .. } => task(grid, g, x, |v, rounded| rounded - v),
                    Learns::Clip { .. } => task(grid, g, x, |_, _| 0.0),
                };
                let parts: Vec<[f64; 2]> = tasks
                    .enumerate()
                    .map(|(at, (g, x))| {
                        let Some(stays) = codes.stays else {
                            return rounded(g, x);
                        };
                        let start = of * group + at * TASK;
                        let mut kept = pool::take(g.len());
                        stays.each(start, g.len(), |i, stays| {
                            kept[i] = if stays { g[i] } else { 0.0 };
                            g[i] = if stays { 0.0 } else { g[i] };
                        });
                        let sums = rounded(g, x);
                        g.iter_mut().zip(&kept).for_each(|(g, kept)| *g += kept);
                        pool::give(kept);
                        sums
                    })
                    .collect();
                // In the order of the tasks, which are of a fixed size.
                parts
                    .iter()
                    .fold([0.0; 2], |[s, z], part| [s + part[0], z + part[1]])
            })
            .collect();
        let shape = x.shape();
        recycle(x);
        let factor = match codes.learns {
            Learns::Nothing => None,
            Learns::Step { factor } | Learns::Clip { factor } => Some(f64::from(factor)),
        };
        let wanted = |operand: usize| ops.parents.get(operand).and_then(Option::as_ref);
        let of_grid = |factor: f64, of: &dyn Fn(usize) -> f64| {
            let values: Vec<f32> = (0..grids.len()).map(|i| (factor * of(i)) as f32).collect();
            let len = values.len();
            FlexTensor::from_data(TensorData::new(values, [len]))
        };
        if let (Some(node), Some(factor)) = (wanted(1), factor) {
            grads.register::<Flex>(node.id, of_grid(factor, &|i| sums[i][0]));
        }
        if let (Some(node), Some(factor)) = (wanted(2), factor) {
            let scale = |i: usize| f64::from(grids[i].scale);
            grads.register::<Flex>(node.id, of_grid(factor, &|i| -scale(i) * sums[i][1]));
        }
        match wanted(0) {
            Some(node) => {
                let gradient = FlexTensor::from_data(TensorData::new(gradient, shape));
                grads.register::<Flex>(node.id, gradient);
            }
            None => pool::give(gradient),
        }
    }
}

/// Equation (2) in place; the sums of (3) or (4), and of the gradients outside. `within` is dy/ds inside.
///
/// The terms are put aside and summed afterwards: a loop that does both does not compile to vectors.
#[inline(always)]
fn task(grid: Group, g: &mut [f32], x: &[f32], within: impl Fn(f32, f32) -> f32) -> [f64; 2] {
    let mut total = [0.0; 2];
    let mut terms = [[0.0_f32; RUN]; 2];
    for (g, x) in g.chunks_mut(RUN).zip(x.chunks(RUN)) {
        let [scale, outside] = &mut terms;
        let (scale, outside) = (&mut scale[..x.len()], &mut outside[..x.len()]);
        let places = g
            .iter_mut()
            .zip(x)
            .zip(scale.iter_mut().zip(outside.iter_mut()));
        for ((g, &x), (scale, outside)) in places {
            let [v, rounded, code, step] = grid.place(x);
            let inside = grid.is_inside(code);
            let slope = within(v, rounded);
            *scale = *g * if inside { slope } else { step };
            *outside = if inside { 0.0 } else { *g };
            *g = if inside { *g } else { 0.0 };
        }
        total[0] += sum(scale);
        total[1] += sum(outside);
    }
    total
}

fn sum(run: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let whole = run.chunks_exact(LANES);
    let rest = whole.remainder();
    for values in whole {
        for lane in 0..LANES {
            lanes[lane] += values[lane];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum()
}
