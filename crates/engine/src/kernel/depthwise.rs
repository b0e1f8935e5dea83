//! Depthwise convolution: a vector holds neighbouring channels of one pixel, every one summed by itself.
//!
//! A tile is [`PIXELS`] output pixels, one after the other of its vectors of channels: what a tap's weights are is loaded and extended once
//! for all pixels, and their sums are independent chains. Inputs are read where they lie, wherever the pixels are, so that strides, borders
//! and dilations are no matter here. Each channel is summed tap by tap, however the pixels are cut into tiles.

// Plain indices with constant bounds: what keeps the sums in registers should be seen at a glance.
#![allow(clippy::needless_range_loop)]

use crate::kernel::tile::{Rows, WIDEST, unrolled};
use crate::kernel::{Arithmetic, At, DepthwiseJob, Lanes};

/// Output pixels in a tile: as many chains as a multiply-add takes cycles twice over, and as many addresses as there are general registers
/// to spare.
const PIXELS: usize = 6;

/// Channels that the kernel of `quarters.rs` computes together.
pub(super) const CHANNELS: usize = 64;
/// Taps that it takes in one multiplication.
pub(super) const FOUR_TAPS: usize = 4;

/// Where a channel's weights stand among those of its multiplication: number `4 l + i` of the 16 of register k, see `quarters.rs`.
pub(super) fn in_quarters(channel: usize) -> usize {
    let (block, channel) = (channel / CHANNELS, channel % CHANNELS);
    let (l, k, i) = (channel / 16, channel / 4 % 4, channel % 4);
    block * CHANNELS + 16 * k + 4 * l + i
}

/// All pixels and channels of a job.
///
/// # Safety
/// See [`super::tile::DepthwiseFn`].
#[inline(always)]
pub(super) unsafe fn depthwise<L: Lanes>(job: &DepthwiseJob<'_, L::Of>) {
    let count = job.taps.len();
    let mut at = 0;
    // SAFETY: each tile stays within the run; the rest is the caller's promise.
    unsafe {
        while at + PIXELS <= count {
            tile::<L, PIXELS>(job, at);
            at += PIXELS;
        }
        while at < count {
            tile::<L, 1>(job, at);
            at += 1;
        }
    }
}

/// All channels of the `ROWS` pixels from `at` on.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize>(job: &DepthwiseJob<'_, L::Of>, at: usize) {
    // SAFETY: the caller promises that `ROWS` pixels are there, all taps of each one's `channels` channels, `TAPS` times `filled` weights for
    // each of the taps taken together, and the pixels' places. Where fewer than LANES channels are left, they are read one by one.
    unsafe {
        let filled = job.channels.next_multiple_of(L::LANES);
        let mut from = [job.input; ROWS];
        let mut out = [job.out; ROWS];
        unrolled!(R < ROWS, {
            from[R] = job.input.add(*job.taps.get_unchecked(at + R) as usize);
            out[R] = job.out.add(*job.places.get_unchecked(at + R) as usize);
        });
        let is_short = L::is_short(&job.post);
        let mut channel = 0;
        while channel < job.channels {
            let count = L::LANES.min(job.channels - channel);
            let mut sums = [L::begin(&job.post, channel); ROWS];
            let mut weights = job.weights.add(channel * L::TAPS);
            for taps in job.segments.chunks_exact(L::TAPS) {
                let w = L::weights_apart(weights);
                weights = weights.add(filled * L::TAPS);
                let first = taps[0].offset + channel;
                let last = taps[L::TAPS - 1].offset + channel;
                if count == L::LANES {
                    unrolled!(R < ROWS, {
                        let x = L::inputs(from[R].add(first), from[R].add(last));
                        sums[R] = L::multiply_apart(sums[R], x, w);
                    });
                } else {
                    for r in 0..ROWS {
                        let x = inputs::<L>(from[r].add(first), from[r].add(last), count);
                        sums[r] = L::multiply_apart(sums[r], x, w);
                    }
                }
            }
            if L::BY_ROWS {
                let rows = Rows {
                    pixel: at,
                    channel,
                    channels: count,
                    out: job.out,
                    places: job.places,
                };
                let mut one = [[L::zero()]; ROWS];
                unrolled!(R < ROWS, {
                    one[R][0] = sums[R];
                });
                L::finish_rows::<ROWS, 1>(&job.post, one, std::ptr::null(), &rows);
            } else if is_short && count == L::LANES {
                unrolled!(R < ROWS, {
                    finish::<L, true>(job, at + R, (channel, count), sums[R], out[R]);
                });
            } else {
                for r in 0..ROWS {
                    finish::<L, false>(job, at + r, (channel, count), sums[r], out[r]);
                }
            }
            channel += L::LANES;
        }
    }
}

/// `count` channels of two taps, and zeros.
#[inline(always)]
unsafe fn inputs<L: Lanes>(
    first: *const <L::Of as Arithmetic>::In,
    last: *const <L::Of as Arithmetic>::In,
    count: usize,
) -> L::Apart {
    let mut some = [[<L::Of as Arithmetic>::In::default(); WIDEST]; 2];
    // SAFETY: the caller's promise; no register has more lanes than WIDEST.
    unsafe {
        first.copy_to_nonoverlapping(some[0].as_mut_ptr(), count);
        last.copy_to_nonoverlapping(some[1].as_mut_ptr(), count);
        L::inputs(some[0].as_ptr(), some[1].as_ptr())
    }
}

#[inline(always)]
unsafe fn finish<L: Lanes, const SHORT: bool>(
    job: &DepthwiseJob<'_, L::Of>,
    pixel: usize,
    (channel, count): (usize, usize),
    sums: L::Acc,
    out: *mut <L::Of as Arithmetic>::In,
) {
    let at = At {
        pixel,
        channel,
        count,
    };
    // SAFETY: the caller's promise.
    unsafe { L::finish::<SHORT>(&job.post, sums, std::ptr::null(), at, out.add(channel)) }
}
