//! Stochastic gradient descent as `torch.optim.SGD` computes it (dampening 0), in f32 on the host:
//!
//! ```text
//! g <- g + weight_decay w          (convolution and linear weights alone)
//! v <- momentum v + g              (v starts at 0)
//! w <- w - rate v                  (Nesterov: w - rate (g + momentum v))
//! ```
//!
//! Weights, gradients and momentum buffers go by PyTorch's names, which is what makes a checkpoint self-contained:
//! burn's own optimizer keys its buffers by parameter ids that are drawn anew for every module. A network of a quarter
//! of a million weights moves in well under a millisecond.
//!
//! BatchNorm's scale and shift and the classifier's bias do not decay (Goyal et al. 2017, arXiv 1706.02677). The steps of
//! quantizers do not either and have a rate of their own; the clipping bounds of `pact` have that rate and decay.
//! A step or a bound moves by at most a tenth of itself at a time. Without that, the momentum of a few large gradients carries
//! the finest of them (those of 8 bits) through zero, from where nothing comes back.

use network::{HostTensor, StateDict};
use quantize::names;

use super::TrainError;

/// The largest ratio of a quantizer's step after an update to that before, either way.
const LARGEST_RATIO: f32 = 1.1;

/// The constants of the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the old velocity that stays.
    pub momentum: f32,
    /// Whether the step looks ahead.
    pub nesterov: bool,
    /// Pull towards zero.
    pub weight_decay: f32,
    /// Rate of quantizers' parameters as a multiple of that of weights.
    pub step_rate: f32,
}

impl Sgd {
    /// Whether a tensor decays: a kernel or a matrix does, a vector does not unless it is a bound.
    pub fn decays(name: &str, shape: &[usize]) -> bool {
        shape.len() > 1 || names::decays(name)
    }

    /// Moves `weights` by one step; `gradients` and `velocity` have a tensor for each trained one, of the same shape.
    ///
    /// # Errors
    /// [`TrainError::Network`] where a tensor is missing.
    pub fn step(
        &self,
        weights: &mut StateDict,
        velocity: &mut StateDict,
        gradients: &StateDict,
        rate: f64,
    ) -> Result<(), TrainError> {
        for (name, gradient) in gradients {
            let rate = match names::is_step(name) {
                true => rate as f32 * self.step_rate,
                false => rate as f32,
            };
            velocity.require(name)?;
            weights.require(name)?;
            let (Some(weight), Some(velocity)) = (weights.get_mut(name), velocity.get_mut(name))
            else {
                continue;
            };
            let positive = names::is_positive(name);
            let decay = if Self::decays(name, &weight.shape) {
                self.weight_decay
            } else {
                0.0
            };
            let values = weight.data.iter_mut().zip(&mut velocity.data);
            for ((w, v), g) in values.zip(&gradient.data) {
                let g = g + decay * *w;
                *v = self.momentum * *v + g;
                let direction = if self.nesterov {
                    g + self.momentum * *v
                } else {
                    *v
                };
                let moved = *w - rate * direction;
                *w = match positive {
                    // NaN passes through, to be found and named.
                    true => moved.clamp(*w / LARGEST_RATIO, *w * LARGEST_RATIO),
                    false => moved,
                };
            }
        }
        Ok(())
    }
}

/// Momentum buffers before the first step: a zero for every weight in `trained`.
pub fn at_rest(weights: &StateDict, trained: impl Fn(&str) -> bool) -> StateDict {
    weights
        .iter()
        .filter(|(name, _)| trained(name))
        .map(|(name, tensor)| {
            let zeros = HostTensor {
                shape: tensor.shape.clone(),
                data: vec![0.0; tensor.len()],
            };
            (name.clone(), zeros)
        })
        .collect()
}

/// Whether a tensor of a network is trained (running statistics and moving ranges are measured instead).
pub fn is_trained(name: &str) -> bool {
    names::is_trained(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(kernel: f32, bias: f32) -> StateDict {
        let tensor = |shape: &[usize], value| HostTensor::new(shape.to_vec(), vec![value]).unwrap();
        [
            ("w".to_string(), tensor(&[1, 1], kernel)),
            ("b".to_string(), tensor(&[1], bias)),
        ]
        .into_iter()
        .collect()
    }

    fn after(sgd: Sgd, steps: usize) -> (f32, f32) {
        let mut weights = dict(2.0, 2.0);
        let mut velocity = at_rest(&weights, |_| true);
        for _ in 0..steps {
            sgd.step(&mut weights, &mut velocity, &dict(1.0, 1.0), 0.5)
                .unwrap();
        }
        let value = |name: &str| weights.get(name).unwrap().data[0];
        (value("w"), value("b"))
    }

    // Expected values worked out by hand from the header's three lines, all exact in f32.
    #[test]
    fn two_steps_are_those_of_the_equations() {
        let sgd = Sgd {
            momentum: 0.5,
            nesterov: false,
            weight_decay: 0.25,
            step_rate: 1.0,
        };
        // w: g 1.5, v 1.5, w 1.25; g 1.3125, v 2.0625, w 0.21875. b: v 1, b 1.5; v 1.5, b 0.75.
        assert_eq!(after(sgd, 1), (1.25, 1.5));
        assert_eq!(after(sgd, 2), (0.21875, 0.75));
        let nesterov = Sgd {
            nesterov: true,
            ..sgd
        };
        // w: g 1.5, v 1.5, d 2.25. b: g 1, v 1, d 1.5.
        assert_eq!(after(nesterov, 1), (0.875, 1.25));
    }

    #[test]
    fn a_quantizers_step_stays_positive_whatever_its_gradient() {
        let sgd = Sgd {
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            step_rate: 1.0,
        };
        let name = names::site("input", "step");
        let one = |value: f32| -> StateDict {
            let tensor = HostTensor::new(vec![1], vec![value]).unwrap();
            [(name.clone(), tensor)].into_iter().collect()
        };
        for (gradient, expected) in [(1e6, 1.0 / 1.1), (-1e6, 1.1), (0.01, 0.99)] {
            let (mut weights, mut velocity) = (one(1.0), one(0.0));
            sgd.step(&mut weights, &mut velocity, &one(gradient), 1.0)
                .unwrap();
            assert_eq!(weights.get(&name).unwrap().data, [expected]);
        }
    }

    #[test]
    fn running_statistics_are_not_trained() {
        assert!(is_trained("layer1.0.bn1.weight"));
        assert!(!is_trained("layer1.0.bn1.running_mean"));
        assert!(!is_trained("bn1.running_var"));
    }

    #[test]
    fn a_gradient_without_a_weight_is_an_error() {
        let sgd = Sgd {
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            step_rate: 1.0,
        };
        let mut weights = StateDict::new();
        let mut velocity = dict(0.0, 0.0);
        assert!(
            sgd.step(&mut weights, &mut velocity, &dict(1.0, 1.0), 0.1)
                .is_err()
        );
    }
}
