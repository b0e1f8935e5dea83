//! A 3x3 convolution by a quarter of the products: Winograd's F(4x4, 3x3).
//!
//! An output tile `Y` of 4x4 pixels is made of the 6x6 input pixels `d` below it and the kernel `g` (Lavin and Gray, Fast Algorithms
//! for Convolutional Neural Networks, arXiv 1509.09308, equation 12):
//!
//! ```text
//! Y = A' [ sum over channels of (G g G') * (B' d B) ] A            (* element by element)
//! ```
//!
//! 36 products for each pair of channels in place of 144. `G g G'` is made once, in float64. The 36 sums over channels are 36 matrix
//! products `[tiles, channels] x [channels, outputs]` by the tile of all other convolutions.
//!
//! The matrices are those of polynomial interpolation (Toom and Cook) at the points 0, a, -a, b, -b and infinity. Lavin and Gray have
//! a = 1, b = 2; here a = 5/8, b = 3/2, whose errors are the least of those tried with few binary digits: 2.6 times those of the
//! sum by definition in the mean, where a = 1, b = 2 has 5 times (Barabasz et al., Error Analysis and Improving the Accuracy of Winograd
//! Convolution for Deep Neural Networks, arXiv 1803.10986, on why points matter). `B` and `A` have no rounded numbers.

mod gradient;
mod kernels;
mod side;
mod transform;

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::kernel::{
    Algorithm, Arithmetic, Convolve, Float32, FloatKernels, Job, Maps, Post, Segment,
};
use crate::layout::Table;
use crate::shape::{Shape, Window};

pub(crate) use gradient::WeightGradient;
pub(crate) use kernels::Kernels3x3;
pub(super) use kernels::{KernelsToPoints, PointsToKernels};
use side::{Side, plane};
pub(super) use transform::{
    FromPoints, Gradients, Inputs, Outer, ToPoints, Transforms, from_points, outer, to_points,
    transforms,
};

/// Output pixels of a tile, in each direction.
const TILE: usize = 4;
/// Input pixels of a tile, in each direction.
const PATCH: usize = 6;
/// Products for a tile and a pair of channels.
const POINTS: usize = PATCH * PATCH;
/// The points of the interpolation beside 0 and infinity, each with both signs.
const A: f32 = 0.625;
const B: f32 = 1.5;

/// Input channels come in whole registers of every instruction set.
const CHANNELS: usize = 16;
/// Bytes that a block of tiles may take as `B' d B`, next to a panel's weights in the second-level cache.
const BLOCK: usize = 448 << 10;
/// Tiles in a block.
const TILES: std::ops::RangeInclusive<usize> = 12..=96;

/// A convolution ready to run.
pub(crate) struct Winograd {
    kernels: &'static FloatKernels,
    /// `[panel][point][channel][vector][lane]`, zeros where there is no output.
    weights: Buffer<f32>,
    /// Of `inputs`, the parts whose sums are made in one go.
    chunks: Vec<std::ops::Range<usize>>,
    inputs: Side,
    /// What it makes of one image.
    to: Shape,
    places: Table,
    /// Tiles in a block.
    block: usize,
    /// Elements that the output must have.
    reach: usize,
}

/// Whether a convolution of all channels of maps of shape `from` to such as `to` can be computed so, and by at most half of the products.
pub(crate) fn fits_winograd(window: &Window, from: Shape, to: Shape) -> bool {
    let Window {
        kernel,
        stride,
        dilation,
        ..
    } = *window;
    let grid = grid(to);
    let products = POINTS * grid.height * grid.width;
    from.channels.is_multiple_of(CHANNELS)
        && (kernel, stride, dilation) == ([3, 3], [1, 1], [1, 1])
        && 2 * products <= 9 * to.height * to.width
}

/// Tiles of a map.
fn grid(to: Shape) -> Shape {
    Shape {
        height: to.height.div_ceil(TILE),
        width: to.width.div_ceil(TILE),
        ..to
    }
}

/// What the map that it makes would be of whole tiles: the border of its input covers that.
pub(crate) fn whole_tiles(to: Shape) -> Shape {
    Shape {
        height: to.height.next_multiple_of(TILE),
        width: to.width.next_multiple_of(TILE),
        ..to
    }
}

impl Winograd {
    /// Packs the kernels `taps` of all outputs and inputs. The border of `from` covers the window for an output of [`whole_tiles`].
    pub fn new(
        kernels: &'static FloatKernels,
        taps: Kernels3x3<'_>,
        window: Window,
        maps: Maps<'_>,
    ) -> Self {
        let (from, to) = (maps.from, maps.to);
        let inputs = from.shape.channels;
        let outputs = to.shape.channels;
        let grid = grid(to.shape);
        let places = Table::pixels(to, maps.group);
        let chunk = kernels.kernels.chunk;
        let each = inputs.div_ceil(inputs.div_ceil(chunk));
        let block = (BLOCK / (POINTS * inputs * size_of::<f32>()))
            .clamp(*TILES.start(), *TILES.end())
            .next_multiple_of(kernels.kernels.rows)
            .min((maps.group * grid.height * grid.width).next_multiple_of(kernels.kernels.rows));
        Self {
            kernels,
            weights: pack(kernels, taps, [inputs, outputs]),
            chunks: (0..inputs)
                .step_by(each)
                .map(|start| start..inputs.min(start + each))
                .collect(),
            inputs: Side::inputs(from, (&window, to.shape), maps.group, block),
            to: to.shape,
            reach: places.largest() + outputs,
            places,
            block,
        }
    }

    /// Output channels of the widest panel.
    fn width(&self) -> usize {
        self.kernels.kernels.lanes * self.kernels.kernels.panels.len()
    }
}

impl Convolve<Float32> for Winograd {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Winograd
    }

    fn scratch(&self) -> usize {
        POINTS * (self.inputs.plane + plane(self.block, self.width()))
    }

    fn operations(&self) -> u64 {
        2 * (self.to.len() * self.inputs.channels * 9) as u64
    }

    fn run<'a>(
        &'a self,
        images: usize,
        input: &[f32],
        output: &mut [f32],
        sums: &mut [f32],
        post: Post<'a>,
    ) {
        let outputs = self.to.channels;
        let places = &self.places.offsets()[..images * self.to.height * self.to.width];
        let grid = grid(self.to);
        let each = grid.height * grid.width;
        let tiles = &self.inputs.tiles.offsets()[..images * each];
        assert!(input.len() >= self.inputs.reach && output.len() >= self.reach);
        assert!(sums.len() >= self.scratch());
        assert!(Float32::covers(&post, places.len(), outputs));
        let (inputs, apart_inside) = (self.inputs.channels, self.inputs.plane);
        let (inside, sums) = sums.split_at_mut(POINTS * apart_inside);
        let lanes = self.kernels.kernels.lanes;
        for (start, tiles) in (0..).step_by(self.block).zip(tiles.chunks(self.block)) {
            // SAFETY, here and below: `kernels` belongs to an instruction set that the processor has (`float32`). `reach` was
            // computed from all tiles and places, and was just compared, as was `covers`; the scratch has room for a block.
            unsafe {
                (self.kernels.winograd.to_points)(&self.inputs.points(input, tiles, inside));
            }
            for channel in (0..outputs).step_by(self.width()) {
                let channels = self.width().min(outputs - channel);
                let vectors = channels.div_ceil(lanes);
                let filled = vectors * lanes;
                let weights = &self.weights.as_slice()[channel * POINTS * inputs..]
                    [..POINTS * inputs * filled];
                let apart = plane(self.block, filled);
                for point in 0..POINTS {
                    for (c, chunk) in self.chunks.iter().enumerate() {
                        let job = Job::<Float32> {
                            input: inside[point * apart_inside + chunk.start..].as_ptr(),
                            taps: &self.inputs.rows[..tiles.len()],
                            segments: &[Segment {
                                offset: 0,
                                steps: chunk.len(),
                            }],
                            weights: weights[(point * inputs + chunk.start) * filled..].as_ptr(),
                            sums: sums[point * apart..].as_mut_ptr(),
                            first: c == 0,
                            // The sums are whole after the last chunk, and are left where they are.
                            last: false,
                            out: output.as_mut_ptr(),
                            places,
                            pixel: 0,
                            channel,
                            channels,
                            post,
                        };
                        // SAFETY: see above.
                        unsafe { (self.kernels.kernels.panels[vectors - 1])(&job) };
                    }
                }
                // SAFETY: see above.
                unsafe {
                    (self.kernels.winograd.from_points)(&FromPoints {
                        sums: sums.as_ptr(),
                        plane: apart,
                        first: start,
                        count: tiles.len(),
                        grid: [grid.height, grid.width],
                        size: [self.to.height, self.to.width],
                        vectors,
                        channel,
                        channels,
                        out: output.as_mut_ptr(),
                        places,
                        post,
                    });
                }
            }
        }
    }
}

/// `G g G'` of every kernel, in the order of [`Winograd::weights`].
fn pack(
    of: &'static FloatKernels,
    kernels: Kernels3x3<'_>,
    [inputs, outputs]: [usize; 2],
) -> Buffer<f32> {
    let (lanes, width) = (of.kernels.lanes, of.kernels.lanes * of.kernels.panels.len());
    let mut packed = Buffer::new(POINTS * inputs * outputs.next_multiple_of(lanes));
    let panels = packed.as_mut().par_chunks_mut(POINTS * inputs * width);
    panels.enumerate().for_each(|(panel, points)| {
        let channels = width.min(outputs - panel * width);
        let job = KernelsToPoints {
            kernels,
            outputs: [panel * width, channels],
            inputs,
            filled: channels.next_multiple_of(lanes),
            points,
        };
        // SAFETY: `of` belongs to an instruction set that the processor has (`float32`).
        unsafe { (of.winograd.kernels_to_points)(job) };
    });
    packed
}
