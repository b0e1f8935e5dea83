//! The nodes that have no weights: pools, subsampling, additions. They take a few percent of the time, so they are plain
//! loops over channels that the compiler turns into vectors.

use std::ops::Range;

use crate::domain::Domain;
use crate::layout::Layout;
use crate::shape::Window;

/// Channels whose sums are kept at once.
const BLOCK: usize = 64;

/// Largest value in each window; pixels outside the map do not count, a NaN wins.
pub(crate) fn max_pool<D: Domain>(
    window: &Window,
    images: usize,
    (input, from): (&[D::In], &Layout),
    (output, to): (&mut [D::In], &Layout),
) {
    let channels = to.shape.channels;
    each_window(window, images, from, to, |place, taps| {
        let out = &mut output[place..place + channels];
        // A window that lies outside altogether is refused when the graph is built.
        let mut taps = taps.offsets();
        if let Some(tap) = taps.next() {
            out.copy_from_slice(&input[tap..tap + channels]);
        }
        for tap in taps {
            for (out, &x) in out.iter_mut().zip(&input[tap..]) {
                *out = D::larger(*out, x);
            }
        }
    });
}

/// Mean over each window, summed row by row; pixels outside the map count as `zero`.
pub(crate) fn avg_pool<D: Domain>(
    finish: &D::Finish,
    (window, zero): (&Window, D::In),
    images: usize,
    (input, from): (&[D::In], &Layout),
    (output, to): (&mut [D::In], &Layout),
) {
    each_window(window, images, from, to, |place, taps| {
        let out = &mut output[place..place + to.shape.channels];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [D::Sum::default(); BLOCK];
            let sums = &mut sums[..out.len()];
            for tap in taps.offsets() {
                for (sum, &x) in sums.iter_mut().zip(&input[tap + block * BLOCK..]) {
                    *sum = D::accumulate(*sum, x, zero);
                }
            }
            for (out, &sum) in out.iter_mut().zip(&*sums) {
                *out = D::mean(finish, sum);
            }
        }
    });
}

/// A window's pixels inside the map.
struct Taps<'a> {
    from: &'a Layout,
    image: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Taps<'_> {
    /// Where they lie, row by row.
    fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.clone().flat_map(move |y| {
            let columns = self.columns.clone();
            columns.map(move |x| self.image + self.from.pixel(y, x))
        })
    }
}

/// Calls `body` with each output pixel's place and the taps inside the map.
fn each_window(
    window: &Window,
    images: usize,
    from: &Layout,
    to: &Layout,
    mut body: impl FnMut(usize, &Taps<'_>),
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
                let taps = Taps {
                    from,
                    image: image * from.image(),
                    rows: rows.clone(),
                    columns: inside(x, 1, window.padding.left, from.shape.width),
                };
                body(image * to.image() + to.pixel(y, x), &taps);
            }
        }
    }
}

/// Every `stride`-th pixel, `before` channels of `zero` in front of the input's, and as many behind as are missing.
pub(crate) fn subsample<T: Copy>(
    (stride, before): (usize, usize),
    zero: T,
    images: usize,
    (input, from): (&[T], &Layout),
    (output, to): (&mut [T], &Layout),
) {
    let channels = from.shape.channels;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let tap = image * from.image() + from.pixel(y * stride, x * stride);
                let place = image * to.image() + to.pixel(y, x);
                let out = &mut output[place..place + to.shape.channels];
                out.fill(zero);
                out[before..before + channels].copy_from_slice(&input[tap..tap + channels]);
            }
        }
    }
}

/// `combine(input, added, output)` for the channels of every pixel.
pub(crate) fn identity<T: Copy>(
    images: usize,
    (input, from): (&[T], &Layout),
    add: Option<(&[T], &Layout)>,
    (output, to): (&mut [T], &Layout),
    combine: impl Fn(&[T], Option<&[T]>, &mut [T]),
) {
    let channels = to.shape.channels;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x);
                let out = &mut output[at(to)..][..channels];
                let own = &input[at(from)..][..channels];
                let added = add.map(|(added, layout)| &added[at(layout)..][..channels]);
                combine(own, added, out);
            }
        }
    }
}
