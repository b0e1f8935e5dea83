//! Grids from minimum and maximum: Jacob et al. 2018 (arXiv 1712.05877, section 3.1), Krishnamoorthi 2018 (arXiv 1806.08342, section 3.1).
//!
//! Weights: the range of the weights as they are at this step, which [`crate::parameters`] finds. Activations: a moving average of the
//! ranges of the batches, widened to contain 0,
//!
//! ```text
//! lo <- m lo + (1 - m) min(batch)      hi <- m hi + (1 - m) max(batch)
//! ```
//!
//! begun with the calibrated range. A step quantizes by the average as it stands before that step, so that every part of a batch has the
//! same grid. For the first steps activations may stay in float while the average settles (Jacob et al.: 50,000 to 2 million steps).
//! Ranges have no gradient: they are measured, not learned.

#[cfg(feature = "tensor")]
use burn::tensor::{Tensor, TensorData};

#[cfg(feature = "tensor")]
use super::{Grid, Learns, SMALLEST_STEP};
use crate::grid::{Centred, affine};
use crate::{ActivationScheme, Mapping, QParams, Reason};

/// Parameters as a grid of constants on `x`'s device. A group without a scale (all zeros) gets one that does no harm.
#[cfg(feature = "tensor")]
pub fn constant_grid<const D: usize>(params: &[QParams], x: &Tensor<D>) -> Option<Grid> {
    let first = params.first()?;
    let column = |values: Vec<f32>| {
        let data = TensorData::new(values, [params.len()]);
        Tensor::<1>::from_data(data, &x.clone().inner().device())
    };
    let scale = |q: &QParams| if q.is_float() { SMALLEST_STEP } else { q.scale };
    let zero_point = params.iter().any(|q| q.zero_point != 0);
    let zero_points = || column(params.iter().map(|q| q.zero_point as f32).collect());
    Some(Grid {
        scale: column(params.iter().map(scale).collect()),
        zero_point: zero_point.then(zero_points),
        quant_min: first.quant_min,
        quant_max: first.quant_max,
        learns: Learns::Nothing,
    })
}

/// The parameters of an activation range, widened to contain 0. A range that never was negative has codes without a sign, as
/// [`crate::fit_activation`] gives it; one of zeros alone, or that has shrunk to nothing while its site saw zeros, is that of a dead
/// site ([`ActivationScheme::dead`]).
///
/// # Errors
/// [`Reason::ScaleOverflow`]: the range is too large for float32.
pub fn activation_params(
    (lo, hi): (f32, f32),
    scheme: &ActivationScheme,
) -> Result<QParams, Reason> {
    let (lo, hi) = (lo.min(0.0), hi.max(0.0));
    let grid = match scheme.mapping() {
        _ if lo == 0.0 && hi == 0.0 => return Ok(scheme.dead()),
        Mapping::Affine => affine(scheme.as_scheme(), lo, hi),
        Mapping::Symmetric | Mapping::PowerOfTwo => {
            let grid: Centred = scheme.centred(lo < 0.0);
            grid.over(hi.max(-lo))
        }
    };
    match grid {
        Err(Reason::ScaleUnderflow) => Ok(scheme.dead()),
        grid => grid,
    }
}
