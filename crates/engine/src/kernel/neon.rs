//! NEON (integers: with the dot product): tiles of 6 pixels by 16 channels, 24 of the 32 registers holding sums.

#![cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernel::doubles::Doubles;
use crate::kernel::float::{CHUNK, FloatKernels, Floats, peak_rounds};
use crate::kernel::integer::{Integers, Whole, kernels};
use crate::kernel::simulated::{self, Simulate};
use crate::kernel::tile::{depthwise_fn, panel_fn};
use crate::kernel::winograd::transforms;
use crate::kernel::{Integer, Kernels, Simulated};

#[derive(Clone, Copy)]
struct Neon;

impl Floats for Neon {
    type Register = float32x4_t;
    const LANES: usize = 4;

    // SAFETY, for all of these: the caller is compiled for NEON, and its pointers reach.
    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn load_splat(from: *const f32) -> float32x4_t {
        unsafe { vld1q_dup_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: float32x4_t) {
        unsafe { vst1q_f32(to, x) }
    }
    #[inline(always)]
    unsafe fn add(x: float32x4_t, y: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(x, y) }
    }
    #[inline(always)]
    unsafe fn multiply_add(x: float32x4_t, y: float32x4_t, z: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(z, x, y) }
    }
    #[inline(always)]
    unsafe fn at_least(x: float32x4_t, floor: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(x, floor) }
    }
    #[inline(always)]
    unsafe fn at_most(x: float32x4_t, ceiling: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(x, ceiling) }
    }

    type Wide = Neon;
    #[inline(always)]
    unsafe fn widen(x: float32x4_t) -> [float64x2_t; 2] {
        unsafe { [vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)] }
    }
    #[inline(always)]
    unsafe fn narrow(x: [float64x2_t; 2]) -> float32x4_t {
        unsafe { vcvt_high_f32_f64(vcvt_f32_f64(x[0]), x[1]) }
    }
}

impl Doubles for Neon {
    type D = [float64x2_t; 2];

    // SAFETY, for all of these: as above.
    #[inline(always)]
    unsafe fn splat(x: f64) -> [float64x2_t; 2] {
        unsafe { [vdupq_n_f64(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> [float64x2_t; 2] {
        unsafe { [vld1q_f64(from), vld1q_f64(from.add(2))] }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, x: [float64x2_t; 2]) {
        unsafe {
            vst1q_f64(to, x[0]);
            vst1q_f64(to.add(2), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(x: [float64x2_t; 2], y: [float64x2_t; 2]) -> [float64x2_t; 2] {
        unsafe { [vaddq_f64(x[0], y[0]), vaddq_f64(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn multiply(x: [float64x2_t; 2], y: [float64x2_t; 2]) -> [float64x2_t; 2] {
        unsafe { [vmulq_f64(x[0], y[0]), vmulq_f64(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn round(x: [float64x2_t; 2]) -> [float64x2_t; 2] {
        unsafe { [vrndnq_f64(x[0]), vrndnq_f64(x[1])] }
    }
    #[inline(always)]
    unsafe fn at_least(x: [float64x2_t; 2], floor: [float64x2_t; 2]) -> [float64x2_t; 2] {
        unsafe { [vmaxq_f64(x[0], floor[0]), vmaxq_f64(x[1], floor[1])] }
    }
    #[inline(always)]
    unsafe fn at_most(x: [float64x2_t; 2], ceiling: [float64x2_t; 2]) -> [float64x2_t; 2] {
        unsafe { [vminq_f64(x[0], ceiling[0]), vminq_f64(x[1], ceiling[1])] }
    }
}

panel_fn!(#[target_feature(enable = "neon")] panel_1, Neon, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "neon")] panel_2, Neon, rows 6, vectors 2);
panel_fn!(#[target_feature(enable = "neon")] panel_3, Neon, rows 6, vectors 3);
panel_fn!(#[target_feature(enable = "neon")] panel_4, Neon, rows 6, vectors 4);
depthwise_fn!(
    #[target_feature(enable = "neon")]
    depthwise,
    Neon
);

#[target_feature(enable = "neon")]
unsafe fn peak(rounds: u64) -> f32 {
    // SAFETY: compiled for the feature; the caller runs it where it is.
    unsafe { peak_rounds::<Neon, 24>(rounds) }
}

transforms!(
    #[target_feature(enable = "neon")]
    WINOGRAD,
    Neon, rows 8
);

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 4,
        step: 1,
        taps: 1,
        chunk: CHUNK,
        rows: 6,
        panels: &[panel_1, panel_2, panel_3, panel_4],
        adding: &[panel_1, panel_2, panel_3, panel_4],
        depthwise,
    },
    winograd: &WINOGRAD,
    peak,
    peak_operations: 24 * 4 * 2,
};

panel_fn!(#[target_feature(enable = "neon")] simulated_1, Simulate<Neon>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "neon")] simulated_2, Simulate<Neon>, rows 6, vectors 2);
panel_fn!(#[target_feature(enable = "neon")] simulated_3, Simulate<Neon>, rows 6, vectors 3);
panel_fn!(#[target_feature(enable = "neon")] simulated_4, Simulate<Neon>, rows 6, vectors 4);
depthwise_fn!(
    #[target_feature(enable = "neon")]
    simulated_depthwise,
    Simulate<Neon>
);

pub(super) static SIMULATED: Kernels<Simulated> = Kernels {
    lanes: 4,
    step: 1,
    taps: 1,
    chunk: simulated::CHUNK,
    rows: 6,
    panels: &[simulated_1, simulated_2, simulated_3, simulated_4],
    adding: &[simulated_1, simulated_2, simulated_3, simulated_4],
    depthwise: simulated_depthwise,
};

/// Exact sums by `sdot`.
#[derive(Clone, Copy)]
struct Exact;

/// Pairs saturated to 16 bits.
#[derive(Clone, Copy)]
struct Saturating;

macro_rules! integers {
    ($name:ty, $dot:expr) => {
        impl Integers for $name {
            type Register = int32x4_t;
            type Fours = int32x4_t;
            type Pairs = int16x8_t;
            const LANES: usize = 4;

            // SAFETY, for all of these: the caller is compiled for NEON (and the dot product), and its pointers reach.
            #[inline(always)]
            unsafe fn zero() -> int32x4_t {
                unsafe { vdupq_n_s32(0) }
            }
            #[inline(always)]
            unsafe fn load(from: *const i32) -> int32x4_t {
                unsafe { vld1q_s32(from) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i32, x: int32x4_t) {
                unsafe { vst1q_s32(to, x) }
            }
            #[inline(always)]
            unsafe fn splat(x: i32) -> int32x4_t {
                unsafe { vdupq_n_s32(x) }
            }
            #[inline(always)]
            unsafe fn extend_unsigned(from: *const u8) -> int32x4_t {
                unsafe {
                    let four = vcreate_u8(from.cast::<u32>().read_unaligned().into());
                    vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
                }
            }
            #[inline(always)]
            unsafe fn weight_fours(from: *const i8) -> int32x4_t {
                unsafe { vreinterpretq_s32_s8(vld1q_s8(from)) }
            }
            #[inline(always)]
            unsafe fn input_fours(from: *const u8) -> int32x4_t {
                unsafe { vdupq_n_s32(from.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn dot_fours(sums: int32x4_t, u: int32x4_t, w: int32x4_t) -> int32x4_t {
                unsafe { $dot(sums, vreinterpretq_u8_s32(u), vreinterpretq_s8_s32(w)) }
            }
            #[inline(always)]
            unsafe fn weight_pairs(from: *const i8) -> int16x8_t {
                unsafe { vmovl_s8(vld1_s8(from)) }
            }
            #[inline(always)]
            unsafe fn input_pairs(first: *const u8, last: *const u8) -> int16x8_t {
                unsafe {
                    let four =
                        |from: *const u8| vcreate_u8(from.cast::<u32>().read_unaligned().into());
                    vreinterpretq_s16_u16(vmovl_u8(vzip1_u8(four(first), four(last))))
                }
            }
            #[inline(always)]
            unsafe fn dot_pairs(sums: int32x4_t, u: int16x8_t, w: int16x8_t) -> int32x4_t {
                unsafe {
                    let low = vmull_s16(vget_low_s16(u), vget_low_s16(w));
                    vaddq_s32(sums, vpaddq_s32(low, vmull_high_s16(u, w)))
                }
            }

            type Wide = Neon;
            #[inline(always)]
            unsafe fn widen(x: int32x4_t) -> [float64x2_t; 2] {
                unsafe {
                    [
                        vcvtq_f64_s64(vmovl_s32(vget_low_s32(x))),
                        vcvtq_f64_s64(vmovl_high_s32(x)),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn narrow(x: [float64x2_t; 2]) -> int32x4_t {
                unsafe {
                    let [low, high] = x.map(|x| vmovn_s64(vcvtnq_s64_f64(x)));
                    vcombine_s32(low, high)
                }
            }
            #[inline(always)]
            unsafe fn add(x: int32x4_t, y: int32x4_t) -> int32x4_t {
                unsafe { vaddq_s32(x, y) }
            }
            #[inline(always)]
            unsafe fn clamp(x: int32x4_t, low: int32x4_t, high: int32x4_t) -> int32x4_t {
                unsafe { vminq_s32(vmaxq_s32(x, low), high) }
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, x: int32x4_t) {
                unsafe {
                    let words = vmovn_s32(x);
                    let bytes = vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words)));
                    to.cast::<u32>().write_unaligned(vget_lane_u32::<0>(bytes));
                }
            }

            const SHIFTS: bool = false;
        }
    };
}
integers!(Exact, exact_dot);
integers!(Saturating, saturating_dot);

/// `sdot` multiplies signed bytes: `sum u w = sum (u - 128) w + 2 sum 64 w`.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn exact_dot(sums: int32x4_t, u: uint8x16_t, w: int8x16_t) -> int32x4_t {
    unsafe {
        let shifted = vreinterpretq_s8_u8(veorq_u8(u, vdupq_n_u8(0x80)));
        let half = vdupq_n_s8(64);
        sdot(sdot(sdot(sums, shifted, w), half, w), half, w)
    }
}

/// `vdotq_s32`, which stable Rust lacks.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn sdot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn saturating_dot(sums: int32x4_t, u: uint8x16_t, w: int8x16_t) -> int32x4_t {
    unsafe {
        // A product fits 16 bits.
        let low = vmulq_s16(
            vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(u))),
            vmovl_s8(vget_low_s8(w)),
        );
        let high = vmulq_s16(vreinterpretq_s16_u16(vmovl_high_u8(u)), vmovl_high_s8(w));
        vpadalq_s16(
            sums,
            vqaddq_s16(vuzp1q_s16(low, high), vuzp2q_s16(low, high)),
        )
    }
}

panel_fn!(#[target_feature(enable = "neon,dotprod")] exact_1, Whole<Exact>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "neon,dotprod")] exact_2, Whole<Exact>, rows 6, vectors 2);
panel_fn!(#[target_feature(enable = "neon,dotprod")] exact_3, Whole<Exact>, rows 6, vectors 3);
panel_fn!(#[target_feature(enable = "neon,dotprod")] exact_4, Whole<Exact>, rows 6, vectors 4);
depthwise_fn!(
    #[target_feature(enable = "neon,dotprod")]
    exact_depthwise,
    Whole<Exact>
);
panel_fn!(#[target_feature(enable = "neon")] saturating_1, Whole<Saturating>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "neon")] saturating_2, Whole<Saturating>, rows 6, vectors 2);
panel_fn!(#[target_feature(enable = "neon")] saturating_3, Whole<Saturating>, rows 6, vectors 3);
panel_fn!(#[target_feature(enable = "neon")] saturating_4, Whole<Saturating>, rows 6, vectors 4);
depthwise_fn!(
    #[target_feature(enable = "neon")]
    saturating_depthwise,
    Whole<Saturating>
);

/// With exact sums, and with saturating pairs.
pub(super) static INTEGER: [Kernels<Integer>; 2] = [
    kernels(4, 6, &[exact_1, exact_2, exact_3, exact_4], exact_depthwise),
    kernels(
        4,
        6,
        &[saturating_1, saturating_2, saturating_3, saturating_4],
        saturating_depthwise,
    ),
];
