//! Resize and centre crop of an RGB image, bit for bit as torchvision does them on Pillow images.
//!
//! `Resize(r)` makes the shorter side `r` and the longer `int(r * long / short)`, with Pillow's antialiased bilinear
//! filter; `CenterCrop(c)` cuts `[c, c]` at `round((side - c) / 2)` (half to even), after padding with zeros where a side
//! is shorter than `c`. Pillow's filter (`src/libImaging/Resample.c`) for one axis, with `scale = in / out`,
//! `s = max(scale, 1)` and the triangle `f(t) = max(0, 1 - |t|)`:
//!
//! ```text
//! centre(x) = (x + 0.5) * scale
//! first     = max(int(centre - s + 0.5), 0),   last = min(int(centre + s + 0.5), in)
//! w(i)      = f((i - centre + 0.5) / s) / sum  over first <= i < last          in double
//! k(i)      = int(0.5 + w(i) * 2^22)                                           rounds half away from zero (w >= 0)
//! out(x)    = clamp((2^21 + sum of k(i) * in(i)) >> 22, 0, 255)                in 32-bit integers
//! ```
//!
//! Columns first, then rows, with the columns' result rounded to 8 bits; an axis whose size does not change is copied.
//! Every output pixel depends on its own window alone, so computing nothing outside the crop changes no value.

use std::ops::Range;

/// What a preprocessed image looks like: shorter side after the resize, and side of the square cut out of its centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Length in pixels of the shorter side after the resize.
    pub resize: usize,
    /// Side in pixels of the centre crop.
    pub crop: usize,
}

/// Resizes and centre-crops an interleaved RGB image.
///
/// `pixels` is `[height, width, 3]`; the result is `[crop, crop, 3]`. Equal, value for value, to
/// `CenterCrop(crop)(Resize(resize)(image))` of torchvision on a Pillow image.
///
/// # Panics
/// If `pixels` does not hold `height * width * 3` values, or a side is zero: the decoder never hands such an image on.
pub fn resize_and_crop(pixels: &[u8], width: usize, height: usize, geometry: Geometry) -> Vec<u8> {
    assert!(width > 0 && height > 0, "an image has at least one pixel");
    assert_eq!(pixels.len(), width * height * 3, "pixels are [height, width, 3]");
    let crop = geometry.crop;
    let (new_width, new_height) = resized(width, height, geometry.resize);
    let columns = Cut::centre(new_width, crop);
    let rows = Cut::centre(new_height, crop);

    let across = Windows::new(width, new_width, &columns.source);
    let down = Windows::new(height, new_height, &rows.source);
    let needed = down.reach();
    let stripe = across_columns(pixels, width, needed.clone(), &across);
    let cut = down_rows(&stripe, columns.source.len(), needed.start, &down);
    if columns.source.len() == crop && rows.source.len() == crop { cut } else { pad(&cut, &columns, &rows, crop) }
}

/// Size of an image after torchvision's `Resize(shorter)`: the longer side is `int(shorter * long / short)`.
pub fn resized(width: usize, height: usize, shorter: usize) -> (usize, usize) {
    // Python divides in double and truncates; for operands below 2^53 the integer quotient is the same number. With a
    // shorter side of 0 (not a size anybody asks for) the result stays at one pixel.
    let longer = |long: usize, short: usize| ((shorter as u64 * long as u64 / short as u64) as usize).max(1);
    if width <= height { (shorter.max(1), longer(height, width)) } else { (longer(width, height), shorter.max(1)) }
}

/// Where a centre crop takes its pixels from along one axis, and where they land.
struct Cut {
    /// Positions in the resized image.
    source: Range<usize>,
    /// Zeros before the first of them.
    before: usize,
}

impl Cut {
    fn centre(size: usize, crop: usize) -> Cut {
        if size < crop {
            return Cut { source: 0..size, before: (crop - size) / 2 };
        }
        // round((size - crop) / 2) as Python rounds: a half goes to the even neighbour.
        let twice = size - crop;
        let half = twice / 2;
        let start = if twice % 2 == 1 && half % 2 == 1 { half + 1 } else { half };
        Cut { source: start..start + crop, before: 0 }
    }
}

/// Filter windows of the wanted output positions along one axis.
struct Windows {
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
    fn new(input: usize, output: usize, wanted: &Range<usize>) -> Windows {
        if input == output {
            let first = wanted.clone().collect::<Vec<_>>();
            let n = first.len();
            return Windows { first, coefficients: vec![1 << PRECISION; n], used: vec![1; n], taps: 1, copied: true };
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
    fn reach(&self) -> Range<usize> {
        let start = self.first.first().copied().unwrap_or(0);
        let end = self.first.iter().zip(&self.used).map(|(first, used)| first + used).max().unwrap_or(0);
        start..end
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let windows = self.coefficients.chunks_exact(self.taps);
        self.first.iter().zip(&self.used).zip(windows).map(|((first, used), k)| (*first, &k[..*used]))
    }
}

/// Filters the rows in `needed` of a `[height, width, 3]` image along the columns: `[needed, windows, 3]`.
fn across_columns(pixels: &[u8], width: usize, needed: Range<usize>, windows: &Windows) -> Vec<u8> {
    let mut out = Vec::with_capacity(needed.len() * windows.first.len() * 3);
    for row in pixels[needed.start * width * 3..needed.end * width * 3].chunks_exact(width * 3) {
        if windows.copied {
            let columns = windows.reach();
            out.extend_from_slice(&row[columns.start * 3..columns.end * 3]);
            continue;
        }
        for (first, coefficients) in windows.iter() {
            let mut sum = [HALF; 3];
            for (pixel, k) in row[first * 3..].chunks_exact(3).zip(coefficients) {
                sum[0] += i32::from(pixel[0]) * k;
                sum[1] += i32::from(pixel[1]) * k;
                sum[2] += i32::from(pixel[2]) * k;
            }
            out.extend(sum.map(to_u8));
        }
    }
    out
}

/// Filters a `[rows, width, 3]` stripe, whose first row is source row `start`, along the rows: `[windows, width, 3]`.
fn down_rows(stripe: &[u8], width: usize, start: usize, windows: &Windows) -> Vec<u8> {
    let stride = width * 3;
    let mut out = Vec::with_capacity(windows.first.len() * stride);
    let mut sums = vec![0i32; stride];
    for (first, coefficients) in windows.iter() {
        let rows = stripe[(first - start) * stride..].chunks_exact(stride);
        if windows.copied {
            out.extend(rows.take(1).flatten());
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

/// Surrounds a cut that is smaller than the crop with zeros, as `CenterCrop` pads.
fn pad(cut: &[u8], columns: &Cut, rows: &Cut, crop: usize) -> Vec<u8> {
    let mut out = vec![0; crop * crop * 3];
    let width = columns.source.len() * 3;
    for (y, row) in cut.chunks_exact(width).enumerate() {
        let at = ((rows.before + y) * crop + columns.before) * 3;
        out[at..at + width].copy_from_slice(row);
    }
    out
}
