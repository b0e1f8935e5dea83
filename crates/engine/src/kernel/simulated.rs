//! Quantized numbers in float arithmetic: activations and weights are float32 numbers that hold `q - zero_point` (or real
//! values, where something stays in float), sums float32 within a chunk and float64 between chunks.
//!
//! Codes and weights of up to 8 bits differ from their zero points by at most 255. A chunk of 256 products is then below
//! `256 * 255^2 < 2^24` in magnitude, where float32 holds every integer: the sums are exact, whatever the order.

use std::marker::PhantomData;

use crate::epilogue::Epilogue;
use crate::kernel::doubles::Doubles;
use crate::kernel::float::Floats;
use crate::kernel::tile::{Added, added_covers, place, prefetch_added};
use crate::kernel::{Arithmetic, At, Isa, Kernels, Lanes, VECTOR};

/// Integers (or reals) in float32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simulated;

/// The epilogue's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimulatedPost<'a> {
    pub epilogue: &'a Epilogue,
    pub add: Added<'a, f32>,
}

/// The most products that are summed in float32; see the module's header.
pub(super) const CHUNK: usize = 256;

impl Arithmetic for Simulated {
    type In = f32;
    type Weight = f32;
    type Sum = f64;
    type Post<'a> = SimulatedPost<'a>;

    fn adds(post: &SimulatedPost<'_>) -> bool {
        post.add.is_some()
    }

    fn covers(post: &SimulatedPost<'_>, pixels: usize, channels: usize) -> bool {
        // An epilogue that adds has something to add.
        post.epilogue.covers(channels)
            && post.epilogue.add.is_some() == post.add.is_some()
            && added_covers(post.add, pixels, channels)
    }
}

/// An instruction set's float registers, put to this use.
#[derive(Clone, Copy)]
pub(super) struct Simulate<F>(PhantomData<F>);

impl<F: Floats> Lanes for Simulate<F> {
    type Of = Simulated;
    type Acc = F::Register;
    type Factor = F::Register;
    const LANES: usize = F::LANES;
    const STEP: usize = 1;
    const TAPS: usize = 1;
    type Apart = F::Register;
    const WRITTEN_OUT: usize = 0;
    const AHEAD: bool = F::LANES == VECTOR;
    const BY_ROWS: bool = false;

    // SAFETY, for all of these: they only pass on what the caller promises.
    #[inline(always)]
    unsafe fn zero() -> F::Register {
        unsafe { F::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn begin(_: &SimulatedPost<'_>, _: usize) -> F::Register {
        unsafe { F::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn resume(_: *const f64) -> F::Register {
        unsafe { F::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn pause(to: *mut f64, sums: F::Register, first: bool) {
        unsafe {
            let mut total = F::widen(sums);
            if !first {
                total = F::Wide::add(total, F::Wide::load(to));
            }
            F::Wide::store(to, total);
        }
    }
    #[inline(always)]
    unsafe fn weights(from: *const f32) -> F::Register {
        unsafe { F::load(from) }
    }
    #[inline(always)]
    unsafe fn weights_apart(from: *const f32) -> F::Register {
        unsafe { F::load(from) }
    }
    #[inline(always)]
    unsafe fn spread(from: *const f32) -> F::Register {
        unsafe { F::load_splat(from) }
    }
    #[inline(always)]
    unsafe fn inputs(first: *const f32, _: *const f32) -> F::Register {
        unsafe { F::load(first) }
    }
    #[inline(always)]
    unsafe fn multiply_add(sums: F::Register, a: F::Register, b: F::Register) -> F::Register {
        unsafe { F::multiply_add(a, b, sums) }
    }
    #[inline(always)]
    unsafe fn multiply_apart(sums: F::Register, a: F::Register, b: F::Register) -> F::Register {
        unsafe { F::multiply_add(a, b, sums) }
    }
    #[inline(always)]
    unsafe fn is_short(_: &SimulatedPost<'_>) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn prefetch(post: &SimulatedPost<'_>, pixel: usize, channel: usize) {
        // SAFETY: there is a place for each output pixel, and the map reaches as far (`covers`).
        unsafe { prefetch_added(post.add, pixel, channel) }
    }
    #[inline(always)]
    unsafe fn finish<const SHORT: bool>(
        post: &SimulatedPost<'_>,
        sums: F::Register,
        before: *const f64,
        at: At,
        out: *mut f32,
    ) {
        // SAFETY: as above; `LANES` earlier sums are there unless the pointer is null, and `count` results.
        unsafe {
            let mut wide = F::widen(sums);
            if !before.is_null() {
                wide = F::Wide::add(wide, F::Wide::load(before));
            }
            let mut some = [0.0; VECTOR];
            let other = match post.add {
                Some((map, places)) => {
                    let mut from = map.as_ptr().add(place(places, at.pixel) + at.channel);
                    if at.count < F::LANES {
                        from.copy_to_nonoverlapping(some.as_mut_ptr(), at.count);
                        from = some.as_ptr();
                    }
                    F::widen(F::load(from))
                }
                None => F::Wide::splat(0.0),
            };
            let epilogue = post.epilogue;
            let bias = F::Wide::load(epilogue.bias.as_ptr().add(at.channel));
            let wide = F::Wide::add(wide, bias);
            let mut result = epilogue.apply::<F::Wide, true>(wide, at.channel, other);
            if !epilogue.is_real {
                result = F::Wide::round(result);
            }
            let result = F::narrow(result);
            if at.count == F::LANES {
                F::store(out, result);
            } else {
                F::store(some.as_mut_ptr(), result);
                some.as_ptr().copy_to_nonoverlapping(out, at.count);
            }
        }
    }
}

/// The functions of `isa`, which the processor must have.
pub(crate) fn simulated(isa: Isa) -> &'static Kernels<Simulated> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx512 => &super::avx512::SIMULATED,
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni | Isa::Avx2 => &super::avx2::SIMULATED,
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot | Isa::Neon => &super::neon::SIMULATED,
        _ => &super::portable::SIMULATED,
    }
}
