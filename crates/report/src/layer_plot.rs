//! Where a network's time goes: for each layer how fast it computes, against what the processor can do, and below it
//! its share of the time.
//!
//! Layers stand in the order in which they run, a bar each; those that only move data have a share and no speed.

use plotters::style::RGBColor;

use crate::canvas::{At, BLACK, Canvas, GREY, LARGE, SMALL, categorical, picture, text_width};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step, ticks};

/// A layer's bars.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerBar {
    /// Its name.
    pub layer: String,
    /// GFLOP/s; `None` for a layer without operations.
    pub gflops: Option<f64>,
    /// Its part of the network's time, 0 to 1.
    pub share: f64,
}

const DASHES: (f64, f64) = (7.0, 4.0);
/// Pixels from bar to bar: a name, turned, has room.
const PITCH: f64 = 17.0;
const HEIGHTS: [f64; 2] = [240.0, 150.0];
const GAP: f64 = 22.0;

/// SVG of the layers of a network, with a title above and the processor's peak in GFLOP/s, where it is known, as a
/// dashed line. `None` without a layer.
pub fn layer_plot(title: &str, layers: &[LayerBar], peak: Option<f64>) -> Option<String> {
    let speeds: Vec<Option<f64>> = layers.iter().map(|layer| layer.gflops).collect();
    let shares: Vec<Option<f64>> = layers.iter().map(|l| Some(100.0 * l.share)).collect();
    let names: Vec<(f64, String)> = layers
        .iter()
        .enumerate()
        .map(|(i, layer)| (i as f64, layer.layer.clone()))
        .collect();
    if names.is_empty() {
        return None;
    }
    let mut entries = vec![
        (Sample::Filled(categorical(0), 0.75), "speed".to_owned()),
        (
            Sample::Filled(categorical(1), 0.75),
            "share of the time".to_owned(),
        ),
    ];
    if peak.is_some() {
        entries.push((
            Sample::Dashed(BLACK, DASHES),
            "multiply-add peak".to_owned(),
        ));
    }
    let widest = layers
        .iter()
        .map(|layer| text_width(&layer.layer, SMALL))
        .fold(0.0, f64::max);
    let frame = |top: f64, height: f64, values: &[Option<f64>], least: f64| {
        let highest = values.iter().flatten().copied().fold(least, f64::max);
        let step = nice_step(highest / 5.0);
        Frame {
            left: 74.0,
            top,
            width: (PITCH * layers.len() as f64).max(480.0),
            height,
            x: (-0.6, layers.len() as f64 - 0.4),
            y: (0.0, (highest * 1.02 / step).ceil() * step),
        }
    };
    let upper = frame(40.0, HEIGHTS[0], &speeds, peak.unwrap_or(0.0));
    let lower = frame(upper.bottom() + GAP, HEIGHTS[1], &shares, 0.0);
    let legend_left = upper.right() + 22.0;
    let width = legend_left + legend_width(&entries) + 12.0;
    let height = (lower.bottom() + widest + 44.0).max(upper.top + LEGEND_STEP * 3.0);
    Some(picture(width, height, |canvas| {
        canvas.text((upper.left, 20.0), title, LARGE, BLACK, At::Start);
        upper.y_axis(canvas, &ticks(upper.y, 5), "GFLOP/s");
        bars(canvas, &upper, &speeds, categorical(0));
        if let Some(peak) = peak {
            let y = upper.y_at(peak);
            canvas.dashed((upper.left, y), (upper.right(), y), BLACK, 1.6, DASHES);
        }
        let y = upper.bottom();
        canvas.line(&[(upper.left, y), (upper.right(), y)], GREY, 1.0);
        lower.y_axis(canvas, &ticks(lower.y, 4), "share (%)");
        bars(canvas, &lower, &shares, categorical(1));
        lower.x_axis(canvas, &names, "layer", true);
        legend(canvas, (legend_left, upper.top), &entries);
    }))
}

fn bars(canvas: &mut Canvas<'_>, frame: &Frame, values: &[Option<f64>], color: RGBColor) {
    for (i, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let (from, to) = (i as f64 - 0.38, i as f64 + 0.38);
            canvas.rect(frame.at(from, *value), frame.at(to, 0.0), color, 0.75);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Vec<LayerBar> {
        let bar = |layer: &str, gflops, share| LayerBar {
            layer: layer.into(),
            gflops,
            share,
        };
        vec![
            bar("conv1", Some(120.5), 0.5),
            bar("maxpool", None, 0.2),
            bar("fc", Some(14.0), 0.3),
        ]
    }

    #[test]
    fn every_layer_is_named_once_and_a_layer_without_operations_has_one_bar() {
        let svg = layer_plot("resnet, float32", &layers(), Some(170.0)).unwrap();
        for text in ["resnet, float32", "conv1", "maxpool", "fc", "GFLOP/s"] {
            assert_eq!(svg.matches(&format!(">\n{text}\n<")).count(), 1, "{text}");
        }
        // White paper, 2 + 3 bars, 2 legend boxes.
        assert_eq!(svg.matches("<rect ").count(), 8);
        assert!(svg.contains("peak") && !svg.contains("NaN"));
        assert_eq!(
            layer_plot("resnet, float32", &layers(), Some(170.0)).unwrap(),
            svg
        );
    }

    #[test]
    fn no_peak_draws_no_line_and_no_layers_no_picture() {
        let svg = layer_plot("t", &layers(), None).unwrap();
        assert!(!svg.contains("peak"));
        assert!(layer_plot("t", &[], Some(1.0)).is_none());
        let idle = [LayerBar {
            layer: "identity".into(),
            gflops: None,
            share: 0.0,
        }];
        assert!(!layer_plot("t", &idle, None).unwrap().contains("NaN"));
    }
}
