//! Accuracy against weight bits: one line a scheme, the 95 % interval as a band; of draws of one configuration through the medians, with a
//! mark for each. With quantized activations bits are
//! pairs and no scale: see [`category_plot`].

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{Axis, scheme_label};
use crate::canvas::{Canvas, GREY, categorical};
use crate::category_plot::category_plot;
use crate::draws::{medians, without_seed};
use crate::frame::{Frame, Sample, ticks};
use crate::panel::{Panel, names, panels, panels_picture};
use crate::series::{Across, Series};

const WIDTH: f64 = 520.0;

/// The picture, or `None` without a single quantized run that succeeded.
pub(crate) fn accuracy_plot(table: &AccuracyTable) -> Option<String> {
    if table.activations {
        return category_plot(table);
    }
    let axes = without_seed(&table.axes);
    let panels = panels(table, Across::Bits, &axes);
    let rows = || {
        let series = panels.iter().flat_map(|panel| &panel.series);
        series.flat_map(|series| &series.rows)
    };
    let bits = || rows().map(|row| row.config.weights_bits());
    let (few, many) = (bits().min()?, bits().max()?);
    let names = names(&panels, &axes);
    let mut entries: Vec<(Sample, String)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (Sample::Marked(categorical(i), i), name.clone()))
        .collect();
    entries.push((Sample::Filled(GREY, 0.25), "95 % interval".into()));
    let x = (f64::from(few) - 0.35, f64::from(many) + 0.35);
    let draw = |canvas: &mut Canvas<'_>, frame: &Frame, panel: &Panel<'_>| {
        draw(canvas, frame, panel, (&names, &axes), (few, many));
    };
    Some(panels_picture(&panels, entries, WIDTH, x, draw))
}

fn draw(
    canvas: &mut Canvas<'_>,
    frame: &Frame,
    panel: &Panel<'_>,
    (names, axes): (&[String], &[&Axis]),
    (few, many): (u32, u32),
) {
    frame.y_axis(canvas, &ticks(frame.y, 6), "top-1 accuracy (%)");
    let bits: Vec<(f64, String)> = (few..=many)
        .map(|bits| (f64::from(bits), bits.to_string()))
        .collect();
    frame.x_axis(canvas, &bits, "weight bits", false);
    panel.draw_chance(canvas, frame);
    // From few bits to many, where rows go from many to few.
    let points = |rows: &[&TableRow], value: fn(&TableRow) -> Option<f64>| -> Vec<(f64, f64)> {
        let rows = rows.iter().rev();
        let points =
            rows.filter_map(|row| Some((f64::from(row.config.weights_bits()), value(row)?)));
        points.map(|(x, y)| frame.at(x, y)).collect()
    };
    let style = |series: &Series<'_>| {
        let name = scheme_label(&series.first().config, axes);
        let i = names.iter().position(|known| *known == name);
        i.unwrap_or_default()
    };
    for series in &panel.series {
        let rows = course(series);
        let mut band = points(&rows, |row| row.interval.map(|(low, _)| low * 100.0));
        band.extend(
            points(&rows, |row| row.interval.map(|(_, high)| high * 100.0))
                .into_iter()
                .rev(),
        );
        canvas.polygon(&band, categorical(style(series)), 0.2);
    }
    panel.draw_float(canvas, frame);
    for series in &panel.series {
        canvas.line(
            &points(&course(series), TableRow::top1_percent),
            categorical(style(series)),
            2.0,
        );
    }
    for series in &panel.series {
        for point in points(&series.rows, TableRow::top1_percent) {
            canvas.marker(point, style(series), categorical(style(series)));
        }
    }
}

/// What the line of a series goes through.
fn course<'a>(series: &Series<'a>) -> Vec<&'a TableRow> {
    medians(&series.rows, |row| row.config.weights_bits())
}
