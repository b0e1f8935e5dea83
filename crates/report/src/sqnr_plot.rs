//! Signal to quantization noise ratio of the weights, layer by layer: one line a bit width, a panel a scheme.
//!
//! Layers stand in the order in which the run lists them, which is the network's. Schemes that differ only in what weights
//! do not see (activations, arithmetic) share a panel. Of a trained network it is its own weights that are compared with their
//! codes, and its panel says so.

use std::collections::{BTreeMap, HashMap};

use results::metric;

use crate::accuracy::AccuracyTable;
use crate::axes::{About, scheme_label, subject};
use crate::canvas::{At, BLACK, Canvas, SMALL, picture, sequential, text_width};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step, ticks};
use crate::load::Loaded;
use crate::series::Series;

/// A run has one of them.
const MEASURES: [&str; 2] = [metric::WEIGHT_SQNR, metric::LATENT_SQNR];
/// What is measured of a trained network.
const LATENT: &str = "latent weights";

/// SQNR in dB by layer, by bits.
pub(crate) type Curves = BTreeMap<u32, Vec<(usize, f64)>>;

pub(crate) struct Panel {
    pub title: String,
    pub layers: Vec<String>,
    pub curves: Curves,
    /// The runs with each width: their curves are one.
    pub runs: BTreeMap<u32, Vec<String>>,
    pub trained: bool,
}

/// What there is to draw.
pub(crate) struct Gathered {
    pub panels: Vec<Panel>,
    /// Of all panels, in dB.
    pub y: (f64, f64),
    /// The widths that have a curve, from many bits to few.
    pub bits: Vec<u32>,
}

/// The panels of the runs' layers, or `None` when no run has the metric for a layer.
pub(crate) fn gather(table: &AccuracyTable, loaded: &Loaded) -> Option<Gathered> {
    let mut by_run: HashMap<&str, Vec<(&str, f64)>> = HashMap::new();
    for value in loaded
        .values
        .iter()
        .filter(|v| MEASURES.contains(&v.metric.as_str()) && !v.layer.is_empty())
    {
        by_run
            .entry(&value.run_id)
            .or_default()
            .push((&value.layer, value.value));
    }
    let axes = table.axes.iter().copied();
    let axes: Vec<_> = axes
        .filter(|axis| matches!(axis.about, About::Subject | About::Weights))
        .collect();
    let all = table.series(&axes);
    let several_subjects = all
        .iter()
        .any(|series| series.first().subject() != all[0].first().subject());
    let panels: Vec<Panel> = all
        .iter()
        .map(|series| {
            let mut panel = panel(series, &by_run);
            let config = &series.first().config;
            panel.trained = !config.text("qat_method").is_empty();
            let scheme = match (scheme_label(config, &axes), panel.trained) {
                (scheme, false) => scheme,
                (scheme, true) if scheme.is_empty() => LATENT.to_string(),
                (scheme, true) => format!("{scheme}, {LATENT}"),
            };
            panel.title = if several_subjects {
                format!("{}: {scheme}", subject(config))
            } else {
                scheme
            };
            panel
        })
        .filter(|panel| !panel.curves.is_empty())
        .collect();
    let all = || {
        panels
            .iter()
            .flat_map(|panel| panel.curves.values().flatten().map(|(_, value)| *value))
    };
    let low = all().fold(0.0, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    if !high.is_finite() {
        return None;
    }
    let step = nice_step((high - low).max(1.0) / 6.0);
    let y = ((low / step).floor() * step, (high / step).ceil() * step);
    let mut bits: Vec<u32> = panels
        .iter()
        .flat_map(|panel| panel.curves.keys().copied())
        .collect();
    bits.sort_unstable_by(|a, b| b.cmp(a));
    bits.dedup();
    Some(Gathered { panels, y, bits })
}

/// The picture, or `None` when no run has the metric for a layer.
pub(crate) fn sqnr_plot(table: &AccuracyTable, loaded: &Loaded) -> Option<String> {
    let Gathered { panels, y, bits } = gather(table, loaded)?;
    let entries: Vec<(Sample, String)> = bits
        .iter()
        .enumerate()
        .map(|(i, width)| {
            (
                Sample::Marked(sequential(i, bits.len()), i),
                format!("{width} bit"),
            )
        })
        .collect();

    let columns = if panels.len() > 1 { 2 } else { 1 };
    let layers = panels
        .iter()
        .map(|panel| panel.layers.len())
        .max()
        .unwrap_or(1) as f64;
    let wide = if columns == 2 {
        (layers * 17.0).clamp(360.0, 900.0)
    } else {
        (layers * 22.0).clamp(480.0, 1400.0)
    };
    let high = if columns == 2 { 220.0 } else { 330.0 };
    let names = panels.iter().flat_map(|panel| &panel.layers);
    let below = names
        .map(|name| text_width(name, SMALL))
        .fold(0.0, f64::max)
        + 44.0;
    let (left, top) = (66.0, if panels.len() > 1 { 32.0 } else { 14.0 });
    let (step_x, step_y) = (left + wide + 8.0, top + high + below);
    let rows = panels.len().div_ceil(columns);
    let legend_left = step_x * columns as f64 + 12.0;
    let width = legend_left + legend_width(&entries) + 12.0;
    let height = (step_y * rows as f64).max(top + LEGEND_STEP * entries.len() as f64 + 14.0);
    Some(picture(width, height, |canvas| {
        for (i, panel) in panels.iter().enumerate() {
            let (column, row) = ((i % columns) as f64, (i / columns) as f64);
            let frame = Frame {
                left: left + step_x * column,
                top: top + step_y * row,
                width: wide,
                height: high,
                x: (-0.5, panel.layers.len() as f64 - 0.5),
                y,
            };
            draw(canvas, &frame, panel, &bits);
            if panels.len() > 1 {
                canvas.text(
                    (frame.left, frame.top - 14.0),
                    &panel.title,
                    SMALL,
                    BLACK,
                    At::Start,
                );
            }
        }
        legend(canvas, (legend_left, top), &entries);
    }))
}

fn panel(series: &Series<'_>, by_run: &HashMap<&str, Vec<(&str, f64)>>) -> Panel {
    let mut panel = Panel {
        title: String::new(),
        layers: Vec::new(),
        curves: Curves::new(),
        runs: BTreeMap::new(),
        trained: false,
    };
    // Layers get their order from the run with the fewest bits; of several with the same bits the first counts.
    for row in series.rows.iter().rev() {
        let bits = row.config.weights_bits();
        panel.runs.entry(bits).or_default().push(row.run_id.clone());
        let first = series
            .rows
            .iter()
            .find(|row| row.config.weights_bits() == bits);
        if first.is_none_or(|first| first.run_id != row.run_id) {
            continue;
        }
        let Some(values) = by_run.get(row.run_id.as_str()) else {
            continue;
        };
        let mut curve = Vec::with_capacity(values.len());
        for (layer, value) in values {
            let index = panel
                .layers
                .iter()
                .position(|name| name == layer)
                .unwrap_or_else(|| {
                    panel.layers.push(layer.to_string());
                    panel.layers.len() - 1
                });
            curve.push((index, *value));
        }
        curve.sort_by_key(|(index, _)| *index);
        panel.curves.insert(bits, curve);
    }
    panel
}

fn draw(canvas: &mut Canvas<'_>, frame: &Frame, panel: &Panel, bits: &[u32]) {
    let what = if panel.trained {
        "latent weight SQNR (dB)"
    } else {
        "weight SQNR (dB)"
    };
    frame.y_axis(canvas, &ticks(frame.y, 6), what);
    // As many names as fit side by side; the others keep their place without a name.
    let every = (15.0 * panel.layers.len() as f64 / frame.width)
        .ceil()
        .max(1.0) as usize;
    let names = panel
        .layers
        .iter()
        .enumerate()
        .step_by(every)
        .map(|(i, name)| (i as f64, name.clone()));
    frame.x_axis(canvas, &names.collect::<Vec<_>>(), "layer", true);
    for (i, width) in bits.iter().enumerate() {
        let Some(curve) = panel.curves.get(width) else {
            continue;
        };
        let color = sequential(i, bits.len());
        let points: Vec<_> = curve
            .iter()
            .map(|(layer, value)| frame.at(*layer as f64, *value))
            .collect();
        canvas.line(&points, color, 1.6);
        points
            .into_iter()
            .for_each(|point| canvas.marker(point, i, color));
    }
}
