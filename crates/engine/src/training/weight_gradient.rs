//! The gradient of a convolution's weights.
//!
//! ```text
//! dw[o, c, u, v] = sum_{n, i, j} dy[n, o, i, j] x[n, c, i s + u - p, j s + v - p]                   (1)
//! ```
//!
//! Each image adds an outer product per output pixel (`kernel/outer.rs`). For that its input is copied with its padding, rows and
//! columns sorted by y mod s and x mod s, so that one step from an output pixel to the next is one step there:
//!
//! ```text
//! planar[c][y mod s][x mod s][y / s][x / s]
//! ```
//!
//! A row there is a little longer than one of the output. All of it takes part, the gradients behind the output's end being 0:
//! one long sum instead of many short ones, which cost more than the products that are wasted. With stride 1 the zeros right of
//! a row are at the same time those left of the next.
//!
//! Images are summed in blocks whose size depends on their number alone, each block in float32 from its first image to its
//! last, and the blocks from first to last: the same bits for any number of threads.

use rayon::prelude::*;

use super::conv::Conv2d;
use super::scratch::Scratch;
use crate::error::{Error, expect};
use crate::kernel::Outer;
use crate::planar::to_channels_last;
use crate::shape::{Shape, Window};

/// Blocks of images, at the most: enough to keep eight threads busy, few enough for their sums to stay in the cache.
const BLOCKS: usize = 8;

/// Sums that a thread adds at a time.
const PART: usize = 4096;

/// An input image with its padding, as the module's header says.
struct Planar {
    from: Shape,
    window: Window,
    /// Rows of each class of pixels.
    rows: usize,
    /// Distance of two rows.
    pitch: usize,
    /// What the last row lacks because its zeros would be those of a next.
    shared: usize,
}

impl Planar {
    fn new(from: Shape, to: Shape, window: Window) -> Self {
        let reach =
            |count: usize, axis: usize| (count - 1) * window.stride[axis] + window.kernel[axis];
        let columns = reach(to.width, 1);
        let left = window.padding.left;
        let shared = match window.stride[1] {
            1 => left.min(columns.saturating_sub(left + from.width)),
            _ => 0,
        };
        Self {
            from,
            window,
            rows: reach(to.height, 0).div_ceil(window.stride[0]),
            pitch: columns.div_ceil(window.stride[1]) - shared,
            shared,
        }
    }

    /// Values of a class.
    fn plane(&self) -> usize {
        self.rows * self.pitch + self.shared
    }

    fn len(&self) -> usize {
        let [y, x] = self.window.stride;
        self.from.channels * y * x * self.plane()
    }

    /// Where (c, y, x), counted from the corner of the padding, is.
    fn place(&self, c: usize, y: usize, x: usize) -> usize {
        let [rows, columns] = self.window.stride;
        let class = (c * rows + y % rows) * columns + x % columns;
        class * self.plane() + y / rows * self.pitch + x / columns
    }

    /// Copies an image; the padding stays as it is.
    fn fill(&self, image: &[f32], planar: &mut [f32]) {
        let Shape {
            channels,
            height,
            width,
        } = self.from;
        let (top, left) = (self.window.padding.top, self.window.padding.left);
        let [rows, stride] = self.window.stride;
        // Rows and columns behind the last window are read by no output.
        let height_used = height.min((self.rows * rows).saturating_sub(top));
        let width_used = width.min((self.pitch * stride).saturating_sub(left));
        for c in 0..channels {
            for y in 0..height_used {
                let from = &image[(c * height + y) * width..][..width_used];
                for first in 0..stride.min(width_used) {
                    let to = &mut planar[self.place(c, y + top, first + left)..];
                    if stride == 1 {
                        to[..width_used].copy_from_slice(from);
                        continue;
                    }
                    let values = from[first..].iter().step_by(stride);
                    to.iter_mut().zip(values).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }
}

impl Conv2d {
    /// Equation (1): `x` is `[n, c, h, w]`, `dy` `[n, o, h', w']`, `dw` as the weights and overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] where a slice is not as long as the shapes say.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<(), Error> {
        let images = self.images(x, dy)?;
        expect("the weights' gradient", dw.len(), self.weights())?;
        if self.has_winograd_gradient() {
            self.winograd_gradients([x, dy], dw, None);
            return Ok(());
        }
        let [rows, columns] = self.window.kernel;
        let (inputs, outputs) = (self.from.channels, self.to.channels);
        let planar = Planar::new(self.from, self.to, self.window);
        let taps = rows * columns;
        let starts = (0..inputs * taps)
            .map(|r| planar.place(r / taps, r % taps / columns, r % columns) as u32)
            .collect();
        let pixels = (self.to.height - 1) * planar.pitch + self.to.width;
        let outer = Outer::new(&self.kernels.kernels, starts, pixels, outputs);

        let block = images.div_ceil(BLOCKS).max(1);
        let (from, to) = (self.from.len(), self.to.len());
        let partial: Vec<Scratch> = x
            .par_chunks(block * from)
            .zip(dy.par_chunks(block * to))
            .map(|(x, dy)| {
                let mut sums = Scratch::new(outer.sums());
                let [mut wide, mut last] =
                    [planar.len(), outer.filled() * pixels].map(Scratch::new);
                wide.fill(0.0);
                last.fill(0.0);
                for (n, (x, dy)) in x.chunks(from).zip(dy.chunks(to)).enumerate() {
                    planar.fill(x, &mut wide);
                    self.in_panels(&outer, planar.pitch, dy, &mut last);
                    outer.add(&wide, &last, &mut sums, n == 0);
                }
                sums
            })
            .collect();
        let total = added(&partial, outer.sums());
        let depth = inputs * taps;
        for panel in outer.panels() {
            let sums = &total[panel.start * depth..][..panel.len() * depth];
            let channels = outputs.min(panel.end) - panel.start;
            let dw = &mut dw[panel.start * depth..][..channels * depth];
            crate::planar::to_planar((sums, panel.len()), (dw, depth), channels, depth);
        }
        Ok(())
    }

    /// For each panel `[pixel][its channels]`, rows `pitch` pixels apart; what does not exist stays as it is, 0.
    fn in_panels(&self, outer: &Outer, pitch: usize, dy: &[f32], last: &mut [f32]) {
        let Shape { height, width, .. } = self.to;
        let pixels = (height - 1) * pitch + width;
        for panel in outer.panels() {
            let channels = self.to.channels.min(panel.end) - panel.start;
            let last = &mut last[panel.start * pixels..][..panel.len() * pixels];
            for i in 0..height {
                let row = &dy[(panel.start * height + i) * width..];
                let to = &mut last[i * pitch * panel.len()..];
                to_channels_last((row, height * width), (to, panel.len()), channels, width);
            }
        }
    }
}

/// The sums of the blocks, from the first to the last.
pub(super) fn added(partial: &[Scratch], sums: usize) -> Scratch {
    let mut total = Scratch::new(sums);
    let parts = total.par_chunks_mut(PART).enumerate();
    parts.for_each(|(part, total)| {
        total.fill(0.0);
        for partial in partial {
            let partial = &partial[part * PART..];
            for (total, partial) in total.iter_mut().zip(partial) {
                *total += partial;
            }
        }
    });
    total
}
