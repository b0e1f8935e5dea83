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
//! The image is filtered along the columns and then along the rows, with 8 bits in between; an axis whose size does not
//! change is copied. Since version 13.0 Pillow takes the rows first where the height shrinks by more than twice what the
//! width does (images more than about twice as high as wide), and so does this; before, such images came out up to a
//! level different here and there.
//! Every output pixel depends on its own window alone, so computing nothing outside the crop changes no value.

mod filter;

use std::ops::Range;

use filter::{Windows, across_columns, down_rows};

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
    assert_eq!(
        pixels.len(),
        width * height * 3,
        "pixels are [height, width, 3]"
    );
    let crop = geometry.crop;
    let (new_width, new_height) = resized(width, height, geometry.resize);
    let columns = Cut::centre(new_width, crop);
    let rows = Cut::centre(new_height, crop);

    let across = Windows::new(width, new_width, &columns.source);
    let down = Windows::new(height, new_height, &rows.source);
    let (x, y) = (across.reach(), down.reach());
    let cut = if rows_first((width, height), (new_width, new_height)) {
        let stripe = down_rows(pixels, width, x.clone(), 0, &down);
        across_columns(&stripe, x.len(), 0..rows.source.len(), x.start, &across)
    } else {
        let stripe = across_columns(pixels, width, y.clone(), 0, &across);
        down_rows(
            &stripe,
            columns.source.len(),
            0..columns.source.len(),
            y.start,
            &down,
        )
    };
    if columns.source.len() == crop && rows.source.len() == crop {
        cut
    } else {
        pad(&cut, &columns, &rows, crop)
    }
}

/// Size of an image after torchvision's `Resize(shorter)`: the longer side is `int(shorter * long / short)`.
pub fn resized(width: usize, height: usize, shorter: usize) -> (usize, usize) {
    // Python divides in double and truncates; for operands below 2^53 the integer quotient is the same number. With a
    // shorter side of 0 (not a size anybody asks for) the result stays at one pixel.
    let longer =
        |long: usize, short: usize| ((shorter as u64 * long as u64 / short as u64) as usize).max(1);
    if width <= height {
        (shorter.max(1), longer(height, width))
    } else {
        (longer(width, height), shorter.max(1))
    }
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
            return Cut {
                source: 0..size,
                before: (crop - size) / 2,
            };
        }
        // round((size - crop) / 2) as Python rounds: a half goes to the even neighbour.
        let twice = size - crop;
        let half = twice / 2;
        let start = if twice % 2 == 1 && half % 2 == 1 {
            half + 1
        } else {
            half
        };
        Cut {
            source: start..start + crop,
            before: 0,
        }
    }
}

/// Whether Pillow filters along the rows first. The 8 bits between the passes make it visible.
fn rows_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let (shrunk_x, shrunk_y) = (from.0 as i128 - to.0 as i128, from.1 as i128 - to.1 as i128);
    shrunk_y > 0 && shrunk_y > 2 * shrunk_x
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

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// `[h, w, 3]`: `(37x + 59y + 101c + 7xy) mod 256`.
    fn picture(width: usize, height: usize) -> Vec<u8> {
        let value = |x: usize, y: usize, c: usize| (37 * x + 59 * y + 101 * c + 7 * x * y) as u8;
        let at = |i: usize| value(i / 3 % width, i / 3 / width, i % 3);
        (0..width * height * 3).map(at).collect()
    }

    fn made(width: usize, height: usize, resize: usize, crop: usize) -> Vec<u8> {
        resize_and_crop(
            &picture(width, height),
            width,
            height,
            Geometry { resize, crop },
        )
    }

    // Expected values: Pillow 13.0, `Image.resize(.., BILINEAR)`, cut and padded by torchvision's formulas in numpy.
    #[test]
    fn small_cases_are_those_of_pillow() {
        assert_eq!(
            made(7, 5, 3, 2),
            [109, 179, 84, 160, 144, 128, 139, 110, 154, 107, 151, 105]
        );
        let enlarged = [
            21, 122, 223, 37, 138, 239, 53, 154, 145, 69, 170, 51, 27, 128, 204, 44, 145, 220, 60,
            161, 137, 76, 177, 55, 53, 154, 127, 70, 171, 144, 88, 189, 107, 105, 206, 69, 78, 179,
            49, 96, 197, 68, 115, 216, 76, 134, 235, 83,
        ];
        assert_eq!(made(3, 2, 5, 4), enlarged);
        // The width stays as it is, so there is one pass only.
        let kept = [
            177, 22, 123, 235, 80, 181, 37, 138, 239, 236, 81, 182, 45, 146, 247, 110, 211, 56, 39,
            140, 241, 111, 212, 57, 183, 28, 129,
        ];
        assert_eq!(made(4, 9, 4, 3), kept);
    }

    #[test]
    fn two_hundred_sizes_hash_to_what_pillow_makes() {
        let mut state = 1u64;
        let mut next = |n: u64| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            ((state >> 16) % n + 1) as usize
        };
        let mut hash = Sha256::new();
        for _ in 0..200 {
            let [width, height, resize, crop] = [90, 90, 40, 40].map(&mut next);
            hash.update(made(width, height, resize, crop));
        }
        let hex: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "175c36b5d90ddf9fda5a6e81663a3989d89f4973c5383374d1f240cd284636f9"
        );
    }

    #[test]
    fn the_longer_side_is_truncated_and_the_shorter_is_exact() {
        assert_eq!(resized(500, 375, 256), (341, 256)); // 341.33
        assert_eq!(resized(375, 500, 256), (256, 341));
        assert_eq!(resized(300, 297, 256), (258, 256)); // 258.59
        assert_eq!(resized(64, 64, 256), (256, 256));
        assert_eq!(resized(1, 178_956_970, 256).0, 256);
    }

    #[test]
    fn a_crop_starts_at_half_the_margin_rounded_half_to_even() {
        let starts = [4, 5, 6, 7, 8, 9, 11].map(|size| Cut::centre(size, 4).source.start);
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 4]); // 0, 0.5, 1, 1.5, 2, 2.5, 3.5
    }

    #[test]
    fn extreme_sides_need_no_extreme_memory() {
        // The whole resized image would have 256 x 25,600,000 pixels.
        let thin = vec![200; 100_000 * 3];
        let crop = resize_and_crop(
            &thin,
            1,
            100_000,
            Geometry {
                resize: 256,
                crop: 224,
            },
        );
        assert!(crop.len() == 224 * 224 * 3 && crop.iter().all(|v| *v == 200));
    }
}
