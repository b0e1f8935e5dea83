//! Learned step size quantization: Esser et al. 2020 (arXiv 1902.08153).
//!
//! ```text
//! s_0 = 2 mean|x| / sqrt(quant_max)          the step to begin with                 (section 2.1)
//! g   = 1 / sqrt(N quant_max)                what the step's gradient is times      (section 2.2)
//! ```
//!
//! N is the number of weights that share the step, or of a site's values for one image. A quant_max of 0 (1 bit) counts as 1.
//! The factor takes for granted that the step is measured in what the weights are trained in. Without the factor g the gradient of a step is larger than that of a weight, relative to each, by about sqrt(N quant_max).

#[cfg(feature = "tensor")]
use burn::tensor::Tensor;

use super::SMALLEST_STEP;
#[cfg(feature = "tensor")]
use super::{Grid, Learns};

/// `s_0` for values of mean magnitude `mean_abs`; never below [`SMALLEST_STEP`].
pub fn initial_step(mean_abs: f64, quant_max: i32) -> f32 {
    let step = 2.0 * mean_abs / f64::from(quant_max.max(1)).sqrt();
    (step as f32).max(SMALLEST_STEP)
}

/// `g` for `n` values that share a step.
pub fn gradient_factor(n: usize, quant_max: i32) -> f32 {
    (1.0 / (n.max(1) as f64 * f64::from(quant_max.max(1))).sqrt()) as f32
}

/// The grid of a learned `step`, `[1]` or `[channels]`, shared by `n` values each; the zero point, if there is one, stays.
#[cfg(feature = "tensor")]
pub fn grid(
    step: Tensor<1>,
    zero_point: Option<Tensor<1>>,
    (quant_min, quant_max): (i32, i32),
    n: usize,
) -> Grid {
    Grid {
        scale: step,
        zero_point,
        quant_min,
        quant_max,
        learns: Learns::Step {
            factor: gradient_factor(n, quant_max),
        },
    }
}
