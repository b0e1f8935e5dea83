//! AVX2 and FMA: tiles of 6 pixels by 16 channels, 12 of the 16 registers holding sums.

#![cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::convert::identity;

use crate::kernel::doubles::Doubles;
use crate::kernel::float::{CHUNK, FloatKernels, Floats, peak_rounds};
use crate::kernel::integer::{Constants, Integers, Whole, kernels};
use crate::kernel::simulated::{self, Simulate};
use crate::kernel::tile::{depthwise_fn, panel_fn};
use crate::kernel::winograd::{Modular, Words, transforms, word_kernels};
use crate::kernel::{Integer, Kernels, Simulated};
use crate::shifted::Sum;

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
    #[inline(always)]
    unsafe fn at_most(x: __m256, ceiling: __m256) -> __m256 {
        unsafe { _mm256_min_ps(ceiling, x) }
    }

    type Wide = Avx2;
    #[inline(always)]
    unsafe fn widen(x: __m256) -> [__m256d; 2] {
        unsafe {
            [
                _mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn narrow(x: [__m256d; 2]) -> __m256 {
        unsafe { _mm256_set_m128(_mm256_cvtpd_ps(x[1]), _mm256_cvtpd_ps(x[0])) }
    }
}

impl Doubles for Avx2 {
    type D = [__m256d; 2];

    // SAFETY, for all of these: as above.
    #[inline(always)]
    unsafe fn splat(x: f64) -> [__m256d; 2] {
        unsafe { [_mm256_set1_pd(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> [__m256d; 2] {
        unsafe { [_mm256_loadu_pd(from), _mm256_loadu_pd(from.add(4))] }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, x: [__m256d; 2]) {
        unsafe {
            _mm256_storeu_pd(to, x[0]);
            _mm256_storeu_pd(to.add(4), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(x: [__m256d; 2], y: [__m256d; 2]) -> [__m256d; 2] {
        unsafe { [_mm256_add_pd(x[0], y[0]), _mm256_add_pd(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn multiply(x: [__m256d; 2], y: [__m256d; 2]) -> [__m256d; 2] {
        unsafe { [_mm256_mul_pd(x[0], y[0]), _mm256_mul_pd(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn round(x: [__m256d; 2]) -> [__m256d; 2] {
        const HALF_EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        unsafe {
            [
                _mm256_round_pd::<HALF_EVEN>(x[0]),
                _mm256_round_pd::<HALF_EVEN>(x[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn at_least(x: [__m256d; 2], floor: [__m256d; 2]) -> [__m256d; 2] {
        unsafe { [_mm256_max_pd(floor[0], x[0]), _mm256_max_pd(floor[1], x[1])] }
    }
    #[inline(always)]
    unsafe fn at_most(x: [__m256d; 2], ceiling: [__m256d; 2]) -> [__m256d; 2] {
        unsafe {
            [
                _mm256_min_pd(ceiling[0], x[0]),
                _mm256_min_pd(ceiling[1], x[1]),
            ]
        }
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

transforms!(
    #[target_feature(enable = "avx2,fma")]
    WINOGRAD,
    Avx2, rows 4
);

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 8,
        step: 1,
        taps: 1,
        chunk: CHUNK,
        rows: 6,
        panels: &[panel_1, panel_2],
        adding: &[panel_1, panel_2],
        depthwise,
    },
    winograd: &WINOGRAD,
    peak,
    peak_operations: 12 * 8 * 2,
};

panel_fn!(#[target_feature(enable = "avx2,fma")] simulated_1, Simulate<Avx2>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "avx2,fma")] simulated_2, Simulate<Avx2>, rows 6, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx2,fma")]
    simulated_depthwise,
    Simulate<Avx2>
);

pub(super) static SIMULATED: Kernels<Simulated> = Kernels {
    lanes: 8,
    step: 1,
    taps: 1,
    chunk: simulated::CHUNK,
    rows: 6,
    panels: &[simulated_1, simulated_2],
    adding: &[simulated_1, simulated_2],
    depthwise: simulated_depthwise,
};

/// Exact sums by `vpmaddwd`: even and odd bytes by themselves, extended to 16 bits.
#[derive(Clone, Copy)]
struct Exact;

/// Exact sums by AVX-VNNI's `vpdpbusd`.
#[derive(Clone, Copy)]
struct Vnni;

/// Pairs saturated to 16 bits by `vpmaddubsw`.
#[derive(Clone, Copy)]
struct Saturating;

macro_rules! integers {
    ($name:ty, $fours:ty, $weights:expr, $inputs:expr, $dot:expr) => {
        impl Integers for $name {
            type Register = __m256i;
            type Fours = $fours;
            type Pairs = __m256i;
            const LANES: usize = 8;

            // SAFETY, for all of these: the caller is compiled for AVX2 (and VNNI), and its pointers reach.
            #[inline(always)]
            unsafe fn zero() -> __m256i {
                unsafe { _mm256_setzero_si256() }
            }
            #[inline(always)]
            unsafe fn load(from: *const i32) -> __m256i {
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i32, x: __m256i) {
                unsafe { _mm256_storeu_si256(to.cast(), x) }
            }
            #[inline(always)]
            unsafe fn splat(x: i32) -> __m256i {
                unsafe { _mm256_set1_epi32(x) }
            }
            #[inline(always)]
            unsafe fn extend_unsigned(from: *const u8) -> __m256i {
                unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) }
            }
            #[inline(always)]
            unsafe fn weight_fours(from: *const i8) -> $fours {
                unsafe { $weights(_mm256_loadu_si256(from.cast())) }
            }
            #[inline(always)]
            unsafe fn input_fours(from: *const u8) -> $fours {
                unsafe { $inputs(_mm256_set1_epi32(from.cast::<i32>().read_unaligned())) }
            }
            #[inline(always)]
            unsafe fn dot_fours(sums: __m256i, u: $fours, w: $fours) -> __m256i {
                unsafe { $dot(sums, u, w) }
            }
            #[inline(always)]
            unsafe fn weight_pairs(from: *const i8) -> __m256i {
                unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
            }
            #[inline(always)]
            unsafe fn input_pairs(first: *const u8, last: *const u8) -> __m256i {
                unsafe {
                    let (first, last) =
                        (_mm_loadl_epi64(first.cast()), _mm_loadl_epi64(last.cast()));
                    _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, last))
                }
            }
            #[inline(always)]
            unsafe fn dot_pairs(sums: __m256i, u: __m256i, w: __m256i) -> __m256i {
                unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(u, w)) }
            }

            type Wide = Avx2;
            #[inline(always)]
            unsafe fn widen(x: __m256i) -> [__m256d; 2] {
                unsafe {
                    [
                        _mm256_cvtepi32_pd(_mm256_castsi256_si128(x)),
                        _mm256_cvtepi32_pd(_mm256_extracti128_si256::<1>(x)),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn narrow(x: [__m256d; 2]) -> __m256i {
                unsafe { _mm256_set_m128i(_mm256_cvtpd_epi32(x[1]), _mm256_cvtpd_epi32(x[0])) }
            }
            #[inline(always)]
            unsafe fn add(x: __m256i, y: __m256i) -> __m256i {
                unsafe { _mm256_add_epi32(x, y) }
            }
            #[inline(always)]
            unsafe fn clamp(x: __m256i, low: __m256i, high: __m256i) -> __m256i {
                unsafe { _mm256_min_epi32(_mm256_max_epi32(x, low), high) }
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, x: __m256i) {
                unsafe {
                    // Codes are 0 to 255: neither of the saturating packs changes one.
                    let halves = _mm_packus_epi32(
                        _mm256_castsi256_si128(x),
                        _mm256_extracti128_si256::<1>(x),
                    );
                    _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
                }
            }

            const SHIFTS: bool = true;
            #[inline(always)]
            unsafe fn shift_left(x: __m256i, by: i32) -> __m256i {
                unsafe { _mm256_sll_epi32(x, _mm_cvtsi32_si128(by)) }
            }
            #[inline(always)]
            unsafe fn scaled(sums: __m256i, by: &Constants<Self>) -> __m256i {
                unsafe {
                    let even = _mm256_mul_epi32(sums, by.factor);
                    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(sums), by.next);
                    let even = _mm256_srli_epi64::<32>(even);
                    let high = _mm256_blend_epi32::<0b1010_1010>(even, odd);
                    _mm256_srav_epi32(_mm256_add_epi32(high, by.addend), by.shift)
                }
            }
            #[inline(always)]
            unsafe fn summed(v: __m256i, q: __m256i, sum: &Sum) -> __m256i {
                unsafe {
                    let pairs = _mm256_blend_epi16::<0b1010_1010>(v, _mm256_slli_epi32::<16>(q));
                    let products = |by: i32, and: i32| {
                        let products = _mm256_madd_epi16(pairs, _mm256_set1_epi32(by));
                        _mm256_add_epi32(products, _mm256_set1_epi32(and))
                    };
                    let low = products(sum.low, sum.low_addend);
                    let high = products(sum.high, sum.high_addend);
                    let all = _mm256_add_epi32(high, _mm256_srai_epi32::<16>(low));
                    _mm256_sra_epi32(all, _mm_cvtsi32_si128(sum.shift))
                }
            }
            #[inline(always)]
            unsafe fn store_pairs(
                [[a, b], [c, d]]: [[__m256i; 2]; 2],
                ends: [i32; 2],
                to: [*mut u8; 2],
                count: usize,
            ) {
                unsafe {
                    let bytes = packed([a, b, c, d], ends);
                    let two = [
                        _mm256_castsi256_si128(bytes),
                        _mm256_extracti128_si256::<1>(bytes),
                    ];
                    if count == 16 {
                        _mm_storeu_si128(to[0].cast(), two[0]);
                        _mm_storeu_si128(to[1].cast(), two[1]);
                    } else {
                        store_some(two[0], to[0], count);
                        store_some(two[1], to[1], count);
                    }
                }
            }
            #[inline(always)]
            unsafe fn store_singles(
                codes: [__m256i; 4],
                ends: [i32; 2],
                to: [*mut u8; 4],
                count: usize,
            ) {
                unsafe {
                    let bytes = packed(codes, ends);
                    let low = _mm256_castsi256_si128(bytes);
                    let high = _mm256_extracti128_si256::<1>(bytes);
                    if count == 8 {
                        _mm_storel_epi64(to[0].cast(), low);
                        _mm_storeh_pd(to[1].cast(), _mm_castsi128_pd(low));
                        _mm_storel_epi64(to[2].cast(), high);
                        _mm_storeh_pd(to[3].cast(), _mm_castsi128_pd(high));
                    } else {
                        store_some(low, to[0], count);
                        store_some(_mm_srli_si128::<8>(low), to[1], count);
                        store_some(high, to[2], count);
                        store_some(_mm_srli_si128::<8>(high), to[3], count);
                    }
                }
            }
        }
    };
}
integers!(
    Exact,
    [__m256i; 2],
    signed_halves,
    unsigned_halves,
    exact_dot
);
integers!(Vnni, __m256i, identity, identity, _mm256_dpbusd_avx_epi32);
integers!(Saturating, __m256i, identity, identity, saturating_dot);

/// The lanes of four registers, one register's after the other's, as codes between the ends.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn packed([a, b, c, d]: [__m256i; 4], [low, high]: [i32; 2]) -> __m256i {
    unsafe {
        // Both packs saturate, which is a clamp, and take turns at the registers' halves.
        let words = [_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)];
        let bytes = _mm256_packus_epi16(words[0], words[1]);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(low as i8));
        _mm256_min_epu8(bytes, _mm256_set1_epi8(high as i8))
    }
}

/// The first `count` bytes.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn store_some(bytes: __m128i, to: *mut u8, count: usize) {
    let mut some = [0_u8; 16];
    unsafe {
        _mm_storeu_si128(some.as_mut_ptr().cast(), bytes);
        some.as_ptr().copy_to_nonoverlapping(to, count.min(16));
    }
}

/// The even bytes and the odd ones, each extended to 16 bits with its sign.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn signed_halves(w: __m256i) -> [__m256i; 2] {
    unsafe {
        let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w));
        [even, _mm256_srai_epi16::<8>(w)]
    }
}

/// The same with zeros.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn unsigned_halves(u: __m256i) -> [__m256i; 2] {
    unsafe {
        let even = _mm256_and_si256(u, _mm256_set1_epi16(0x00ff));
        [even, _mm256_srli_epi16::<8>(u)]
    }
}

/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn exact_dot(sums: __m256i, u: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
    unsafe {
        let [even, odd] = [0, 1].map(|i| _mm256_madd_epi16(u[i], w[i]));
        _mm256_add_epi32(sums, _mm256_add_epi32(even, odd))
    }
}

/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn saturating_dot(sums: __m256i, u: __m256i, w: __m256i) -> __m256i {
    unsafe {
        let pairs = _mm256_maddubs_epi16(u, w);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

panel_fn!(#[target_feature(enable = "avx2,fma")] exact_1, Whole<Exact>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "avx2,fma")] exact_2, Whole<Exact>, rows 6, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx2,fma")]
    exact_depthwise,
    Whole<Exact>
);
panel_fn!(#[target_feature(enable = "avx2,fma,avxvnni")] vnni_1, Whole<Vnni>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "avx2,fma,avxvnni")] vnni_2, Whole<Vnni>, rows 6, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx2,fma,avxvnni")]
    vnni_depthwise,
    Whole<Vnni>
);
panel_fn!(#[target_feature(enable = "avx2,fma")] saturating_1, Whole<Saturating>, rows 6, vectors 1);
panel_fn!(#[target_feature(enable = "avx2,fma")] saturating_2, Whole<Saturating>, rows 6, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx2,fma")]
    saturating_depthwise,
    Whole<Saturating>
);

/// With exact sums, and with saturating pairs.
pub(super) static INTEGER: [Kernels<Integer>; 2] = [
    kernels(8, 6, &[exact_1, exact_2], exact_depthwise),
    kernels(8, 6, &[saturating_1, saturating_2], saturating_depthwise),
];

/// The same with VNNI.
pub(super) static INTEGER_VNNI: [Kernels<Integer>; 2] = [
    kernels(8, 6, &[vnni_1, vnni_2], vnni_depthwise),
    kernels(8, 6, &[saturating_1, saturating_2], saturating_depthwise),
];

/// 16 words.
#[derive(Clone, Copy)]
pub(super) struct Words256;

impl Words for Words256 {
    type Register = __m256i;
    const LANES: usize = 16;

    // SAFETY, for all of these: the caller is compiled for AVX2, and its pointers reach.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, x: __m256i) {
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn add(x: __m256i, y: __m256i) -> __m256i {
        unsafe { _mm256_add_epi16(x, y) }
    }
    #[inline(always)]
    unsafe fn sub(x: __m256i, y: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi16(x, y) }
    }
    #[inline(always)]
    unsafe fn twice(x: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16::<1>(x) }
    }
    #[inline(always)]
    unsafe fn four_times(x: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi16::<2>(x) }
    }
}

impl Modular for Exact {
    // SAFETY, for all of these: as for its other functions.
    #[inline(always)]
    unsafe fn dot_words(sums: __m256i, x: __m256i, y: __m256i) -> __m256i {
        unsafe { Self::dot_pairs(sums, x, y) }
    }
    #[inline(always)]
    unsafe fn sub(x: __m256i, y: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(x, y) }
    }
    #[inline(always)]
    unsafe fn twice(x: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi32::<1>(x) }
    }
    #[inline(always)]
    unsafe fn four_times(x: __m256i) -> __m256i {
        unsafe { _mm256_slli_epi32::<2>(x) }
    }
    #[inline(always)]
    unsafe fn multiply(x: __m256i, y: __m256i) -> __m256i {
        unsafe { _mm256_mullo_epi32(x, y) }
    }
    #[inline(always)]
    unsafe fn shift_right(x: __m256i, by: i32) -> __m256i {
        unsafe { _mm256_sra_epi32(x, _mm_cvtsi32_si128(by)) }
    }
}

word_kernels!(
    #[target_feature(enable = "avx2,fma")]
    pub(super) WORDS,
    [Words256, Words256], Exact, rows 6
);
