//! LSQ+: a learned step and a learned offset for activations that are not centred: Bhalgat et al. 2020 (arXiv 2004.09576).
//!
//! ```text
//! y = s clamp(round((x - beta) / s), n, p) + beta                (the paper's equation 3)
//! z = clamp(round(-beta / s), quant_min, quant_max)              (here)
//! ```
//!
//! The paper's beta is any number; here it enters through a whole zero point, so that 0 stays exactly representable, which zero
//! padding and integer arithmetic need. Rounding to z counts as the identity. Then the chain rule over equations (4) and (6)
//! gives the paper's gradients: dy/dbeta = 1 outside and 0 inside, dy/ds = quant_min or quant_max outside. The clamp of z holds
//! a range that has left 0 at its end.
//!
//! Weights have no offset (section 4.1 of the paper): their grid is that of [`super::lsq`], begun with
//! `s_0 = max(|mean - 3 sd|, |mean + 3 sd|) / 2^(b-1)` (section 4.2).

#[cfg(feature = "tensor")]
use burn::tensor::Tensor;

use super::SMALLEST_STEP;
#[cfg(feature = "tensor")]
use super::fake_quant::round;
#[cfg(feature = "tensor")]
use super::lsq::gradient_factor;
#[cfg(feature = "tensor")]
use super::{Grid, Learns};

/// The step that weights begin with; `steps` is 2^(bits - 1).
pub fn initial_weight_step(mean: f64, standard_deviation: f64, steps: i32) -> f32 {
    let reach = (mean.abs() + 3.0 * standard_deviation) / f64::from(steps.max(1));
    (reach as f32).max(SMALLEST_STEP)
}

/// The zero point of an offset, on the host; see the header.
pub fn zero_point(step: f32, offset: f32, (quant_min, quant_max): (i32, i32)) -> i32 {
    let z = (-offset / step).round_ties_even();
    z.clamp(quant_min as f32, quant_max as f32) as i32
}

/// The grid of a learned step and offset, `[1]` each, shared by `n` values.
#[cfg(feature = "tensor")]
pub fn grid(
    step: Tensor<1>,
    offset: Tensor<1>,
    (quant_min, quant_max): (i32, i32),
    n: usize,
) -> Grid {
    let free = round(-offset / step.clone());
    Grid {
        zero_point: Some(free.clamp(quant_min as f32, quant_max as f32)),
        scale: step,
        quant_min,
        quant_max,
        learns: Learns::Step {
            factor: gradient_factor(n, quant_max),
        },
    }
}
