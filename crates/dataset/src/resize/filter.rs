//! Pillow's antialiased bilinear filter along one axis of an RGB image; see [`super`] for the formula.

use std::ops::Range;

/// Filter windows of the wanted output positions along one axis.
pub(super) struct Windows {
    /// First source position of each window.
    first: Vec<usize>,
    /// Coefficients with [`PRECISION`] fractional bits, `taps` for each window (zeros after a shorter one).
    coefficients: Vec<i32>,
    /// How many of them each window uses.
    used: Vec<usize>,
    taps: usize,
    /// The sizes are equal: positions are copied. Pillow skips the pass, and so do we.
    copied: bool,
}

/// Fractional bits of a coefficient: 32 for the accumulator, less 8 for the value and 2 for negative filters' overshoot.
const PRECISION: u32 = 32 - 8 - 2;

impl Windows {
    pub(super) fn new(input: usize, output: usize, wanted: &Range<usize>) -> Windows {
        if input == output {
            let first = wanted.clone().collect::<Vec<_>>();
            let n = first.len();
            return Windows {
                first,
                coefficients: vec![1 << PRECISION; n],
                used: vec![1; n],
                taps: 1,
                copied: true,
            };
        }
        let scale = input as f64 / output as f64;
        let filter_scale = scale.max(1.0);
        let support = filter_scale; // the triangle reaches 1 on either side
        let inverse = 1.0 / filter_scale;
        let taps = support.ceil() as usize * 2 + 1;
        let mut windows = Windows {
            first: Vec::with_capacity(wanted.len()),
            coefficients: vec![0; wanted.len() * taps],
            used: Vec::with_capacity(wanted.len()),
            taps,
            copied: false,
        };
        let mut weights = vec![0.0; taps];
        for (n, x) in wanted.clone().enumerate() {
            let centre = (x as f64 + 0.5) * scale;
            // `as` truncates towards zero and stops at 0, as C's cast followed by Pillow's clamp does.
            let first = (centre - support + 0.5) as usize;
            let last = ((centre + support + 0.5) as usize).min(input);
            let used = last - first;
            let mut sum = 0.0;
            for (i, weight) in weights[..used].iter_mut().enumerate() {
                let t = ((i + first) as f64 - centre + 0.5) * inverse;
                *weight = (1.0 - t.abs()).max(0.0);
                sum += *weight;
            }
            let coefficients = &mut windows.coefficients[n * taps..n * taps + used];
            for (coefficient, weight) in coefficients.iter_mut().zip(&weights) {
                let normalised = if sum != 0.0 { weight / sum } else { *weight };
                *coefficient = (0.5 + normalised * f64::from(1u32 << PRECISION)) as i32;
            }
            windows.first.push(first);
            windows.used.push(used);
        }
        windows
    }

    /// Source positions that any window touches.
    pub(super) fn reach(&self) -> Range<usize> {
        let start = self.first.first().copied().unwrap_or(0);
        let end = self
            .first
            .iter()
            .zip(&self.used)
            .map(|(first, used)| first + used)
            .max()
            .unwrap_or(0);
        start..end
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let windows = self.coefficients.chunks_exact(self.taps);
        self.first
            .iter()
            .zip(&self.used)
            .zip(windows)
            .map(|((first, used), k)| (*first, &k[..*used]))
    }
}

/// Filters `rows` of an image of `width` columns, of which the first is column `start` of the source, along the columns:
/// `[rows, windows, 3]`.
pub(super) fn across_columns(
    pixels: &[u8],
    width: usize,
    rows: Range<usize>,
    start: usize,
    windows: &Windows,
) -> Vec<u8> {
    let stride = width * 3;
    let mut out = Vec::with_capacity(rows.len() * windows.first.len() * 3);
    for row in pixels[rows.start * stride..rows.end * stride].chunks_exact(stride) {
        if windows.copied {
            let columns = windows.reach();
            out.extend_from_slice(&row[(columns.start - start) * 3..(columns.end - start) * 3]);
            continue;
        }
        for (first, coefficients) in windows.iter() {
            let mut sum = [HALF; 3];
            for (pixel, k) in row[(first - start) * 3..].chunks_exact(3).zip(coefficients) {
                sum[0] += i32::from(pixel[0]) * k;
                sum[1] += i32::from(pixel[1]) * k;
                sum[2] += i32::from(pixel[2]) * k;
            }
            out.extend(sum.map(to_u8));
        }
    }
    out
}

/// Filters `columns` of an image of `width` columns, of which the first row is row `start` of the source, along the rows:
/// `[windows, columns, 3]`.
pub(super) fn down_rows(
    pixels: &[u8],
    width: usize,
    columns: Range<usize>,
    start: usize,
    windows: &Windows,
) -> Vec<u8> {
    let wanted = columns.start * 3..columns.end * 3;
    let mut out = Vec::with_capacity(windows.first.len() * wanted.len());
    let mut sums = vec![0i32; wanted.len()];
    for (first, coefficients) in windows.iter() {
        let mut rows = pixels[(first - start) * width * 3..]
            .chunks_exact(width * 3)
            .map(|row| &row[wanted.clone()]);
        if windows.copied {
            out.extend(rows.next().into_iter().flatten());
            continue;
        }
        sums.fill(HALF);
        for (row, k) in rows.zip(coefficients) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * k;
            }
        }
        out.extend(sums.iter().map(|sum| to_u8(*sum)));
    }
    out
}

/// One half, in the accumulator's units: the shift then rounds to nearest.
const HALF: i32 = 1 << (PRECISION - 1);

fn to_u8(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
