//! Adaptive rounding (Nagel et al. 2020, arXiv 2004.10568): each weight's code is one of the two next to it, and which one is learned
//! by gradients. With s the scale, x~ the patches that the quantized network reads less their means, y what the float layer makes:
//!
//! ```text
//! q = s clamp(floor(w / s) + h(v))            h(v) = clamp(1.2 sigmoid(v) - 0.1, 0, 1)                     (1)
//! loss = E |f(q x~ + E y) - f(y)|^2 / var y + penalty sum 1 - |2 h(v) - 1|^beta                            (2)
//! ```
//!
//! f is the clipping that follows the layer directly, and the loss is taken on batches of points. Where nothing is clipped the first
//! term is the quadratic form `(q - w*)' A (q - w*)` of `problem.rs`, on all points at once. v begins where q is w. Adam's steps; the
//! penalty sets in after a fifth of them, and beta falls from 20 to 2, so that h ends at 0 or 1. What is left undecided is rounded:
//! every weight that comes out has a code. The division by the outputs' variance makes the penalty mean the same in every layer.

use engine::{product, transposed};
use network::HostTensor;
use quant_core::{QParams, Quantized, Scheme, Values, power_f32, uniform};
use rayon::prelude::*;

use super::descent::group_of;
use super::gram::assembled;
use super::patches::Point;
use super::problem::Problem;
use super::scales::Scales;
use super::seen::Seen;
use crate::error::Error;

/// Adaptive rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaRound {
    /// Steps.
    pub iterations: usize,
    /// Adam's.
    pub rate: f64,
    /// Points that a step is taken on, where the outputs are clipped.
    pub batch: usize,
    /// What weighs the term that drives h to 0 or 1.
    pub penalty: f64,
}

impl Default for AdaRound {
    fn default() -> Self {
        Self {
            iterations: 1000,
            rate: 1e-2,
            batch: 2048,
            penalty: 1e-2,
        }
    }
}

/// Share of the steps before the penalty sets in.
const WARM_UP: f64 = 0.2;
/// The penalty's exponent, then and in the end.
const BETA: [f64; 2] = [20.0, 2.0];
/// What is kept of Adam's means, of gradients and of their squares.
const KEPT: [f64; 2] = [0.9, 0.999];
/// Points that are drawn from one image after the other: they lie near each other in memory.
const TOGETHER: usize = 32;
/// Weights that one thread takes at a time, at least.
const WEIGHTS: usize = 1024;

/// Codes for the weights of a layer, whose inputs and outputs are `seen`.
pub(super) fn solve(
    (name, weight): (&str, &HostTensor),
    scheme: &Scheme,
    (problems, scales): (&[Problem], Scales),
    seen: &Seen,
    (how, seed): (&AdaRound, u64),
) -> Result<Quantized, Error> {
    let values = Values::new(name, &weight.data, &weight.shape)?;
    let start = scales.start(&values, scheme, problems);
    let outputs = weight.shape[0] / problems.len();
    let of_group = |(group, problem): (usize, &Problem)| {
        let params = |o: usize, k: usize| {
            let at = group_of(&start.layout, problem.taps, group * outputs + o, k);
            &start.params[at]
        };
        let own = &weight.data[group * outputs * problem.taps..][..outputs * problem.taps];
        let mut rounding = Rounding::new(own, [problem.taps, outputs], params);
        for step in 0..how.iterations {
            let q = rounding.weights();
            let gradient = match &seen.clip {
                None => problem.gradient(&q),
                Some(ends) => {
                    let ends = &ends[group * outputs..][..outputs];
                    let points = seen.draw(how.batch, seed, step);
                    clipped_gradient(seen, (group, problem), (&points, ends), &q)
                }
            };
            rounding.step(&gradient, problem.unit(), (how, step));
        }
        rounding.codes()
    };
    let codes: Vec<Vec<i32>> = problems.par_iter().enumerate().map(of_group).collect();
    let params = start.params.clone();
    Ok(assembled(start, &params, &codes.concat()))
}

/// The gradient of the first term of equation (2), times the outputs' variance, by the weights `q`, `[taps][outputs]`, on `points`.
fn clipped_gradient(
    seen: &Seen,
    (group, problem): (usize, &Problem),
    (points, ends): (&[Point], &[[f32; 2]]),
    q: &[f32],
) -> Vec<f32> {
    let (taps, outputs, count) = (problem.taps, ends.len(), points.len());
    let mut x = seen.geometry.patches(&seen.input, group, points);
    let lines = x.par_chunks_exact_mut(count).zip(&problem.means.0);
    lines.for_each(|(line, &mean)| line.iter_mut().for_each(|x| *x -= mean as f32));
    let y = seen.geometry.outputs(&seen.output, group, points);
    let mut left = product(&transposed(&x, [taps, count]), q, [count, taps, outputs]);
    let lines = left.par_chunks_exact_mut(outputs).enumerate();
    lines.for_each(|(p, line)| {
        for (o, (left, &[low, high])) in line.iter_mut().zip(ends).enumerate() {
            let made = *left + problem.means.1[o] as f32;
            *left = match made > low && made < high {
                true => 2.0 * (made - y[o * count + p].max(low).min(high)) / count as f32,
                false => 0.0,
            };
        }
    });
    product(&x, &left, [taps, count, outputs])
}

impl Seen {
    /// About `count` output pixels, drawn anew at each step.
    fn draw(&self, count: usize, seed: u64, step: usize) -> Vec<Point> {
        let (width, all) = (
            self.geometry.to.width,
            self.geometry.to.height * self.geometry.to.width,
        );
        let each = TOGETHER.min(all);
        let below = |end: usize, at: usize| {
            let draw = uniform(seed, (step * 2 * count.max(each) + at) as u64);
            ((end as f32 * draw) as usize).min(end - 1)
        };
        let images = count.div_ceil(each);
        let of_image = |i: usize| {
            let image = below(self.images, i * (each + 1));
            (1..=each).map(move |j| {
                let at = below(all, i * (each + 1) + j);
                Point {
                    image,
                    y: at / width,
                    x: at % width,
                }
            })
        };
        (0..images).flat_map(of_image).collect()
    }
}

/// A weight on its way to one of two codes.
#[derive(Clone, Copy)]
struct Weight {
    scale: f32,
    /// The lower code, and the ends of the codes, less the zero point.
    below: f32,
    ends: [f32; 2],
    v: f32,
    /// Adam's.
    mean: f32,
    square: f32,
}

/// The weights of a group, `[taps][outputs]`.
struct Rounding {
    weights: Vec<Weight>,
    taps: usize,
    /// Adam's means of ones.
    kept: [f64; 2],
}

impl Rounding {
    /// Begins at the float weights `w`, `[outputs][taps]`.
    fn new<'a>(
        w: &[f32],
        [taps, outputs]: [usize; 2],
        params: impl Fn(usize, usize) -> &'a QParams,
    ) -> Self {
        let weight = |at: usize| {
            let (k, o) = (at / outputs, at % outputs);
            let params = params(o, k);
            // One that stays in float is left where it is.
            let code = match params.is_float() {
                true => 0.0,
                false => w[o * taps + k] / params.scale,
            };
            let share = code - code.floor();
            let sigmoid = f64::from((share + 0.1) / 1.2);
            Weight {
                scale: params.scale,
                below: code.floor(),
                ends: [params.quant_min, params.quant_max]
                    .map(|end| (end - params.zero_point) as f32),
                v: -quant_core::ln(1.0 / sigmoid - 1.0) as f32,
                mean: 0.0,
                square: 0.0,
            }
        };
        Self {
            weights: (0..taps * outputs).map(weight).collect(),
            taps,
            kept: [1.0; 2],
        }
    }

    /// q of equation (1).
    fn weights(&self) -> Vec<f32> {
        let all = self.weights.par_iter().with_min_len(WEIGHTS);
        all.map(|weight| {
            let code = weight.below + rectified(weight.v)[0];
            weight.scale * code.max(weight.ends[0]).min(weight.ends[1])
        })
        .collect()
    }

    /// A step down the gradient, `unit` times too large, of the loss by q, and that of the penalty.
    fn step(&mut self, gradient: &[f32], unit: f64, (how, step): (&AdaRound, usize)) {
        let done = step as f64 / how.iterations as f64;
        let rest = (1.0 - done) / (1.0 - WARM_UP);
        let beta = (BETA[1] + (BETA[0] - BETA[1]) * rest) as f32;
        let penalty = if done < WARM_UP {
            0.0
        } else {
            how.penalty as f32
        };
        for (all, kept) in self.kept.iter_mut().zip(KEPT) {
            *all *= kept;
        }
        let [first, second] = KEPT.map(|kept| kept as f32);
        let [whole, whole_square] = self.kept.map(|all| (1.0 / (1.0 - all)) as f32);
        let (rate, per_unit) = (how.rate as f32, (1.0 / unit) as f32);
        let all = self.weights.par_iter_mut().with_min_len(WEIGHTS);
        all.zip(gradient).for_each(|(weight, &by_q)| {
            let [h, slope] = rectified(weight.v);
            let code = weight.below + h;
            let is_inside = code >= weight.ends[0] && code <= weight.ends[1];
            let by_h = if is_inside {
                by_q * per_unit * weight.scale
            } else {
                0.0
            };
            let from_half = 2.0 * h - 1.0;
            let by_penalty = match penalty > 0.0 {
                true => {
                    -2.0 * penalty
                        * beta
                        * from_half.signum()
                        * power_f32(from_half.abs(), beta - 1.0)
                }
                false => 0.0,
            };
            let g = (by_h + by_penalty) * slope;
            weight.mean = first * weight.mean + (1.0 - first) * g;
            weight.square = second * weight.square + (1.0 - second) * g * g;
            let root = (weight.square * whole_square).sqrt();
            weight.v -= rate * weight.mean * whole / (root + 1e-8);
        });
    }

    /// The codes less the zero point, `[outputs][taps]`.
    fn codes(&self) -> Vec<i32> {
        let outputs = self.weights.len() / self.taps;
        let code = |at: usize| {
            let weight = &self.weights[at % self.taps * outputs + at / self.taps];
            let up = if rectified(weight.v)[0] >= 0.5 {
                1.0
            } else {
                0.0
            };
            (weight.below + up).max(weight.ends[0]).min(weight.ends[1]) as i32
        };
        (0..self.weights.len()).map(code).collect()
    }
}

/// h(v) of equation (1), and its slope.
fn rectified(v: f32) -> [f32; 2] {
    let sigmoid = 1.0 / (1.0 + power_f32(std::f32::consts::E, -v));
    let h = 1.2 * sigmoid - 0.1;
    match h > 0.0 && h < 1.0 {
        true => [h, 1.2 * sigmoid * (1.0 - sigmoid)],
        false => [h.clamp(0.0, 1.0), 0.0],
    }
}

#[cfg(test)]
mod tests {
    use super::super::patches::Geometry;
    use super::super::problem::sums;
    use super::*;
    use engine::{Shape, Window};

    #[test]
    fn the_gradient_through_the_clipping_is_that_of_the_loss() {
        let shape = Shape::new(2, 4, 4);
        let values = |seed, count: usize| {
            let value = |i| 2.0 * uniform(seed, i as u64) - 1.0;
            (0..count).map(value).collect::<Vec<f32>>()
        };
        let seen = Seen {
            geometry: Geometry {
                from: shape,
                to: shape,
                window: Window::square(3, 1, 1),
                groups: 1,
            },
            clip: Some(vec![[0.0, 0.5], [-0.3, f32::INFINITY]]),
            images: 3,
            input: values(1, 3 * 32),
            output: values(2, 3 * 32),
        };
        let points = seen.draw(200, 4, 7);
        assert!(points.len() >= 200 && points.iter().all(|p| p.image < 3));
        let all = sums(&seen.geometry, 0, &points, (&seen.input, &seen.output));
        let w = values(3, 36);
        let problem = Problem::new(all, &w, (0.01, false), false).unwrap();
        let ends = seen.clip.as_ref().unwrap();
        let loss = |q: &[f32]| -> f64 {
            let x = seen.geometry.patches(&seen.input, 0, &points);
            let y = seen.geometry.outputs(&seen.output, 0, &points);
            let mut sum = 0.0;
            for (p, o) in (0..points.len()).flat_map(|p| [(p, 0), (p, 1)]) {
                let taps = (0..18).map(|k| {
                    f64::from(q[k * 2 + o])
                        * (f64::from(x[k * points.len() + p]) - problem.means.0[k])
                });
                let made = taps.sum::<f64>() + problem.means.1[o];
                let [low, high] = ends[o].map(f64::from);
                let y = f64::from(y[o * points.len() + p]);
                sum += (made.clamp(low, high) - y.clamp(low, high)).powi(2);
            }
            sum / points.len() as f64
        };
        let q = transposed(&w, [2, 18]);
        let gradient = clipped_gradient(&seen, (0, &problem), (&points, ends), &q);
        for k in [0, 7, 20, 35] {
            let [up, down] = [1e-4, -1e-4].map(|step| {
                let mut q = q.clone();
                q[k] += step;
                loss(&q)
            });
            let slope = (up - down) / 2e-4;
            assert!(
                (slope - f64::from(gradient[k])).abs() < 1e-2,
                "{slope} {}",
                gradient[k]
            );
        }
    }

    #[test]
    fn a_weight_begins_where_it_is_and_its_slope_is_that_of_h() {
        for share in [0.01_f32, 0.25, 0.5, 0.9] {
            let params = QParams {
                scale: 0.5,
                zero_point: 0,
                quant_min: -3,
                quant_max: 3,
            };
            let w = (share - 2.0) * 0.5;
            let rounding = Rounding::new(&[w], [1, 1], |_, _| &params);
            assert!((rounding.weights()[0] - w).abs() < 1e-6, "{share}");
            let v = rounding.weights[0].v;
            let [up, down] = [v + 1e-2, v - 1e-2].map(|v| rectified(v)[0]);
            assert!(
                ((up - down) / 2e-2 - rectified(v)[1]).abs() < 1e-3,
                "{share}"
            );
        }
        assert_eq!(rectified(9.0), [1.0, 0.0]);
        assert_eq!(rectified(-9.0), [0.0, 0.0]);
    }
}
