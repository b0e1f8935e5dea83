//! The course of trainings: training loss and test accuracy after each epoch, a line a run.
//!
//! A row of two frames for each network, data set and pair of bits; what else the trainings differ in has a colour and a
//! marker, the same in all of them.

use std::collections::HashSet;

use results::{EpochRow, FLOAT_BITS};

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{Axis, scheme_label, subject};
use crate::canvas::{At, BLACK, Canvas, GREY, SMALL, categorical, picture};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step, ticks};
use crate::load::Loaded;

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 78.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 54.0;
const DASHES: (f64, f64) = (7.0, 4.0);
/// From this many epochs on, a marker on each would cover the line.
const MARKED: usize = 24;

/// A training and its place.
pub(crate) struct Course<'a> {
    pub row: &'a TableRow,
    pub epochs: &'a [EpochRow],
    pub name: String,
}

/// The picture, or `None` where no run was a training.
pub(crate) fn epoch_plot(table: &AccuracyTable, loaded: &Loaded) -> Option<String> {
    let courses = told_apart(table, loaded);
    let mut names: Vec<&str> = Vec::new();
    let mut places: Vec<(String, Vec<&Course<'_>>)> = Vec::new();
    for course in &courses {
        if !names.contains(&course.name.as_str()) {
            names.push(&course.name);
        }
        let place = place(table, course.row);
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, courses)) => courses.push(course),
            None => places.push((place, vec![course])),
        }
    }
    if places.is_empty() {
        return None;
    }
    let mut entries: Vec<(Sample, String)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (Sample::Marked(categorical(i), i), (*name).to_owned()))
        .collect();
    entries.push((Sample::Dashed(BLACK, DASHES), "float".into()));
    let step = TOP + HEIGHT + BELOW;
    let right = 2.0 * (LEFT + WIDTH) + 22.0;
    let height = (step * places.len() as f64).max(TOP + LEGEND_STEP * entries.len() as f64 + 14.0);
    let picture = picture(right + legend_width(&entries) + 12.0, height, |canvas| {
        for (i, (title, courses)) in places.iter().enumerate() {
            let top = TOP + step * i as f64;
            canvas.text((LEFT, top - 16.0), title, SMALL, BLACK, At::Start);
            let float = courses.iter().find_map(|course| float(table, course.row));
            loss(canvas, (LEFT, top), courses, &names);
            top1(canvas, (2.0 * LEFT + WIDTH, top), courses, &names, float);
        }
        legend(canvas, (right, TOP), &entries);
    });
    Some(picture)
}

/// The trainings with names of their own. That all of them are trained needs no word, nor for how long, which the axis shows:
/// unless nothing else tells two apart.
pub(crate) fn told_apart<'a>(table: &'a AccuracyTable, loaded: &'a Loaded) -> Vec<Course<'a>> {
    match courses(table, loaded, &["method", "epochs"]) {
        found if are_told_apart(table, &found) => found,
        _ => courses(table, loaded, &["method"]),
    }
}

/// The trainings, named by the axes that vary but for those `without`.
fn courses<'a>(table: &'a AccuracyTable, loaded: &'a Loaded, without: &[&str]) -> Vec<Course<'a>> {
    let axes = table.axes.iter().copied();
    let axes: Vec<&Axis> = axes.filter(|axis| !without.contains(&axis.title)).collect();
    let course = |row: &'a TableRow| {
        let epochs = loaded.epochs.get(&row.run_id)?;
        let name = scheme_label(&row.config, &axes);
        Some(Course { row, epochs, name })
    };
    table.rows.iter().filter_map(course).collect()
}

fn are_told_apart(table: &AccuracyTable, courses: &[Course<'_>]) -> bool {
    let mut seen = HashSet::new();
    let mut new =
        |course: &Course<'_>| seen.insert((place(table, course.row), course.name.clone()));
    courses.iter().all(&mut new)
}

/// What stands above a pair of frames.
pub(crate) fn place(table: &AccuracyTable, row: &TableRow) -> String {
    let config = &row.config;
    let both = table.activations || config.activations_bits() != FLOAT_BITS;
    let bits = row.bits().label(both);
    format!("{}, {bits}", subject(config))
}

/// Top-1 of the float run in percent.
pub(crate) fn float(table: &AccuracyTable, row: &TableRow) -> Option<f64> {
    let id = row.float_run.as_ref()?;
    table
        .rows
        .iter()
        .find(|row| row.run_id == *id)?
        .top1_percent()
}

fn loss(canvas: &mut Canvas<'_>, at: (f64, f64), courses: &[&Course<'_>], names: &[&str]) {
    let value = |epoch: &EpochRow| Some(epoch.train_loss);
    let y = loss_range(values(courses, value));
    let frame = frame(at, courses, y);
    axes(canvas, &frame, courses, "training loss (nats)");
    lines(canvas, &frame, courses, names, value);
}

fn top1(
    canvas: &mut Canvas<'_>,
    at: (f64, f64),
    courses: &[&Course<'_>],
    names: &[&str],
    float: Option<f64>,
) {
    let value = |epoch: &EpochRow| epoch.test_top1.map(|share| 100.0 * share);
    let shown: Vec<f64> = values(courses, value).chain(float).collect();
    let y = top1_range(&shown);
    let frame = frame(at, courses, y);
    axes(canvas, &frame, courses, "test top-1 (%)");
    if let Some(float) = float {
        let y = frame.y_at(float);
        canvas.dashed((frame.left, y), (frame.right(), y), BLACK, 1.6, DASHES);
    }
    lines(canvas, &frame, courses, names, value);
}

/// What an axis shows of these losses.
pub(crate) fn loss_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let highest = values.fold(0.0, f64::max);
    let step = nice_step(highest / 5.0);
    (0.0, ((highest / step).ceil() * step).max(step))
}

/// What an axis shows of these percentages.
pub(crate) fn top1_range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(100.0, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    let step = nice_step((high - low).max(0.5) / 5.0);
    (
        ((low / step).floor() * step).max(0.0),
        ((high / step).ceil() * step).clamp(step, 100.0),
    )
}

fn values<'a>(
    courses: &'a [&Course<'_>],
    value: impl Fn(&EpochRow) -> Option<f64> + 'a,
) -> impl Iterator<Item = f64> + 'a {
    let epochs = courses.iter().flat_map(|course| course.epochs);
    epochs.filter_map(value)
}

fn frame((left, top): (f64, f64), courses: &[&Course<'_>], y: (f64, f64)) -> Frame {
    Frame {
        left,
        top,
        width: WIDTH,
        height: HEIGHT,
        x: (0.0, longest(courses) as f64 + 0.5),
        y,
    }
}

fn longest(courses: &[&Course<'_>]) -> usize {
    let lengths = courses.iter().map(|course| course.epochs.len());
    lengths.max().unwrap_or(1)
}

fn axes(canvas: &mut Canvas<'_>, frame: &Frame, courses: &[&Course<'_>], title: &str) {
    frame.y_axis(canvas, &ticks(frame.y, 5), title);
    let last = longest(courses);
    let step = (nice_step(last as f64 / 8.0) as usize).max(1);
    let epochs = (step..=last).step_by(step);
    let epochs: Vec<(f64, String)> = epochs.map(|e| (e as f64, e.to_string())).collect();
    frame.x_axis(canvas, &epochs, "epoch", false);
}

fn lines(
    canvas: &mut Canvas<'_>,
    frame: &Frame,
    courses: &[&Course<'_>],
    names: &[&str],
    value: impl Fn(&EpochRow) -> Option<f64>,
) {
    for course in courses {
        let i = names.iter().position(|name| *name == course.name);
        let i = i.unwrap_or_default();
        let points: Vec<(f64, f64)> = course
            .epochs
            .iter()
            .filter_map(|epoch| Some(frame.at(epoch.epoch as f64, value(epoch)?)))
            .collect();
        canvas.line(&points, categorical(i), 2.0);
        let marked = match points.len() > MARKED {
            true => points.last().copied().into_iter().collect(),
            false => points,
        };
        for point in marked {
            canvas.marker(point, i, categorical(i));
        }
    }
    canvas.line(
        &[
            (frame.left, frame.bottom()),
            (frame.right(), frame.bottom()),
        ],
        GREY,
        1.0,
    );
}
