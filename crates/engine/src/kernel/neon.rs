//! NEON: tiles of 6 pixels by 16 channels, 24 of the 32 registers holding sums.

#![cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

use crate::kernel::Kernels;
use crate::kernel::float::{FloatKernels, Floats, peak_rounds};
use crate::kernel::tile::{depthwise_fn, panel_fn};

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

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 4,
        step: 1,
        rows: 6,
        panels: &[panel_1, panel_2, panel_3, panel_4],
        depthwise,
    },
    peak,
    peak_operations: 24 * 4 * 2,
};
