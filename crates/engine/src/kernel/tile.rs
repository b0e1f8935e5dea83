//! The tile, generic over instruction set and element types.

// Plain indices with constant bounds: what keeps the sums in registers should be seen at a glance.
#![allow(clippy::needless_range_loop)]

use crate::kernel::depthwise::{CHANNELS, FOUR_TAPS, in_quarters};

/// Element types and what becomes of finished sums.
pub(crate) trait Arithmetic: Copy + Sized + 'static {
    /// An activation, read or made.
    type In: Copy + Default + PartialOrd + Send + Sync + 'static;
    /// A weight.
    type Weight: Copy + Default + Send + Sync + 'static;
    /// What products are summed in.
    type Sum: Copy + Default + Send + Sync + 'static;
    /// What the epilogue needs beside the sums.
    type Post<'a>: Copy;

    /// Whether the slices in `post` reach far enough for `pixels` output pixels of `channels` channels, read a whole
    /// vector at a time. The epilogue relies on it.
    fn covers(post: &Self::Post<'_>, pixels: usize, channels: usize) -> bool;

    /// Whether the epilogue adds a map.
    fn adds(post: &Self::Post<'_>) -> bool;
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
    /// Taps that one multiplication takes where a lane is a channel of its own: 1 or 2.
    const TAPS: usize;
    /// A register, or several, of weights or of inputs where a lane is a channel of its own.
    type Apart: Copy;

    /// Zero in every lane.
    unsafe fn zero() -> Self::Acc;
    /// What the sums of channels `channel..channel + LANES` begin at.
    unsafe fn begin(post: &<Self::Of as Arithmetic>::Post<'_>, channel: usize) -> Self::Acc;
    /// What a chunk of products starts from, given the `LANES` sums of the chunks before it.
    unsafe fn resume(from: *const <Self::Of as Arithmetic>::Sum) -> Self::Acc;
    /// Puts `LANES` sums aside at the end of a chunk that is not the last; `first` if no chunk came before it.
    unsafe fn pause(to: *mut <Self::Of as Arithmetic>::Sum, sums: Self::Acc, first: bool);
    /// `LANES * STEP` weights.
    unsafe fn weights(from: *const <Self::Of as Arithmetic>::Weight) -> Self::Factor;
    /// `LANES * TAPS` weights, those of a channel's taps side by side.
    unsafe fn weights_apart(from: *const <Self::Of as Arithmetic>::Weight) -> Self::Apart;
    /// `STEP` inputs, the same in every lane.
    unsafe fn spread(from: *const <Self::Of as Arithmetic>::In) -> Self::Factor;
    /// `LANES` inputs of each of `TAPS` taps: with one, the first alone is read.
    unsafe fn inputs(
        first: *const <Self::Of as Arithmetic>::In,
        last: *const <Self::Of as Arithmetic>::In,
    ) -> Self::Apart;
    /// `sums + a * b`.
    unsafe fn multiply_add(sums: Self::Acc, a: Self::Factor, b: Self::Factor) -> Self::Acc;
    /// `sums + a * b`, the products of a lane's taps together.
    unsafe fn multiply_apart(sums: Self::Acc, a: Self::Apart, b: Self::Apart) -> Self::Acc;
    /// Panels of up to so many vectors have a short epilogue written out for every register of a tile; elsewhere its
    /// constants would take registers away from the sums.
    const WRITTEN_OUT: usize;
    /// Whether what the epilogue reads and writes is asked for a tile before. It pays for float maps with 32 registers; with 16, and
    /// with short tiles of bytes, the addresses cost more than they bring.
    const AHEAD: bool;
    /// Whether this epilogue is short; a longer one stands in the code once and reads the sums from memory.
    unsafe fn is_short(post: &<Self::Of as Arithmetic>::Post<'_>) -> bool;
    /// Asks for what the epilogue of `pixel` will read, while there is something else to do.
    unsafe fn prefetch(post: &<Self::Of as Arithmetic>::Post<'_>, pixel: usize, channel: usize);
    /// Turns the sums of channels `channel..channel + count` of output pixel `pixel` into results at `out`, `count` being
    /// at most `LANES`; the other lanes belong to channels that do not exist. `before`: the sums of the chunks before
    /// the last, null if there was one alone. `SHORT`: [`Lanes::is_short`] said so.
    unsafe fn finish<const SHORT: bool>(
        post: &<Self::Of as Arithmetic>::Post<'_>,
        sums: Self::Acc,
        before: *const <Self::Of as Arithmetic>::Sum,
        at: At,
        out: *mut <Self::Of as Arithmetic>::In,
    );
    /// Whether a tile's sums become results together, which depthwise tiles leave to [`Lanes::finish`] elsewhere.
    const BY_ROWS: bool;
    /// The same for whole rows of `V` vectors, of which `before` has `V * LANES` sums each.
    #[inline(always)]
    unsafe fn finish_rows<const ROWS: usize, const V: usize>(
        post: &<Self::Of as Arithmetic>::Post<'_>,
        sums: [[Self::Acc; V]; ROWS],
        before: *const <Self::Of as Arithmetic>::Sum,
        rows: &Rows<'_, <Self::Of as Arithmetic>::In>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { finish_each::<Self, ROWS, V>(post, sums, before, rows) }
    }
}

/// Which results an epilogue makes.
#[derive(Clone, Copy)]
pub(crate) struct At {
    /// The output pixel.
    pub pixel: usize,
    /// The first channel.
    pub channel: usize,
    /// Channels.
    pub count: usize,
}

/// The results of a tile: neighbouring channels of output pixels one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    /// The first output pixel.
    pub pixel: usize,
    /// The first channel.
    pub channel: usize,
    /// Channels from there on that exist.
    pub channels: usize,
    /// The output map.
    pub out: *mut T,
    /// For each output pixel its place there.
    pub places: &'a [u32],
}

impl<T> Rows<'_, T> {
    /// Where the results of the tile's pixel `row` begin.
    ///
    /// # Safety
    /// The map has that pixel, and `places` has it too.
    #[inline(always)]
    pub unsafe fn out(&self, row: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe {
            self.out
                .add(place(self.places, self.pixel + row) + self.channel)
        }
    }
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
    pub out: *mut A::In,
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
    /// The taps, from there, as many as make whole multiplications.
    pub segments: &'a [Segment],
    /// `[multiplication][channels in the kernel's order, filled up][its taps]`.
    pub weights: *const A::Weight,
    /// The output map.
    pub out: *mut A::In,
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
    /// Taps that one multiplication of a depthwise convolution takes: 1, 2, or 4 in the order of `quarters.rs`.
    pub taps: usize,
    /// The most multiplications of a tile in one chunk.
    pub chunk: usize,
    /// Output pixels in a tile.
    pub rows: usize,
    /// For panels of one vector, two vectors, ...
    pub panels: &'static [PanelFn<A>],
    /// The same for jobs that add a map and whose inputs are long runs: what the epilogue needs is asked for in the course of a tile.
    /// Functions of their own, because one more branch in a tile makes short runs slower.
    pub adding: &'static [PanelFn<A>],
    /// Depthwise.
    pub depthwise: DepthwiseFn<A>,
}

impl<A: Arithmetic> Kernels<A> {
    /// Channels of a depthwise convolution, filled up to as many as there are weights for.
    pub fn filled(&self, channels: usize) -> usize {
        channels.next_multiple_of(match self.taps {
            FOUR_TAPS => CHANNELS,
            _ => self.lanes,
        })
    }

    /// Where a channel's weights stand among them.
    pub fn place(&self, channel: usize) -> usize {
        match self.taps {
            FOUR_TAPS => in_quarters(channel),
            _ => channel,
        }
    }
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
pub(super) use unrolled;

/// Steps between two branches.
pub(super) const ROUND: usize = 4;

/// Bytes in a cache line.
const LINE: usize = 64;

/// Channels in the widest panel.
pub(super) const WIDEST: usize = 32;

/// All tiles of a job; up to 12 pixels in a tile.
///
/// # Safety
/// See [`PanelFn`].
#[inline(always)]
pub(super) unsafe fn panel<L: Lanes, const ROWS: usize, const V: usize, const SPREAD: bool>(
    job: &Job<'_, L::Of>,
) {
    let count = job.taps.len();
    let mut at = 0;
    // SAFETY: each tile stays within the run; the rest is the caller's promise.
    unsafe {
        while at + ROWS <= count {
            tile::<L, ROWS, V, SPREAD>(job, at);
            at += ROWS;
        }
        // Written out because a tile's height is part of its type; in few heights because each is a lot of code.
        macro_rules! rest_of {
            ($($rows:literal)*) => {
                $(if $rows < ROWS && count - at >= $rows {
                    tile::<L, $rows, V, false>(job, at);
                    at += $rows;
                })*
            };
        }
        rest_of!(8 4 2 1);
        debug_assert!(at == count);
    }
}

/// One tile; `SPREAD`: what the epilogue of the next one needs is asked for pixel by pixel between the rounds of the first run of inputs, as
/// many as pixels or more; else all at once, which holds up the weights where a map is added.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const V: usize, const SPREAD: bool>(
    job: &Job<'_, L::Of>,
    at: usize,
) {
    // SAFETY: `at + ROWS` pixels are in the run, and the caller promises that the pointers reach as far as the job says.
    unsafe {
        let mut rows = [job.input; ROWS];
        unrolled!(R < ROWS, {
            rows[R] = job.input.add(*job.taps.get_unchecked(at + R) as usize);
        });
        let sums = job.sums.add(at * V * L::LANES);
        let mut acc = [[L::zero(); V]; ROWS];
        if job.first {
            for v in 0..V {
                let begin = L::begin(&job.post, job.channel + v * L::LANES);
                unrolled!(R < ROWS, {
                    acc[R][v] = begin;
                });
            }
        } else {
            unrolled!(R < ROWS, {
                for v in 0..V {
                    acc[R][v] = L::resume(sums.add((R * V + v) * L::LANES));
                }
            });
        }
        // Of the next tile, where this one's would come too late.
        let ahead = |row: usize| match L::AHEAD {
            true => (at + ROWS + row).min(job.taps.len() - 1),
            false => at + row,
        };
        if job.last && !SPREAD {
            unrolled!(R < ROWS, {
                ask::<L, V>(job, ahead(R));
            });
        }
        let mut asked = 0;
        let mut weights = job.weights;
        for segment in job.segments {
            let mut from = rows;
            unrolled!(R < ROWS, {
                from[R] = rows[R].add(segment.offset);
            });
            let mut k = 0;
            // A branch predictor remembers the end of a short loop, but not of a long one.
            while k + ROUND <= segment.steps {
                if SPREAD && asked < ROWS {
                    ask::<L, V>(job, ahead(asked));
                    asked += 1;
                }
                for k in k..k + ROUND {
                    multiply::<L, ROWS, V>(&mut acc, &from, k, weights);
                    weights = weights.add(V * L::LANES * L::STEP);
                }
                k += ROUND;
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
                    L::pause(sums.add((R * V + v) * L::LANES), acc[R][v], job.first);
                }
            });
            return;
        }
        let before = match job.first {
            true => std::ptr::null(),
            false => sums.cast_const(),
        };
        let rows = Rows {
            pixel: job.pixel + at,
            channel: job.channel,
            channels: job.channels,
            out: job.out,
            places: job.places,
        };
        L::finish_rows::<ROWS, V>(&job.post, acc, before, &rows);
    }
}

/// Asks for what the epilogue of the run's pixel `row` will write and read.
///
/// # Safety
/// As for [`PanelFn`]; the run has that pixel.
#[inline(always)]
unsafe fn ask<L: Lanes, const V: usize>(job: &Job<'_, L::Of>, row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let line = LINE / size_of::<<L::Of as Arithmetic>::In>();
        let pixel = job.pixel + row;
        let out = job.out.wrapping_add(place(job.places, pixel) + job.channel);
        let mut before = 0;
        while before < V * L::LANES {
            prefetch(out.wrapping_add(before));
            L::prefetch(&job.post, pixel, job.channel + before);
            before += line;
        }
    }
}

/// A tile's epilogues one by one.
///
/// # Safety
/// As for [`Lanes::finish_rows`].
#[inline(always)]
pub(super) unsafe fn finish_each<L: Lanes, const ROWS: usize, const V: usize>(
    post: &<L::Of as Arithmetic>::Post<'_>,
    sums: [[L::Acc; V]; ROWS],
    before: *const <L::Of as Arithmetic>::Sum,
    rows: &Rows<'_, <L::Of as Arithmetic>::In>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if !L::is_short(post) || rows.channels < V * L::LANES {
            looped::<L, ROWS, V, false>(post, &sums, before, rows);
        } else if V > L::WRITTEN_OUT {
            looped::<L, ROWS, V, true>(post, &sums, before, rows);
        } else {
            unrolled!(R < ROWS, {
                for v in 0..V {
                    finish::<L, V, true>(post, (sums[R][v], before), [R, v], rows);
                }
            });
        }
    }
}

/// The same in a loop: the sums go through memory, so that the code stands there once.
#[inline(always)]
unsafe fn looped<L: Lanes, const ROWS: usize, const V: usize, const SHORT: bool>(
    post: &<L::Of as Arithmetic>::Post<'_>,
    sums: &[[L::Acc; V]; ROWS],
    before: *const <L::Of as Arithmetic>::Sum,
    rows: &Rows<'_, <L::Of as Arithmetic>::In>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut spilled = [[L::zero(); V]; ROWS];
        unrolled!(R < ROWS, {
            for v in 0..V {
                spilled[R][v] = sums[R][v];
            }
        });
        for r in 0..ROWS {
            for v in 0..V {
                finish::<L, V, SHORT>(post, (spilled[r][v], before), [r, v], rows);
            }
        }
    }
}

/// The epilogue of vector `v` of the tile's pixel `r`; `SHORT`: all of its channels exist.
#[inline(always)]
unsafe fn finish<L: Lanes, const V: usize, const SHORT: bool>(
    post: &<L::Of as Arithmetic>::Post<'_>,
    (sums, before): (L::Acc, *const <L::Of as Arithmetic>::Sum),
    [r, v]: [usize; 2],
    rows: &Rows<'_, <L::Of as Arithmetic>::In>,
) {
    // SAFETY: vector `v` starts at a channel that exists; the rest is the caller's promise.
    unsafe {
        let before = match before.is_null() {
            true => before,
            false => before.add((r * V + v) * L::LANES),
        };
        let at = At {
            pixel: rows.pixel + r,
            channel: rows.channel + v * L::LANES,
            count: match SHORT {
                true => L::LANES,
                false => L::LANES.min(rows.channels - v * L::LANES),
            },
        };
        let out = rows.out(r).add(v * L::LANES);
        L::finish::<SHORT>(post, sums, before, at, out);
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

/// A map that an epilogue adds, and for each output pixel its place in it.
pub(crate) type Added<'a, T> = Option<(&'a [T], &'a [u32])>;

/// Whether an added map reaches as far as its places and channels say.
pub(super) fn added_covers<T>(add: Added<'_, T>, pixels: usize, channels: usize) -> bool {
    add.is_none_or(|(map, places)| {
        places.get(..pixels).is_some_and(|places| {
            // The largest, which compiles to vectors, as leaving at the first that is too large would not.
            let largest = places.iter().copied().max().unwrap_or(0);
            largest as usize + channels <= map.len()
        })
    })
}

/// Where output pixel `pixel` lies in the added map.
///
/// # Safety
/// There is a place for each output pixel ([`added_covers`]).
#[inline(always)]
pub(super) unsafe fn place(places: &[u32], pixel: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { *places.get_unchecked(pixel) as usize }
}

/// Asks for what is added to `channel` of output pixel `pixel`, if anything is.
///
/// # Safety
/// The map and its places reach as far ([`added_covers`]).
#[inline(always)]
pub(super) unsafe fn prefetch_added<T>(add: Added<'_, T>, pixel: usize, channel: usize) {
    if let Some((map, places)) = add {
        // SAFETY: the caller's promise.
        let place = unsafe { place(places, pixel) };
        prefetch(map.as_ptr().wrapping_add(place + channel));
    }
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
    ($(#[$features:meta])? $name:ident, $lanes:ty, rows $rows:literal, vectors $vectors:literal $(, spread $spread:literal)?) => {
        $(#[$features])?
        unsafe fn $name(job: &$crate::kernel::Job<'_, <$lanes as $crate::kernel::Lanes>::Of>) {
            const SPREAD: bool = false $(|| $spread)?;
            // SAFETY: the caller's promise, see `PanelFn`.
            unsafe { $crate::kernel::tile::panel::<$lanes, $rows, $vectors, SPREAD>(job) }
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
