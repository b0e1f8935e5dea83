//! Where the values of a map lie in memory.
//!
//! Maps are channels-last, with a border of zeros as wide as the widest padding among the convolutions that read them,
//! so that no convolution has to look whether a tap lies outside:
//!
//! ```text
//! offset(n, y, x, c) = ((n * (top + h + bottom) + y + top) * (left + w + right) + x + left) * pitch + c
//! ```
//!
//! `pitch` is the distance of neighbouring pixels: the channels, or one cache line more where they are a large power of
//! two, because then the pixels of a tile would all fall into the same few sets of the cache.

use std::ops::Range;
use std::sync::Arc;

use crate::shape::{Padding, Shape, Window};

/// A map's shape, its border, and the distance of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub shape: Shape,
    pub border: Padding,
    pub pitch: usize,
}

/// Pixels that are read together.
const STRIP: usize = 32;
/// Bytes in a cache line.
const LINE: usize = 64;
/// Pixels whose distance in bytes is a multiple of this collide.
const COLLIDING: usize = 2048;

impl Layout {
    /// A map without border, of elements of `size` bytes.
    pub fn new(shape: Shape, size: usize) -> Self {
        let bytes = shape.channels * size;
        let pitch = if bytes.is_multiple_of(COLLIDING) && shape.height * shape.width > 1 {
            shape.channels + LINE / size
        } else {
            shape.channels
        };
        Self {
            shape,
            border: Padding::default(),
            pitch,
        }
    }

    /// Widens the border to what `window` reads.
    pub fn cover(&mut self, window: &Window, output: Shape) {
        let reach = |size: usize, count: usize, axis: usize, before: usize| {
            let last = (count - 1) * window.stride[axis]
                + (window.kernel[axis] - 1) * window.dilation[axis]
                + 1;
            last.saturating_sub(before + size)
        };
        let Padding { top, left, .. } = window.padding;
        let border = &mut self.border;
        border.top = border.top.max(top);
        border.left = border.left.max(left);
        let (bottom, right) = (
            reach(self.shape.height, output.height, 0, top),
            reach(self.shape.width, output.width, 1, left),
        );
        border.bottom = border.bottom.max(bottom);
        border.right = border.right.max(right);
    }

    /// Distance of a pixel to the one below it.
    pub fn row(&self) -> usize {
        (self.border.left + self.shape.width + self.border.right) * self.pitch
    }

    /// Distance of a pixel to the same one in the next image.
    pub fn image(&self) -> usize {
        (self.border.top + self.shape.height + self.border.bottom) * self.row()
    }

    /// Offset of pixel (y, x) of image 0, channel 0.
    pub fn pixel(&self, y: usize, x: usize) -> usize {
        (y + self.border.top) * self.row() + (x + self.border.left) * self.pitch
    }

    /// Offset of the pixel y below and x right of the border's upper left corner, channel 0.
    pub fn after_border(&self, y: usize, x: usize) -> usize {
        y * self.row() + x * self.pitch
    }

    /// Makes the border of `images` images `zero`.
    pub fn fill_border<T: Copy>(&self, values: &mut [T], images: usize, zero: T) {
        let (row, pitch) = (self.row(), self.pitch);
        let (top, left) = (self.border.top, self.border.left);
        let Shape { height, width, .. } = self.shape;
        for image in values.chunks_exact_mut(self.image()).take(images) {
            let (above, rest) = image.split_at_mut(top * row);
            let (inside, below) = rest.split_at_mut(height * row);
            above.fill(zero);
            below.fill(zero);
            for row in inside.chunks_exact_mut(row) {
                row[..left * pitch].fill(zero);
                row[(left + width) * pitch..].fill(zero);
            }
        }
    }

    /// Reads `images`, `[n, c, h, w]`, each element as `map` has it.
    #[inline(always)]
    pub fn read_planar<T: Copy + Default, U: Copy>(
        &self,
        n: usize,
        images: &[U],
        values: &mut [T],
        map: impl Fn(U) -> T,
    ) {
        match self.shape.channels {
            1 => return self.read_few::<1, _, _>(n, images, values, map),
            2 => return self.read_few::<2, _, _>(n, images, values, map),
            3 => return self.read_few::<3, _, _>(n, images, values, map),
            4 => return self.read_few::<4, _, _>(n, images, values, map),
            _ => {}
        }
        // A loop, and its body no closure: one that is not inlined is compiled without the registers of `wide`.
        for (row, mut start) in self.rows(n) {
            for pixels in images[row].chunks(STRIP) {
                let strip = mapped(pixels, &map);
                for (x, value) in strip.into_iter().take(pixels.len()).enumerate() {
                    values[start + x * self.pitch] = value;
                }
                start += pixels.len() * self.pitch;
            }
        }
    }

    /// The same for `C` channels: a strip of all of them together, so that pixels are written one after the other.
    #[inline(always)]
    fn read_few<const C: usize, T: Copy + Default, U: Copy>(
        &self,
        n: usize,
        images: &[U],
        values: &mut [T],
        map: impl Fn(U) -> T,
    ) {
        let Shape { height, width, .. } = self.shape;
        for image in 0..n {
            for y in 0..height {
                for first in (0..width).step_by(STRIP) {
                    let count = STRIP.min(width - first);
                    let mut strips = [[T::default(); STRIP]; C];
                    for (c, strip) in strips.iter_mut().enumerate() {
                        let row = ((image * C + c) * height + y) * width;
                        *strip = mapped(&images[row + first..][..count], &map);
                    }
                    let mut pixels = [[T::default(); C]; STRIP];
                    for (x, pixel) in pixels.iter_mut().enumerate() {
                        for (value, strip) in pixel.iter_mut().zip(&strips) {
                            *value = strip[x];
                        }
                    }
                    let start = image * self.image() + self.pixel(y, first);
                    if self.pitch == C {
                        let strip = &pixels.as_flattened()[..count * C];
                        values[start..start + count * C].copy_from_slice(strip);
                    } else {
                        let places = values[start..].chunks_mut(self.pitch);
                        for (place, pixel) in places.zip(&pixels[..count]) {
                            place[..C].copy_from_slice(pixel);
                        }
                    }
                }
            }
        }
    }

    /// Writes `[n, c, h, w]`, each element as `map` has it.
    pub fn write_planar<T: Copy, U>(
        &self,
        n: usize,
        values: &[T],
        planar: &mut [U],
        map: impl Fn(T) -> U,
    ) {
        for (row, start) in self.rows(n) {
            for (x, value) in planar[row].iter_mut().enumerate() {
                *value = map(values[start + x * self.pitch]);
            }
        }
    }

    /// The ranges here that hold the elements of `n` images without the border, in order: rows of pixels where nothing
    /// lies between these, else pixels.
    pub fn each_run(&self, n: usize, mut body: impl FnMut(Range<usize>)) {
        let Shape {
            channels,
            height,
            width,
        } = self.shape;
        let (count, len) = match self.pitch == channels {
            true => (1, width * channels),
            false => (width, channels),
        };
        for image in 0..n {
            for y in 0..height {
                let start = image * self.image() + self.pixel(y, 0);
                for run in 0..count {
                    let start = start + run * self.pitch;
                    body(start..start + len);
                }
            }
        }
    }

    /// For each row of a channel, its range in `[n, c, h, w]` and where it starts here.
    fn rows(&self, n: usize) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        let Shape {
            channels,
            height,
            width,
        } = self.shape;
        (0..n * channels * height).map(move |row| {
            let (plane, y) = (row / height, row % height);
            let (image, channel) = (plane / channels, plane % channels);
            let start = image * self.image() + self.pixel(y, 0) + channel;
            (row * width..(row + 1) * width, start)
        })
    }
}

/// Up to [`STRIP`] elements as `map` has them: together, which compiles to vectors, as scattering does not.
#[inline(always)]
fn mapped<T: Copy + Default, U: Copy>(pixels: &[U], map: impl Fn(U) -> T) -> [T; STRIP] {
    let mut strip = [pixels[0]; STRIP];
    strip[..pixels.len()].copy_from_slice(pixels);
    let mut values = [T::default(); STRIP];
    for (value, &pixel) in values.iter_mut().zip(&strip) {
        *value = map(pixel);
    }
    values
}

/// The offset of each of a group's pixels, counted through (image, row, column).
#[derive(Clone, Debug)]
pub(crate) struct Table {
    offsets: Arc<[u32]>,
    largest: usize,
}

impl Table {
    /// Where the pixels of `layout` lie.
    pub fn pixels(layout: &Layout, group: usize) -> Self {
        let Shape { height, width, .. } = layout.shape;
        Self::new(layout.image(), [height, width], group, |y, x| {
            layout.pixel(y, x)
        })
    }

    /// For each output pixel of `window` over `layout`, where its first tap lies. The border must cover the window.
    pub fn first_taps(layout: &Layout, window: &Window, output: Shape, group: usize) -> Self {
        let Padding { top, left, .. } = window.padding;
        let corner =
            (layout.border.top - top) * layout.row() + (layout.border.left - left) * layout.pitch;
        Self::new(
            layout.image(),
            [output.height, output.width],
            group,
            |y, x| {
                corner + y * window.stride[0] * layout.row() + x * window.stride[1] * layout.pitch
            },
        )
    }

    /// `image` for each image, and `offset(y, x)` of each of its pixels.
    pub fn new(
        image: usize,
        [height, width]: [usize; 2],
        group: usize,
        offset: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let offset = &offset;
        let offsets: Arc<[u32]> = (0..group)
            .flat_map(|n| {
                (0..height).flat_map(move |y| {
                    // A graph's values are small enough for 32 bits, see `graph::LARGEST` and `program::compile`.
                    (0..width).map(move |x| (n * image + offset(y, x)) as u32)
                })
            })
            .collect();
        let largest = offsets.iter().copied().max().unwrap_or(0) as usize;
        Self { offsets, largest }
    }

    /// All offsets.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The largest of them.
    pub fn largest(&self) -> usize {
        self.largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_of_an_image_lies_at_its_offset_and_the_border_stays() {
        // Rows of less than a strip, of whole ones, and of a rest.
        for width in [1, 7, STRIP - 1, STRIP, STRIP + 1, 2 * STRIP + 5] {
            for channels in 1..7 {
                let shape = Shape::new(channels, 3, width);
                let mut layout = Layout::new(shape, 4);
                layout.border = Padding {
                    top: 1,
                    bottom: 2,
                    left: 3,
                    right: 1,
                };
                layout.pitch += channels % 3;
                let images: Vec<u32> = (1..).take(2 * shape.len()).collect();
                let mut values = vec![0; 2 * layout.image()];
                layout.read_planar(2, &images, &mut values, |x| x + 1);
                let mut at = 0;
                for image in 0..2 {
                    for c in 0..channels {
                        for y in 0..3 {
                            for x in 0..width {
                                let place = image * layout.image() + layout.pixel(y, x) + c;
                                let found = std::mem::take(&mut values[place]);
                                assert_eq!(found, images[at] + 1, "{shape} {c} {y} {x}");
                                at += 1;
                            }
                        }
                    }
                }
                assert!(
                    values.iter().all(|&x| x == 0),
                    "{shape}: no more is written"
                );
            }
        }
    }
}
