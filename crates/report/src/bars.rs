//! Bars of a histogram with the quantization grid on them; what the pictures of weights and of activations share.

use plotters::style::RGBColor;

use crate::canvas::{BLACK, Canvas, GREY, categorical};
use crate::frame::{Frame, nice_step, ticks};

/// Above this number levels are ticks along the upper edge; lines would hide the bars.
const MOST_LINES: usize = 40;
/// Colour of bars inside the clip range.
pub(crate) const INSIDE: (RGBColor, f64) = (categorical(0), 0.75);
/// Colour of bars outside it.
pub(crate) const OUTSIDE: (RGBColor, f64) = (GREY, 0.9);
/// Dashes of the ends of the clip range.
pub(crate) const CLIP_DASH: (f64, f64) = (6.0, 4.0);

/// A histogram of equal bins over `low..=high`.
pub(crate) struct Bars<'a> {
    pub counts: &'a [f64],
    pub low: f64,
    pub high: f64,
    /// The values the codes stand for.
    pub levels: &'a [f32],
    /// Ends of the range that is not clipped; what lies outside is darker.
    pub clip: Option<(f32, f32)>,
    pub log_count: bool,
}

impl Bars<'_> {
    /// The data range of a frame for these bars, with a margin left and right.
    pub fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let margin = (self.high - self.low) * 0.02;
        let most = self.counts.iter().copied().fold(0.0, f64::max).max(1.0);
        let top = if self.log_count {
            (most * 1.5).log10().ceil().max(1.0)
        } else {
            most / 0.95
        };
        ((self.low - margin, self.high + margin), (self.base(), top))
    }

    /// Draws axes, bars, levels and clip range; `wanted` ticks below.
    pub fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        frame: &Frame,
        (x_title, y_title): (&str, &str),
        wanted: usize,
    ) {
        frame.y_axis(canvas, &self.count_ticks(frame), y_title);
        let edge =
            |i: usize| self.low + (self.high - self.low) * i as f64 / self.counts.len() as f64;
        let clipped = |i: usize| {
            let outside = |(a, b)| edge(i + 1) <= f64::from(a) || edge(i) >= f64::from(b);
            self.clip.is_some_and(outside)
        };
        // One outline for all bars of a colour: bars drawn singly show seams.
        for (which, (color, alpha)) in [(false, INSIDE), (true, OUTSIDE)] {
            let mut outline = vec![frame.at(self.low, self.base())];
            for (i, count) in self.counts.iter().enumerate() {
                let drawn = *count > 0.0 && clipped(i) == which;
                let y = if drawn {
                    self.top_of(*count)
                } else {
                    self.base()
                };
                outline.extend([frame.at(edge(i), y), frame.at(edge(i + 1), y)]);
            }
            outline.push(frame.at(self.high, self.base()));
            canvas.polygon(&outline, color, alpha);
        }
        self.draw_levels(canvas, frame);
        if let Some((a, b)) = self.clip {
            for end in [f64::from(a), f64::from(b)] {
                let x = frame.x_at(end);
                canvas.dashed((x, frame.top), (x, frame.bottom()), BLACK, 1.6, CLIP_DASH);
            }
        }
        frame.x_axis(canvas, &ticks(frame.x, wanted), x_title, false);
    }

    /// A logarithmic axis starts at half a value, so that a bin with one value can be seen.
    fn base(&self) -> f64 {
        if self.log_count { 0.5f64.log10() } else { 0.0 }
    }

    /// Where a bar ends. A count may be a part of one, where bins were divided.
    fn top_of(&self, count: f64) -> f64 {
        if self.log_count {
            count.log10().max(self.base())
        } else {
            count
        }
    }

    fn count_ticks(&self, frame: &Frame) -> Vec<(f64, String)> {
        let y = frame.y;
        if !self.log_count {
            let whole = nice_step((y.1 - y.0) / 6.0) >= 1.0;
            return ticks(
                y,
                if whole {
                    6
                } else {
                    y.1.floor().max(1.0) as usize
                },
            );
        }
        // As many powers of ten as the height has room for.
        let apart = (y.1 * 18.0 / frame.height).ceil().max(1.0) as usize;
        (0..=y.1 as i32)
            .step_by(apart)
            .map(|e| (f64::from(e), power_label(e as usize)))
            .collect()
    }

    fn draw_levels(&self, canvas: &mut Canvas<'_>, frame: &Frame) {
        let lines = self.levels.len() <= MOST_LINES;
        for level in self
            .levels
            .iter()
            .map(|level| f64::from(*level))
            .filter(|l| frame.x.0 <= *l && *l <= frame.x.1)
        {
            let x = frame.x_at(level);
            // Above the bars, where the paper is white.
            let (bottom, width) = if lines {
                (frame.bottom(), 1.0)
            } else {
                (frame.top + 10.0, 0.6)
            };
            canvas.line(&[(x, frame.top), (x, bottom)], categorical(1), width);
        }
    }
}

/// 10^e in at most four characters: 100, 1k, 10M.
fn power_label(e: usize) -> String {
    let unit = ["", "k", "M", "G", "T", "P", "E"];
    let digits = ["1", "10", "100"][e % 3];
    format!("{digits}{}", unit.get(e / 3).unwrap_or(&"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_short_up_to_the_largest_count() {
        let labels: Vec<String> = (0..=19).map(power_label).collect();
        assert_eq!(labels[..8].join(" "), "1 10 100 1k 10k 100k 1M 10M");
        assert_eq!(labels[19], "10E");
    }
}
