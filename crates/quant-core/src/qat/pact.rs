//! PACT: a learned clipping bound for activations: Choi et al. 2018 (arXiv 1805.06085).
//!
//! ```text
//! y = clip(x, 0, alpha), then alpha / (2^b - 1) steps wide codes           dy/dalpha = 1 where x >= alpha, else 0
//! s = alpha / quant_max
//! ```
//!
//! By the chain rule over equation (5). A site with negative values (the images, a summand) has the codes
//! -quant_max ..= quant_max and is clipped on both sides: dy/dalpha is -1 below. The bound decays as a weight does (the paper's
//! section 3: an L2 term pulls it down from a large start), so it belongs to that group of the optimizer.

#[cfg(feature = "tensor")]
use burn::tensor::Tensor;

use super::SMALLEST_STEP;
#[cfg(feature = "tensor")]
use super::{Grid, Learns};

/// The bound of a calibrated step.
pub fn initial_bound(step: f32, quant_max: i32) -> f32 {
    step.max(SMALLEST_STEP) * quant_max.max(1) as f32
}

/// The step of a bound, on the host.
pub fn step(bound: f32, quant_max: i32) -> f32 {
    bound / quant_max.max(1) as f32
}

/// The grid of a learned bound, `[1]`.
#[cfg(feature = "tensor")]
pub fn grid(
    bound: Tensor<1>,
    zero_point: Option<Tensor<1>>,
    (quant_min, quant_max): (i32, i32),
) -> Grid {
    Grid {
        scale: bound / quant_max.max(1) as f32,
        zero_point,
        quant_min,
        quant_max,
        learns: Learns::Clip { factor: 1.0 },
    }
}
