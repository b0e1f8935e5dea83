//! What every accuracy plot has: a panel for each network and data set, the float network as a dashed line, chance as a
//! dotted one, and a legend beside them.

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{Axis, scheme_label, subject as subject_of};
use crate::canvas::{At, BLACK, Canvas, GREY, SMALL, picture};
use crate::draws::seed;
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step};
use crate::series::{Across, Series};

pub(crate) const DASHES: (f64, f64) = (7.0, 4.0);
const DOTS: (f64, f64) = (1.6, 3.6);
const HEIGHT: f64 = 330.0;

/// One network on one data set.
pub(crate) struct Panel<'a> {
    pub title: String,
    pub series: Vec<Series<'a>>,
    pub float: Option<f64>,
    pub chance: f64,
}

/// The panels of a table, of series that differ in `axes`: one row for each place across and each draw, and at least one that did
/// not fail.
pub(crate) fn panels<'a>(
    table: &'a AccuracyTable,
    across: Across,
    axes: &[&Axis],
) -> Vec<Panel<'a>> {
    let mut panels: Vec<(_, Panel<'_>)> = Vec::new();
    for mut series in table.series(axes) {
        if series.rows.iter().all(|row| row.failed.is_some()) {
            continue;
        }
        let mut places = Vec::new();
        series.rows.retain(|row| {
            let place = (across.label(table, row), seed(row));
            let first = !places.contains(&place);
            places.push(place);
            first
        });
        let float = table.float_of(&series).and_then(TableRow::top1_percent);
        let subject = series.first().subject();
        if let Some((_, panel)) = panels.iter_mut().find(|(other, _)| *other == subject) {
            panel.float = panel.float.or(float);
            panel.series.push(series);
            continue;
        }
        let config = &series.first().config;
        let classes = table
            .rows
            .iter()
            .filter(|row| row.subject() == subject)
            .map(|row| row.classes)
            .max();
        let title = subject_of(config);
        let chance = 100.0 / class_count(config.text("dataset"), classes.unwrap_or(1)) as f64;
        panels.push((
            subject,
            Panel {
                title,
                series: vec![series],
                float,
                chance,
            },
        ));
    }
    panels.into_iter().map(|(_, panel)| panel).collect()
}

/// Number of classes: known for the named sets, else one more than the largest label or prediction.
fn class_count(dataset: &str, seen: u64) -> u64 {
    match dataset {
        "imagenet" => 1000,
        "cifar100" => 100,
        "cifar10" | "synthetic" => 10,
        _ => seen.max(1),
    }
}

/// The names of all series, each once, in the order of the panels.
pub(crate) fn names(panels: &[Panel<'_>], axes: &[&Axis]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        let name = scheme_label(&series.first().config, axes);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The picture: panels of `width` pixels from `x.0` to `x.1` below each other, `draw` fills each; `entries` of the legend
/// with float and chance put before the last one.
pub(crate) fn panels_picture(
    panels: &[Panel<'_>],
    mut entries: Vec<(Sample, String)>,
    width: f64,
    x: (f64, f64),
    draw: impl Fn(&mut Canvas<'_>, &Frame, &Panel<'_>),
) -> String {
    let ranges: Vec<(f64, f64)> = panels.iter().map(Panel::y_range).collect();
    let interval = entries.pop();
    if panels.iter().any(|panel| panel.float.is_some()) {
        entries.push((Sample::Dashed(BLACK, DASHES), "float".into()));
    }
    if panels
        .iter()
        .zip(&ranges)
        .any(|(panel, range)| shows(panel.chance, *range))
    {
        entries.push((Sample::Dashed(GREY, DOTS), "chance".into()));
    }
    entries.extend(interval);

    let (left, top, below) = (70.0, if panels.len() > 1 { 34.0 } else { 14.0 }, 54.0);
    let step = top + HEIGHT + below;
    let height = (step * panels.len() as f64).max(top + LEGEND_STEP * entries.len() as f64 + 14.0);
    let whole = left + width + 22.0 + legend_width(&entries) + 12.0;
    picture(whole, height, |canvas| {
        for (i, (panel, y)) in panels.iter().zip(&ranges).enumerate() {
            let frame = Frame {
                left,
                top: top + step * i as f64,
                width,
                height: HEIGHT,
                x,
                y: *y,
            };
            draw(canvas, &frame, panel);
            if panels.len() > 1 {
                canvas.text(
                    (left, frame.top - 14.0),
                    &panel.title,
                    SMALL,
                    BLACK,
                    At::Start,
                );
            }
        }
        legend(canvas, (left + width + 22.0, top), &entries);
    })
}

impl Panel<'_> {
    pub fn y_range(&self) -> (f64, f64) {
        let rows = self.series.iter().flat_map(|series| &series.rows);
        let intervals = rows.filter_map(|row| row.interval);
        y_range(
            intervals.map(|(low, high)| (low * 100.0, high * 100.0)),
            self.float,
        )
    }

    pub fn draw_chance(&self, canvas: &mut Canvas<'_>, frame: &Frame) {
        if shows(self.chance, frame.y) {
            let y = frame.y_at(self.chance);
            canvas.dashed((frame.left, y), (frame.right(), y), GREY, 1.6, DOTS);
        }
    }

    pub fn draw_float(&self, canvas: &mut Canvas<'_>, frame: &Frame) {
        if let Some(float) = self.float {
            let y = frame.y_at(float);
            canvas.dashed((frame.left, y), (frame.right(), y), BLACK, 1.6, DASHES);
        }
    }
}

/// Percent that an axis reaches over for these intervals and the float network: from zero when the network breaks down
/// somewhere, else only as far as the data reach.
pub(crate) fn y_range(
    intervals: impl Iterator<Item = (f64, f64)>,
    float: Option<f64>,
) -> (f64, f64) {
    let all = intervals.chain(float.map(|float| (float, float)));
    let (low, high) = all.fold((100.0, 0.0), |(low, high), interval| {
        (f64::min(low, interval.0), f64::max(high, interval.1))
    });
    if low < 50.0 {
        let step = nice_step(high / 6.0);
        return (0.0, ((high / step).ceil() * step).clamp(step, 100.0));
    }
    let step = nice_step((high - low).max(0.5) / 5.0);
    (
        ((low / step).floor() * step).max(0.0),
        ((high / step).ceil() * step).min(100.0),
    )
}

pub(crate) fn shows(value: f64, range: (f64, f64)) -> bool {
    range.0 < value && value <= range.1
}
