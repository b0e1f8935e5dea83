//! Accuracy against bits: one line a scheme, the 95 % interval as a band, the float network as a dashed line, chance as a
//! dotted one. Networks and data sets that differ get a panel each.

use crate::accuracy::{AccuracyTable, Line, TableRow};
use crate::axes::scheme_label;
use crate::canvas::{At, BLACK, Canvas, GREY, SMALL, categorical, picture};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step, ticks};

const DASHES: (f64, f64) = (7.0, 4.0);
const DOTS: (f64, f64) = (1.6, 3.6);
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 330.0;

/// One network on one data set.
struct Panel<'a> {
    title: String,
    lines: Vec<Line<'a>>,
    float: Option<f64>,
    chance: f64,
}

/// The picture, or `None` without a single quantized run that succeeded.
pub(crate) fn accuracy_plot(table: &AccuracyTable) -> Option<String> {
    let panels = panels(table);
    let bits = || {
        panels
            .iter()
            .flat_map(|p| &p.lines)
            .flat_map(|line| line.by_bits.keys().copied())
    };
    let (few, many) = (bits().min()?, bits().max()?);

    let mut labels: Vec<String> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        let label = scheme_label(&line.first.config, &table.axes);
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let mut entries: Vec<(Sample, String)> = labels
        .iter()
        .enumerate()
        .map(|(i, label)| (Sample::Marked(categorical(i), i), label.clone()))
        .collect();
    if panels.iter().any(|panel| panel.float.is_some()) {
        entries.push((Sample::Dashed(BLACK, DASHES), "float".into()));
    }
    let ranges: Vec<(f64, f64)> = panels.iter().map(y_range).collect();
    if panels
        .iter()
        .zip(&ranges)
        .any(|(panel, range)| shows(panel.chance, *range))
    {
        entries.push((Sample::Dashed(GREY, DOTS), "chance".into()));
    }
    entries.push((Sample::Filled(GREY, 0.25), "95 % interval".into()));

    let (left, top, below) = (70.0, if panels.len() > 1 { 34.0 } else { 14.0 }, 54.0);
    let step = top + HEIGHT + below;
    let height = (step * panels.len() as f64).max(top + LEGEND_STEP * entries.len() as f64 + 14.0);
    let width = left + WIDTH + 22.0 + legend_width(&entries) + 12.0;
    Some(picture(width, height, |canvas| {
        for (i, (panel, y)) in panels.iter().zip(&ranges).enumerate() {
            let x = (f64::from(few) - 0.35, f64::from(many) + 0.35);
            let frame = Frame {
                left,
                top: top + step * i as f64,
                width: WIDTH,
                height: HEIGHT,
                x,
                y: *y,
            };
            let names: Vec<usize> = panel
                .lines
                .iter()
                .map(|line| scheme_label(&line.first.config, &table.axes))
                .map(|label| labels.iter().position(|l| *l == label).unwrap_or_default())
                .collect();
            draw(canvas, &frame, panel, &names, (few, many));
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
        legend(canvas, (left + WIDTH + 22.0, top), &entries);
    }))
}

fn panels(table: &AccuracyTable) -> Vec<Panel<'_>> {
    let mut panels: Vec<(_, Panel<'_>)> = Vec::new();
    for line in table.lines() {
        if line.by_bits.values().all(|row| row.failed.is_some()) {
            continue;
        }
        let float = table.float_of(&line).and_then(TableRow::top1_percent);
        let subject = line.first.subject();
        if let Some((_, panel)) = panels.iter_mut().find(|(other, _)| *other == subject) {
            panel.float = panel.float.or(float);
            panel.lines.push(line);
            continue;
        }
        let config = &line.first.config;
        let classes = table
            .rows
            .iter()
            .filter(|row| row.subject() == subject)
            .map(|row| row.classes)
            .max();
        let model = config
            .model_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or(&config.model_arch);
        let title = format!("{model}, {}", config.dataset);
        let chance = 100.0 / class_count(&config.dataset, classes.unwrap_or(1)) as f64;
        panels.push((
            subject,
            Panel {
                title,
                lines: vec![line],
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
        "cifar10" | "synthetic" => 10,
        _ => seen.max(1),
    }
}

/// From zero when the network breaks down somewhere, else only as far as the data reach.
fn y_range(panel: &Panel<'_>) -> (f64, f64) {
    let rows = || panel.lines.iter().flat_map(|line| line.by_bits.values());
    let intervals = || {
        rows()
            .filter_map(|row| row.interval)
            .map(|(low, high)| (low * 100.0, high * 100.0))
    };
    let low = intervals()
        .map(|(low, _)| low)
        .chain(panel.float)
        .fold(100.0, f64::min);
    let high = intervals()
        .map(|(_, high)| high)
        .chain(panel.float)
        .fold(0.0, f64::max);
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

fn shows(value: f64, range: (f64, f64)) -> bool {
    range.0 < value && value <= range.1
}

fn draw(
    canvas: &mut Canvas<'_>,
    frame: &Frame,
    panel: &Panel<'_>,
    names: &[usize],
    (few, many): (u32, u32),
) {
    frame.y_axis(canvas, &ticks(frame.y, 6), "top-1 accuracy (%)");
    let bits: Vec<(f64, String)> = (few..=many)
        .map(|bits| (f64::from(bits), bits.to_string()))
        .collect();
    frame.x_axis(canvas, &bits, "weight bits", false);
    if shows(panel.chance, frame.y) {
        let y = frame.y_at(panel.chance);
        canvas.dashed((frame.left, y), (frame.right(), y), GREY, 1.6, DOTS);
    }
    let points = |line: &Line<'_>, value: fn(&TableRow) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = line
            .by_bits
            .iter()
            .filter_map(|(bits, row)| Some((f64::from(*bits), value(row)?)));
        points.map(|(x, y)| frame.at(x, y)).collect()
    };
    for (line, name) in panel.lines.iter().zip(names) {
        let mut band = points(line, |row| row.interval.map(|(low, _)| low * 100.0));
        band.extend(
            points(line, |row| row.interval.map(|(_, high)| high * 100.0))
                .into_iter()
                .rev(),
        );
        canvas.polygon(&band, categorical(*name), 0.2);
    }
    if let Some(float) = panel.float {
        let y = frame.y_at(float);
        canvas.dashed((frame.left, y), (frame.right(), y), BLACK, 1.6, DASHES);
    }
    for (line, name) in panel.lines.iter().zip(names) {
        canvas.line(
            &points(line, TableRow::top1_percent),
            categorical(*name),
            2.0,
        );
    }
    for (line, name) in panel.lines.iter().zip(names) {
        for point in points(line, TableRow::top1_percent) {
            canvas.marker(point, *name, categorical(*name));
        }
    }
}
