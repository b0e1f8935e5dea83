//! The gradient of a convolution's input, as convolutions of the output's gradient.
//!
//! ```text
//! dx[n, c, y, x] = sum_{o, u, v} dy[n, o, (y + p - u) / s, (x + p - v) / s] w[o, c, u, v]           (1)
//! ```
//!
//! over the u and v for which the quotients are whole and inside the map. Which u those are depends on y mod s alone. So the
//! pixels fall into s x s classes; in a class, with a = (y + p) mod s, the taps are u = a + s t, and
//!
//! ```text
//! (y + p - u) / s = (y + p - a) / s - t                                                             (2)
//! ```
//!
//! grows by one from one pixel of the class to the next: a convolution with stride 1, with the taps in reverse order. Nothing
//! is multiplied by the zeros that a convolution over a stretched map would have.

use super::conv::{Conv2d, Pass};
use crate::error::{Error, expect};
use crate::kernel::{Geometry, Kernels3x3, whole_tiles};
use crate::layout::{Layout, Table};
use crate::shape::{Padding, Shape, Window};

/// One axis of a class of pixels.
#[derive(Clone, Copy)]
struct Axis {
    /// The class's first pixel.
    first: usize,
    /// How many pixels it has.
    count: usize,
    /// The first tap, a.
    tap: usize,
    /// How many taps there are.
    taps: usize,
    /// Where the first pixel's window starts in dy; may lie before it.
    start: isize,
}

impl Axis {
    /// The classes of an axis of `size` pixels.
    fn classes(size: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Self> {
        (0..stride.min(size))
            .map(|first| {
                let tap = (first + padding) % stride;
                let taps = kernel.saturating_sub(tap).div_ceil(stride);
                Self {
                    first,
                    count: (size - first).div_ceil(stride),
                    tap,
                    taps,
                    start: ((first + padding - tap) / stride) as isize + 1 - taps as isize,
                }
            })
            .collect()
    }

    /// Pixels of dy, of which there are `size`, that are missing before and behind.
    fn missing(&self, size: usize) -> [usize; 2] {
        let end = self.start + (self.count + self.taps) as isize - 1;
        let behind = end - size as isize;
        [-self.start, behind].map(|n| n.max(0) as usize)
    }
}

impl Conv2d {
    /// Equation (1): `dy` is `[n, o, h', w']`, `dx` `[n, c, h, w]` and overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] where a slice is not as long as the shapes say.
    pub fn input_gradient(&self, weight: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<(), Error> {
        let images = self.images(dx, dy)?;
        expect("the weights", weight.len(), self.weights())?;
        if let Some(window) = self.turned() {
            let from = Layout::new(self.to, size_of::<f32>());
            let pass = self.turned_pass(window, from, images);
            let taps = Kernels3x3::of(weight, self.from.channels).turned();
            pass.run(&[(pass.winograd(taps, window), 0)], dy, dx);
            return Ok(());
        }
        let Window {
            kernel,
            stride,
            padding,
            ..
        } = self.window;
        let rows = Axis::classes(self.from.height, kernel[0], stride[0], padding.top);
        let columns = Axis::classes(self.from.width, kernel[1], stride[1], padding.left);
        let mut border = Padding::default();
        for row in &rows {
            let [before, behind] = row.missing(self.to.height);
            border.top = border.top.max(before);
            border.bottom = border.bottom.max(behind);
        }
        for column in &columns {
            let [before, behind] = column.missing(self.to.width);
            border.left = border.left.max(before);
            border.right = border.right.max(behind);
        }
        let mut from = Layout::new(self.to, size_of::<f32>());
        from.border = border;
        let to = Layout::new(self.from, size_of::<f32>());
        let mut pass = Pass::new(self.kernels, [from, to], images, None);
        let mut convolutions = Vec::new();
        for &row in &rows {
            for &column in &columns {
                if row.taps * column.taps == 0 {
                    pass.is_whole = false;
                    continue;
                }
                let window = Window {
                    kernel: [row.taps, column.taps],
                    stride: [1, 1],
                    dilation: [1, 1],
                    padding: Padding::default(),
                };
                let geometry = Geometry {
                    inputs: self.to.channels,
                    outputs: self.from.channels,
                    groups: 1,
                    window,
                };
                let size = [row.count, column.count];
                let taps = Table::new(from.image(), size, pass.group, |y, x| {
                    from.after_border(y, x)
                });
                let places = Table::new(to.image(), size, pass.group, |y, x| {
                    to.pixel(row.first + y * stride[0], column.first + x * stride[1])
                });
                let start = (row.start + border.top as isize) as usize * from.row()
                    + (column.start + border.left as isize) as usize * from.pitch;
                let weights = self.reversed(weight, [row, column]);
                convolutions.push((pass.convolution(geometry, weights, [taps, places]), start));
            }
        }
        pass.run(&convolutions, dy, dx);
        Ok(())
    }

    /// The window in which dy is read where that is one convolution by Winograd's algorithm: a stride of 1, and no more padding than
    /// taps.
    pub(super) fn turned(&self) -> Option<Window> {
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.window.padding;
        let [rows, columns] = self.window.kernel;
        let window = Window {
            padding: Padding {
                top: rows.checked_sub(top + 1)?,
                bottom: rows.checked_sub(bottom + 1)?,
                left: columns.checked_sub(left + 1)?,
                right: columns.checked_sub(right + 1)?,
            },
            ..self.window
        };
        self.is_winograd(&window, self.to, self.from)
            .then_some(window)
    }

    /// From dy, laid out as `from` with what the `turned` window wants more, to dx.
    pub(super) fn turned_pass(&self, turned: Window, mut from: Layout, images: usize) -> Pass {
        from.cover(&turned, whole_tiles(self.from));
        let to = Layout::new(self.from, size_of::<f32>());
        Pass::new(self.kernels, [from, to], images, None)
    }

    /// `[c, o, t, t']`: the taps of a class, the last first.
    fn reversed(&self, weight: &[f32], [row, column]: [Axis; 2]) -> Vec<f32> {
        let [rows, columns] = self.window.kernel;
        let Shape { channels, .. } = self.from;
        let mut reversed = Vec::with_capacity(weight.len());
        for c in 0..channels {
            for o in 0..self.to.channels {
                let weight = &weight[(o * channels + c) * rows * columns..][..rows * columns];
                for t in (0..row.taps).rev() {
                    let u = row.tap + t * self.window.stride[0];
                    reversed.extend((0..column.taps).rev().map(|t| {
                        let v = column.tap + t * self.window.stride[1];
                        weight[u * columns + v]
                    }));
                }
            }
        }
        reversed
    }
}
