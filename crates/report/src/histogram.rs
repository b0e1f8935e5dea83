//! A layer's weights with the quantization grid on them.

use results::metric::DECIBEL;

use crate::canvas::{At, BLACK, Canvas, GREY, LARGE, categorical, picture};
use crate::error::Error;
use crate::frame::{Frame, Sample, legend, legend_width, nice_step, ticks};

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

/// Above this number levels are ticks along the upper edge; lines would hide the weights.
const MOST_LINES: usize = 40;
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
    let margin = (high - low) * 0.02;
    let x = (low - margin, high + margin);
    let counts = bins(histogram.weights, low, high);
    Ok(draw(histogram, x, (low, high), &counts))
}

/// Counts in equal bins over `low..=high`; about the square root of the number of values, 20 to 120 of them.
fn bins(weights: &[f32], low: f64, high: f64) -> Vec<u64> {
    let n = ((weights.len() as f64).sqrt() as usize).clamp(20, 120);
    let mut counts = vec![0; n];
    for &weight in weights {
        let bin = (f64::from(weight) - low) / (high - low) * n as f64;
        counts[(bin as usize).min(n - 1)] += 1;
    }
    counts
}

fn draw(
    histogram: &Histogram<'_>,
    x: (f64, f64),
    (low, high): (f64, f64),
    counts: &[u64],
) -> String {
    let most = counts.iter().copied().max().unwrap_or(1) as f64;
    // A logarithmic axis starts at half a weight, so that a bin with one weight can be seen.
    let height = |count: u64| match histogram.log_count {
        true => (count as f64).log10(),
        false => count as f64,
    };
    let base = if histogram.log_count {
        0.5f64.log10()
    } else {
        0.0
    };
    let top_value = if histogram.log_count {
        (most * 1.5).log10().ceil().max(1.0)
    } else {
        most / 0.95
    };
    let mut entries = vec![(Sample::Filled(categorical(0), 0.75), "weights".to_string())];
    if !histogram.levels.is_empty() {
        let sample = Sample::Dashed(categorical(1), (28.0, 0.0));
        entries.push((
            sample,
            format!(
                "{} level{}",
                histogram.levels.len(),
                if histogram.levels.len() == 1 { "" } else { "s" }
            ),
        ));
    }
    if histogram.clip.is_some() {
        entries.push((Sample::Dashed(BLACK, (6.0, 4.0)), "clip range".to_string()));
    }
    let frame = Frame {
        left: 84.0,
        top: 44.0,
        width: WIDTH,
        height: HEIGHT,
        x,
        y: (base, top_value),
    };
    let width = frame.right() + 22.0 + legend_width(&entries) + 12.0;
    picture(width, frame.bottom() + 56.0, |canvas| {
        let sqnr = histogram
            .sqnr_db
            .map(|db| format!(", SQNR {db:.1} {DECIBEL}"))
            .unwrap_or_default();
        let title = format!("{}: {}{sqnr}", histogram.layer, histogram.scheme);
        canvas.text((frame.left, 20.0), &title, LARGE, BLACK, At::Start);
        frame.y_axis(
            canvas,
            &count_ticks(histogram.log_count, (base, top_value)),
            "weights per bin",
        );
        let edge = |i: usize| low + (high - low) * i as f64 / counts.len() as f64;
        let clipped = |i: usize| {
            let outside = |(a, b)| edge(i + 1) <= f64::from(a) || edge(i) >= f64::from(b);
            histogram.clip.is_some_and(outside)
        };
        // One outline for all bars of a colour: bars drawn singly show seams.
        for (which, color, alpha) in [(false, categorical(0), 0.75), (true, GREY, 0.9)] {
            let mut outline = vec![frame.at(low, base)];
            for (i, count) in counts.iter().enumerate() {
                let drawn = *count > 0 && clipped(i) == which;
                let y = if drawn { height(*count) } else { base };
                outline.extend([frame.at(edge(i), y), frame.at(edge(i + 1), y)]);
            }
            outline.push(frame.at(high, base));
            canvas.polygon(&outline, color, alpha);
        }
        levels(canvas, &frame, histogram.levels);
        if let Some((a, b)) = histogram.clip {
            for end in [f64::from(a), f64::from(b)] {
                let x = frame.x_at(end);
                canvas.dashed((x, frame.top), (x, frame.bottom()), BLACK, 1.6, (6.0, 4.0));
            }
        }
        frame.x_axis(canvas, &ticks(frame.x, 7), "weight", false);
        legend(canvas, (frame.right() + 22.0, frame.top), &entries);
    })
}

fn count_ticks(log_count: bool, y: (f64, f64)) -> Vec<(f64, String)> {
    if !log_count {
        let whole = nice_step((y.1 - y.0) / 6.0) >= 1.0;
        return ticks(
            y,
            if whole {
                6
            } else {
                y.1.floor().max(1.0) as usize
            },
        );
    }
    (0..=y.1 as i32)
        .map(|e| (f64::from(e), 10u64.saturating_pow(e as u32).to_string()))
        .collect()
}

fn levels(canvas: &mut Canvas<'_>, frame: &Frame, levels: &[f32]) {
    let lines = levels.len() <= MOST_LINES;
    for level in levels
        .iter()
        .map(|level| f64::from(*level))
        .filter(|l| frame.x.0 <= *l && *l <= frame.x.1)
    {
        let x = frame.x_at(level);
        // Above the bars, where the paper is white.
        let (bottom, width) = if lines {
            (frame.bottom(), 1.0)
        } else {
            (frame.top + 10.0, 0.6)
        };
        canvas.line(&[(x, frame.top), (x, bottom)], categorical(1), width);
    }
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
        assert_eq!(bins(&weights, -1.5, 1.5).iter().sum::<u64>(), 1000);
        assert_eq!(bins(&[0.0; 5], -1.0, 1.0)[10], 5);
        assert_eq!(bins(&[1.0], 0.0, 1.0)[19], 1);
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
