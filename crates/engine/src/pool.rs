//! The nodes that have no weights: pools, subsampling, additions. They take a few percent of the time, so they are plain
//! loops over channels that the compiler turns into vectors.

use crate::layout::Layout;
use crate::shape::Window;

/// Largest value in each window; pixels outside the map do not count, a NaN wins.
pub(crate) fn max_pool(
    window: &Window,
    images: usize,
    (input, from): (&[f32], &Layout),
    (output, to): (&mut [f32], &Layout),
) {
    each_window(window, images, from, to, |place, taps| {
        let out = &mut output[place..place + to.shape.channels];
        out.fill(f32::NEG_INFINITY);
        for tap in taps {
            for (out, &x) in out.iter_mut().zip(&input[tap..]) {
                *out = if x > *out || x.is_nan() { x } else { *out };
            }
        }
    });
}

/// Mean over each window, summed row by row; pixels outside the map count as zeros.
pub(crate) fn avg_pool(
    window: &Window,
    images: usize,
    (input, from): (&[f32], &Layout),
    (output, to): (&mut [f32], &Layout),
) {
    let count = (window.kernel[0] * window.kernel[1]) as f32;
    each_window(window, images, from, to, |place, taps| {
        let out = &mut output[place..place + to.shape.channels];
        out.fill(0.0);
        for tap in taps {
            for (out, &x) in out.iter_mut().zip(&input[tap..]) {
                *out += x;
            }
        }
        for out in out {
            *out /= count;
        }
    });
}

/// Calls `body` with each output pixel's place and the offsets of the taps inside the map.
fn each_window(
    window: &Window,
    images: usize,
    from: &Layout,
    to: &Layout,
    mut body: impl FnMut(usize, &mut dyn Iterator<Item = usize>),
) {
    let inside = |at: usize, axis: usize, before: usize, size: usize| {
        let start = at * window.stride[axis];
        let first = start.saturating_sub(before);
        first
            ..(start + window.kernel[axis])
                .saturating_sub(before)
                .min(size)
    };
    for image in 0..images {
        for y in 0..to.shape.height {
            let rows = inside(y, 0, window.padding.top, from.shape.height);
            for x in 0..to.shape.width {
                let columns = inside(x, 1, window.padding.left, from.shape.width);
                let mut taps = rows.clone().flat_map(|y| {
                    let row = image * from.image();
                    columns.clone().map(move |x| row + from.pixel(y, x))
                });
                body(image * to.image() + to.pixel(y, x), &mut taps);
            }
        }
    }
}

/// Every `stride`-th pixel, `before` zero channels in front of the input's, zeros behind.
pub(crate) fn subsample(
    stride: usize,
    before: usize,
    images: usize,
    (input, from): (&[f32], &Layout),
    (output, to): (&mut [f32], &Layout),
) {
    let channels = from.shape.channels;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let tap = image * from.image() + from.pixel(y * stride, x * stride);
                let place = image * to.image() + to.pixel(y, x);
                let out = &mut output[place..place + to.shape.channels];
                out.fill(0.0);
                out[before..before + channels].copy_from_slice(&input[tap..tap + channels]);
            }
        }
    }
}

/// `relu?(input + add)`.
pub(crate) fn identity(
    images: usize,
    (input, from): (&[f32], &Layout),
    add: Option<(&[f32], &Layout)>,
    relu: bool,
    (output, to): (&mut [f32], &Layout),
) {
    let channels = to.shape.channels;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x);
                let out = &mut output[at(to)..][..channels];
                out.copy_from_slice(&input[at(from)..][..channels]);
                if let Some((added, layout)) = add {
                    for (out, x) in out.iter_mut().zip(&added[at(layout)..]) {
                        *out += x;
                    }
                }
                if relu {
                    for out in out {
                        *out = if *out < 0.0 { 0.0 } else { *out };
                    }
                }
            }
        }
    }
}
