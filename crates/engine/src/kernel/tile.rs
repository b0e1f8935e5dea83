//! The tile, generic over instruction set and element types.

// Plain indices with constant bounds: what keeps the sums in registers should be seen at a glance.
#![allow(clippy::needless_range_loop)]

/// Element types and what becomes of finished sums.
pub(crate) trait Arithmetic: Copy + Sized + 'static {
    /// An activation.
    type In: Copy + Default + Send + Sync + 'static;
    /// A weight.
    type Weight: Copy + Default + Send + Sync + 'static;
    /// What products are summed in.
    type Sum: Copy + Default + Send + Sync + 'static;
    /// A result.
    type Out: Copy + Default + Send + Sync + 'static;
    /// What the epilogue needs beside the sums.
    type Post<'a>: Copy;

    /// Whether the slices in `post` reach far enough for `pixels` output pixels of `channels` channels, read a whole
    /// vector at a time. The epilogue relies on it.
    fn covers(post: &Self::Post<'_>, pixels: usize, channels: usize) -> bool;
}

/// One instruction set's way to compute an [`Arithmetic`].
///
/// # Safety
/// The functions may only run on a processor that has the instruction set, in a function compiled for it; pointers must
/// be valid for the elements named.
pub(crate) trait Lanes: Copy + Sized + 'static {
    type Of: Arithmetic;
    /// A register of sums.
    type Acc: Copy;
    /// A register of weights or of one spread input.
    type Factor: Copy;
    /// Output channels in a register.
    const LANES: usize;
    /// Input channels that one multiplication takes.
    const STEP: usize;

    /// Zero in every lane.
    unsafe fn zero() -> Self::Acc;
    /// `LANES` sums.
    unsafe fn load_sums(from: *const <Self::Of as Arithmetic>::Sum) -> Self::Acc;
    /// `LANES` sums.
    unsafe fn store_sums(to: *mut <Self::Of as Arithmetic>::Sum, sums: Self::Acc);
    /// `LANES * STEP` weights.
    unsafe fn weights(from: *const <Self::Of as Arithmetic>::Weight) -> Self::Factor;
    /// `STEP` inputs, the same in every lane.
    unsafe fn spread(from: *const <Self::Of as Arithmetic>::In) -> Self::Factor;
    /// `LANES` inputs, one for each lane, where a lane is a channel of its own.
    unsafe fn inputs(from: *const <Self::Of as Arithmetic>::In) -> Self::Factor;
    /// `sums + a * b`.
    unsafe fn multiply_add(sums: Self::Acc, a: Self::Factor, b: Self::Factor) -> Self::Acc;
    /// Asks for what the epilogue of `pixel` will read, while there is something else to do.
    unsafe fn prefetch(post: &<Self::Of as Arithmetic>::Post<'_>, pixel: usize, channel: usize);
    /// Turns the sums of channels `channel..channel + LANES` of output pixel `pixel` into results at `out`.
    unsafe fn finish(
        post: &<Self::Of as Arithmetic>::Post<'_>,
        sums: Self::Acc,
        pixel: usize,
        channel: usize,
        out: *mut <Self::Of as Arithmetic>::Out,
    );
    /// The same for the first `count` of those channels; the others do not exist.
    unsafe fn finish_some(
        post: &<Self::Of as Arithmetic>::Post<'_>,
        sums: Self::Acc,
        pixel: usize,
        channel: usize,
        count: usize,
        out: *mut <Self::Of as Arithmetic>::Out,
    );
}

/// A run of input elements that lie side by side for every output pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// From the pixel's first tap.
    pub offset: usize,
    /// Multiplications: elements / STEP.
    pub steps: usize,
}

/// One panel (some vectors of output channels) of a convolution over a run of output pixels.
pub(crate) struct Job<'a, A: Arithmetic> {
    /// The input map, from the group's first channel on.
    pub input: *const A::In,
    /// For each pixel of the run, its first tap.
    pub taps: &'a [u32],
    /// What to read from there.
    pub segments: &'a [Segment],
    /// `[step][vector][lane][STEP]`.
    pub weights: *const A::Weight,
    /// `[pixel of the run][vector][lane]`: sums so far.
    pub sums: *mut A::Sum,
    /// Whether the sums begin at zero.
    pub first: bool,
    /// Whether they are whole after this.
    pub last: bool,
    /// The output map.
    pub out: *mut A::Out,
    /// For each output pixel, all runs together, its place in the output map.
    pub places: &'a [u32],
    /// Number of the run's first pixel.
    pub pixel: usize,
    /// The panel's first output channel.
    pub channel: usize,
    /// How many of its channels exist.
    pub channels: usize,
    /// For the epilogue.
    pub post: A::Post<'a>,
}

/// A convolution in which every channel sees itself alone, over a run of output pixels.
pub(crate) struct DepthwiseJob<'a, A: Arithmetic> {
    /// The input map.
    pub input: *const A::In,
    /// For each output pixel, its first tap.
    pub taps: &'a [u32],
    /// The taps, from there.
    pub segments: &'a [Segment],
    /// `[tap][channels, filled up to whole vectors]`.
    pub weights: *const A::Weight,
    /// The output map.
    pub out: *mut A::Out,
    /// For each output pixel, its place in the output map.
    pub places: &'a [u32],
    /// Channels.
    pub channels: usize,
    /// For the epilogue.
    pub post: A::Post<'a>,
}

/// A panel's function. Unsafe as [`Lanes`] is, and the job's pointers must reach as far as its fields say.
pub(crate) type PanelFn<A> = unsafe fn(&Job<'_, A>);

/// A depthwise convolution's function; likewise.
pub(crate) type DepthwiseFn<A> = unsafe fn(&DepthwiseJob<'_, A>);

/// One instruction set's functions.
pub(crate) struct Kernels<A: Arithmetic> {
    /// Output channels in a vector.
    pub lanes: usize,
    /// Input channels that one multiplication takes.
    pub step: usize,
    /// Output pixels in a tile.
    pub rows: usize,
    /// For panels of one vector, two vectors, ...
    pub panels: &'static [PanelFn<A>],
    /// Depthwise.
    pub depthwise: DepthwiseFn<A>,
}

/// The body once for each row number below `ROWS`, at most 12. A loop would do, if it were certain to be unrolled: sums
/// that are indexed by a variable cannot stay in registers.
macro_rules! unrolled {
    ($row:ident < $rows:ident, $body:block) => {
        unrolled!(@ $row, $rows, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $row:ident, $rows:ident, $body:block, $($number:literal)*) => {
        $(if $number < $rows {
            const $row: usize = $number;
            $body
        })*
    };
}

/// Channels in the widest panel.
pub(super) const WIDEST: usize = 32;

/// All tiles of a job; up to 12 pixels in a tile.
///
/// # Safety
/// See [`PanelFn`].
#[inline(always)]
pub(super) unsafe fn panel<L: Lanes, const ROWS: usize, const V: usize>(job: &Job<'_, L::Of>) {
    let count = job.taps.len();
    let mut at = 0;
    // SAFETY: each tile stays within the run; the rest is the caller's promise.
    unsafe {
        while at + ROWS <= count {
            tile::<L, ROWS, V>(job, at);
            at += ROWS;
        }
        let rest = count - at;
        // Written out because a tile's height is part of its type.
        macro_rules! rest_of {
            ($($rows:literal)*) => {
                $(if $rows < ROWS && rest == $rows {
                    tile::<L, $rows, V>(job, at);
                })*
            };
        }
        rest_of!(1 2 3 4 5 6 7 8 9 10 11);
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const V: usize>(job: &Job<'_, L::Of>, at: usize) {
    // SAFETY: `at + ROWS` pixels are in the run, and the caller promises that the pointers reach as far as the job says.
    unsafe {
        let mut rows = [job.input; ROWS];
        unrolled!(R < ROWS, {
            rows[R] = job.input.add(*job.taps.get_unchecked(at + R) as usize);
        });
        let sums = job.sums.add(at * V * L::LANES);
        let mut acc = [[L::zero(); V]; ROWS];
        if !job.first {
            unrolled!(R < ROWS, {
                for v in 0..V {
                    acc[R][v] = L::load_sums(sums.add((R * V + v) * L::LANES));
                }
            });
        }
        if job.last {
            unrolled!(R < ROWS, {
                let pixel = job.pixel + at + R;
                let out = job
                    .out
                    .add(*job.places.get_unchecked(pixel) as usize + job.channel);
                prefetch(out);
                L::prefetch(&job.post, pixel, job.channel);
            });
        }
        let mut weights = job.weights;
        for segment in job.segments {
            let mut from = rows;
            unrolled!(R < ROWS, {
                from[R] = rows[R].add(segment.offset);
            });
            let mut k = 0;
            // Four steps in a round: a branch predictor remembers the end of a short loop, but not of a long one.
            while k + 4 <= segment.steps {
                for k in k..k + 4 {
                    multiply::<L, ROWS, V>(&mut acc, &from, k, weights);
                    weights = weights.add(V * L::LANES * L::STEP);
                }
                k += 4;
            }
            while k < segment.steps {
                multiply::<L, ROWS, V>(&mut acc, &from, k, weights);
                weights = weights.add(V * L::LANES * L::STEP);
                k += 1;
            }
        }
        if !job.last {
            unrolled!(R < ROWS, {
                for v in 0..V {
                    L::store_sums(sums.add((R * V + v) * L::LANES), acc[R][v]);
                }
            });
        } else if job.channels == V * L::LANES {
            unrolled!(R < ROWS, {
                let pixel = job.pixel + at + R;
                let out = job
                    .out
                    .add(*job.places.get_unchecked(pixel) as usize + job.channel);
                for v in 0..V {
                    let channel = job.channel + v * L::LANES;
                    L::finish(&job.post, acc[R][v], pixel, channel, out.add(v * L::LANES));
                }
            });
        } else {
            let mut spilled = [<L::Of as Arithmetic>::Sum::default(); 12 * WIDEST];
            unrolled!(R < ROWS, {
                for v in 0..V {
                    let to = spilled.as_mut_ptr().add((R * V + v) * L::LANES);
                    L::store_sums(to, acc[R][v]);
                }
            });
            for r in 0..ROWS {
                let pixel = job.pixel + at + r;
                let out = job
                    .out
                    .add(*job.places.get_unchecked(pixel) as usize + job.channel);
                for channel in (0..job.channels).step_by(L::LANES) {
                    let sums = L::load_sums(spilled.as_ptr().add(r * V * L::LANES + channel));
                    let count = job.channels - channel;
                    let out = out.add(channel);
                    if count >= L::LANES {
                        L::finish(&job.post, sums, pixel, job.channel + channel, out);
                    } else {
                        L::finish_some(&job.post, sums, pixel, job.channel + channel, count, out);
                    }
                }
            }
        }
    }
}

/// Asks for the cache line at an address, which need not be one that can be read.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    // SAFETY: a prefetch of any address has no effect that a program can see.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// One step of a tile: `V` vectors of weights, each times `STEP` inputs of every pixel.
#[inline(always)]
unsafe fn multiply<L: Lanes, const ROWS: usize, const V: usize>(
    acc: &mut [[L::Acc; V]; ROWS],
    from: &[*const <L::Of as Arithmetic>::In; ROWS],
    k: usize,
    weights: *const <L::Of as Arithmetic>::Weight,
) {
    // SAFETY: the caller's pointers reach over step `k`.
    unsafe {
        let mut b = [L::weights(weights); V];
        for v in 1..V {
            b[v] = L::weights(weights.add(v * L::LANES * L::STEP));
        }
        unrolled!(R < ROWS, {
            let a = L::spread(from[R].add(k * L::STEP));
            for v in 0..V {
                acc[R][v] = L::multiply_add(acc[R][v], a, b[v]);
            }
        });
    }
}

/// A [`PanelFn`]: the generic body, compiled for the features that the attribute names.
macro_rules! panel_fn {
    ($(#[$features:meta])? $name:ident, $lanes:ty, rows $rows:literal, vectors $vectors:literal) => {
        $(#[$features])?
        unsafe fn $name(job: &$crate::kernel::Job<'_, <$lanes as $crate::kernel::Lanes>::Of>) {
            // SAFETY: the caller's promise, see `PanelFn`.
            unsafe { $crate::kernel::tile::panel::<$lanes, $rows, $vectors>(job) }
        }
    };
}
pub(super) use panel_fn;

/// A [`DepthwiseFn`], likewise.
macro_rules! depthwise_fn {
    ($(#[$features:meta])? $name:ident, $lanes:ty) => {
        $(#[$features])?
        unsafe fn $name(
            job: &$crate::kernel::DepthwiseJob<'_, <$lanes as $crate::kernel::Lanes>::Of>,
        ) {
            // SAFETY: the caller's promise, see `DepthwiseFn`.
            unsafe { $crate::kernel::depthwise::depthwise::<$lanes>(job) }
        }
    };
}
pub(super) use depthwise_fn;
