//! AVX2 and FMA: tiles of 6 pixels by 16 channels, 12 of the 16 registers holding sums.

#![cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernel::Kernels;
use crate::kernel::float::{FloatKernels, Floats, peak_rounds};
use crate::kernel::tile::{depthwise_fn, panel_fn};

#[derive(Clone, Copy)]
struct Avx2;

impl Floats for Avx2 {
    type Register = __m256;
    const LANES: usize = 8;

    // SAFETY, for all of these: the caller is compiled for AVX2 and FMA, and its pointers reach.
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_splat(from: *const f32) -> __m256 {
        unsafe { _mm256_broadcast_ss(&*from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m256) {
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(x: __m256, y: __m256) -> __m256 {
        unsafe { _mm256_add_ps(x, y) }
    }
    #[inline(always)]
    unsafe fn multiply_add(x: __m256, y: __m256, z: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(x, y, z) }
    }
    #[inline(always)]
    unsafe fn at_least(x: __m256, floor: __m256) -> __m256 {
        // The second operand comes back where one is NaN.
        unsafe { _mm256_max_ps(floor, x) }
    }
}

panel_fn!(#[target_feature(enable = "avx2,fma")] panel_1, Avx2, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "avx2,fma")] panel_2, Avx2, rows 6, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx2,fma")]
    depthwise,
    Avx2
);

#[target_feature(enable = "avx2,fma")]
unsafe fn peak(rounds: u64) -> f32 {
    // SAFETY: compiled for the features; the caller runs it where they are.
    unsafe { peak_rounds::<Avx2, 12>(rounds) }
}

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 8,
        step: 1,
        rows: 6,
        panels: &[panel_1, panel_2],
        depthwise,
    },
    peak,
    peak_operations: 12 * 8 * 2,
};
