//! AVX-512 (F alone): tiles of 12 pixels by 32 channels, 24 of the 32 registers holding sums. Not more pixels: each of
//! them needs a general register for its address.

#![cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernel::Kernels;
use crate::kernel::float::{FloatKernels, Floats, peak_rounds};
use crate::kernel::tile::{depthwise_fn, panel_fn};

#[derive(Clone, Copy)]
struct Avx512;

impl Floats for Avx512 {
    type Register = __m512;
    const LANES: usize = 16;

    // SAFETY, for all of these: the caller is compiled for AVX-512F, and its pointers reach.
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_splat(from: *const f32) -> __m512 {
        unsafe { _mm512_set1_ps(*from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(x: __m512, y: __m512) -> __m512 {
        unsafe { _mm512_add_ps(x, y) }
    }
    #[inline(always)]
    unsafe fn multiply_add(x: __m512, y: __m512, z: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(x, y, z) }
    }
    #[inline(always)]
    unsafe fn at_least(x: __m512, floor: __m512) -> __m512 {
        // The second operand comes back where one is NaN.
        unsafe { _mm512_max_ps(floor, x) }
    }
}

panel_fn!(#[target_feature(enable = "avx512f")] panel_1, Avx512, rows 12, vectors 1);
panel_fn!(#[target_feature(enable = "avx512f")] panel_2, Avx512, rows 12, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx512f")]
    depthwise,
    Avx512
);

#[target_feature(enable = "avx512f")]
unsafe fn peak(rounds: u64) -> f32 {
    // SAFETY: compiled for the feature; the caller runs it where it is.
    unsafe { peak_rounds::<Avx512, 24>(rounds) }
}

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 16,
        step: 1,
        rows: 12,
        panels: &[panel_1, panel_2],
        depthwise,
    },
    peak,
    peak_operations: 24 * 16 * 2,
};
