//! From planar to channels-last and back: the transposition of `[c, p]`, for one image while it is in the cache.
//!
//! In blocks of four by four, which compile to shuffles of registers on every processor; loops that move one element at a time
//! take as long as a tenth of the convolution.

/// A block's side.
const SIDE: usize = 4;

/// `to[p * pitch + c] = from[c * plane + p]` for `channels` channels and `pixels` pixels.
pub(super) fn to_channels_last(
    (from, plane): (&[f32], usize),
    (to, pitch): (&mut [f32], usize),
    channels: usize,
    pixels: usize,
) {
    transpose((from, plane), (to, pitch), [channels, pixels]);
}

/// `to[c * plane + p] = from[p * pitch + c]`, likewise.
pub(super) fn to_planar(
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
    for i in (0..whole_rows).step_by(SIDE) {
        let lines: [&[f32]; SIDE] =
            std::array::from_fn(|k| &from[(i + k) * from_row..][..whole_columns]);
        for j in (0..whole_columns).step_by(SIDE) {
            let block: [[f32; SIDE]; SIDE] = std::array::from_fn(|k| {
                let line = &lines[k][j..j + SIDE];
                [line[0], line[1], line[2], line[3]]
            });
            for (k, column) in transposed(block).into_iter().enumerate() {
                to[(j + k) * to_row + i..][..SIDE].copy_from_slice(&column);
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

#[inline(always)]
fn transposed([a, b, c, d]: [[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
    [
        [a[0], b[0], c[0], d[0]],
        [a[1], b[1], c[1], d[1]],
        [a[2], b[2], c[2], d[2]],
        [a[3], b[3], c[3], d[3]],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_changes_nothing_and_nothing_else_is_touched() {
        for channels in [1, 3, 4, 7, 16, 17] {
            for pixels in [1, 2, 4, 9, 33] {
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
}
