//! What an activation site was seen to hold, with the codes chosen for it: one picture a site, or all sites of a network on a page.
//!
//! Counts come in the bins of the calibration's histogram, which are many and narrow. They are added into the bars of the picture, a bin
//! that lies in two bars in proportion. Exact zeros, half of what a ReLU gives, are in no bar but in the title. The scale is logarithmic:
//! what a range cuts off is a thousandth of the values, and should be seen.

use crate::bars::{Bars, CLIP_DASH, INSIDE, OUTSIDE};
use crate::canvas::{At, BLACK, Canvas, GREY, LARGE, SMALL, categorical, picture, text_width};
use crate::error::Error;
use crate::frame::{Frame, LEGEND_STEP, Sample, legend, legend_width};

/// Values between two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinnedCount {
    /// The lower end.
    pub low: f64,
    /// The upper end, not below the lower one.
    pub high: f64,
    /// Values between them, zeros not counted.
    pub count: u64,
}

/// The numbers `scale * (q - zero_point)` for `quant_min <= q <= quant_max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodeGrid {
    /// The step.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i32,
    /// The smallest code.
    pub quant_min: i32,
    /// The largest code.
    pub quant_max: i32,
}

/// What [`site_histogram`] draws.
#[derive(Clone, Copy, Debug)]
pub struct SiteHistogram<'a> {
    /// Name of the site.
    pub site: &'a str,
    /// The scheme in words, or why the site has no codes.
    pub scheme: &'a str,
    /// Counts in ascending order.
    pub bins: &'a [BinnedCount],
    /// How many values were exactly 0.
    pub zeros: u64,
    /// The codes chosen; none for a site that stays in float.
    pub grid: Option<CodeGrid>,
}

/// How finely something is drawn.
#[derive(Clone, Copy)]
struct Detail {
    bars: usize,
    /// More codes than this are finer than the picture and are left out.
    codes: i32,
}

const ALONE: Detail = Detail {
    bars: 140,
    codes: 256,
};
const PANEL: Detail = Detail {
    bars: 90,
    codes: 64,
};
const COLUMNS: usize = 3;

/// SVG of one site.
///
/// # Errors
/// [`Error::Histogram`] with the site, for a number that is not finite or ends in the wrong order.
pub fn site_histogram(site: &SiteHistogram<'_>) -> Result<String, Error> {
    let panel = Panel::new(site, ALONE)?;
    let entries = panel.legend();
    let frame = panel.frame((84.0, 78.0), (620.0, 300.0));
    let width = frame.right() + 22.0 + legend_width(&entries) + 12.0;
    Ok(picture(width, frame.bottom() + 56.0, |canvas| {
        let title = format!("{}: {}", site.site, site.scheme);
        canvas.text((frame.left, 20.0), &title, LARGE, BLACK, At::Start);
        canvas.text((frame.left, 42.0), &panel.count, SMALL, GREY, At::Start);
        panel.draw(canvas, &frame, ("activation", "values per bar"), 7);
        panel.draw_ends(canvas, &frame);
        legend(canvas, (frame.right() + 22.0, frame.top), &entries);
    }))
}

/// SVG of all sites, three in a row, each with axes of its own.
///
/// # Errors
/// [`Error::Histogram`], as for [`site_histogram`], and without a site.
pub fn site_histograms(title: &str, sites: &[SiteHistogram<'_>]) -> Result<String, Error> {
    let panels: Vec<Panel<'_>> = sites
        .iter()
        .map(|site| Panel::new(site, PANEL))
        .collect::<Result<_, _>>()?;
    let Some(first) = panels.iter().max_by_key(|panel| panel.legend().len()) else {
        return Err(Error::Histogram {
            layer: title.to_string(),
            problem: "no sites".into(),
        });
    };
    let entries: Vec<(Sample, String)> = first.legend();
    let (left, top, wide, high) = (62.0, 44.0, 340.0, 130.0);
    let (step_x, step_y) = (left + wide + 16.0, top + high + 30.0);
    let head = 44.0 + LEGEND_STEP * entries.len() as f64;
    let columns = COLUMNS.min(panels.len());
    let rows = panels.len().div_ceil(columns);
    let least = left + text_width(title, LARGE);
    let width = (step_x * columns as f64).max(least) + 12.0;
    Ok(picture(
        width,
        head + step_y * rows as f64 + 12.0,
        |canvas| {
            canvas.text((left, 20.0), title, LARGE, BLACK, At::Start);
            legend(canvas, (left, 36.0), &entries);
            for (i, panel) in panels.iter().enumerate() {
                let (column, row) = ((i % columns) as f64, (i / columns) as f64);
                let frame = panel.frame(
                    (left + step_x * column, head + top + step_y * row),
                    (wide, high),
                );
                let name = (frame.left, frame.top - 30.0);
                canvas.text(name, panel.site.site, SMALL, BLACK, At::Start);
                panel.draw(canvas, &frame, ("", ""), 5);
                panel.draw_ends(canvas, &frame);
                let corner = (frame.right(), frame.top - 30.0);
                canvas.text(corner, &panel.share, SMALL, GREY, At::End);
            }
        },
    ))
}

/// A site in bars.
struct Panel<'a> {
    site: &'a SiteHistogram<'a>,
    counts: Vec<f64>,
    low: f64,
    high: f64,
    levels: Vec<f32>,
    clip: Option<(f32, f32)>,
    /// How many values and zeros, in words.
    count: String,
    /// The zeros alone.
    share: String,
}

impl<'a> Panel<'a> {
    fn new(site: &'a SiteHistogram<'a>, detail: Detail) -> Result<Panel<'a>, Error> {
        let fail = |problem: String| Error::Histogram {
            layer: site.site.to_string(),
            problem,
        };
        let value = |grid: &CodeGrid, code: i32| {
            (f64::from(grid.scale) * (f64::from(code) - f64::from(grid.zero_point))) as f32
        };
        let clip = site
            .grid
            .map(|grid| (value(&grid, grid.quant_min), value(&grid, grid.quant_max)));
        let ends = clip.map(|(a, b)| (f64::from(a), f64::from(b)));
        let bins = site.bins.iter().map(|bin| (bin.low, bin.high));
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (a, b) in bins.chain(ends) {
            if !(a.is_finite() && b.is_finite() && a <= b) {
                return Err(fail(format!("{a} to {b} is no range")));
            }
            (low, high) = (low.min(a), high.max(b));
        }
        if site.zeros > 0 || low > high {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low == high {
            // A constant site: any width shows it.
            let half = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
            (low, high) = (low - half, high + half);
        }
        let total = site
            .bins
            .iter()
            .fold(site.zeros, |sum, bin| sum.saturating_add(bin.count));
        let percent = 100.0 * site.zeros as f64 / (total as f64).max(1.0);
        let share = format!("{percent:.1} % zeros");
        Ok(Panel {
            site,
            counts: bars_of(site.bins, (low, high), detail.bars),
            low,
            high,
            levels: site
                .grid
                .filter(|grid| grid.quant_max.saturating_sub(grid.quant_min) < detail.codes)
                .map(|grid| {
                    let codes = grid.quant_min..=grid.quant_max;
                    codes.map(|code| value(&grid, code)).collect()
                })
                .unwrap_or_default(),
            clip,
            count: format!("{total} values, {share}"),
            share,
        })
    }

    fn bars(&self) -> Bars<'_> {
        Bars {
            counts: &self.counts,
            low: self.low,
            high: self.high,
            levels: &self.levels,
            clip: self.clip,
            log_count: true,
        }
    }

    fn frame(&self, (left, top): (f64, f64), (width, height): (f64, f64)) -> Frame {
        let (x, y) = self.bars().ranges();
        Frame {
            left,
            top,
            width,
            height,
            x,
            y,
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, frame: &Frame, titles: (&str, &str), wanted: usize) {
        self.bars().draw(canvas, frame, titles, wanted);
        if self.site.bins.is_empty() {
            let middle = (
                frame.left + frame.width / 2.0,
                frame.top + frame.height / 2.0,
            );
            let nothing = match self.site.zeros {
                0 => "no values",
                _ => "every value is 0",
            };
            canvas.text(middle, nothing, SMALL, GREY, At::Middle);
        }
    }

    /// The first and the last code above the ends they stand for.
    fn draw_ends(&self, canvas: &mut Canvas<'_>, frame: &Frame) {
        let (Some(grid), Some((a, b))) = (self.site.grid, self.clip) else {
            return;
        };
        let (a, b) = (frame.x_at(f64::from(a)), frame.x_at(f64::from(b)));
        let (first, last) = (grid.quant_min.to_string(), grid.quant_max.to_string());
        let room = (text_width(&first, SMALL) + text_width(&last, SMALL)) / 2.0 + 6.0;
        // Far beside an outlier the two ends are one line.
        let (left, right) = if b - a < room {
            (At::End, At::Start)
        } else {
            (At::Middle, At::Middle)
        };
        let gap = if b - a < room { 3.0 } else { 0.0 };
        let y = frame.top - 10.0;
        canvas.text((a - gap, y), &first, SMALL, BLACK, left);
        canvas.text((b + gap, y), &last, SMALL, BLACK, right);
    }

    fn legend(&self) -> Vec<(Sample, String)> {
        let mut entries = vec![(
            Sample::Filled(INSIDE.0, INSIDE.1),
            "values other than 0".to_string(),
        )];
        if self.clip.is_some() {
            let past = "values past the ends".to_string();
            entries.push((Sample::Filled(OUTSIDE.0, OUTSIDE.1), past));
            let ends = "first and last code".to_string();
            entries.push((Sample::Dashed(BLACK, CLIP_DASH), ends));
        }
        if !self.levels.is_empty() {
            let sample = Sample::Dashed(categorical(1), (28.0, 0.0));
            entries.push((sample, "codes".to_string()));
        }
        entries
    }
}

/// Counts in `n` equal bars over `low..=high`, which holds every bin.
fn bars_of(bins: &[BinnedCount], (low, high): (f64, f64), n: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n];
    let place = |x: f64| ((x - low) / (high - low) * n as f64).clamp(0.0, n as f64);
    for bin in bins {
        let (from, to) = (place(bin.low), place(bin.high));
        let (first, last) = ((from as usize).min(n - 1), (to as usize).min(n - 1));
        if first == last {
            counts[first] += bin.count as f64;
            continue;
        }
        for (i, count) in counts.iter_mut().enumerate().take(last + 1).skip(first) {
            let inside = to.min((i + 1) as f64) - from.max(i as f64);
            *count += bin.count as f64 * inside / (to - from);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: CodeGrid = CodeGrid {
        scale: 0.25,
        zero_point: 4,
        quant_min: 0,
        quant_max: 15,
    };

    fn site<'a>(bins: &'a [BinnedCount], grid: Option<CodeGrid>) -> SiteHistogram<'a> {
        SiteHistogram {
            site: "layer1.0.add",
            scheme: "affine, 4 bit",
            bins,
            zeros: 1,
            grid,
        }
    }

    fn bin(low: f64, high: f64, count: u64) -> BinnedCount {
        BinnedCount { low, high, count }
    }

    #[test]
    fn a_bin_that_lies_in_two_bars_is_divided_and_no_value_is_lost() {
        let bins = [
            bin(0.0, 1.0, 8),
            bin(1.5, 2.5, 4),
            bin(3.0, 3.0, 2),
            bin(4.0, 4.0, 1),
        ];
        let counts = bars_of(&bins, (0.0, 4.0), 4);
        assert_eq!(counts, [8.0, 2.0, 2.0, 3.0]);
        let counts = bars_of(&bins, (-1.0, 5.0), 37);
        assert!((counts.iter().sum::<f64>() - 15.0).abs() < 1e-9);
    }

    #[test]
    fn the_picture_names_site_scheme_zeros_and_the_outer_codes() {
        let bins = [bin(-3.0, -2.0, 4), bin(0.5, 1.0, 15)];
        let svg = site_histogram(&site(&bins, Some(GRID))).unwrap();
        for text in [
            "layer1.0.add: affine, 4 bit",
            "20 values, 5.0 % zeros",
            "\n0\n",
            "\n15\n",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        let page = site_histograms("all", &[site(&bins, Some(GRID)); 4]).unwrap();
        assert_eq!(page.matches("layer1.0.add").count(), 4);
    }

    #[test]
    fn sites_of_zeros_constants_and_sixteen_bits_are_drawn_and_nonsense_is_an_error() {
        let wide = CodeGrid {
            scale: 1e-4,
            zero_point: 0,
            quant_min: -32768,
            quant_max: 32767,
        };
        let single = [bin(0.7, 0.7, 9)];
        let zeros = site_histogram(&site(&[], None)).unwrap();
        assert!(zeros.contains("every value is 0"));
        for svg in [
            zeros,
            site_histogram(&site(&single, None)).unwrap(),
            site_histogram(&site(&single, Some(wide))).unwrap(),
            site_histograms("page", &[site(&[], None), site(&single, Some(wide))]).unwrap(),
        ] {
            assert!(!svg.contains("NaN") && svg.len() < 60_000);
        }
        assert!(site_histograms("page", &[]).is_err());
        for bad in [
            bin(1.0, 0.0, 1),
            bin(f64::NAN, 0.0, 1),
            bin(0.0, f64::INFINITY, 1),
        ] {
            assert!(site_histogram(&site(&[bad], None)).is_err());
        }
    }
}
