//! A 3x3 convolution by a quarter of the products: Winograd's F(4x4, 3x3).
//!
//! An output tile `Y` of 4x4 pixels is made of the 6x6 input pixels `d` below it and the kernel `g` (Lavin and Gray, Fast Algorithms
//! for Convolutional Neural Networks, arXiv 1509.09308, equation 12):
//!
//! ```text
//! Y = A' [ sum over channels of (G g G') * (B' d B) ] A            (* element by element)
//! ```
//!
//! 36 products for each pair of channels in place of 144. `G g G'` is made once. The 36 sums over channels are 36 matrix products
//! `[tiles, channels] x [channels, outputs]`.
//!
//! The matrices are those of polynomial interpolation (Toom and Cook) at the points 0, a, -a, b, -b and infinity. Real numbers
//! (`float.rs`) have an `a` and a `b` of small rounding errors; codes (`whole.rs`) have those of Lavin and Gray, 1 and 2, and are exact.

mod float;
mod gradient;
mod kernels;
mod side;
mod transform;
mod whole;

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::kernel::{Algorithm, Arithmetic, Convolve, Maps};
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
pub(super) use whole::{Modular, WordKernels, Words, word_kernels, words};

/// Output pixels of a tile, in each direction.
const TILE: usize = 4;
/// Input pixels of a tile, in each direction.
const PATCH: usize = 6;
/// Products for a tile and a pair of channels.
const POINTS: usize = PATCH * PATCH;

/// Input channels come in whole registers of every instruction set.
const CHANNELS: usize = 16;
/// Bytes that a block of tiles may take as `B' d B`, next to a panel's weights in the second-level cache.
const BLOCK: usize = 448 << 10;
/// Tiles in a block.
const TILES: std::ops::RangeInclusive<usize> = 12..=96;

/// Numbers that have this algorithm.
pub(crate) trait Points: Arithmetic {
    /// Inputs and kernels at a point.
    type Point: Copy + Default + Send + Sync + 'static;
    /// An instruction set's functions.
    type Functions: Send + Sync + 'static;

    /// Of an instruction set: channels in a vector, vectors in the widest panel, tiles whose products are summed at once.
    fn sizes(of: &Self::Functions) -> [usize; 3];
    /// `B' d B`.
    ///
    /// # Safety
    /// The processor has the instruction set; the pointers reach as far as the fields say. So for the others.
    unsafe fn to_points(of: &Self::Functions, job: &ToPoints<'_, Self::In, Self::Point>);
    /// The sums over channels, of every point.
    ///
    /// # Safety
    /// See above.
    unsafe fn products(of: &Self::Functions, job: &Products<'_, Self>);
    /// `A' m A` and the epilogue.
    ///
    /// # Safety
    /// See above.
    unsafe fn from_points(of: &Self::Functions, job: &FromPoints<'_, Self>);
}

/// 36 matrix products of a block of tiles with a panel of weights.
pub(crate) struct Products<'a, A: Points> {
    /// `[point][tile][channel]`.
    pub points: *const A::Point,
    /// Where each tile's channels begin in a plane; as many as there are tiles.
    pub rows: &'a [u32],
    /// Distances of a point's values to the next point's, and of its sums to the next point's.
    pub planes: [usize; 2],
    /// Input channels.
    pub inputs: usize,
    /// The panel's, as the numbers pack them.
    pub weights: *const A::Point,
    /// Vectors of output channels.
    pub vectors: usize,
    /// `[point][tile][vector][lane]`.
    pub sums: *mut A::Sum,
    /// For the type of a job that ends in an epilogue.
    pub post: A::Post<'a>,
}

/// A convolution ready to run.
pub(crate) struct Winograd<A: Points> {
    functions: &'static A::Functions,
    /// `[panel][point][...]`, each panel's points filled up to whole vectors of outputs.
    weights: Buffer<A::Point>,
    inputs: Side,
    /// What it makes of one image.
    to: Shape,
    places: Table,
    /// Tiles in a block.
    block: usize,
    /// Elements that the output must have.
    reach: usize,
}

/// The outputs of a panel.
struct Panel {
    /// The first, and how many there are.
    outputs: [usize; 2],
    /// How many there is room for.
    filled: usize,
}

/// The points of the kernels of all outputs and inputs, zeros where there is no output; `panel` puts those of a panel there.
fn pack<A: Points>(
    functions: &A::Functions,
    [inputs, outputs]: [usize; 2],
    panel: impl Fn(Panel, &mut [A::Point]) + Sync,
) -> Buffer<A::Point> {
    let [lanes, vectors, _] = A::sizes(functions);
    let width = lanes * vectors;
    let mut packed = Buffer::new(POINTS * inputs * outputs.next_multiple_of(lanes));
    let panels = packed.as_mut().par_chunks_mut(POINTS * inputs * width);
    panels
        .zip((0..outputs).into_par_iter().step_by(width))
        .for_each(|(points, first)| {
            let count = width.min(outputs - first);
            let of = Panel {
                outputs: [first, count],
                filled: count.next_multiple_of(lanes),
            };
            panel(of, points);
        });
    packed
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

impl<A: Points> Winograd<A> {
    /// With `weights` packed for the functions. The border of `maps.from` covers the window for an output of [`whole_tiles`].
    fn packed(
        functions: &'static A::Functions,
        weights: Buffer<A::Point>,
        window: Window,
        maps: Maps<'_>,
    ) -> Self {
        let (from, to) = (maps.from, maps.to);
        let (inputs, outputs) = (from.shape.channels, to.shape.channels);
        let grid = grid(to.shape);
        let places = Table::pixels(to, maps.group);
        let [lanes, _, rows] = A::sizes(functions);
        assert!(weights.len() >= POINTS * inputs * outputs.next_multiple_of(lanes));
        let block = (BLOCK / (POINTS * inputs * size_of::<A::Point>()))
            .clamp(*TILES.start(), *TILES.end())
            .next_multiple_of(rows)
            .min((maps.group * grid.height * grid.width).next_multiple_of(rows));
        Self {
            functions,
            weights,
            inputs: Side::inputs::<A::Point>(from, (&window, to.shape), maps.group, block),
            to: to.shape,
            reach: places.largest() + outputs,
            places,
            block,
        }
    }

    /// Output channels of a vector, and of the widest panel.
    fn widths(&self) -> [usize; 2] {
        let [lanes, vectors, _] = A::sizes(self.functions);
        [lanes, lanes * vectors]
    }

    /// Sums that a block's points take the place of.
    fn room(&self) -> usize {
        let bytes = POINTS * self.inputs.plane * size_of::<A::Point>();
        bytes.div_ceil(size_of::<A::Sum>())
    }
}

impl<A: Points> Convolve<A> for Winograd<A> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Winograd
    }

    fn scratch(&self) -> usize {
        self.room() + POINTS * plane::<A::Sum>(self.block, self.widths()[1])
    }

    fn operations(&self) -> u64 {
        2 * (self.to.len() * self.inputs.channels * 9) as u64
    }

    fn run<'a>(
        &'a self,
        images: usize,
        input: &[A::In],
        output: &mut [A::In],
        sums: &mut [A::Sum],
        post: A::Post<'a>,
    ) {
        let outputs = self.to.channels;
        let places = &self.places.offsets()[..images * self.to.height * self.to.width];
        let grid = grid(self.to);
        let each = grid.height * grid.width;
        let tiles = &self.inputs.tiles.offsets()[..images * each];
        assert!(input.len() >= self.inputs.reach && output.len() >= self.reach);
        assert!(sums.len() >= self.scratch());
        assert!(A::covers(&post, places.len(), outputs));
        let (points, sums) = sums.split_at_mut(self.room());
        let points = points.as_mut_ptr().cast::<A::Point>();
        let [lanes, width] = self.widths();
        for (start, tiles) in (0..).step_by(self.block).zip(tiles.chunks(self.block)) {
            // SAFETY, here and below: the functions belong to an instruction set that the processor has. `reach` was computed from
            // all tiles and places, and was just compared, as was `covers`; the scratch has room for a block's points and for its
            // sums, and is for numbers no less aligned than points; `packed` has made sure of the weights.
            unsafe { A::to_points(self.functions, &self.inputs.points(input, tiles, points)) };
            for channel in (0..outputs).step_by(width) {
                let channels = width.min(outputs - channel);
                let vectors = channels.div_ceil(lanes);
                let weights = channel * POINTS * self.inputs.channels;
                let plane = plane::<A::Sum>(self.block, vectors * lanes);
                // SAFETY: see above.
                unsafe {
                    A::products(
                        self.functions,
                        &Products {
                            points,
                            rows: &self.inputs.rows[..tiles.len()],
                            planes: [self.inputs.plane, plane],
                            inputs: self.inputs.channels,
                            weights: self.weights.as_slice()[weights..].as_ptr(),
                            vectors,
                            sums: sums.as_mut_ptr(),
                            post,
                        },
                    );
                    A::from_points(
                        self.functions,
                        &FromPoints {
                            sums: sums.as_ptr(),
                            plane,
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
                        },
                    );
                }
            }
        }
    }
}
