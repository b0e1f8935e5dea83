//! What the pictures of this crate show, as numbers, for a script that draws them with the same colours, marks and ranges.
//!
//! Places, ranges, names and styles are asked of the modules that draw the SVGs, so that both show the same.

use plotters::style::RGBColor;
use serde::Serialize;

use super::pool::Short;
use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{Axis, scheme_label};
use crate::canvas::{categorical, hex, sequential};
use crate::category_plot::styles;
use crate::draws::{medians, without_seed};
use crate::load::Loaded;
use crate::panel::{Panel, names, panels, shows};
use crate::pareto::pareto;
use crate::predictors::predictors;
use crate::scatter::Scatters;
use crate::series::{Across, Series};
use crate::{cost_plot, epoch_plot, sqnr_plot};

/// A picture with one legend.
#[derive(Serialize)]
pub(super) struct Plot {
    id: &'static str,
    title: &'static str,
    series: Vec<Style>,
    frames: Vec<Frame>,
    /// What a grey line through a frame is.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'static str>,
    /// Frames that belong side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    across: Option<usize>,
}

/// An entry of the legend, which can be switched off.
#[derive(Serialize)]
struct Style {
    name: String,
    color: String,
    shape: usize,
    #[serde(skip_serializing_if = "is_false")]
    hollow: bool,
    #[serde(skip_serializing_if = "is_false")]
    joined: bool,
}

/// Axes and what is drawn on them.
#[derive(Serialize)]
struct Frame {
    title: String,
    x: Scale,
    y: Scale,
    points: Vec<Points>,
    /// Lines across: name, value, whether dotted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    levels: Vec<(&'static str, Short, bool)>,
    /// A grey line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    line: Vec<(Short, Short)>,
    /// Whether series stand side by side at their places.
    #[serde(skip_serializing_if = "is_false")]
    beside: bool,
}

/// What an axis shows.
#[derive(Serialize)]
struct Scale {
    title: String,
    range: (Short, Short),
    /// Places with names, at 0, 1, and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
    /// Whether names read upwards.
    #[serde(skip_serializing_if = "is_false")]
    turned: bool,
    /// Whether ticks are whole numbers.
    #[serde(skip_serializing_if = "is_false")]
    whole: bool,
    /// Whether the numbers are powers of ten.
    #[serde(skip_serializing_if = "is_false")]
    log: bool,
}

/// The points of a series in a frame.
#[derive(Serialize)]
struct Points {
    series: usize,
    x: Vec<Short>,
    y: Vec<Short>,
    /// Ends of the intervals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    low: Vec<Short>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    high: Vec<Short>,
    /// The places of their runs; none of what is no run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    run: Vec<Option<usize>>,
    /// The places of the runs that all of the points are of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<usize>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Every picture for which there is something to draw.
pub(super) fn all(table: &AccuracyTable, loaded: &Loaded) -> Vec<Plot> {
    let across = Across::of(table, true);
    let accuracy = match (table.activations, across) {
        // Where all have the same bits there is no line to draw against them.
        (true, _) | (_, Across::Axis(_)) => by_category(table),
        (false, Across::Bits) => by_bits(table),
    };
    let pareto = pareto(table, loaded).map(|(_, drawn)| drawn);
    let predictors = predictors(table, loaded).map(|(_, drawn)| drawn);
    [
        pareto.and_then(|drawn| scattered(table, "pareto", "Accuracy and cost", drawn)),
        accuracy,
        predictors.and_then(|drawn| scattered(table, "predictors", "Expected and measured", drawn)),
        cost(table),
        epochs(table, loaded),
        sqnr(table, loaded),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Style {
    fn new(name: &str, color: RGBColor, shape: usize) -> Style {
        Style {
            name: name.to_owned(),
            color: hex(color),
            shape,
            hollow: false,
            joined: false,
        }
    }
}

impl Scale {
    fn new(title: &str, (low, high): (f64, f64)) -> Scale {
        Scale {
            title: title.to_owned(),
            range: both((low, high)),
            places: Vec::new(),
            turned: false,
            whole: false,
            log: false,
        }
    }

    fn of_places(title: &str, places: Vec<String>, turned: bool) -> Scale {
        let range = (-0.5, places.len() as f64 - 0.5);
        Scale {
            places,
            turned,
            ..Scale::new(title, range)
        }
    }
}

impl Frame {
    fn new(title: &str, x: Scale, y: Scale) -> Frame {
        Frame {
            title: title.to_owned(),
            x,
            y,
            points: Vec::new(),
            levels: Vec::new(),
            line: Vec::new(),
            beside: false,
        }
    }

    /// Of a panel of accuracies: the float network and chance as lines across.
    fn of_panel(panel: &Panel<'_>, x: Scale, several: bool) -> Frame {
        let y = panel.y_range();
        let title = if several { &panel.title } else { "" };
        let mut frame = Frame::new(title, x, Scale::new("top-1 accuracy (%)", y));
        let float = panel.float.map(|float| ("float", Short(float), false));
        frame.levels.extend(float);
        if shows(panel.chance, y) {
            frame.levels.push(("chance", Short(panel.chance), true));
        }
        frame
    }
}

impl Points {
    fn of(series: usize) -> Points {
        Points {
            series,
            x: Vec::new(),
            y: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
            run: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn add(&mut self, (x, y): (f64, f64), run: Option<usize>) {
        self.x.push(Short(x));
        self.y.push(Short(y));
        self.run.push(run);
    }

    fn interval(&mut self, (low, high): (f64, f64)) {
        self.low.push(Short(low));
        self.high.push(Short(high));
    }

    /// Accuracy in percent with its interval.
    fn add_row(&mut self, table: &AccuracyTable, row: &TableRow, x: f64) {
        let (Some(top1), Some((low, high))) = (row.top1_percent(), row.interval) else {
            return;
        };
        self.add((x, top1), place(table, &row.run_id));
        self.interval((low * 100.0, high * 100.0));
    }
}

fn both((low, high): (f64, f64)) -> (Short, Short) {
    (Short(low), Short(high))
}

/// The place of a run in the table.
fn place(table: &AccuracyTable, run_id: &str) -> Option<usize> {
    table.rows.iter().position(|row| row.run_id == run_id)
}

/// The place of a series among the names.
fn named(series: &Series<'_>, names: &[String], axes: &[&Axis]) -> usize {
    let name = scheme_label(&series.first().config, axes);
    let known = names.iter().position(|known| *known == name);
    known.unwrap_or_default()
}

fn accuracy(series: Vec<Style>, frames: Vec<Frame>) -> Plot {
    Plot {
        id: "accuracy",
        title: "Accuracy",
        series,
        frames,
        line: None,
        across: None,
    }
}

/// As [`crate::accuracy_plot`].
fn by_bits(table: &AccuracyTable) -> Option<Plot> {
    let axes = without_seed(&table.axes);
    let panels = panels(table, Across::Bits, &axes);
    let names = names(&panels, &axes);
    let rows = || {
        let series = panels.iter().flat_map(|panel| &panel.series);
        series.flat_map(|series| &series.rows)
    };
    let bits = || rows().map(|row| f64::from(row.config.weights_bits()));
    let range = (
        bits().fold(f64::INFINITY, f64::min) - 0.35,
        bits().fold(f64::NEG_INFINITY, f64::max) + 0.35,
    );
    let frame = |panel: &Panel<'_>| {
        let x = Scale {
            whole: true,
            ..Scale::new("weight bits", range)
        };
        let mut frame = Frame::of_panel(panel, x, panels.len() > 1);
        for series in &panel.series {
            let mut points = Points::of(named(series, &names, &axes));
            let course = medians(&series.rows, |row| row.config.weights_bits());
            for row in course.into_iter().rev() {
                points.add_row(table, row, f64::from(row.config.weights_bits()));
            }
            frame.points.push(points);
        }
        frame
    };
    let style = |(i, name): (usize, &String)| Style {
        joined: true,
        ..Style::new(name, categorical(i), i)
    };
    let series = names.iter().enumerate().map(style).collect();
    let frames: Vec<Frame> = panels.iter().map(frame).collect();
    (!frames.is_empty()).then(|| accuracy(series, frames))
}

/// As [`crate::category_plot`].
fn by_category(table: &AccuracyTable) -> Option<Plot> {
    let across = Across::of(table, true);
    let axes = without_seed(&across.others(table));
    let places = across.labels(table);
    let panels = panels(table, across, &axes);
    let names = names(&panels, &axes);
    let all: Vec<&Series<'_>> = panels.iter().flat_map(|panel| &panel.series).collect();
    let styles = styles(&names, &all, &axes);
    let title = match across {
        Across::Bits => "bits of weights (W) and activations (A)",
        Across::Axis(axis) => axis.title,
    };
    let frame = |panel: &Panel<'_>| {
        let x = Scale::of_places(title, places.clone(), false);
        let mut frame = Frame::of_panel(panel, x, panels.len() > 1);
        frame.beside = true;
        for series in &panel.series {
            let mut points = Points::of(named(series, &names, &axes));
            for row in &series.rows {
                let label = across.label(table, row);
                if let Some(place) = places.iter().position(|place| *place == label) {
                    points.add_row(table, row, place as f64);
                }
            }
            frame.points.push(points);
        }
        frame
    };
    let series = names.iter().zip(&styles).map(|(name, style)| Style {
        hollow: style.hollow,
        ..Style::new(name, categorical(style.i), style.i)
    });
    let frames: Vec<Frame> = panels.iter().map(frame).collect();
    (!frames.is_empty()).then(|| accuracy(series.collect(), frames))
}

/// As [`crate::scatter`].
fn scattered(
    table: &AccuracyTable,
    id: &'static str,
    title: &'static str,
    drawn: Scatters,
) -> Option<Plot> {
    let style = |(i, (name, hollow)): (usize, &(String, bool))| Style {
        hollow: *hollow,
        ..Style::new(name, categorical(i), i)
    };
    let series: Vec<Style> = drawn.series.iter().enumerate().map(style).collect();
    let level = drawn.level;
    let frames = drawn.frames.iter().filter(|frame| !frame.dots.is_empty());
    let frames = frames.map(|own| {
        let (x, y) = own.ranges();
        let scales = (Scale::new(&own.x_title, x), Scale::new(&own.y_title, y));
        let mut frame = Frame::new(&own.title, scales.0, scales.1);
        for i in 0..series.len() {
            let mut points = Points::of(i);
            for dot in own.dots.iter().filter(|dot| dot.series == i) {
                points.add((dot.x, dot.y), place(table, &dot.run));
            }
            frame.points.push(points);
        }
        frame.points.retain(|points| !points.x.is_empty());
        let across = level.zip(own.level);
        frame
            .levels
            .extend(across.map(|(name, y)| (name, Short(y), false)));
        let ends = [(x.0, x.0), (x.1, x.1)];
        let line = match own.diagonal {
            true => ends.to_vec(),
            false => own.line.clone(),
        };
        frame.line = line
            .into_iter()
            .map(|(x, y)| (Short(x), Short(y)))
            .collect();
        frame
    });
    let frames: Vec<Frame> = frames.collect();
    (!frames.is_empty()).then_some(Plot {
        id,
        title,
        series,
        frames,
        line: drawn.line,
        across: None,
    })
}

/// As [`crate::cost_plot`].
fn cost(table: &AccuracyTable) -> Option<Plot> {
    let found = cost_plot::gather(table)?;
    let [own, tools] = &found.names;
    let names = own.iter().chain(tools).enumerate();
    let series = names.map(|(i, name)| Style {
        hollow: i >= own.len(),
        ..Style::new(name, categorical(i), i)
    });
    let seconds = || {
        let points = found.places.iter().flat_map(|place| place.all());
        points.map(|point| point.seconds.log10())
    };
    let range = (
        seconds().fold(f64::INFINITY, f64::min) - cost_plot::MARGIN,
        seconds().fold(f64::NEG_INFINITY, f64::max) + cost_plot::MARGIN,
    );
    let frames = found.places.iter().map(|own_place| {
        let x = Scale {
            log: true,
            ..Scale::new("seconds to quantize", range)
        };
        let y = Scale::new("top-1 accuracy (%)", own_place.y_range());
        let mut frame = Frame::new(&own_place.title, x, y);
        let float = own_place.float.map(|float| ("float", Short(float), false));
        frame.levels.extend(float);
        let marks = own_place.points.iter().map(|point| (point, point.name));
        let tools = own_place.peers.iter();
        let tools = tools.map(|point| (point, own.len() + point.name));
        for (point, series) in marks.chain(tools) {
            let known = frame.points.iter().position(|p| p.series == series);
            let known = known.unwrap_or_else(|| {
                frame.points.push(Points::of(series));
                frame.points.len() - 1
            });
            let run = point.run.as_ref().and_then(|id| place(table, id));
            frame.points[known].add((point.seconds.log10(), point.top1), run);
            frame.points[known].interval(point.interval);
        }
        frame
    });
    Some(Plot {
        id: "cost",
        title: "Accuracy and seconds",
        series: series.collect(),
        frames: frames.collect(),
        line: None,
        across: None,
    })
}

/// As [`crate::epoch_plot`].
fn epochs(table: &AccuracyTable, loaded: &Loaded) -> Option<Plot> {
    type Of = fn(&results::EpochRow) -> Option<f64>;
    let measures: [(&str, Of); 2] = [
        ("training loss (nats)", |epoch| Some(epoch.train_loss)),
        ("test top-1 (%)", |epoch| {
            epoch.test_top1.map(|share| 100.0 * share)
        }),
    ];
    let courses = epoch_plot::told_apart(table, loaded);
    let mut names: Vec<&str> = Vec::new();
    let mut frames: Vec<(String, [Frame; 2])> = Vec::new();
    for course in &courses {
        let known = names.iter().position(|name| *name == course.name);
        let series = known.unwrap_or_else(|| {
            names.push(&course.name);
            names.len() - 1
        });
        let title = epoch_plot::place(table, course.row);
        let known = frames.iter().position(|(known, _)| *known == title);
        let known = known.unwrap_or_else(|| {
            let new = measures.map(|(what, _)| {
                let x = Scale {
                    whole: true,
                    ..Scale::new("epoch", (0.0, 1.5))
                };
                Frame::new(&title, x, Scale::new(what, (0.0, 1.0)))
            });
            frames.push((title.clone(), new));
            frames.len() - 1
        });
        let float = epoch_plot::float(table, course.row);
        for (frame, (_, of)) in frames[known].1.iter_mut().zip(measures) {
            let mut points = Points::of(series);
            let run = place(table, &course.row.run_id);
            for epoch in course.epochs {
                if let Some(y) = of(epoch) {
                    points.add((epoch.epoch as f64, y), run);
                }
            }
            frame.points.push(points);
        }
        let top1 = &mut frames[known].1[1];
        if let (Some(float), true) = (float, top1.levels.is_empty()) {
            top1.levels.push(("float", Short(float), false));
        }
    }
    for (_, [loss, top1]) in &mut frames {
        for frame in [&mut *loss, &mut *top1] {
            let x = frame.points.iter().flat_map(|points| &points.x);
            frame.x.range.1 = Short(x.fold(1.0, |most, x| f64::max(most, x.0)) + 0.5);
        }
        let values = |frame: &Frame| -> Vec<f64> {
            let own = frame.points.iter().flat_map(|points| &points.y);
            let levels = frame.levels.iter().map(|(_, y, _)| y.0);
            own.map(|y| y.0).chain(levels).collect()
        };
        let (losses, shares) = (values(loss), values(top1));
        loss.y.range = both(epoch_plot::loss_range(losses.into_iter()));
        top1.y.range = both(epoch_plot::top1_range(&shares));
    }
    let style = |(i, name): (usize, &&str)| Style {
        joined: true,
        ..Style::new(name, categorical(i), i)
    };
    (!frames.is_empty()).then(|| Plot {
        id: "epochs",
        title: "Training",
        series: names.iter().enumerate().map(style).collect(),
        frames: frames.into_iter().flat_map(|(_, both)| both).collect(),
        line: None,
        across: Some(2),
    })
}

/// As [`crate::sqnr_plot`].
fn sqnr(table: &AccuracyTable, loaded: &Loaded) -> Option<Plot> {
    let found = sqnr_plot::gather(table, loaded)?;
    let n = found.bits.len();
    let style = |(i, bits): (usize, &u32)| Style {
        joined: true,
        ..Style::new(&format!("{bits} bit"), sequential(i, n), i)
    };
    let several = found.panels.len() > 1;
    let frames = found.panels.iter().map(|panel| {
        let what = match panel.trained {
            true => "latent weight SQNR (dB)",
            false => "weight SQNR (dB)",
        };
        let x = Scale::of_places("layer", panel.layers.clone(), true);
        let title = if several { &panel.title } else { "" };
        let mut frame = Frame::new(title, x, Scale::new(what, found.y));
        for (bits, curve) in panel.curves.iter().rev() {
            let series = found.bits.iter().position(|known| known == bits);
            let mut points = Points::of(series.unwrap_or_default());
            let runs = panel.runs.get(bits).into_iter().flatten();
            points.runs = runs.filter_map(|id| place(table, id)).collect();
            for (layer, value) in curve {
                points.x.push(Short(*layer as f64));
                points.y.push(Short(*value));
            }
            frame.points.push(points);
        }
        frame
    });
    Some(Plot {
        id: "sqnr",
        title: "SQNR of layers",
        series: found.bits.iter().enumerate().map(style).collect(),
        frames: frames.collect(),
        line: None,
        across: None,
    })
}
