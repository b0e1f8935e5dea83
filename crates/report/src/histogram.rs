//! A layer's weights with the quantization grid on them.

use results::metric::DECIBEL;

use crate::bars::{Bars, CLIP_DASH, INSIDE};
use crate::canvas::{At, BLACK, LARGE, categorical, picture};
use crate::error::Error;
use crate::frame::{Frame, Sample, legend, legend_width};

/// What [`weight_histogram`] draws.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<'a> {
    /// PyTorch name of the tensor.
    pub layer: &'a str,
    /// The scheme in words.
    pub scheme: &'a str,
    /// The float weights, finite, at least one.
    pub weights: &'a [f32],
    /// The values the codes stand for, in any order. With one grid a channel, those of the channel whose weights are given.
    pub levels: &'a [f32],
    /// Ends of the range that is not clipped.
    pub clip: Option<(f32, f32)>,
    /// SQNR of the layer in dB.
    pub sqnr_db: Option<f64>,
    /// Counts on a logarithmic scale, which shows the tails.
    pub log_count: bool,
}

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 300.0;

/// SVG of a histogram: bins of equal width over weights and clip range, levels as lines (up to 40) or as a row of ticks,
/// the clip range by dashed lines, what lies outside it darker.
///
/// # Errors
/// [`Error::Histogram`] without a weight, or with one that is not finite.
pub fn weight_histogram(histogram: &Histogram<'_>) -> Result<String, Error> {
    let fail = |problem: String| Error::Histogram {
        layer: histogram.layer.to_string(),
        problem,
    };
    if histogram.weights.is_empty() {
        return Err(fail("no weights".into()));
    }
    let (low, high) = histogram.clip.unwrap_or((f32::INFINITY, f32::NEG_INFINITY));
    let ends = histogram.clip.map(|_| [low, high]).into_iter().flatten();
    let finite = histogram
        .weights
        .iter()
        .chain(histogram.levels)
        .copied()
        .chain(ends)
        .find(|v| !v.is_finite());
    if let Some(value) = finite {
        return Err(fail(format!("{value} is not finite")));
    }
    let edge = |start: f32, pick: fn(f32, f32) -> f32| {
        f64::from(histogram.weights.iter().copied().fold(start, pick))
    };
    let (mut low, mut high) = (edge(low, f32::min), edge(high, f32::max));
    if low == high {
        // A constant tensor: any width shows it.
        let half = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
        (low, high) = (low - half, high + half);
    }
    let counts = bins(histogram.weights, low, high);
    Ok(draw(histogram, (low, high), &counts))
}

/// Counts in equal bins over `low..=high`; about the square root of the number of values, 20 to 120 of them.
fn bins(weights: &[f32], low: f64, high: f64) -> Vec<f64> {
    let n = ((weights.len() as f64).sqrt() as usize).clamp(20, 120);
    let mut counts = vec![0.0; n];
    for &weight in weights {
        let bin = (f64::from(weight) - low) / (high - low) * n as f64;
        counts[(bin as usize).min(n - 1)] += 1.0;
    }
    counts
}

fn draw(histogram: &Histogram<'_>, (low, high): (f64, f64), counts: &[f64]) -> String {
    let bars = Bars {
        counts,
        low,
        high,
        levels: histogram.levels,
        clip: histogram.clip,
        log_count: histogram.log_count,
    };
    let mut entries = vec![(Sample::Filled(INSIDE.0, INSIDE.1), "weights".to_string())];
    if !histogram.levels.is_empty() {
        let sample = Sample::Dashed(categorical(1), (28.0, 0.0));
        let n = histogram.levels.len();
        entries.push((
            sample,
            format!("{n} level{}", if n == 1 { "" } else { "s" }),
        ));
    }
    if histogram.clip.is_some() {
        entries.push((Sample::Dashed(BLACK, CLIP_DASH), "clip range".to_string()));
    }
    let (x, y) = bars.ranges();
    let frame = Frame {
        left: 84.0,
        top: 44.0,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
    };
    let width = frame.right() + 22.0 + legend_width(&entries) + 12.0;
    picture(width, frame.bottom() + 56.0, |canvas| {
        let sqnr = histogram
            .sqnr_db
            .map(|db| format!(", SQNR {db:.1} {DECIBEL}"))
            .unwrap_or_default();
        let title = format!("{}: {}{sqnr}", histogram.layer, histogram.scheme);
        canvas.text((frame.left, 20.0), &title, LARGE, BLACK, At::Start);
        bars.draw(canvas, &frame, ("weight", "weights per bin"), 7);
        legend(canvas, (frame.right() + 22.0, frame.top), &entries);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(weights: &[f32]) -> Histogram<'_> {
        Histogram {
            layer: "layer1.0.conv1.weight",
            scheme: "affine, tensor, 3 bit",
            weights,
            levels: &[-0.5, 0.0, 0.5],
            clip: Some((-0.5, 0.5)),
            sqnr_db: Some(12.345),
            log_count: false,
        }
    }

    #[test]
    fn every_weight_is_in_a_bin() {
        let weights: Vec<f32> = (0..1000).map(|i| (i as f32 / 999.0 - 0.5) * 3.0).collect();
        assert_eq!(bins(&weights, -1.5, 1.5).iter().sum::<f64>(), 1000.0);
        assert_eq!(bins(&[0.0; 5], -1.0, 1.0)[10], 5.0);
        assert_eq!(bins(&[1.0], 0.0, 1.0)[19], 1.0);
    }

    #[test]
    fn the_picture_names_layer_scheme_and_sqnr() {
        let svg = weight_histogram(&histogram(&[0.1, -0.7, 0.3])).unwrap();
        assert!(svg.contains("layer1.0.conv1.weight: affine, tensor, 3 bit, SQNR 12.3 dB"));
        assert_eq!(
            svg,
            weight_histogram(&histogram(&[0.1, -0.7, 0.3])).unwrap()
        );
    }

    #[test]
    fn constant_weights_and_a_log_scale_are_drawn_and_nonsense_is_an_error() {
        let constant = Histogram {
            clip: None,
            levels: &[],
            log_count: true,
            ..histogram(&[0.25; 9])
        };
        assert!(!weight_histogram(&constant).unwrap().contains("NaN"));
        assert!(
            !weight_histogram(&histogram(&[0.0]))
                .unwrap()
                .contains("NaN")
        );
        assert!(weight_histogram(&histogram(&[])).is_err());
        assert!(
            weight_histogram(&histogram(&[0.0, f32::NAN]))
                .unwrap_err()
                .to_string()
                .contains("NaN is not finite")
        );
    }
}
