//! What a method's hits cost: top-1 against the seconds that quantizing takes, every run a point, and other tools beside
//! them. Only for an experiment that has such tools to show.
//!
//! ```text
//! seconds  of the run less images / images_per_second: all but the evaluation. Activation ranges are gathered once for all runs
//!          of a sweep, in the first of them.
//! ```
//!
//! A frame for each network and for each value of what the tools stand beside (bits go across). A run in integers is left out:
//! its seconds have the comparison with its simulation in them, which is no part of quantizing.

use results::{PeerRow, RunRow, Status};

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{Axis, scheme_label, subject};
use crate::bits::Bits;
use crate::canvas::{At, BLACK, Canvas, GREY, SMALL, categorical, picture};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, ticks};
use crate::panel::{DASHES, y_range};
use crate::stats::wilson;

const WIDTH: f64 = 270.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 54.0;
/// Clocks tell no less, and a logarithm has no zero.
const LEAST_SECONDS: f64 = 0.01;
/// The place within a decade that an axis ends behind its last point.
pub(crate) const MARGIN: f64 = 0.15;

/// A run or a tool.
pub(crate) struct Point {
    pub seconds: f64,
    pub top1: f64,
    pub interval: (f64, f64),
    /// Which of the names.
    pub name: usize,
    /// Which run; a tool has none.
    pub run: Option<String>,
}

/// One frame.
pub(crate) struct Place<'a> {
    rows: Vec<&'a TableRow>,
    pub title: String,
    bits: Bits,
    pub points: Vec<Point>,
    pub peers: Vec<Point>,
    pub float: Option<f64>,
}

/// What there is to draw.
pub(crate) struct Gathered<'a> {
    pub places: Vec<Place<'a>>,
    /// What the runs' points are called, and the tools'.
    pub names: [Vec<String>; 2],
}

/// The frames, or `None` where no tool stands beside a run.
pub(crate) fn gather(table: &AccuracyTable) -> Option<Gathered<'_>> {
    let split = columns_beside(&table.peers);
    let mut places = places(table, &split);
    let named = |axis: &Axis| split.iter().any(|column| axis.is_of(column));
    // Draws of the same are one mark.
    let axes = table.axes.iter().copied();
    let axes: Vec<&Axis> = axes
        .filter(|axis| axis.title != "seed" && !named(axis))
        .collect();
    let (mut names, mut tools) = (Vec::new(), Vec::new());
    for place in &mut places {
        for row in &place.rows {
            let seconds = table.runs.iter().find(|run| run.run_id == row.run_id);
            let point = seconds.and_then(quantizing_seconds).and_then(|seconds| {
                let name = nth(&mut names, scheme_label(&row.config, &axes));
                let point = Point::new(seconds, (row.top1?, row.n?), name)?;
                let run = Some(row.run_id.clone());
                Some(Point { run, ..point })
            });
            place.points.extend(point);
        }
        let beside = table.peers.iter().filter(|peer| place.is_of(peer));
        for peer in beside.collect::<Vec<_>>() {
            let name = nth(&mut tools, peer.peer.clone());
            let point = Point::new(peer.seconds, (peer.hits, peer.images), name);
            place.peers.extend(point);
        }
    }
    places.retain(|place| !place.points.is_empty() || !place.peers.is_empty());
    (!tools.is_empty()).then_some(Gathered {
        places,
        names: [names, tools],
    })
}

/// The picture, or `None` where no tool stands beside a run.
pub(crate) fn cost_plot(table: &AccuracyTable) -> Option<String> {
    let Gathered {
        places,
        names: [names, tools],
    } = gather(table)?;
    let own = (0..names.len()).map(|i| Sample::Point(categorical(i), i));
    let mut own: Vec<(Sample, String)> = own.zip(names).collect();
    let first = own.len();
    let others = (first..).map(|i| Sample::Hollow(categorical(i), i));
    let others = others.zip(tools).collect();
    if places.iter().any(|place| place.float.is_some()) {
        own.push((Sample::Dashed(BLACK, DASHES), "float".into()));
    }
    own.push((Sample::Whisker(GREY), "95 % interval".into()));
    Some(drawn(&places, [own, others], first))
}

/// All columns that say where a tool stands, each once.
fn columns_beside(peers: &[PeerRow]) -> Vec<&str> {
    let mut columns = Vec::new();
    for (column, _) in peers.iter().filter_map(PeerRow::columns_beside).flatten() {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Quantized rows by network, bits and the values of `split`, in the order of the table.
fn places<'a>(table: &'a AccuracyTable, split: &[&str]) -> Vec<Place<'a>> {
    let bits = ["weights_bits", "activations_bits"];
    let split: Vec<&str> = split
        .iter()
        .copied()
        .filter(|c| !bits.contains(c))
        .collect();
    let several = {
        let mut subjects = table.rows.iter().map(TableRow::subject);
        let first = subjects.next();
        subjects.any(|subject| Some(subject) != first)
    };
    let key = |row: &'a TableRow| {
        let values: Vec<&str> = split.iter().map(|column| row.config.text(column)).collect();
        (row.subject(), row.bits(), values)
    };
    let mut found: Vec<(_, Place<'a>)> = Vec::new();
    for row in table.rows.iter().filter(|row| !row.config.is_float()) {
        let key = key(row);
        if let Some((_, place)) = found.iter_mut().find(|(known, _)| *known == key) {
            place.rows.push(row);
            continue;
        }
        let bits = row.bits();
        let label = bits.label(table.activations);
        let label = match table.activations {
            true => label,
            false => format!("{label} bits"),
        };
        let network = several.then(|| subject(&row.config));
        let words = network
            .into_iter()
            .chain(key.2.iter().map(|v| (*v).to_owned()));
        let title: Vec<String> = words.chain([label]).collect();
        let float = row.float_run.as_ref().and_then(|id| table.row(id));
        let place = Place {
            rows: vec![row],
            title: title.join(", "),
            bits,
            points: Vec::new(),
            peers: Vec::new(),
            float: float.and_then(TableRow::top1_percent),
        };
        found.push((key, place));
    }
    found.into_iter().map(|(_, place)| place).collect()
}

/// Seconds of a run without its evaluation; none where they would have other work in them or there are none.
fn quantizing_seconds(run: &RunRow) -> Option<f64> {
    let images: u64 = run.config.get("images")?;
    let is_whole = run.status == Status::Ok && run.config.text("execution") != "integer";
    let evaluation = images as f64 / run.images_per_second.filter(|_| is_whole)?;
    Some(run.seconds - evaluation)
}

/// The place of `name` among `names`, which it joins.
fn nth(names: &mut Vec<String>, name: String) -> usize {
    names
        .iter()
        .position(|known| *known == name)
        .unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
}

impl Point {
    fn new(seconds: f64, (hits, n): (u64, u64), name: usize) -> Option<Point> {
        let (low, high) = wilson(hits, n);
        let point = Point {
            seconds: seconds.max(LEAST_SECONDS),
            top1: 100.0 * hits as f64 / n as f64,
            interval: (100.0 * low, 100.0 * high),
            name,
            run: None,
        };
        (n > 0 && seconds.is_finite()).then_some(point)
    }
}

impl Place<'_> {
    /// Whether the tool stands beside a run of it.
    fn is_of(&self, peer: &PeerRow) -> bool {
        let columns = peer.columns_beside().unwrap_or_default();
        let beside = |row: &&TableRow| {
            let mut columns = columns.iter();
            columns.all(|(column, value)| row.config.text(column) == *value)
        };
        self.rows.iter().any(beside)
    }

    pub fn all(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().chain(&self.peers)
    }

    pub fn y_range(&self) -> (f64, f64) {
        y_range(self.all().map(|point| point.interval), self.float)
    }
}

/// Frames of the same bits below each other, under all of them the legend, tools in a column of their own; their styles begin
/// with the one numbered `first`.
fn drawn(places: &[Place<'_>], [own, others]: [Vec<(Sample, String)>; 2], first: usize) -> String {
    let mut across: Vec<Bits> = places.iter().map(|place| place.bits).collect();
    across.sort_unstable_by(|a, b| b.cmp(a));
    across.dedup();
    let column = |place: &Place<'_>| across.iter().position(|bits| *bits == place.bits);
    let mut filled = vec![0; across.len()];
    let seconds = || {
        places
            .iter()
            .flat_map(Place::all)
            .map(|point| point.seconds.log10())
    };
    let x = (
        seconds().fold(f64::INFINITY, f64::min) - MARGIN,
        seconds().fold(f64::NEG_INFINITY, f64::max) + MARGIN,
    );
    let decades = x.0.ceil() as i32..=x.1.floor() as i32;
    let decades: Vec<(f64, String)> = decades
        .map(|e| (f64::from(e), format!("{}", 10f64.powi(e))))
        .collect();
    let at: Vec<(f64, f64)> = places
        .iter()
        .filter_map(|place| {
            let column = column(place)?;
            filled[column] += 1;
            let row = filled[column] - 1;
            let step = (LEFT + WIDTH, TOP + HEIGHT + BELOW);
            Some((LEFT + step.0 * column as f64, TOP + step.1 * f64::from(row)))
        })
        .collect();
    let rows = filled.iter().copied().max().unwrap_or(0);
    let below = (TOP + HEIGHT + BELOW) * f64::from(rows);
    let second = LEFT + legend_width(&own) + 40.0;
    let width =
        ((LEFT + WIDTH) * across.len() as f64 + 20.0).max(second + legend_width(&others) + 12.0);
    let lines = own.len().max(others.len());
    let height = below + LEGEND_STEP * lines as f64 + 20.0;
    picture(width, height, |canvas| {
        for (place, (left, top)) in places.iter().zip(&at) {
            canvas.text((*left, top - 16.0), &place.title, SMALL, BLACK, At::Start);
            let frame = Frame {
                left: *left,
                top: *top,
                width: WIDTH,
                height: HEIGHT,
                x,
                y: place.y_range(),
            };
            frame.y_axis(canvas, &ticks(frame.y, 5), "top-1 accuracy (%)");
            frame.x_axis(canvas, &decades, "seconds to quantize", false);
            fill(canvas, &frame, place, first);
        }
        legend(canvas, (LEFT, below + 8.0), &own);
        legend(canvas, (second, below + 8.0), &others);
    })
}

/// The float line, then every interval, then the marks over them.
fn fill(canvas: &mut Canvas<'_>, frame: &Frame, place: &Place<'_>, first: usize) {
    if let Some(float) = place.float {
        let y = frame.y_at(float);
        canvas.dashed((frame.left, y), (frame.right(), y), BLACK, 1.6, DASHES);
    }
    let own_marks = place.points.iter().map(|point| (point, point.name, true));
    let others = place
        .peers
        .iter()
        .map(|point| (point, first + point.name, false));
    let marks: Vec<(&Point, usize, bool)> = own_marks.chain(others).collect();
    for (point, style, _) in &marks {
        let x = point.seconds.log10();
        let ends = [point.interval.0, point.interval.1].map(|y| frame.at(x, y));
        canvas.line(&ends, categorical(*style), 1.6);
    }
    for (point, style, is_own) in marks {
        let at = frame.at(point.seconds.log10(), point.top1);
        match is_own {
            true => canvas.marker(at, style, categorical(style)),
            false => canvas.hollow(at, style, categorical(style)),
        }
    }
}
