//! Float32: `out = min(max(sum * scale + shift + add, low), high)`.
//!
//! Rounding: with fused multiply-add every product and sum is rounded once, so a sum of `K` products is within
//! `K u / (1 - K u)` of the exact one, relative to the sum of absolute values, u = 2^-24 (Higham, Accuracy and
//! Stability of Numerical Algorithms, section 3.1); without, the same with `K + 1`.

use std::hint::black_box;

use crate::graph::Clip;
use crate::kernel::doubles::Doubles;
use crate::kernel::tile::{Added, added_covers, place, prefetch_added};
use crate::kernel::winograd::Transforms;
use crate::kernel::{Arithmetic, At, Isa, Kernels, Lanes};

/// Float32 throughout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float32;

/// The epilogue's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    /// Per output channel, filled up by [`VECTOR`] values. Ones where nothing is multiplied: that is exact, and a branch
    /// would cost more.
    pub scale: &'a [f32],
    /// Per output channel, filled up likewise.
    pub shift: &'a [f32],
    pub add: Added<'a, f32>,
    /// What comes last: infinite ends where nothing does.
    pub clip: Clip,
}

/// Multiplications per tile in one chunk: a panel of 16 floats then takes 16 KiB of the first-level cache.
pub(super) const CHUNK: usize = 288;

/// Floats in the widest register.
pub(crate) const VECTOR: usize = 16;

impl Arithmetic for Float32 {
    type In = f32;
    type Weight = f32;
    type Sum = f32;
    type Post<'a> = Post<'a>;

    fn adds(post: &Post<'_>) -> bool {
        post.add.is_some()
    }

    fn covers(post: &Post<'_>, pixels: usize, channels: usize) -> bool {
        let long = |values: &[f32]| values.len() >= channels + VECTOR;
        long(post.scale) && long(post.shift) && added_covers(post.add, pixels, channels)
    }
}

/// The registers of an instruction set that hold floats.
///
/// # Safety
/// As for [`Lanes`].
pub(crate) trait Floats: Copy + Sized + 'static {
    type Register: Copy;
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::Register;
    unsafe fn load(from: *const f32) -> Self::Register;
    unsafe fn load_splat(from: *const f32) -> Self::Register;
    unsafe fn store(to: *mut f32, x: Self::Register);
    unsafe fn add(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `x * y + z`.
    unsafe fn multiply_add(
        x: Self::Register,
        y: Self::Register,
        z: Self::Register,
    ) -> Self::Register;
    /// `max(x, floor)`, a NaN in `x` staying NaN.
    unsafe fn at_least(x: Self::Register, floor: Self::Register) -> Self::Register;
    /// `min(x, ceiling)`, likewise.
    unsafe fn at_most(x: Self::Register, ceiling: Self::Register) -> Self::Register;

    /// As many doubles as a register has lanes.
    type Wide: Doubles;
    unsafe fn widen(x: Self::Register) -> <Self::Wide as Doubles>::D;
    /// Each rounded to float32.
    unsafe fn narrow(x: <Self::Wide as Doubles>::D) -> Self::Register;
}

impl<F: Floats> Lanes for F {
    type Of = Float32;
    type Acc = F::Register;
    type Factor = F::Register;
    const LANES: usize = F::LANES;
    const STEP: usize = 1;
    const TAPS: usize = 1;
    type Apart = F::Register;
    const WRITTEN_OUT: usize = usize::MAX;
    const AHEAD: bool = F::LANES == VECTOR;
    const BY_ROWS: bool = false;

    // SAFETY, for all of these: they only pass on what the caller promises.
    #[inline(always)]
    unsafe fn zero() -> F::Register {
        unsafe { F::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn begin(_: &Post<'_>, _: usize) -> F::Register {
        unsafe { F::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn resume(from: *const f32) -> F::Register {
        unsafe { F::load(from) }
    }
    #[inline(always)]
    unsafe fn pause(to: *mut f32, sums: F::Register, _: bool) {
        unsafe { F::store(to, sums) }
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

    // SAFETY, for the last two: the driver has made sure of `covers`, so whole vectors of scale and shift are there, and
    // as many channels of the added map and of the output as exist.
    #[inline(always)]
    unsafe fn is_short(_: &Post<'_>) -> bool {
        true
    }

    #[inline(always)]
    unsafe fn prefetch(post: &Post<'_>, pixel: usize, channel: usize) {
        unsafe { prefetch_added(post.add, pixel, channel) }
    }

    #[inline(always)]
    unsafe fn finish<const SHORT: bool>(
        post: &Post<'_>,
        sums: F::Register,
        _: *const f32,
        at: At,
        out: *mut f32,
    ) {
        let At {
            pixel,
            channel,
            count,
        } = at;
        unsafe {
            let added = post
                .add
                .map(|(map, places)| map.as_ptr().add(place(places, pixel) + channel));
            if count == F::LANES {
                let add = added.map(|from| F::load(from));
                F::store(out, epilogue::<F>(post, sums, channel, add));
            } else {
                let mut some = [0.0; VECTOR];
                let add = added.map(|from| {
                    from.copy_to_nonoverlapping(some.as_mut_ptr(), count);
                    F::load(some.as_ptr())
                });
                F::store(some.as_mut_ptr(), epilogue::<F>(post, sums, channel, add));
                some.as_ptr().copy_to_nonoverlapping(out, count);
            }
        }
    }
}

/// The formula of the module's header.
#[inline(always)]
unsafe fn epilogue<F: Floats>(
    post: &Post<'_>,
    sums: F::Register,
    channel: usize,
    add: Option<F::Register>,
) -> F::Register {
    // SAFETY: whole vectors of scale and shift are there (`covers`).
    unsafe {
        let scale = F::load(post.scale.as_ptr().add(channel));
        let shift = F::load(post.shift.as_ptr().add(channel));
        let mut y = F::multiply_add(sums, scale, shift);
        if let Some(add) = add {
            y = F::add(y, add);
        }
        let y = F::at_least(y, F::splat(post.clip.low));
        F::at_most(y, F::splat(post.clip.high))
    }
}

/// An instruction set's float32 functions.
pub(crate) struct FloatKernels {
    /// Convolutions.
    pub kernels: Kernels<Float32>,
    /// Around the products of `winograd.rs`.
    pub winograd: &'static Transforms,
    /// Multiplies and adds in registers, so many rounds; see `peak.rs`.
    pub peak: unsafe fn(u64) -> f32,
    /// Floating-point operations in one round.
    pub peak_operations: u64,
}

/// The functions of `isa`, which the processor must have: it is a result of [`Isa::check`] or [`Isa::available`].
pub(crate) fn float32(isa: Isa) -> &'static FloatKernels {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx512 => &super::avx512::FLOAT32,
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni | Isa::Avx2 => &super::avx2::FLOAT32,
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot | Isa::Neon => &super::neon::FLOAT32,
        _ => &super::portable::FLOAT32,
    }
}

/// `CHAINS` independent chains of multiply-add that touch no memory: enough of them to keep every unit busy.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn peak_rounds<F: Floats, const CHAINS: usize>(rounds: u64) -> f32 {
    // SAFETY: the caller's promise; the store goes to an array of the widest register's size.
    unsafe {
        // Hidden from the compiler, which would otherwise see that nothing changes and drop the loop.
        let (x, y) = (F::splat(black_box(0.999_999)), F::splat(black_box(1e-6)));
        let mut chains = [F::splat(1.0); CHAINS];
        for _ in 0..rounds {
            for chain in &mut chains {
                *chain = F::multiply_add(*chain, x, y);
            }
        }
        let mut total = F::splat(0.0);
        for chain in chains {
            total = F::add(total, chain);
        }
        let mut lanes = [0.0; VECTOR];
        F::store(lanes.as_mut_ptr(), total);
        lanes.iter().sum()
    }
}
