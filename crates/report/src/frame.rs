//! Axes, ticks and legends: from data to pixels.

use plotters::style::RGBColor;

use crate::canvas::{At, BLACK, Canvas, GREY, LARGE, LIGHT, SMALL, text_width};

/// A rectangle of the picture with the data range it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Frame {
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x_at(x), self.y_at(y))
    }

    pub fn x_at(&self, x: f64) -> f64 {
        self.left + (x - self.x.0) / (self.x.1 - self.x.0) * self.width
    }

    pub fn y_at(&self, y: f64) -> f64 {
        self.top + (self.y.1 - y) / (self.y.1 - self.y.0) * self.height
    }

    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Horizontal grid lines with their labels, and the y axis.
    pub fn y_axis(&self, canvas: &mut Canvas<'_>, ticks: &[(f64, String)], title: &str) {
        for (y, label) in ticks {
            let y = self.y_at(*y);
            canvas.line(&[(self.left, y), (self.right(), y)], LIGHT, 1.0);
            canvas.text((self.left - 8.0, y), label, SMALL, BLACK, At::End);
        }
        canvas.line(
            &[(self.left, self.top), (self.left, self.bottom())],
            GREY,
            1.0,
        );
        let widest = ticks
            .iter()
            .map(|(_, label)| text_width(label, SMALL))
            .fold(0.0, f64::max);
        let x = self.left - widest - 22.0;
        canvas.text(
            (x, self.top + self.height / 2.0),
            title,
            LARGE,
            BLACK,
            At::UpMiddle,
        );
    }

    /// The x axis with ticks below it. Labels that are `turned` read upwards.
    pub fn x_axis(
        &self,
        canvas: &mut Canvas<'_>,
        ticks: &[(f64, String)],
        title: &str,
        turned: bool,
    ) {
        let y = self.bottom();
        canvas.line(&[(self.left, y), (self.right(), y)], GREY, 1.0);
        for (x, label) in ticks {
            let x = self.x_at(*x);
            canvas.line(&[(x, y), (x, y + 5.0)], GREY, 1.0);
            let (drop, at) = if turned {
                (9.0, At::UpEnd)
            } else {
                (15.0, At::Middle)
            };
            canvas.text((x, y + drop), label, SMALL, BLACK, at);
        }
        let widest = ticks
            .iter()
            .map(|(_, label)| text_width(label, SMALL))
            .fold(0.0, f64::max);
        let drop = if turned { widest + 24.0 } else { 38.0 };
        canvas.text(
            (self.left + self.width / 2.0, y + drop),
            title,
            LARGE,
            BLACK,
            At::Middle,
        );
    }
}

/// Round numbers within a range, about `wanted` of them, 1, 2 or 5 times a power of ten apart, with their labels.
pub(crate) fn ticks((low, high): (f64, f64), wanted: usize) -> Vec<(f64, String)> {
    let step = nice_step((high - low) / wanted.max(1) as f64);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last)
        .map(|i| i as f64 * step)
        .map(|tick| (tick, format!("{tick:.digits$}")))
        .collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is not smaller than `raw`.
pub(crate) fn nice_step(raw: f64) -> f64 {
    if !(raw.is_finite() && raw > 0.0) {
        return 1.0;
    }
    let exponent = raw.log10().floor() as i32;
    // A negative power is a quotient, so that 0.1 is the 0.1 of the language and labels are not off by a digit.
    let power = if exponent < 0 {
        1.0 / 10f64.powi(-exponent)
    } else {
        10f64.powi(exponent)
    };
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= raw * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// How a line of the legend is drawn.
pub(crate) enum Sample {
    /// A line with the i-th marker.
    Marked(RGBColor, usize),
    /// Dashes: pixels drawn, pixels not.
    Dashed(RGBColor, (f64, f64)),
    /// A filled box.
    Filled(RGBColor, f64),
    /// The i-th marker alone.
    Point(RGBColor, usize),
    /// The i-th marker alone, hollow.
    Hollow(RGBColor, usize),
    /// An upright line.
    Whisker(RGBColor),
}

/// Pixels between lines of a legend.
pub(crate) const LEGEND_STEP: f64 = 22.0;

/// Draws a legend downwards from its upper left corner. It has room of its own: it never covers data.
pub(crate) fn legend(
    canvas: &mut Canvas<'_>,
    (left, top): (f64, f64),
    entries: &[(Sample, String)],
) {
    for (i, (sample, label)) in entries.iter().enumerate() {
        let y = top + LEGEND_STEP * (i as f64 + 0.5);
        let (from, to) = ((left, y), (left + 28.0, y));
        match sample {
            Sample::Marked(color, shape) => {
                canvas.line(&[from, to], *color, 2.0);
                canvas.marker((left + 14.0, y), *shape, *color);
            }
            Sample::Dashed(color, dash) => canvas.dashed(from, to, *color, 1.6, *dash),
            Sample::Filled(color, alpha) => {
                canvas.rect((left, y - 6.0), (left + 28.0, y + 6.0), *color, *alpha)
            }
            Sample::Point(color, shape) => canvas.marker((left + 14.0, y), *shape, *color),
            Sample::Hollow(color, shape) => canvas.hollow((left + 14.0, y), *shape, *color),
            Sample::Whisker(color) => canvas.line(
                &[(left + 14.0, y - 8.0), (left + 14.0, y + 8.0)],
                *color,
                1.6,
            ),
        }
        canvas.text((left + 36.0, y), label, SMALL, BLACK, At::Start);
    }
}

/// Width that [`legend`] needs.
pub(crate) fn legend_width(entries: &[(Sample, String)]) -> f64 {
    36.0 + entries
        .iter()
        .map(|(_, label)| text_width(label, SMALL))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        let labels = |range, wanted| {
            ticks(range, wanted)
                .into_iter()
                .map(|(_, label)| label)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(labels((0.0, 100.0), 6), "0 20 40 60 80 100");
        assert_eq!(labels((-0.31, 0.42), 5), "-0.2 0.0 0.2 0.4");
        assert_eq!(labels((91.2, 92.1), 4), "91.5 92.0");
        assert_eq!(labels((-0.00012, 0.0001), 4), "-0.0001 0.0000 0.0001");
        assert_eq!(ticks((5.0, 5.0), 4).len(), 1);
    }
}
