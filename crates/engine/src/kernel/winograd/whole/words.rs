//! `B' d B`, the products and `A' m A` in registers.

// Constant bounds, as in `tile.rs`.
#![allow(clippy::needless_range_loop)]

use super::{NINTH, PATCH, POINTS, POWERS, TILE};
use crate::kernel::integer::{Integers, Whole};
use crate::kernel::tile::{Rows, place, unrolled};
use crate::kernel::winograd::{FromPoints, Products, ToPoints};
use crate::kernel::{Integer, IntegerPost, Lanes};

/// Registers of whole numbers of 16 bits.
///
/// # Safety
/// As for [`Lanes`].
pub(in crate::kernel) trait Words: Copy {
    type Register: Copy;
    const LANES: usize;

    /// Inputs, extended with zeros.
    unsafe fn load(from: *const u8) -> Self::Register;
    unsafe fn store(to: *mut i16, x: Self::Register);
    unsafe fn add(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `x - y`.
    unsafe fn sub(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `2 x`.
    unsafe fn twice(x: Self::Register) -> Self::Register;
    /// `4 x`.
    unsafe fn four_times(x: Self::Register) -> Self::Register;
}

/// What an instruction set does with registers of 32 bits, modulo 2^32.
///
/// # Safety
/// As for [`Lanes`].
pub(in crate::kernel) trait Modular: Integers {
    /// In each lane, to `sums` the products of two numbers of 16 bits each.
    unsafe fn dot_words(
        sums: Self::Register,
        x: Self::Register,
        y: Self::Register,
    ) -> Self::Register;
    /// `x - y`.
    unsafe fn sub(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `2 x`.
    unsafe fn twice(x: Self::Register) -> Self::Register;
    /// `4 x`.
    unsafe fn four_times(x: Self::Register) -> Self::Register;
    /// `x y`.
    unsafe fn multiply(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `x >> by`, with its sign.
    unsafe fn shift_right(x: Self::Register, by: i32) -> Self::Register;
}

/// An instruction set's functions. Unsafe as [`Lanes`] is, and the pointers must reach as far as the fields say.
pub(crate) struct WordKernels {
    /// Output channels in a vector.
    pub lanes: usize,
    /// Tiles whose products are summed at once.
    pub rows: usize,
    pub to_points: unsafe fn(&ToPoints<'_, u8, i16>),
    /// For panels of one vector, two vectors, ...
    pub products: &'static [unsafe fn(&Products<'_, Integer>)],
    pub from_points: unsafe fn(&FromPoints<'_, Integer>),
}

/// `B' d B`.
///
/// # Safety
/// See [`WordKernels`].
#[inline(always)]
pub(in crate::kernel) unsafe fn to_points<W: Words>(job: &ToPoints<'_, u8, i16>) {
    // SAFETY: the caller's promise.
    unsafe {
        for (tile, &first) in job.tiles.iter().enumerate() {
            let to = job.points.add(*job.rows.get_unchecked(tile) as usize);
            for channel in (0..job.channels).step_by(W::LANES) {
                let from = job.input.add(first as usize + channel);
                let to = to.add(channel);
                let mut half = [[W::load(from); PATCH]; PATCH];
                for x in 0..PATCH {
                    let mut column = [W::load(from.add(x * job.pitch)); PATCH];
                    for y in 1..PATCH {
                        column[y] = W::load(from.add(y * job.row + x * job.pitch));
                    }
                    let column = of_inputs::<W>(column);
                    for y in 0..PATCH {
                        half[y][x] = column[y];
                    }
                }
                for y in 0..PATCH {
                    let row = of_inputs::<W>(half[y]);
                    for x in 0..PATCH {
                        W::store(to.add((y * PATCH + x) * job.plane), row[x]);
                    }
                }
            }
        }
    }
}

/// `B' d`.
///
/// SAFETY: as for [`Words`].
#[inline(always)]
unsafe fn of_inputs<W: Words>(
    [d0, d1, d2, d3, d4, d5]: [W::Register; PATCH],
) -> [W::Register; PATCH] {
    unsafe {
        // Of the points 1 and -1, and of 2 and -2: what both have, and what changes its sign.
        let near = W::sub(d4, W::four_times(d2));
        let near_odd = W::sub(d3, W::four_times(d1));
        let (far, far_odd) = (W::sub(d4, d2), W::sub(d3, d1));
        let far_odd_twice = W::twice(far_odd);
        [
            W::add(W::four_times(W::sub(d0, d2)), far),
            W::add(near, near_odd),
            W::sub(near, near_odd),
            W::add(far, far_odd_twice),
            W::sub(far, far_odd_twice),
            W::sub(W::sub(d5, d3), W::twice(far_odd_twice)),
        ]
    }
}

/// The products, `ROWS` tiles by `V` vectors at a time.
///
/// # Safety
/// See [`WordKernels`].
#[inline(always)]
pub(in crate::kernel) unsafe fn products<W: Modular, const ROWS: usize, const V: usize>(
    job: &Products<'_, Integer>,
) {
    for point in 0..POINTS {
        let mut at = 0;
        // SAFETY: each part stays within the tiles; the rest is the caller's promise.
        unsafe {
            while at + ROWS <= job.rows.len() {
                some_products::<W, ROWS, V>(job, point, at);
                at += ROWS;
            }
            // As in `tile.rs`.
            macro_rules! rest_of {
                ($($rows:literal)*) => {
                    $(if $rows < ROWS && job.rows.len() - at >= $rows {
                        some_products::<W, $rows, V>(job, point, at);
                        at += $rows;
                    })*
                };
            }
            rest_of!(8 4 2 1);
        }
        debug_assert!(at == job.rows.len());
    }
}

/// `ROWS` tiles from number `at` on.
#[inline(always)]
unsafe fn some_products<W: Modular, const ROWS: usize, const V: usize>(
    job: &Products<'_, Integer>,
    point: usize,
    at: usize,
) {
    // SAFETY: the caller's promise. A pair of words has the bytes of a lane.
    unsafe {
        let points = job.points.add(point * job.planes[0]);
        let mut rows = [points; ROWS];
        unrolled!(R < ROWS, {
            rows[R] = points.add(*job.rows.get_unchecked(at + R) as usize);
        });
        let filled = V * W::LANES;
        let weights = job.weights.add(point * job.inputs * filled).cast::<i32>();
        let mut acc = [[W::zero(); V]; ROWS];
        for pair in 0..job.inputs / 2 {
            let weights = weights.add(pair * filled);
            let mut b = [W::load(weights); V];
            for v in 1..V {
                b[v] = W::load(weights.add(v * W::LANES));
            }
            unrolled!(R < ROWS, {
                let a = W::splat(rows[R].cast::<i32>().add(pair).read_unaligned());
                for v in 0..V {
                    acc[R][v] = W::dot_words(acc[R][v], b[v], a);
                }
            });
        }
        let sums = job.sums.add(point * job.planes[1] + at * filled);
        unrolled!(R < ROWS, {
            for v in 0..V {
                W::store(sums.add((R * V + v) * W::LANES), acc[R][v]);
            }
        });
    }
}

/// `A' m A`, the division, the bias and the epilogue.
///
/// # Safety
/// See [`WordKernels`].
#[inline(always)]
pub(in crate::kernel) unsafe fn from_points<W: Modular>(job: &FromPoints<'_, Integer>) {
    for tile in 0..job.count {
        // SAFETY: the caller's promise. A whole vector of biases can be read (`covers`).
        unsafe {
            let pixels = Pixels::of(job, tile);
            let post = IntegerPost {
                add: job.post.add.map(|(map, _)| (map, &pixels.added[..])),
                ..job.post
            };
            for vector in 0..job.vectors {
                let rows = Rows {
                    pixel: 0,
                    channel: job.channel + vector * W::LANES,
                    channels: job.channels - vector * W::LANES,
                    out: job.out,
                    places: &pixels.places,
                };
                let bias = W::load(post.rule.bias.as_ptr().add(rows.channel));
                let from = job.sums.add((tile * job.vectors + vector) * W::LANES);
                let half = half_of_sums::<W>(from, job.plane);
                if pixels.count == TILE * TILE {
                    finish_two::<W, 0, 1>(&post, &half, bias, &rows);
                    finish_two::<W, 2, 3>(&post, &half, bias, &rows);
                } else {
                    let sums = [
                        whole_row::<W, 0>(&half, bias),
                        whole_row::<W, 1>(&half, bias),
                        whole_row::<W, 2>(&half, bias),
                        whole_row::<W, 3>(&half, bias),
                    ];
                    for at in 0..pixels.count {
                        let number = pixels.numbers[at];
                        let sum = [sums[number / TILE][number % TILE]];
                        finish::<W, 1>(&post, [sum], &Rows { pixel: at, ..rows });
                    }
                }
            }
        }
    }
}

/// The pixels of a tile that lie in the map, of which there are none to a place outside.
struct Pixels {
    /// In the tile, rows one after the other.
    numbers: [usize; TILE * TILE],
    /// In the output, and in the added map if there is one.
    places: [u32; TILE * TILE],
    added: [u32; TILE * TILE],
    count: usize,
}

impl Pixels {
    /// # Safety
    /// There are places for all pixels of the output.
    #[inline(always)]
    unsafe fn of(job: &FromPoints<'_, Integer>, tile: usize) -> Self {
        let (first, [height, width]) = job.part(tile);
        let mut pixels = Self {
            numbers: [0; TILE * TILE],
            places: [0; TILE * TILE],
            added: [0; TILE * TILE],
            count: height * width,
        };
        let mut count = 0;
        for y in 0..height {
            for x in 0..width {
                let pixel = first + y * job.size[1] + x;
                pixels.numbers[count] = y * TILE + x;
                // SAFETY: the caller's promise.
                unsafe {
                    pixels.places[count] = place(job.places, pixel) as u32;
                    if let Some((_, added)) = job.post.add {
                        pixels.added[count] = place(added, pixel) as u32;
                    }
                }
                count += 1;
            }
        }
        pixels
    }
}

/// `A' m` of a tile's sums.
#[inline(always)]
unsafe fn half_of_sums<W: Modular>(from: *const i32, plane: usize) -> [[W::Register; PATCH]; TILE] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut half = [[W::zero(); PATCH]; TILE];
        for x in 0..PATCH {
            let mut column = [W::zero(); PATCH];
            for y in 0..PATCH {
                column[y] = W::load(from.add((y * PATCH + x) * plane));
            }
            let column = of_sums::<W>(column);
            for y in 0..TILE {
                half[y][x] = column[y];
            }
        }
        half
    }
}

/// Row `Y` of the tile's sums by the definition, from `A' m`.
#[inline(always)]
unsafe fn whole_row<W: Modular, const Y: usize>(
    half: &[[W::Register; PATCH]; TILE],
    bias: W::Register,
) -> [W::Register; TILE] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = of_sums::<W>(half[Y]);
        for x in 0..TILE {
            let sum = W::multiply(row[x], W::splat(NINTH));
            row[x] = W::add(W::shift_right(sum, POWERS[Y] + POWERS[x]), bias);
        }
        row
    }
}

/// The results of row `Y` and of row `Z` below it.
#[inline(always)]
unsafe fn finish_two<W: Modular, const Y: usize, const Z: usize>(
    post: &IntegerPost<'_>,
    half: &[[W::Register; PATCH]; TILE],
    bias: W::Register,
    rows: &Rows<'_, u8>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b, c, d] = whole_row::<W, Y>(half, bias);
        let [e, f, g, h] = whole_row::<W, Z>(half, bias);
        let sums = [[a], [b], [c], [d], [e], [f], [g], [h]];
        let pixel = Y * TILE;
        finish::<W, { 2 * TILE }>(post, sums, &Rows { pixel, ..*rows });
    }
}

/// The epilogue of some pixels.
#[inline(always)]
unsafe fn finish<W: Modular, const ROWS: usize>(
    post: &IntegerPost<'_>,
    sums: [[W::Register; 1]; ROWS],
    rows: &Rows<'_, u8>,
) {
    // SAFETY: the caller's promise. No epilogue of whole numbers reads sums of chunks before.
    unsafe { Whole::<W>::finish_rows::<ROWS, 1>(post, sums, std::ptr::null(), rows) }
}

/// `A' m`, row y times 3 and two to the power of its number in [`POWERS`].
///
/// SAFETY: as for [`Words`].
#[inline(always)]
unsafe fn of_sums<W: Modular>(
    [m0, m1, m2, m3, m4, m5]: [W::Register; PATCH],
) -> [W::Register; TILE] {
    unsafe {
        let (near, near_odd) = (W::add(m1, m2), W::sub(m1, m2));
        let (far, far_odd) = (W::add(m3, m4), W::sub(m3, m4));
        [
            W::sub(W::add(m0, far), W::four_times(near)),
            W::sub(far_odd, W::twice(near_odd)),
            W::sub(far, near),
            W::add(W::sub(W::twice(far_odd), near_odd), m5),
        ]
    }
}

/// The [`WordKernels`] of an instruction set, compiled for the features that the attribute names: words in the first registers if they
/// fill them, else in the second, products in the last, of so many tiles at a time.
macro_rules! word_kernels {
    ($(#[$features:meta])? $visible:vis $name:ident, [$many:ty, $few:ty], $modular:ty, rows $rows:literal) => {
        $visible static $name: $crate::kernel::winograd::WordKernels = {
            use $crate::kernel::Integer;
            use $crate::kernel::winograd::{FromPoints, Products, ToPoints, Words, words};
            $(#[$features])?
            unsafe fn to_points(job: &ToPoints<'_, u8, i16>) {
                // SAFETY, here and below: the caller's promise, see `WordKernels`.
                match job.channels.is_multiple_of(<$many as Words>::LANES) {
                    true => unsafe { words::to_points::<$many>(job) },
                    false => unsafe { words::to_points::<$few>(job) },
                }
            }
            $(#[$features])?
            unsafe fn products_1(job: &Products<'_, Integer>) {
                unsafe { words::products::<$modular, $rows, 1>(job) }
            }
            $(#[$features])?
            unsafe fn products_2(job: &Products<'_, Integer>) {
                unsafe { words::products::<$modular, $rows, 2>(job) }
            }
            $(#[$features])?
            unsafe fn from_points(job: &FromPoints<'_, Integer>) {
                unsafe { words::from_points::<$modular>(job) }
            }
            $crate::kernel::winograd::WordKernels {
                lanes: <$modular as $crate::kernel::integer::Integers>::LANES,
                rows: $rows,
                to_points,
                products: &[products_1, products_2],
                from_points,
            }
        };
    };
}
pub(in crate::kernel) use word_kernels;
