//! Accuracy where bits are pairs: `W8A8` and its like stand side by side, and in each the series do, a point with its
//! 95 % interval each; draws of one configuration stand above each other. Lines from pair to pair would show a course that there is none of.
//!
//! Where all runs have the same bits, the axis with the most values takes their place.

use crate::accuracy::AccuracyTable;
use crate::axes::{Axis, scheme_label};
use crate::canvas::{Canvas, GREY, LIGHT, categorical};
use crate::draws::without_seed;
use crate::frame::{Frame, Sample, ticks};
use crate::panel::{Panel, names, panels, panels_picture};
use crate::series::{Across, Series};

/// Pixels from series to series and from place to place beside that.
const PITCH: f64 = 12.0;
const GAP: f64 = 18.0;
const LEAST: f64 = 520.0;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colour and shape.
    pub i: usize,
    pub hollow: bool,
}

/// The picture, or `None` without a single quantized run that succeeded.
pub(crate) fn category_plot(table: &AccuracyTable) -> Option<String> {
    let across = Across::of(table, true);
    let axes = without_seed(&across.others(table));
    let places = across.labels(table);
    let panels = panels(table, across, &axes);
    if panels.is_empty() {
        return None;
    }
    let names = names(&panels, &axes);
    let all: Vec<&Series<'_>> = panels.iter().flat_map(|panel| &panel.series).collect();
    let styles = styles(&names, &all, &axes);
    let sample = |style: &Style| match style.hollow {
        true => Sample::Hollow(categorical(style.i), style.i),
        false => Sample::Point(categorical(style.i), style.i),
    };
    let mut entries: Vec<(Sample, String)> = styles
        .iter()
        .map(sample)
        .zip(names.iter().cloned())
        .collect();
    entries.push((Sample::Whisker(GREY), "95 % interval".into()));
    let title = match across {
        Across::Bits => "bits of weights (W) and activations (A)",
        Across::Axis(axis) => axis.title,
    };
    let width = LEAST.max(places.len() as f64 * (names.len() as f64 * PITCH + GAP));
    let x = (-0.5, places.len() as f64 - 0.5);
    let ticks: Vec<(f64, String)> = places
        .iter()
        .enumerate()
        .map(|(i, place)| (i as f64, place.clone()))
        .collect();
    let draw = |canvas: &mut Canvas<'_>, frame: &Frame, panel: &Panel<'_>| {
        background(canvas, frame, &ticks, title);
        panel.draw_chance(canvas, frame);
        panel.draw_float(canvas, frame);
        for series in &panel.series {
            let name = scheme_label(&series.first().config, &axes);
            let Some(nth) = names.iter().position(|known| *known == name) else {
                continue;
            };
            let slot = frame.width / places.len() as f64;
            // The middle of the series stands over the tick.
            let pitch = ((slot - GAP) / names.len() as f64).min(2.0 * PITCH);
            let shift = (nth as f64 - (names.len() as f64 - 1.0) / 2.0) * pitch;
            for row in &series.rows {
                let label = across.label(table, row);
                let place = places.iter().position(|place| *place == label);
                let (Some(place), Some(top1)) = (place, row.top1_percent()) else {
                    continue;
                };
                let (x, y) = frame.at(place as f64, top1);
                let x = x + shift;
                let color = categorical(styles[nth].i);
                if let Some((low, high)) = row.interval {
                    let (low, high) = (frame.y_at(low * 100.0), frame.y_at(high * 100.0));
                    canvas.line(&[(x, low), (x, high)], color, 1.6);
                }
                match styles[nth].hollow {
                    true => canvas.hollow((x, y), styles[nth].i, color),
                    false => canvas.marker((x, y), styles[nth].i, color),
                }
            }
        }
    };
    Some(panels_picture(&panels, entries, width, x, draw))
}

/// Every second place shaded, grid lines and axes over it.
fn background(canvas: &mut Canvas<'_>, frame: &Frame, places: &[(f64, String)], title: &str) {
    for (x, _) in places.iter().skip(1).step_by(2) {
        let (from, to) = (frame.at(x - 0.5, frame.y.1), frame.at(x + 0.5, frame.y.0));
        canvas.rect(from, to, LIGHT, 0.35);
    }
    frame.y_axis(canvas, &ticks(frame.y, 6), "top-1 accuracy (%)");
    frame.x_axis(canvas, places, title, false);
}

/// A style for each name. Of many series, those that differ only in an axis of two values share colour and shape, one
/// filled and one hollow: five colours are told apart where ten are not.
pub(crate) fn styles(
    names: &[String],
    series: &[&Series<'_>],
    axes: &[&'static Axis],
) -> Vec<Style> {
    let plain = || {
        (0..names.len())
            .map(|i| Style { i, hollow: false })
            .collect()
    };
    let scheme = || axes.iter().copied().filter(|axis| axis.is_scheme());
    let values = |axis: &Axis| axis.values(series.iter().map(|s| &s.first().config));
    let two = scheme().rfind(|axis| values(axis).len() == 2);
    let Some(two) = two.filter(|_| names.len() > 4 && scheme().count() > 1) else {
        return plain();
    };
    let rest: Vec<&Axis> = scheme().filter(|axis| axis.title != two.title).collect();
    let second = values(two).pop().unwrap_or_default();
    let mut known: Vec<String> = Vec::new();
    let style = |name: &String| {
        let named = |s: &&&Series<'_>| scheme_label(&s.first().config, axes) == *name;
        let config = &series.iter().find(named)?.first().config;
        let rest = scheme_label(config, &rest);
        let i = known.iter().position(|k| *k == rest).unwrap_or_else(|| {
            known.push(rest);
            known.len() - 1
        });
        let hollow = two.value(config) == second;
        Some(Style { i, hollow })
    };
    names
        .iter()
        .map(style)
        .collect::<Option<_>>()
        .unwrap_or_else(plain)
}
