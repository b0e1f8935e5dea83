//! The algorithm in whole numbers: codes of 8 bits, and exactly the sums of the definition.
//!
//! The points are 0, 1, -1, 2, -2 and infinity. `B` then has whole numbers, and `B' d B` of inputs u8 fits 16 bits: rows of `B'` have a
//! positive sum of at most 5 and a negative one of at most 8, and 68 x 255 is the largest magnitude. `G` and `A` are scaled by whole
//! numbers, row by row, until all are whole (below `g` is a row of a kernel, `m` the sums of a row's points):
//!
//! ```text
//! G g = [6 g0, g0 + g1 + g2, g0 - g1 + g2, g0 + 2 g1 + 4 g2, g0 - 2 g1 + 4 g2, 6 g2]
//!
//! 24 y0 = m0 - 4 (m1 + m2) + (m3 + m4)
//! 12 y1 =    - 2 (m1 - m2) + (m3 - m4)
//!  6 y2 =    -   (m1 + m2) + (m3 + m4)
//!  6 y3 =    -   (m1 - m2) + 2 (m3 - m4) + m5
//! ```
//!
//! `G g G'` of weights of up to 255 fits 16 bits as well, 49 x 255 being the largest, so a product of pairs is one instruction of 16 bits
//! to 32. All sums are then taken modulo 2^32, which no addition, subtraction or multiplication minds. What comes out is
//! `9 x 2^k x y mod 2^32`, k from 2 to 6. Nine is odd: a multiplication by its inverse modulo 2^32 takes it away exactly. The rest,
//! `2^k y mod 2^32`, is `2^k y` itself as a signed number if `|y| < 2^(31 - k)`, and a shift gives y. [`Winograd::whole`] looks at the
//! weights: a convolution of which a sum could pass 2^25 is not computed so.
//!
//! Inputs enter as they are stored. What their zero point adds is in the bias, as it is for the sums by definition.

pub(in crate::kernel) mod words;

use std::ops::RangeInclusive;

use super::{FromPoints, PATCH, POINTS, Panel, Points, Products, TILE, ToPoints, Winograd, pack};
use crate::kernel::{Integer, Isa, Maps};
use crate::shape::Window;

pub(crate) use words::WordKernels;
pub(in crate::kernel) use words::{Modular, Words, word_kernels};

/// The largest stored input.
const LARGEST_INPUT: i64 = u8::MAX as i64;
/// Weights for which `G g G'` fits.
const WEIGHTS: RangeInclusive<i16> = -255..=255;
/// What sums have to stay below in magnitude.
const LARGEST_SUM: i64 = 1 << 25;
/// One over nine, modulo 2^32.
const NINTH: i32 = 954_437_177;
/// Of each row or column of a tile, the power of two in the factor by which its results come out.
const POWERS: [i32; TILE] = [3, 2, 1, 1];

impl Winograd<Integer> {
    /// Whether there are functions for `isa`, which the processor must have.
    pub fn has_functions(isa: Isa) -> bool {
        functions(isa).is_some()
    }

    /// Packs the sum of `parts`, `[outputs, inputs, 3, 3]` each, for the instruction set, if it has the functions and no sum of the
    /// products with inputs u8 can be too large. The border of `maps.from` covers the window for an output of [`super::whole_tiles`].
    pub fn whole(isa: Isa, parts: &[Vec<i8>], window: Window, maps: Maps<'_>) -> Option<Self> {
        let functions = functions(isa)?;
        let [inputs, outputs] = [maps.from, maps.to].map(|map| map.shape.channels);
        let weights: Vec<i16> = (0..outputs * inputs * 9)
            .map(|i| parts.iter().map(|part| i16::from(part[i])).sum())
            .collect();
        let is_exact = weights.chunks_exact(inputs * 9).all(|weights| {
            let sum = |sign: i64| -> i64 {
                let signed = weights.iter().map(|&w| (sign * i64::from(w)).max(0));
                signed.sum::<i64>() * LARGEST_INPUT
            };
            sum(1).max(sum(-1)) < LARGEST_SUM
        });
        let fits = weights.iter().all(|w| WEIGHTS.contains(w));
        (is_exact && fits).then(|| {
            let packed = pack::<Integer>(functions, [inputs, outputs], |of, points| {
                to_points(&weights, inputs, &of, points);
            });
            Self::packed(functions, packed, window, maps)
        })
    }
}

/// The functions of `isa`, which the processor must have. AVX-VNNI and ARM have none: without AVX-512's `vpdpwssd` (AVX-VNNI has one, but no
/// processor to try it on was at hand) they make a quarter as many products of 16 bits in an instruction as of 8, and nothing would be
/// won.
fn functions(isa: Isa) -> Option<&'static WordKernels> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => Some(&crate::kernel::avx512::WORDS),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx2 => Some(&crate::kernel::avx2::WORDS),
        Isa::Portable => Some(&crate::kernel::portable::WORDS),
        _ => None,
    }
}

impl Points for Integer {
    type Point = i16;
    type Functions = WordKernels;

    fn sizes(of: &WordKernels) -> [usize; 3] {
        [of.lanes, of.products.len(), of.rows]
    }

    unsafe fn to_points(of: &WordKernels, job: &ToPoints<'_, u8, i16>) {
        // SAFETY, here and below: the caller's promise.
        unsafe { (of.to_points)(job) }
    }

    unsafe fn products(of: &WordKernels, job: &Products<'_, Integer>) {
        unsafe { (of.products[job.vectors - 1])(job) }
    }

    unsafe fn from_points(of: &WordKernels, job: &FromPoints<'_, Integer>) {
        unsafe { (of.from_points)(job) }
    }
}

/// `G g G'` of the kernels of a panel: `[point][pair of channels][vector][lane][channel of the pair]`.
fn to_points(weights: &[i16], inputs: usize, of: &Panel, points: &mut [i16]) {
    let [first, count] = of.outputs;
    for output in 0..count {
        for input in 0..inputs {
            let at = ((first + output) * inputs + input) * 9;
            let kernel = &weights[at..at + 9];
            let [a, b, c]: [_; 3] =
                std::array::from_fn(|x| interpolated([kernel[x], kernel[3 + x], kernel[6 + x]]));
            let rows = a.into_iter().zip(b).zip(c);
            for (y, ((a, b), c)) in rows.enumerate() {
                let row = interpolated([a, b, c]);
                for (x, value) in row.into_iter().enumerate() {
                    let pair = ((y * PATCH + x) * inputs + input) / 2;
                    points[(pair * of.filled + output) * 2 + input % 2] = value;
                }
            }
        }
    }
}

/// `G g`.
fn interpolated([g0, g1, g2]: [i16; 3]) -> [i16; PATCH] {
    let (near, far) = (g0 + g2, g0 + 4 * g2);
    [
        6 * g0,
        near + g1,
        near - g1,
        far + 2 * g1,
        far - 2 * g1,
        6 * g2,
    ]
}
