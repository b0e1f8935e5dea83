//! Points in frames side by side, and one legend to their right.

use crate::canvas::{At, BLACK, Canvas, GREY, SMALL, categorical, picture};
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width, nice_step, ticks};
use crate::panel::DASHES;

/// A frame's size.
const SIDE: (f64, f64) = (300.0, 260.0);
const LEFT: f64 = 74.0;
const TOP: f64 = 40.0;
const BELOW: f64 = 56.0;

/// A point with the number of its series.
pub(crate) struct Dot {
    pub x: f64,
    pub y: f64,
    pub series: usize,
    pub hollow: bool,
    /// Which run it is.
    pub run: String,
}

/// Frames, and what belongs to all of them.
pub(crate) struct Scatters {
    pub frames: Vec<Scatter>,
    /// Names of the series, and whether they are hollow.
    pub series: Vec<(String, bool)>,
    /// What the line is.
    pub line: Option<&'static str>,
    /// What the dashed line across is.
    pub level: Option<&'static str>,
}

/// One frame.
pub(crate) struct Scatter {
    pub title: String,
    pub x_title: String,
    pub y_title: String,
    pub dots: Vec<Dot>,
    /// Through these points goes a line.
    pub line: Vec<(f64, f64)>,
    /// Whether the line where x is y is drawn, and both axes show the same range.
    pub diagonal: bool,
    /// A dashed line across.
    pub level: Option<f64>,
}

/// The picture, frames without a point left out; `None` where there is none.
pub(crate) fn scatter(all: &Scatters) -> Option<String> {
    let Scatters {
        series,
        line,
        level,
        ..
    } = all;
    let frames: Vec<&Scatter> = all.frames.iter().filter(|f| !f.dots.is_empty()).collect();
    if frames.is_empty() {
        return None;
    }
    let mut entries: Vec<(Sample, String)> = (series.iter().enumerate())
        .map(|(i, (name, hollow))| {
            let sample = match hollow {
                true => Sample::Hollow(categorical(i), i),
                false => Sample::Point(categorical(i), i),
            };
            (sample, name.clone())
        })
        .collect();
    entries.extend(line.map(|name| (Sample::Dashed(GREY, (1e9, 0.0)), name.to_owned())));
    entries.extend(level.map(|name| (Sample::Dashed(BLACK, DASHES), name.to_owned())));
    let beside = (LEFT + SIDE.0) * frames.len() as f64 + 24.0;
    let width = beside + legend_width(&entries) + 12.0;
    let height = (TOP + SIDE.1 + BELOW).max(TOP + LEGEND_STEP * entries.len() as f64);
    Some(picture(width, height, |canvas| {
        for (place, own) in frames.iter().enumerate() {
            let left = LEFT + (LEFT + SIDE.0) * place as f64;
            own.draw(canvas, left);
        }
        legend(canvas, (beside, TOP), &entries);
    }))
}

impl Scatter {
    /// What both axes show.
    pub fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let x = range(self.dots.iter().map(|dot| dot.x));
        let y = range(self.dots.iter().map(|dot| dot.y).chain(self.level));
        let both = (x.0.min(y.0), x.1.max(y.1));
        match self.diagonal {
            true => (both, both),
            false => (x, y),
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, left: f64) {
        let (x, y) = self.ranges();
        let frame = Frame {
            left,
            top: TOP,
            width: SIDE.0,
            height: SIDE.1,
            x,
            y,
        };
        canvas.text((left, TOP - 18.0), &self.title, SMALL, BLACK, At::Start);
        frame.y_axis(canvas, &ticks(y, 5), &self.y_title);
        frame.x_axis(canvas, &ticks(x, 5), &self.x_title, false);
        if self.diagonal {
            let ends = [frame.at(x.0, x.0), frame.at(x.1, x.1)];
            canvas.line(&ends, GREY, 1.2);
        }
        if let Some(level) = self.level {
            let y = frame.y_at(level);
            canvas.dashed((frame.left, y), (frame.right(), y), BLACK, 1.6, DASHES);
        }
        let line: Vec<_> = self.line.iter().map(|&(x, y)| frame.at(x, y)).collect();
        if line.len() > 1 {
            canvas.line(&line, GREY, 1.6);
        }
        // Hollow ones last: they do not cover the others.
        let (hollow, filled): (Vec<&Dot>, Vec<&Dot>) = self.dots.iter().partition(|d| d.hollow);
        for dot in filled.into_iter().chain(hollow) {
            let at = frame.at(dot.x, dot.y);
            let color = categorical(dot.series);
            match dot.hollow {
                true => canvas.hollow(at, dot.series, color),
                false => canvas.marker(at, dot.series, color),
            }
        }
    }
}

/// What values span, with room at both ends.
fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    let step = nice_step(((high - low) / 6.0).max(1e-6 * high.abs()).max(1e-9));
    (low - step / 2.0, high + step / 2.0)
}
