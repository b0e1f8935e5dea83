//! `B' d B` and `A' m A`, a register of channels at a time.

// Constant bounds, as in `tile.rs`.
#![allow(clippy::needless_range_loop)]

use super::float::{A, B};
use super::{KernelsToPoints, PATCH, POINTS, PointsToKernels, TILE};
use crate::kernel::float::Floats;
use crate::kernel::tile::{place, unrolled};
use crate::kernel::{Arithmetic, At, Float32, Lanes};

/// A block of tiles, of the input (`B' d B`) or of the output's gradient (`A dY A'`).
pub(crate) struct ToPoints<'a, T, P> {
    /// The input map.
    pub input: *const T,
    /// For each tile its first input pixel.
    pub tiles: &'a [u32],
    /// Distance of an input pixel to the one below it.
    pub row: usize,
    /// Distance of neighbouring ones.
    pub pitch: usize,
    /// Input channels, whole registers of them.
    pub channels: usize,
    /// `[point][tile][channel]`.
    pub points: *mut P,
    /// Distance of a point's values to the next point's.
    pub plane: usize,
    /// Where each tile's channels begin in a plane.
    pub rows: &'a [u32],
}

/// `A' m A` of a panel of a block of tiles, and the epilogue.
pub(crate) struct FromPoints<'a, A: Arithmetic> {
    /// `[point][tile][vector][lane]`.
    pub sums: *const A::Sum,
    /// Distance of a point's sums to the next point's.
    pub plane: usize,
    /// Number of the block's first tile, counted through (image, row, column).
    pub first: usize,
    /// Tiles.
    pub count: usize,
    /// Tiles of an image, down and across.
    pub grid: [usize; 2],
    /// Output pixels of an image, down and across.
    pub size: [usize; 2],
    /// Vectors of output channels.
    pub vectors: usize,
    /// The first output channel.
    pub channel: usize,
    /// Output channels from there on.
    pub channels: usize,
    /// The output map.
    pub out: *mut A::In,
    /// For each output pixel its place there.
    pub places: &'a [u32],
    /// For the epilogue.
    pub post: A::Post<'a>,
}

impl<A: Arithmetic> FromPoints<'_, A> {
    /// Of a tile of the block, the part inside the map: the number of its first pixel, and how many rows and columns it has.
    #[inline(always)]
    pub fn part(&self, tile: usize) -> (usize, [usize; 2]) {
        let ([down, across], [height, width]) = (self.grid, self.size);
        let number = self.first + tile;
        let (top, left) = (number / across % down * TILE, number % across * TILE);
        let first = (number / (down * across) * height + top) * width + left;
        (first, [TILE.min(height - top), TILE.min(width - left)])
    }
}

/// Sums of products over a block of tiles.
pub(crate) struct Outer<'a> {
    /// `[point][tile][input channel]`, and `[point][tile][output channel]`.
    pub points: [*const f32; 2],
    /// Distances of a point's values to the next point's.
    pub planes: [usize; 2],
    /// Where each tile's channels begin in a plane.
    pub rows: [&'a [u32]; 2],
    /// Channels, whole registers of them.
    pub channels: [usize; 2],
    /// `[point][input channel][output channel]`.
    pub sums: *mut f32,
    /// Whether the sums begin at zero.
    pub first: bool,
}

/// An instruction set's transforms. Unsafe as [`Lanes`] is, and the pointers must reach as far as the fields say.
pub(crate) struct Transforms {
    pub to_points: unsafe fn(&ToPoints<'_, f32, f32>),
    pub from_points: unsafe fn(&FromPoints<'_, Float32>),
    /// `A dY A'`, of tiles of the output's gradient.
    pub gradient_to_points: unsafe fn(&ToPoints<'_, f32, f32>),
    pub outer: unsafe fn(&Outer<'_>),
    pub kernels_to_points: unsafe fn(KernelsToPoints<'_>),
    pub points_to_kernels: unsafe fn(PointsToKernels<'_>),
}

/// What is taken to points.
pub(in crate::kernel) trait Patch {
    /// Pixels of a tile, in each direction.
    const SIDE: usize;

    /// The transform of the first `SIDE` of `values`.
    ///
    /// # Safety
    /// As for [`Lanes`].
    unsafe fn transformed<F: Floats>(
        by: &Constants<F>,
        values: [F::Register; PATCH],
    ) -> [F::Register; PATCH];
}

/// `B' d B`: the input.
pub(in crate::kernel) struct Inputs;

/// `A dY A'`: the gradient of the output.
pub(in crate::kernel) struct Gradients;

impl Patch for Inputs {
    const SIDE: usize = PATCH;

    #[inline(always)]
    unsafe fn transformed<F: Floats>(
        by: &Constants<F>,
        values: [F::Register; PATCH],
    ) -> [F::Register; PATCH] {
        // SAFETY: the caller's promise.
        unsafe { by.of_inputs(values) }
    }
}

impl Patch for Gradients {
    const SIDE: usize = TILE;

    #[inline(always)]
    unsafe fn transformed<F: Floats>(
        by: &Constants<F>,
        [a, b, c, d, ..]: [F::Register; PATCH],
    ) -> [F::Register; PATCH] {
        // SAFETY: the caller's promise.
        unsafe { by.of_gradients([a, b, c, d]) }
    }
}

/// See [`ToPoints`].
///
/// # Safety
/// See [`Transforms`].
#[inline(always)]
pub(in crate::kernel) unsafe fn to_points<F: Floats, P: Patch>(job: &ToPoints<'_, f32, f32>) {
    // SAFETY: the caller's promise.
    unsafe {
        let by = Constants::<F>::new();
        for (tile, &first) in job.tiles.iter().enumerate() {
            let to = job.points.add(*job.rows.get_unchecked(tile) as usize);
            for channel in (0..job.channels).step_by(F::LANES) {
                let from = job.input.add(first as usize + channel);
                let to = to.add(channel);
                let mut half = [[F::splat(0.0); PATCH]; PATCH];
                for x in 0..P::SIDE {
                    let mut column = [F::splat(0.0); PATCH];
                    for y in 0..P::SIDE {
                        column[y] = F::load(from.add(y * job.row + x * job.pitch));
                    }
                    let column = P::transformed(&by, column);
                    for y in 0..PATCH {
                        half[y][x] = column[y];
                    }
                }
                for y in 0..PATCH {
                    let row = P::transformed(&by, half[y]);
                    for x in 0..PATCH {
                        F::store(to.add((y * PATCH + x) * job.plane), row[x]);
                    }
                }
            }
        }
    }
}

/// See [`Outer`]; `ROWS` input channels at a time.
///
/// # Safety
/// See [`Transforms`].
#[inline(always)]
pub(in crate::kernel) unsafe fn outer<F: Floats, const ROWS: usize>(job: &Outer<'_>) {
    let [inputs, outputs] = job.channels;
    for point in 0..POINTS {
        for input in (0..inputs).step_by(ROWS) {
            let mut output = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while output + 2 * F::LANES <= outputs {
                    outer_tile::<F, ROWS, 2>(job, point, [input, output]);
                    output += 2 * F::LANES;
                }
                if output < outputs {
                    outer_tile::<F, ROWS, 1>(job, point, [input, output]);
                }
            }
        }
    }
}

/// `ROWS` input channels times `V` registers of output channels.
#[inline(always)]
unsafe fn outer_tile<F: Floats, const ROWS: usize, const V: usize>(
    job: &Outer<'_>,
    point: usize,
    [input, output]: [usize; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let [inputs, outputs] = job.channels;
        let left = job.points[0].add(point * job.planes[0] + input);
        let right = job.points[1].add(point * job.planes[1] + output);
        let sums = job.sums.add((point * inputs + input) * outputs + output);
        let mut acc = [[F::splat(0.0); V]; ROWS];
        if !job.first {
            unrolled!(R < ROWS, {
                for v in 0..V {
                    acc[R][v] = F::load(sums.add(R * outputs + v * F::LANES));
                }
            });
        }
        for (&left_row, &right_row) in job.rows[0].iter().zip(job.rows[1]) {
            let (left, right) = (left.add(left_row as usize), right.add(right_row as usize));
            let mut b = [F::load(right); V];
            for v in 1..V {
                b[v] = F::load(right.add(v * F::LANES));
            }
            unrolled!(R < ROWS, {
                let a = F::load_splat(left.add(R));
                for v in 0..V {
                    acc[R][v] = F::multiply_add(a, b[v], acc[R][v]);
                }
            });
        }
        unrolled!(R < ROWS, {
            for v in 0..V {
                F::store(sums.add(R * outputs + v * F::LANES), acc[R][v]);
            }
        });
    }
}

/// See [`FromPoints`].
///
/// # Safety
/// See [`Transforms`].
#[inline(always)]
pub(in crate::kernel) unsafe fn from_points<F: Floats>(job: &FromPoints<'_, Float32>) {
    // SAFETY: the caller's promise; pixels outside the map, of which there are none to a place, are left out.
    unsafe {
        let by = Constants::<F>::new();
        for tile in 0..job.count {
            let (first, [height, width]) = job.part(tile);
            for vector in 0..job.vectors {
                let from = job.sums.add((tile * job.vectors + vector) * F::LANES);
                let mut half = [[F::splat(0.0); PATCH]; TILE];
                for x in 0..PATCH {
                    let mut column = [F::splat(0.0); PATCH];
                    for y in 0..PATCH {
                        column[y] = F::load(from.add((y * PATCH + x) * job.plane));
                    }
                    let column = by.of_sums(column);
                    for y in 0..TILE {
                        half[y][x] = column[y];
                    }
                }
                let beside = vector * F::LANES;
                for y in 0..height {
                    let row = by.of_sums(half[y]);
                    for x in 0..TILE {
                        if x < width {
                            let at = At {
                                pixel: first + y * job.size[1] + x,
                                channel: job.channel + beside,
                                count: F::LANES.min(job.channels - beside),
                            };
                            let out = job.out.add(place(job.places, at.pixel) + at.channel);
                            F::finish::<true>(&job.post, row[x], std::ptr::null(), at, out);
                        }
                    }
                }
            }
        }
    }
}

/// The numbers in `B` and `A`, each in all lanes.
pub(in crate::kernel) struct Constants<F: Floats> {
    a: F::Register,
    b: F::Register,
    minus_a: F::Register,
    minus_b: F::Register,
    /// a a and b b, and what is subtracted by them.
    aa: F::Register,
    bb: F::Register,
    minus_aa: F::Register,
    minus_bb: F::Register,
    aaa: F::Register,
    bbb: F::Register,
    /// a a b b and -(a a + b b).
    product: F::Register,
    minus_sum: F::Register,
    minus_one: F::Register,
}

impl<F: Floats> Constants<F> {
    // SAFETY, for all of these: the caller is compiled for the instruction set.
    #[inline(always)]
    unsafe fn new() -> Self {
        unsafe {
            Self {
                a: F::splat(A),
                b: F::splat(B),
                minus_a: F::splat(-A),
                minus_b: F::splat(-B),
                aa: F::splat(A * A),
                bb: F::splat(B * B),
                minus_aa: F::splat(-A * A),
                minus_bb: F::splat(-B * B),
                aaa: F::splat(A * A * A),
                bbb: F::splat(B * B * B),
                product: F::splat(A * A * B * B),
                minus_sum: F::splat(-(A * A + B * B)),
                minus_one: F::splat(-1.0),
            }
        }
    }

    /// `B' d`: the coefficients of `t (t t - a a) (t t - b b)` divided by `t - p`, for every point p.
    #[inline(always)]
    unsafe fn of_inputs(&self, d: [F::Register; PATCH]) -> [F::Register; PATCH] {
        let [d0, d1, d2, d3, d4, d5] = d;
        unsafe {
            let outer = F::multiply_add(d2, self.minus_sum, d4);
            let last = F::multiply_add(d3, self.minus_sum, d5);
            // Of the points +-a and +-b: what both have, and what changes its sign.
            let both = F::multiply_add(d2, self.minus_bb, d4);
            let signed = F::multiply_add(d1, self.minus_bb, d3);
            let both_b = F::multiply_add(d2, self.minus_aa, d4);
            let signed_b = F::multiply_add(d1, self.minus_aa, d3);
            [
                F::multiply_add(d0, self.product, outer),
                F::multiply_add(signed, self.a, both),
                F::multiply_add(signed, self.minus_a, both),
                F::multiply_add(signed_b, self.b, both_b),
                F::multiply_add(signed_b, self.minus_b, both_b),
                F::multiply_add(d1, self.product, last),
            ]
        }
    }

    /// `A y`: the polynomial with the coefficients y at every point.
    #[inline(always)]
    unsafe fn of_gradients(&self, y: [F::Register; TILE]) -> [F::Register; PATCH] {
        let [y0, y1, y2, y3] = y;
        unsafe {
            let even_a = F::multiply_add(y2, self.aa, y0);
            let odd_a = F::multiply_add(y3, self.aa, y1);
            let even_b = F::multiply_add(y2, self.bb, y0);
            let odd_b = F::multiply_add(y3, self.bb, y1);
            [
                y0,
                F::multiply_add(odd_a, self.a, even_a),
                F::multiply_add(odd_a, self.minus_a, even_a),
                F::multiply_add(odd_b, self.b, even_b),
                F::multiply_add(odd_b, self.minus_b, even_b),
                y3,
            ]
        }
    }

    /// `A' m`: the powers 0 to 3 of every point.
    #[inline(always)]
    unsafe fn of_sums(&self, m: [F::Register; PATCH]) -> [F::Register; TILE] {
        let [m0, m1, m2, m3, m4, m5] = m;
        unsafe {
            let (even_a, odd_a) = (F::add(m1, m2), F::multiply_add(m2, self.minus_one, m1));
            let (even_b, odd_b) = (F::add(m3, m4), F::multiply_add(m4, self.minus_one, m3));
            let zero = F::splat(0.0);
            [
                F::add(m0, F::add(even_a, even_b)),
                F::multiply_add(odd_a, self.a, F::multiply_add(odd_b, self.b, zero)),
                F::multiply_add(even_a, self.aa, F::multiply_add(even_b, self.bb, zero)),
                F::multiply_add(odd_a, self.aaa, F::multiply_add(odd_b, self.bbb, m5)),
            ]
        }
    }
}

/// The [`Transforms`] of an instruction set, compiled for the features that the attribute names; so many input channels at a time in
/// [`outer`], a divisor of 16.
macro_rules! transforms {
    ($(#[$features:meta])? $name:ident, $floats:ty, rows $rows:literal) => {
        pub(super) static $name: $crate::kernel::winograd::Transforms = {
            $(#[$features])?
            unsafe fn to_points(job: &$crate::kernel::winograd::ToPoints<'_, f32, f32>) {
                // SAFETY: the caller's promise, see `Transforms`.
                unsafe { $crate::kernel::winograd::to_points::<$floats, $crate::kernel::winograd::Inputs>(job) }
            }
            $(#[$features])?
            unsafe fn from_points(job: &$crate::kernel::winograd::FromPoints<'_, $crate::kernel::Float32>) {
                // SAFETY: as above.
                unsafe { $crate::kernel::winograd::from_points::<$floats>(job) }
            }
            $(#[$features])?
            unsafe fn gradient_to_points(job: &$crate::kernel::winograd::ToPoints<'_, f32, f32>) {
                // SAFETY: as above.
                unsafe { $crate::kernel::winograd::to_points::<$floats, $crate::kernel::winograd::Gradients>(job) }
            }
            $(#[$features])?
            unsafe fn outer(job: &$crate::kernel::winograd::Outer<'_>) {
                // SAFETY: as above.
                unsafe { $crate::kernel::winograd::outer::<$floats, $rows>(job) }
            }
            $(#[$features])?
            unsafe fn kernels_to_points(job: $crate::kernel::winograd::KernelsToPoints<'_>) {
                job.run();
            }
            $(#[$features])?
            unsafe fn points_to_kernels(job: $crate::kernel::winograd::PointsToKernels<'_>) {
                job.run();
            }
            $crate::kernel::winograd::Transforms {
                to_points,
                from_points,
                gradient_to_points,
                outer,
                kernels_to_points,
                points_to_kernels,
            }
        };
    };
}
pub(in crate::kernel) use transforms;
