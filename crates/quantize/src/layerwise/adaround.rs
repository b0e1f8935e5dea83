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
use quant_core::{Quantized, Scheme, Values, uniform};
use rayon::prelude::*;

use super::descent::group_of;
use super::gram::assembled;
use super::patches::Point;
use super::problem::Problem;
use super::rectified::Rounding;
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

/// Points that are drawn from one image after the other: they lie near each other in memory.
const TOGETHER: usize = 32;

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
}
