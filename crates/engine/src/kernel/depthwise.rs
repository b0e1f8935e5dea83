//! Depthwise convolution: a vector holds neighbouring channels of one pixel, every one summed by itself.

use crate::kernel::tile::WIDEST;
use crate::kernel::{Arithmetic, At, DepthwiseJob, Lanes};

/// All pixels and channels of a job.
///
/// # Safety
/// See [`super::tile::DepthwiseFn`].
#[inline(always)]
pub(super) unsafe fn depthwise<L: Lanes>(job: &DepthwiseJob<'_, L::Of>) {
    let filled = job.channels.next_multiple_of(L::LANES);
    for (pixel, (&taps, &place)) in job.taps.iter().zip(job.places).enumerate() {
        // SAFETY: the caller promises that all taps of the pixel's `channels` channels, `filled` weights for each tap,
        // and the pixel's place are there. Where fewer than LANES channels are left, they are read one by one.
        unsafe {
            let from = job.input.add(taps as usize);
            let out = job.out.add(place as usize);
            let mut channel = 0;
            while channel < job.channels {
                let count = job.channels - channel;
                let mut sums = L::begin(&job.post, channel);
                for (tap, segment) in job.segments.iter().enumerate() {
                    let weights = L::weights_apart(job.weights.add(tap * filled + channel));
                    let from = from.add(segment.offset + channel);
                    let inputs = if count >= L::LANES {
                        L::inputs(from)
                    } else {
                        let mut some = [<L::Of as Arithmetic>::In::default(); WIDEST];
                        for (i, some) in some.iter_mut().enumerate().take(count) {
                            *some = *from.add(i);
                        }
                        L::inputs(some.as_ptr())
                    };
                    sums = L::multiply_add(sums, inputs, weights);
                }
                let at = At {
                    pixel,
                    channel,
                    count: count.min(L::LANES),
                };
                L::finish::<false>(&job.post, sums, std::ptr::null(), at, out.add(channel));
                channel += L::LANES;
            }
        }
    }
}
