//! From planar to channels-last and back: the transposition of `[c, p]`, for one image while it is in the cache.
//!
//! In blocks of eight by eight registers where the processor has them, else four by four: loops that move one element at a time
//! take a fifth of the time of the convolution.

use crate::kernel::{Strides, transpose_blocks};

/// A block's side.
const SIDE: usize = 8;
/// Rows that are read for all columns before the next: those of 64 channels take half of the first-level cache.
const ROWS: usize = 64;

/// `to[p * pitch + c] = from[c * plane + p]` for `channels` channels and `pixels` pixels.
pub(crate) fn to_channels_last(
    (from, plane): (&[f32], usize),
    (to, pitch): (&mut [f32], usize),
    channels: usize,
    pixels: usize,
) {
    transpose((from, plane), (to, pitch), [channels, pixels]);
}

/// `to[c * plane + p] = from[p * pitch + c]`, likewise.
pub(crate) fn to_planar(
    (from, pitch): (&[f32], usize),
    (to, plane): (&mut [f32], usize),
    channels: usize,
    pixels: usize,
) {
    transpose((from, pitch), (to, plane), [pixels, channels]);
}

/// `to[j * to_row + i] = from[i * from_row + j]` for i below `rows` and j below `columns`.
fn transpose(
    (from, from_row): (&[f32], usize),
    (to, to_row): (&mut [f32], usize),
    [rows, columns]: [usize; 2],
) {
    let (whole_rows, whole_columns) = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    for start in (0..whole_rows).step_by(ROWS) {
        let end = whole_rows.min(start + ROWS);
        // Strips run along the longer side, so that few lines of each map are in use at a time: lines that lie a large power
        // of two apart, as those of channels do, share a few sets of the cache.
        if end - start <= whole_columns {
            for i in (start..end).step_by(SIDE) {
                let strides = [[from_row, SIDE], [to_row, SIDE * to_row]];
                let (from, to) = (&from[i * from_row..], &mut to[i..]);
                strip(from, to, strides, whole_columns / SIDE);
            }
        } else {
            for j in (0..whole_columns).step_by(SIDE) {
                let strides = [[from_row, SIDE * from_row], [to_row, SIDE]];
                let from = &from[start * from_row + j..];
                let to = &mut to[j * to_row + start..];
                strip(from, to, strides, (end - start) / SIDE);
            }
        }
    }
    for i in 0..rows {
        let first = if i < whole_rows { whole_columns } else { 0 };
        for j in first..columns {
            to[j * to_row + i] = from[i * from_row + j];
        }
    }
}

/// Blocks one after the other; `strides`: distances of rows and of blocks in the one map and in the other.
fn strip(from: &[f32], to: &mut [f32], strides: [[usize; 2]; 2], blocks: usize) {
    let [from_strides, to_strides] = strides.map(|[row, step]| Strides { row, step });
    if transpose_blocks((from, from_strides), (to, to_strides), blocks) {
        return;
    }
    for block in 0..blocks {
        let (from, to) = (
            &from[block * from_strides.step..],
            &mut to[block * to_strides.step..],
        );
        for i in (0..SIDE).step_by(4) {
            for j in (0..SIDE).step_by(4) {
                let from = &from[i * from_strides.row + j..];
                let to = &mut to[j * to_strides.row + i..];
                four(from, from_strides.row, to, to_strides.row);
            }
        }
    }
}

/// A block of four by four.
fn four(from: &[f32], from_row: usize, to: &mut [f32], to_row: usize) {
    let [a, b, c, d]: [[f32; 4]; 4] = std::array::from_fn(|i| {
        let row = &from[i * from_row..][..4];
        [row[0], row[1], row[2], row[3]]
    });
    for j in 0..4 {
        to[j * to_row..][..4].copy_from_slice(&[a[j], b[j], c[j], d[j]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_changes_nothing_and_nothing_else_is_touched() {
        for channels in [1, 3, 4, 8, 16, 17, 72] {
            for pixels in [1, 2, 8, 9, 33, 130] {
                let (plane, pitch) = (pixels + 2, channels + 3);
                let from: Vec<f32> = (0..channels * plane).map(|i| i as f32).collect();
                let mut last = vec![-1.0; pixels * pitch];
                to_channels_last((&from, plane), (&mut last, pitch), channels, pixels);
                for p in 0..pixels {
                    for c in 0..pitch {
                        let expected = if c < channels {
                            from[c * plane + p]
                        } else {
                            -1.0
                        };
                        assert_eq!(last[p * pitch + c], expected);
                    }
                }
                let mut back = vec![-1.0; channels * plane];
                to_planar((&last, pitch), (&mut back, plane), channels, pixels);
                for (i, (a, b)) in back.iter().zip(&from).enumerate() {
                    let inside = i % plane < pixels;
                    assert_eq!(*a, if inside { *b } else { -1.0 });
                }
            }
        }
    }

    #[test]
    fn four_blocks_of_four_are_one_of_eight() {
        let from: Vec<f32> = (0..80).map(|i| i as f32).collect();
        let (mut to, mut other) = (vec![0.0; 88], vec![0.0; 88]);
        for (i, j) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            four(&from[i * 10 + j..], 10, &mut to[j * 11 + i..], 11);
        }
        transpose((&from, 10), (&mut other, 11), [8, 8]);
        assert_eq!(to, other);
    }
}
