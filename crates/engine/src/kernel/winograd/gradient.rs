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

use super::side::Side;
use super::transform::Outer;
use super::{CHANNELS, POINTS, PointsToKernels, grid};
use crate::kernel::{FloatKernels, Maps};
use crate::shape::Window;

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

impl WeightGradient {
    /// For maps whose borders cover [`super::whole_tiles`] of the output.
    pub fn new(kernels: &'static FloatKernels, window: Window, maps: Maps<'_>) -> Self {
        let Maps { from, to, group } = maps;
        let each = grid(to.shape).height * grid(to.shape).width;
        let block = BLOCK.min(group * each);
        Self {
            kernels,
            inputs: Side::inputs::<f32>(from, (&window, to.shape), group, block),
            outputs: Side::gradients(to, group, block),
            each,
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
        assert!(scratch.len() >= self.scratch());
        let (points, of_points) = scratch.split_at_mut(POINTS * inputs.plane);
        let tiles = [inputs, outputs].map(|side| &side.tiles.offsets()[..images * self.each]);
        let blocks = tiles[0].chunks(BLOCK).zip(tiles[1].chunks(BLOCK));
        for (block, (tiles, of_tiles)) in blocks.enumerate() {
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`). `reach`, computed from all
            // tiles, and the lengths of what is written were compared above.
            unsafe {
                (self.kernels.winograd.to_points)(&inputs.points(x, tiles, points.as_mut_ptr()));
                (self.kernels.winograd.gradient_to_points)(&outputs.points(
                    dy,
                    of_tiles,
                    of_points.as_mut_ptr(),
                ));
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
