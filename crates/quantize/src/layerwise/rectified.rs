//! The variables of adaptive rounding: between which two codes each weight lies, how far it is, and Adam's steps (equations (1) and
//! (2) of `adaround.rs`).

use quant_core::{QParams, power_f32};
use rayon::prelude::*;

use super::adaround::AdaRound;

/// Share of the steps before the penalty sets in.
const WARM_UP: f64 = 0.2;
/// The penalty's exponent, then and in the end.
const BETA: [f64; 2] = [20.0, 2.0];
/// What is kept of Adam's means, of gradients and of their squares.
const KEPT: [f64; 2] = [0.9, 0.999];
/// Weights that one thread takes at a time, at least.
const WEIGHTS: usize = 1024;

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
pub(super) struct Rounding {
    weights: Vec<Weight>,
    taps: usize,
    /// Adam's means of ones.
    kept: [f64; 2],
}

impl Rounding {
    /// Begins at the float weights `w`, `[outputs][taps]`.
    pub fn new<'a>(
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
    pub fn weights(&self) -> Vec<f32> {
        let all = self.weights.par_iter().with_min_len(WEIGHTS);
        all.map(|weight| {
            let code = weight.below + rectified(weight.v)[0];
            weight.scale * code.max(weight.ends[0]).min(weight.ends[1])
        })
        .collect()
    }

    /// A step down the gradient, `unit` times too large, of the loss by q, and that of the penalty.
    pub fn step(&mut self, gradient: &[f32], unit: f64, (how, step): (&AdaRound, usize)) {
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
    pub fn codes(&self) -> Vec<i32> {
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
    use super::*;

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
