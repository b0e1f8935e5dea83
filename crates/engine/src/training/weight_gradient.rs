//! The gradient of a convolution's weights.
//!
//! ```text
//! dw[o, c, u, v] = sum_{n, i, j} dy[n, o, i, j] x[n, c, i s + u - p, j s + v - p]                   (1)
//! ```
//!
//! Each image adds an outer product per output pixel (`kernel/outer.rs`). For that its input is copied with its padding, the
//! columns sorted by x mod s, so that those of neighbouring output pixels lie side by side:
//!
//! ```text
//! planar[c][row][x mod s][x / s]
//! ```
//!
//! Images are summed in blocks whose size depends on their number alone, each block in float32 from its first image to its
//! last, and the blocks from first to last: the same bits for any number of threads.

use rayon::prelude::*;

use super::conv::Conv2d;
use super::expect;
use super::planar::to_channels_last;
use crate::buffer::Buffer;
use crate::error::Error;
use crate::kernel::Outer;
use crate::shape::{Shape, Window};

/// Blocks of images, at the most: enough to keep eight threads busy, few enough for their sums to stay in the cache.
const BLOCKS: usize = 8;

/// An input image with its padding, as the module's header says.
struct Planar {
    from: Shape,
    window: Window,
    /// Padded rows.
    rows: usize,
    /// Padded columns of each class.
    columns: usize,
}

impl Planar {
    fn new(from: Shape, to: Shape, window: Window) -> Self {
        let reach =
            |count: usize, axis: usize| (count - 1) * window.stride[axis] + window.kernel[axis];
        Self {
            from,
            window,
            rows: reach(to.height, 0),
            columns: reach(to.width, 1).div_ceil(window.stride[1]),
        }
    }

    /// Distance of two rows.
    fn row(&self) -> usize {
        self.window.stride[1] * self.columns
    }

    fn len(&self) -> usize {
        self.from.channels * self.rows * self.row()
    }

    /// Where the first output pixel's input at (c, u, v) is.
    fn tap(&self, c: usize, u: usize, v: usize) -> usize {
        let stride = self.window.stride[1];
        (c * self.rows + u) * self.row() + v % stride * self.columns + v / stride
    }

    /// Copies an image; the padding stays as it is.
    fn fill(&self, image: &[f32], planar: &mut [f32]) {
        let Shape {
            channels,
            height,
            width,
        } = self.from;
        let (top, left) = (self.window.padding.top, self.window.padding.left);
        let stride = self.window.stride[1];
        // Rows and columns behind the last window are read by no output.
        let height_used = height.min(self.rows.saturating_sub(top));
        let width_used = width.min(self.row().saturating_sub(left));
        for c in 0..channels {
            for y in 0..height_used {
                let from = &image[(c * height + y) * width..][..width_used];
                let to = &mut planar[(c * self.rows + y + top) * self.row()..][..self.row()];
                if stride == 1 {
                    to[left..left + width_used].copy_from_slice(from);
                    continue;
                }
                for (x, &value) in from.iter().enumerate() {
                    let x = x + left;
                    to[x % stride * self.columns + x / stride] = value;
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
        let [rows, columns] = self.window.kernel;
        let (inputs, outputs) = (self.from.channels, self.to.channels);
        let planar = Planar::new(self.from, self.to, self.window);
        let taps = rows * columns;
        let starts = (0..inputs * taps)
            .map(|r| planar.tap(r / taps, r % taps / columns, r % columns) as u32)
            .collect();
        let lines = (0..self.to.height).map(|i| i * self.window.stride[0] * planar.row());
        let outer = Outer::new(self.kernels, starts, lines, self.to.width, outputs);

        let block = images.div_ceil(BLOCKS).max(1);
        let (from, to) = (self.from.len(), self.to.len());
        let partial: Vec<Buffer<f32>> = x
            .par_chunks(block * from)
            .zip(dy.par_chunks(block * to))
            .map(|(x, dy)| {
                let mut sums = Buffer::new(outer.sums());
                let mut wide = Buffer::new(planar.len());
                let mut last = Buffer::new(outer.filled() * self.to.height * self.to.width);
                for (n, (x, dy)) in x.chunks(from).zip(dy.chunks(to)).enumerate() {
                    planar.fill(x, wide.as_mut());
                    self.in_panels(&outer, dy, last.as_mut());
                    outer.add(wide.as_slice(), last.as_slice(), sums.as_mut(), n == 0);
                }
                sums
            })
            .collect();
        let mut total = vec![0.0_f32; outer.sums()];
        for partial in &partial {
            for (total, partial) in total.iter_mut().zip(partial.as_slice()) {
                *total += partial;
            }
        }
        let depth = inputs * taps;
        for panel in outer.panels() {
            let sums = &total[panel.start * depth..][..panel.len() * depth];
            let channels = outputs.min(panel.end) - panel.start;
            let dw = &mut dw[panel.start * depth..][..channels * depth];
            super::planar::to_planar((sums, panel.len()), (dw, depth), channels, depth);
        }
        Ok(())
    }

    /// For each panel `[pixel][its channels]`; channels that do not exist stay as they are, 0.
    fn in_panels(&self, outer: &Outer, dy: &[f32], last: &mut [f32]) {
        let pixels = self.to.height * self.to.width;
        for panel in outer.panels() {
            let channels = self.to.channels.min(panel.end) - panel.start;
            let from = &dy[panel.start * pixels..][..channels * pixels];
            let to = &mut last[panel.start * pixels..][..panel.len() * pixels];
            to_channels_last((from, pixels), (to, panel.len()), channels, pixels);
        }
    }
}
