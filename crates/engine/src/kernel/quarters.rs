//! Depthwise convolution of bytes with AVX-512 VNNI: four taps in one `vpdpbusd`, for 64 channels at once.
//!
//! Of each tap 64 neighbouring channels are loaded. Two rounds of `vpunpck`, bytes and then pairs, bring a channel's four taps
//! side by side; they work on the quarters of registers, so that of the four registers that come out, number k has channels
//!
//! ```text
//! 16 l + 4 k + i        in lane 4 l + i, quarter l = 0..4, i = 0..4
//! ```
//!
//! Weights and the constants of the epilogue come in the same order (`depthwise::in_quarters`, [`quarters`]); the packs at the
//! end, which take turns at quarters too, undo it.
//!
//! A channel's products are none of [`super::Accumulator`]'s pairs, so that the sums are the same with saturation and without.

#![cfg(target_arch = "x86_64")]
// What `unrolled` leaves out because it is not there.
#![allow(clippy::out_of_bounds_indexing)]
use std::arch::x86_64::*;

use crate::kernel::avx512::{Vnni, store_some};
use crate::kernel::depthwise::{CHANNELS, FOUR_TAPS as TAPS};
use crate::kernel::integer::{Constants, Integers, Whole};
use crate::kernel::tile::{Rows, prefetch, unrolled};
use crate::kernel::{DepthwiseJob, Integer, IntegerPost, Kernels, Lanes};

/// Output pixels in a tile: sixteen registers of sums, four of weights, and the inputs on their way.
const PIXELS: usize = 4;
/// Registers of 16 sums that 64 channels take, and the quarters of each.
const QUARTERS: usize = 4;
/// Output pixels that share the constants of 64 channels, which are put in order anew for the next ones.
const RUN: usize = 64;

/// The functions with this depthwise convolution.
pub(super) const fn kernels(with: Kernels<Integer>) -> Kernels<Integer> {
    Kernels { taps: TAPS, ..with }
}

/// Four registers of 16 channels each, one after the other, to the order of the module's header, or back.
///
/// SAFETY: the caller is compiled for AVX-512F.
#[inline(always)]
unsafe fn quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    unsafe {
        let ab = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        let cd = _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d);
        let ab_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
        let cd_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d);
        [
            _mm512_shuffle_i32x4::<0b10_00_10_00>(ab, cd),
            _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_odd, cd_odd),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(ab, cd),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_odd, cd_odd),
        ]
    }
}

/// The constants of 64 channels.
struct Block {
    bias: [__m512i; 4],
    by: Option<[Constants<Vnni>; 4]>,
    before: i32,
}

impl Block {
    /// Those from `channel` on.
    ///
    /// SAFETY: as for [`depthwise`].
    #[inline(always)]
    unsafe fn load(post: &IntegerPost<'_>, channel: usize, count: usize) -> Self {
        // SAFETY: a vector behind the last channel can be read (`covers`), and no more is.
        unsafe {
            let bias = Self::ordered(&post.rule.bias, channel, count);
            let mut block = Self {
                bias,
                by: None,
                before: 0,
            };
            if let (Some(shifted), None) = (&post.rule.shifted, post.add) {
                let factor = Self::ordered(&shifted.factor, channel, count);
                let addend = Self::ordered(&shifted.addend, channel, count);
                let shift = Self::ordered(&shifted.shift, channel, count);
                let mut by = [Constants {
                    factor: factor[0],
                    next: factor[0],
                    addend: addend[0],
                    shift: shift[0],
                }; 4];
                unrolled!(K < QUARTERS, {
                    by[K] = Constants {
                        factor: factor[K],
                        next: _mm512_srli_epi64::<32>(factor[K]),
                        addend: addend[K],
                        shift: shift[K],
                    };
                });
                block.by = Some(by);
                block.before = shifted.before;
            }
            block
        }
    }

    /// `count` of the values from `channel` on in the order of the module's header.
    ///
    /// SAFETY: as for [`Block::load`].
    #[inline(always)]
    unsafe fn ordered(values: &[i32], channel: usize, count: usize) -> [__m512i; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut natural = [_mm512_setzero_si512(); 4];
            unrolled!(L < QUARTERS, {
                if 16 * L < count {
                    natural[L] = Vnni::load(values.as_ptr().add(channel + 16 * L));
                }
            });
            quarters(natural)
        }
    }
}

/// A [`super::tile::DepthwiseFn`].
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn depthwise(job: &DepthwiseJob<'_, Integer>) {
    let count = job.taps.len();
    for start in (0..count).step_by(RUN) {
        let end = count.min(start + RUN);
        for channel in (0..job.channels).step_by(CHANNELS) {
            let channels = CHANNELS.min(job.channels - channel);
            // SAFETY: the pixels are in the run, the channels exist; the rest is the caller's promise.
            unsafe {
                let block = Block::load(&job.post, channel, channels);
                let mut at = start;
                while at + PIXELS <= end {
                    tile::<PIXELS>(job, &block, at, (channel, channels));
                    at += PIXELS;
                }
                while at < end {
                    tile::<1>(job, &block, at, (channel, channels));
                    at += 1;
                }
            }
        }
    }
}

/// `channels` channels from `channel` on of the `ROWS` pixels from `at` on.
#[inline(always)]
unsafe fn tile<const ROWS: usize>(
    job: &DepthwiseJob<'_, Integer>,
    block: &Block,
    at: usize,
    (channel, channels): (usize, usize),
) {
    // SAFETY: the caller's promise; no channel that does not exist is read or written.
    unsafe {
        let exist = u64::MAX >> (CHANNELS - channels);
        let filled = job.channels.next_multiple_of(CHANNELS);
        let mut from = [job.input; ROWS];
        let mut next = from;
        let mut sums = [block.bias; ROWS];
        unrolled!(R < ROWS, {
            let later = (at + ROWS + R).min(job.taps.len() - 1);
            next[R] = job
                .input
                .wrapping_add(*job.taps.get_unchecked(later) as usize + channel);
            prefetch(
                job.out
                    .wrapping_add(*job.places.get_unchecked(later) as usize + channel),
            );
            from[R] = job
                .input
                .add(*job.taps.get_unchecked(at + R) as usize + channel);
        });
        let mut weights = job.weights.add(channel * TAPS);
        for taps in job.segments.chunks_exact(TAPS) {
            let w = weights.cast::<__m512i>();
            let w = [0, 1, 2, 3].map(|k| w.add(k).read_unaligned());
            weights = weights.add(filled * TAPS);
            unrolled!(R < ROWS, {
                // The next tile's inputs; of a row, every other pixel's are enough.
                if R % 2 == 1 {
                    for tap in taps {
                        prefetch(next[R].wrapping_add(tap.offset));
                    }
                }
                let load = |tap: usize| {
                    _mm512_maskz_loadu_epi8(exist, from[R].add(taps[tap].offset).cast())
                };
                let (a, b, c, d) = (load(0), load(1), load(2), load(3));
                let low = [_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)];
                let high = [_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)];
                let u = [
                    _mm512_unpacklo_epi16(low[0], low[1]),
                    _mm512_unpackhi_epi16(low[0], low[1]),
                    _mm512_unpacklo_epi16(high[0], high[1]),
                    _mm512_unpackhi_epi16(high[0], high[1]),
                ];
                sums[R][0] = _mm512_dpbusd_epi32(sums[R][0], u[0], w[0]);
                sums[R][1] = _mm512_dpbusd_epi32(sums[R][1], u[1], w[1]);
                sums[R][2] = _mm512_dpbusd_epi32(sums[R][2], u[2], w[2]);
                sums[R][3] = _mm512_dpbusd_epi32(sums[R][3], u[3], w[3]);
            });
        }
        let rows = Rows {
            pixel: at,
            channel,
            channels,
            out: job.out,
            places: job.places,
        };
        let Some(by) = &block.by else {
            unrolled!(R < ROWS, {
                let rows = Rows {
                    pixel: at + R,
                    ..rows
                };
                finish_one(job, quarters(sums[R]), rows);
            });
            return;
        };
        let before = block.before;
        unrolled!(K < QUARTERS, {
            unrolled!(R < ROWS, {
                if before != 0 {
                    sums[R][K] = Vnni::shift_left(sums[R][K], before);
                }
                sums[R][K] = Vnni::scaled(sums[R][K], &by[K]);
            });
        });
        let rule = job.post.rule;
        let [low, high] = [rule.low, rule.high].map(|end| _mm512_set1_epi8(end as i8));
        unrolled!(R < ROWS, {
            let [a, b, c, d] = sums[R];
            // Both packs saturate, which is a clamp.
            let words = [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)];
            let bytes = _mm512_packus_epi16(words[0], words[1]);
            let bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, low), high);
            let out = rows.out(R);
            if channels == CHANNELS {
                _mm512_storeu_si512(out.cast(), bytes);
            } else {
                let half = _mm512_castsi512_si256(bytes);
                if channels >= 32 {
                    _mm256_storeu_si256(out.cast(), half);
                    let rest = _mm512_extracti64x4_epi64::<1>(bytes);
                    store_some(rest, out.add(32), channels - 32);
                } else {
                    store_some(half, out, channels);
                }
            }
        });
    }
}

/// One pixel's sums in the order of channels to codes, where that takes float64, or an arithmetic of its own.
///
/// SAFETY: as for [`tile`].
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn finish_one(job: &DepthwiseJob<'_, Integer>, sums: [__m512i; 4], rows: Rows<'_, u8>) {
    for (l, sums) in sums.into_iter().enumerate() {
        let before = 16 * l;
        if before < rows.channels {
            let rows = Rows {
                channel: rows.channel + before,
                channels: (rows.channels - before).min(16),
                ..rows
            };
            // SAFETY: the caller's promise.
            unsafe {
                Whole::<Vnni>::finish_rows::<1, 1>(&job.post, [[sums]], std::ptr::null(), &rows);
            }
        }
    }
}
