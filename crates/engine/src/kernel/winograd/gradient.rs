//! The gradient of the weights of a convolution that [`super`] computes, by as few products.
//!
//! What is linear in `G g G'` has there a gradient that is a sum of products of the two sides' points, and the kernel's follows by the
//! transposed transforms (the matrices are those of [`super`]):
//!
//! ```text
//! dU[c, o] = sum over tiles of (B' d[c] B) * (A dY[o] A')          (* element by element)
//! dg[c, o] = G' dU[c, o] G
//! ```

use rayon::prelude::*;

use super::transform::{Outer, ToPoints};
use super::{CHANNELS, PATCH, POINTS, PointsToKernels, TILE, grid};
use crate::kernel::{FloatKernels, Maps};
use crate::layout::{Layout, Table};
use crate::shape::{Shape, Window};

/// Tiles in a block: enough that adding to the sums in memory costs little.
const BLOCK: usize = 48;

/// The gradient of a convolution's weights, ready to be summed over images.
pub(crate) struct WeightGradient {
    kernels: &'static FloatKernels,
    /// Of an input image and of an output image.
    inputs: Side,
    outputs: Side,
    /// Tiles of an image.
    each: usize,
}

/// A map, and where its tiles are.
struct Side {
    channels: usize,
    row: usize,
    pitch: usize,
    tiles: Table,
    /// Where the channels of each of a block's tiles begin in a plane.
    rows: Vec<u32>,
    plane: usize,
    /// Elements that there must be.
    reach: usize,
}

impl Side {
    /// `patch` pixels in each direction from each tile's first.
    fn new(layout: &Layout, tiles: Table, patch: usize) -> Self {
        let channels = layout.shape.channels;
        let block = BLOCK.min(tiles.offsets().len());
        let distance = Layout::new(Shape::new(channels, 1, block), size_of::<f32>()).pitch;
        Self {
            channels,
            row: layout.row(),
            pitch: layout.pitch,
            rows: (0..block).map(|tile| (tile * distance) as u32).collect(),
            plane: block * distance + CHANNELS,
            reach: tiles.largest() + (patch - 1) * (layout.row() + layout.pitch) + channels,
            tiles,
        }
    }

    fn points<'a>(&'a self, map: &[f32], tiles: &'a [u32], points: &mut [f32]) -> ToPoints<'a> {
        assert!(points.len() >= POINTS * self.plane);
        ToPoints {
            input: map.as_ptr(),
            tiles,
            row: self.row,
            pitch: self.pitch,
            channels: self.channels,
            points: points.as_mut_ptr(),
            plane: self.plane,
            rows: &self.rows,
        }
    }
}

impl WeightGradient {
    /// For maps whose borders cover [`super::whole_tiles`] of the output.
    pub fn new(kernels: &'static FloatKernels, window: Window, maps: Maps<'_>) -> Self {
        let Maps { from, to, group } = maps;
        let grid = grid(to.shape);
        let patches = Window {
            kernel: [PATCH; 2],
            stride: [TILE; 2],
            ..window
        };
        let tiles = Table::new(to.image(), [grid.height, grid.width], group, |y, x| {
            to.pixel(y * TILE, x * TILE)
        });
        Self {
            kernels,
            inputs: Side::new(from, Table::first_taps(from, &patches, grid, group), PATCH),
            outputs: Side::new(to, tiles, TILE),
            each: grid.height * grid.width,
        }
    }

    /// How many sums there are.
    pub fn sums(&self) -> usize {
        POINTS * self.inputs.channels * self.outputs.channels
    }

    /// Values that [`WeightGradient::add`] needs room for.
    pub fn scratch(&self) -> usize {
        POINTS * (self.inputs.plane + self.outputs.plane)
    }

    /// Adds some images, channels-last inputs and gradients of outputs, to `sums`, or, with `first`, puts them there. Panics where a slice is too short.
    pub fn add(
        &self,
        images: usize,
        [x, dy]: [&[f32]; 2],
        scratch: &mut [f32],
        sums: &mut [f32],
        first: bool,
    ) {
        let (inputs, outputs) = (&self.inputs, &self.outputs);
        assert!(x.len() >= inputs.reach && dy.len() >= outputs.reach);
        assert!(sums.len() >= self.sums());
        let (points, of_points) = scratch.split_at_mut(POINTS * inputs.plane);
        let tiles = [inputs, outputs].map(|side| &side.tiles.offsets()[..images * self.each]);
        let blocks = tiles[0].chunks(BLOCK).zip(tiles[1].chunks(BLOCK));
        for (block, (tiles, of_tiles)) in blocks.enumerate() {
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`). `reach`, computed from all
            // tiles, and the lengths of what is written were compared above and in `points`.
            unsafe {
                (self.kernels.winograd.to_points)(&inputs.points(x, tiles, points));
                (self.kernels.winograd.gradient_to_points)(
                    &outputs.points(dy, of_tiles, of_points),
                );
                (self.kernels.winograd.outer)(&Outer {
                    points: [points.as_ptr(), of_points.as_ptr()],
                    planes: [inputs.plane, outputs.plane],
                    rows: [&inputs.rows[..tiles.len()], &outputs.rows[..tiles.len()]],
                    channels: [inputs.channels, outputs.channels],
                    sums: sums.as_mut_ptr(),
                    first: first && block == 0,
                });
            }
        }
    }

    /// The gradient `[outputs, inputs, 3, 3]` that `sums` stand for.
    pub fn finish(&self, sums: &[f32], gradient: &mut [f32]) {
        let (inputs, outputs) = (self.inputs.channels, self.outputs.channels);
        let some = gradient.par_chunks_mut(CHANNELS * inputs * 9).enumerate();
        some.for_each(|(some, kernels)| {
            let job = PointsToKernels {
                points: sums,
                channels: [inputs, outputs],
                output: some * CHANNELS,
                kernels,
            };
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`).
            unsafe { (self.kernels.winograd.points_to_kernels)(job) };
        });
    }
}
