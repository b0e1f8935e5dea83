//! From the statistics of a site to its parameters. What [`crate::fit`] does with the values of a weight tensor, this does with a histogram
//! of activations; the searches and the grids are the same functions.
//!
//! A `symmetric` or `power_of_two` site that never was negative (the output of a ReLU) gets the codes 0 ..= 2^b - 1 with zero point 0, as
//! the int8 runtimes do: signed codes would leave half of them unused, which is one bit of two.

use super::estimate::{Line, magnitudes, shrink};
use super::range::ActivationRange;
use super::scheme::ActivationScheme;
use super::statistics::Statistics;
use crate::fit::{Estimate, settle_affine, settle_centred};
use crate::grid::affine;
use crate::{Mapping, QParams, Reason};

/// The parameters of a site under `scheme`; 0 is one of the numbers they represent exactly. For several sites that share a scale, merge
/// their statistics first ([`Statistics::merge`]). A dead site ([`Statistics::is_dead`]) gets [`ActivationScheme::dead`].
///
/// # Errors
/// The [`Reason`] why the site cannot be quantized: [`Reason::Unseen`], [`Reason::ScaleUnderflow`] or [`Reason::ScaleOverflow`].
pub fn fit_activation(
    statistics: &Statistics,
    scheme: &ActivationScheme,
) -> Result<QParams, Reason> {
    let (min, max) = statistics.range().ok_or(Reason::Unseen)?;
    if statistics.is_dead() {
        return Ok(scheme.dead());
    }
    match scheme.mapping() {
        Mapping::Affine => fit_affine(statistics, scheme, (min.min(0.0), max.max(0.0))),
        Mapping::Symmetric | Mapping::PowerOfTwo => fit_centred(statistics, scheme, (min, max)),
    }
}

/// The parameters of a site over its whole range times `factor`, both ends alike; none where it cannot be quantized so. For searches
/// that know another error than that of the values; how the scheme finds ranges plays no part.
pub fn shrunk_activation(
    statistics: &Statistics,
    scheme: &ActivationScheme,
    factor: f32,
) -> Option<QParams> {
    let (min, max) = statistics.range()?;
    if statistics.is_dead() {
        return None;
    }
    let made = match scheme.mapping() {
        Mapping::Affine => {
            let (lo, hi) = (min.min(0.0) * factor, max.max(0.0) * factor);
            affine(scheme.as_scheme(), lo, hi)
        }
        Mapping::Symmetric | Mapping::PowerOfTwo => {
            scheme.centred(min < 0.0).over(max.max(-min) * factor)
        }
    };
    made.ok()
}

/// `lo <= 0 <= hi` are the widened minimum and maximum.
fn fit_affine(
    statistics: &Statistics,
    scheme: &ActivationScheme,
    (lo, hi): (f32, f32),
) -> Result<QParams, Reason> {
    let histogram = statistics.histogram();
    let line = Line::new(histogram);
    let estimate = match scheme.range() {
        ActivationRange::MinMax => Estimate::Whole,
        ActivationRange::MovingAverage { momentum } => {
            Estimate::Cut(statistics.moving_average(momentum))
        }
        ActivationRange::Percentile(percent) => {
            Estimate::Cut((line.percentile(100.0 - percent), line.percentile(percent)))
        }
        ActivationRange::Mse { exponent } => Estimate::Search { exponent },
        ActivationRange::OutputMse => Estimate::Search { exponent: 2.0 },
        ActivationRange::Entropy => {
            let levels = scheme.bits().steps() as usize + 1;
            Estimate::Cut(shrink(histogram, (lo, hi), levels))
        }
    };
    settle_affine(
        scheme.as_scheme(),
        (lo, hi),
        estimate,
        |q, unit, p, enough| line.error_sum(q, unit, p, enough),
    )
}

/// `min` and `max` are not both 0.
fn fit_centred(
    statistics: &Statistics,
    scheme: &ActivationScheme,
    (min, max): (f32, f32),
) -> Result<QParams, Reason> {
    let histogram = statistics.histogram();
    let bound = max.max(-min);
    let grid = scheme.centred(min < 0.0);
    let estimate = match scheme.range() {
        ActivationRange::MinMax => Estimate::Whole,
        ActivationRange::MovingAverage { momentum } => {
            let (lo, hi) = statistics.moving_average(momentum);
            Estimate::Cut(hi.max(-lo))
        }
        ActivationRange::Percentile(percent) => {
            Estimate::Cut(magnitudes(histogram).percentile(percent))
        }
        ActivationRange::Mse { exponent } => Estimate::Search { exponent },
        ActivationRange::OutputMse => Estimate::Search { exponent: 2.0 },
        ActivationRange::Entropy => {
            let lo = if min < 0.0 { -bound } else { 0.0 };
            Estimate::Cut(shrink(histogram, (lo, bound), grid.levels()).1)
        }
    };
    let line = Line::new(histogram);
    settle_centred(grid, bound, estimate, |q, unit, p, enough| {
        line.error_sum(q, unit, p, enough)
    })
}
