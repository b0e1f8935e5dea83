//! AVX-512 (F alone; integers: BW and VNNI): tiles of 12 pixels by 32 channels, 24 of the 32 registers holding sums. Not
//! more pixels: each of them needs a general register for its address.

#![cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernel::avx2::Words256;
use crate::kernel::doubles::Doubles;
use crate::kernel::float::{CHUNK, FloatKernels, Floats, peak_rounds};
use crate::kernel::integer::{Constants, Integers, Whole, kernels};
use crate::kernel::quarters;
use crate::kernel::simulated::{self, Simulate};
use crate::kernel::tile::{depthwise_fn, panel_fn};
use crate::kernel::winograd::{Modular, Words, transforms, word_kernels};
use crate::kernel::{Integer, Kernels, Simulated};
use crate::shifted::Sum;

#[derive(Clone, Copy)]
pub(super) struct Avx512;

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
    #[inline(always)]
    unsafe fn at_most(x: __m512, ceiling: __m512) -> __m512 {
        unsafe { _mm512_min_ps(ceiling, x) }
    }

    type Wide = Avx512;
    #[inline(always)]
    unsafe fn widen(x: __m512) -> [__m512d; 2] {
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x));
            [
                _mm512_cvtps_pd(_mm512_castps512_ps256(x)),
                _mm512_cvtps_pd(_mm256_castpd_ps(high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn narrow(x: [__m512d; 2]) -> __m512 {
        unsafe {
            let (low, high) = (_mm512_cvtpd_ps(x[0]), _mm512_cvtpd_ps(x[1]));
            let low = _mm512_castps_pd(_mm512_castps256_ps512(low));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high)))
        }
    }
}

impl Doubles for Avx512 {
    type D = [__m512d; 2];

    // SAFETY, for all of these: as above.
    #[inline(always)]
    unsafe fn splat(x: f64) -> [__m512d; 2] {
        unsafe { [_mm512_set1_pd(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> [__m512d; 2] {
        unsafe { [_mm512_loadu_pd(from), _mm512_loadu_pd(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, x: [__m512d; 2]) {
        unsafe {
            _mm512_storeu_pd(to, x[0]);
            _mm512_storeu_pd(to.add(8), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(x: [__m512d; 2], y: [__m512d; 2]) -> [__m512d; 2] {
        unsafe { [_mm512_add_pd(x[0], y[0]), _mm512_add_pd(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn multiply(x: [__m512d; 2], y: [__m512d; 2]) -> [__m512d; 2] {
        unsafe { [_mm512_mul_pd(x[0], y[0]), _mm512_mul_pd(x[1], y[1])] }
    }
    #[inline(always)]
    unsafe fn round(x: [__m512d; 2]) -> [__m512d; 2] {
        const HALF_EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        unsafe {
            [
                _mm512_roundscale_pd::<HALF_EVEN>(x[0]),
                _mm512_roundscale_pd::<HALF_EVEN>(x[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn at_least(x: [__m512d; 2], floor: [__m512d; 2]) -> [__m512d; 2] {
        unsafe { [_mm512_max_pd(floor[0], x[0]), _mm512_max_pd(floor[1], x[1])] }
    }
    #[inline(always)]
    unsafe fn at_most(x: [__m512d; 2], ceiling: [__m512d; 2]) -> [__m512d; 2] {
        unsafe {
            [
                _mm512_min_pd(ceiling[0], x[0]),
                _mm512_min_pd(ceiling[1], x[1]),
            ]
        }
    }
}

panel_fn!(#[target_feature(enable = "avx512f")] panel_1, Avx512, rows 12, vectors 1);
panel_fn!(#[target_feature(enable = "avx512f")] panel_2, Avx512, rows 12, vectors 2);
panel_fn!(#[target_feature(enable = "avx512f")] adding_2, Avx512, rows 12, vectors 2, spread true);
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

/// Longer than a panel's share of the first-level cache: weights come from the second-level cache as fast as they are used, and
/// sums wait less often.
const LONG_CHUNK: usize = 4 * CHUNK;

transforms!(
    #[target_feature(enable = "avx512f")]
    WINOGRAD,
    Avx512, rows 8
);

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 16,
        step: 1,
        taps: 1,
        chunk: LONG_CHUNK,
        rows: 12,
        panels: &[panel_1, panel_2],
        adding: &[panel_1, adding_2],
        depthwise,
    },
    winograd: &WINOGRAD,
    peak,
    peak_operations: 24 * 16 * 2,
};

panel_fn!(#[target_feature(enable = "avx512f")] simulated_1, Simulate<Avx512>, rows 12, vectors 1);
panel_fn!(#[target_feature(enable = "avx512f")] simulated_2, Simulate<Avx512>, rows 12, vectors 2);
depthwise_fn!(
    #[target_feature(enable = "avx512f")]
    simulated_depthwise,
    Simulate<Avx512>
);

pub(super) static SIMULATED: Kernels<Simulated> = Kernels {
    lanes: 16,
    step: 1,
    taps: 1,
    chunk: simulated::CHUNK,
    rows: 12,
    panels: &[simulated_1, simulated_2],
    adding: &[simulated_1, simulated_2],
    depthwise: simulated_depthwise,
};

/// Exact sums by `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Vnni;

/// Pairs saturated to 16 bits by `vpmaddubsw`.
#[derive(Clone, Copy)]
struct Saturating;

macro_rules! integers {
    ($name:ty, $dot:expr) => {
        impl Integers for $name {
            type Register = __m512i;
            type Fours = __m512i;
            type Pairs = __m512i;
            const LANES: usize = 16;

            // SAFETY, for all of these: the caller is compiled for AVX-512 F, BW and VNNI, and its pointers reach.
            #[inline(always)]
            unsafe fn zero() -> __m512i {
                unsafe { _mm512_setzero_si512() }
            }
            #[inline(always)]
            unsafe fn load(from: *const i32) -> __m512i {
                unsafe { _mm512_loadu_si512(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i32, x: __m512i) {
                unsafe { _mm512_storeu_si512(to.cast(), x) }
            }
            #[inline(always)]
            unsafe fn splat(x: i32) -> __m512i {
                unsafe { _mm512_set1_epi32(x) }
            }
            #[inline(always)]
            unsafe fn extend_unsigned(from: *const u8) -> __m512i {
                unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) }
            }
            #[inline(always)]
            unsafe fn weight_fours(from: *const i8) -> __m512i {
                unsafe { _mm512_loadu_si512(from.cast()) }
            }
            #[inline(always)]
            unsafe fn input_fours(from: *const u8) -> __m512i {
                unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn dot_fours(sums: __m512i, u: __m512i, w: __m512i) -> __m512i {
                unsafe { $dot(sums, u, w) }
            }
            #[inline(always)]
            unsafe fn weight_pairs(from: *const i8) -> __m512i {
                unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
            }
            #[inline(always)]
            unsafe fn input_pairs(first: *const u8, last: *const u8) -> __m512i {
                unsafe {
                    let (first, last) =
                        (_mm_loadu_si128(first.cast()), _mm_loadu_si128(last.cast()));
                    let low = _mm_unpacklo_epi8(first, last);
                    let high = _mm_unpackhi_epi8(first, last);
                    _mm512_cvtepu8_epi16(_mm256_set_m128i(high, low))
                }
            }
            #[inline(always)]
            unsafe fn dot_pairs(sums: __m512i, u: __m512i, w: __m512i) -> __m512i {
                unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(u, w)) }
            }

            type Wide = Avx512;
            #[inline(always)]
            unsafe fn widen(x: __m512i) -> [__m512d; 2] {
                unsafe {
                    [
                        _mm512_cvtepi32_pd(_mm512_castsi512_si256(x)),
                        _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64::<1>(x)),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn narrow(x: [__m512d; 2]) -> __m512i {
                unsafe {
                    let (low, high) = (_mm512_cvtpd_epi32(x[0]), _mm512_cvtpd_epi32(x[1]));
                    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
                }
            }
            #[inline(always)]
            unsafe fn add(x: __m512i, y: __m512i) -> __m512i {
                unsafe { _mm512_add_epi32(x, y) }
            }
            #[inline(always)]
            unsafe fn clamp(x: __m512i, low: __m512i, high: __m512i) -> __m512i {
                unsafe { _mm512_min_epi32(_mm512_max_epi32(x, low), high) }
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, x: __m512i) {
                unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(x)) }
            }

            const SHIFTS: bool = true;
            #[inline(always)]
            unsafe fn shift_left(x: __m512i, by: i32) -> __m512i {
                unsafe { _mm512_sll_epi32(x, _mm_cvtsi32_si128(by)) }
            }
            #[inline(always)]
            unsafe fn scaled(sums: __m512i, by: &Constants<Self>) -> __m512i {
                unsafe {
                    let even = _mm512_mul_epi32(sums, by.factor);
                    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), by.next);
                    // The upper halves, those of the even lanes one lane down.
                    let high = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
                    _mm512_srav_epi32(_mm512_add_epi32(high, by.addend), by.shift)
                }
            }
            #[inline(always)]
            unsafe fn extend_some(from: *const u8, count: usize) -> __m512i {
                unsafe {
                    let mask = ((1_u32 << count.min(16)) - 1).into();
                    let some = _mm512_maskz_loadu_epi8(mask, from.cast());
                    _mm512_cvtepu8_epi32(_mm512_castsi512_si128(some))
                }
            }
            #[inline(always)]
            unsafe fn summed(v: __m512i, q: __m512i, sum: &Sum) -> __m512i {
                unsafe {
                    const UPPER: u32 = 0xaaaa_aaaa;
                    let pairs = _mm512_mask_blend_epi16(UPPER, v, _mm512_slli_epi32::<16>(q));
                    let products = |by: i32, and: i32| {
                        let products = _mm512_madd_epi16(pairs, _mm512_set1_epi32(by));
                        _mm512_add_epi32(products, _mm512_set1_epi32(and))
                    };
                    let low = products(sum.low, sum.low_addend);
                    let high = products(sum.high, sum.high_addend);
                    let all = _mm512_add_epi32(high, _mm512_srai_epi32::<16>(low));
                    _mm512_sra_epi32(all, _mm_cvtsi32_si128(sum.shift))
                }
            }
            #[inline(always)]
            unsafe fn store_pairs(
                [[a, b], [c, d]]: [[__m512i; 2]; 2],
                ends: [i32; 2],
                to: [*mut u8; 2],
                count: usize,
            ) {
                unsafe {
                    let bytes = packed([a, b, c, d], ends);
                    let low = _mm512_castsi512_si256(bytes);
                    let high = _mm512_extracti64x4_epi64::<1>(bytes);
                    if count == 32 {
                        _mm256_storeu_si256(to[0].cast(), low);
                        _mm256_storeu_si256(to[1].cast(), high);
                    } else {
                        store_some(low, to[0], count);
                        store_some(high, to[1], count);
                    }
                }
            }
            #[inline(always)]
            unsafe fn store_singles(
                codes: [__m512i; 4],
                ends: [i32; 2],
                to: [*mut u8; 4],
                count: usize,
            ) {
                unsafe {
                    let bytes = packed(codes, ends);
                    let four = [
                        _mm512_castsi512_si128(bytes),
                        _mm512_extracti32x4_epi32::<1>(bytes),
                        _mm512_extracti32x4_epi32::<2>(bytes),
                        _mm512_extracti32x4_epi32::<3>(bytes),
                    ];
                    if count == 16 {
                        _mm_storeu_si128(to[0].cast(), four[0]);
                        _mm_storeu_si128(to[1].cast(), four[1]);
                        _mm_storeu_si128(to[2].cast(), four[2]);
                        _mm_storeu_si128(to[3].cast(), four[3]);
                    } else {
                        for i in 0..4 {
                            store_some(_mm256_castsi128_si256(four[i]), to[i], count);
                        }
                    }
                }
            }
        }
    };
}
/// The lanes of four registers, one register's after the other's, as codes between the ends.
///
/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn packed([a, b, c, d]: [__m512i; 4], [low, high]: [i32; 2]) -> __m512i {
    unsafe {
        // Both packs saturate, which is a clamp, and take turns at the registers' quarters.
        let words = [_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)];
        let bytes = _mm512_packus_epi16(words[0], words[1]);
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let bytes = _mm512_permutexvar_epi32(order, bytes);
        let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(low as i8));
        _mm512_min_epu8(bytes, _mm512_set1_epi8(high as i8))
    }
}

/// The first `count` bytes, fewer than 32, in few pieces: stores under a mask take many cycles on some processors.
///
/// SAFETY: as for the functions above.
#[inline(always)]
pub(super) unsafe fn store_some(bytes: __m256i, mut to: *mut u8, count: usize) {
    unsafe {
        let mut rest = _mm256_castsi256_si128(bytes);
        if count & 16 != 0 {
            _mm_storeu_si128(to.cast(), rest);
            to = to.add(16);
            rest = _mm256_extracti128_si256::<1>(bytes);
        }
        if count & 8 != 0 {
            _mm_storel_epi64(to.cast(), rest);
            to = to.add(8);
            rest = _mm_srli_si128::<8>(rest);
        }
        let mut last = _mm_cvtsi128_si64(rest);
        for _ in 0..count % 8 {
            *to = last as u8;
            to = to.add(1);
            last >>= 8;
        }
    }
}

integers!(Vnni, _mm512_dpbusd_epi32);
integers!(Saturating, saturating_dot);

/// SAFETY: as for the functions above.
#[inline(always)]
unsafe fn saturating_dot(sums: __m512i, u: __m512i, w: __m512i) -> __m512i {
    unsafe {
        let pairs = _mm512_maddubs_epi16(u, w);
        _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
    }
}

panel_fn!(#[target_feature(enable = "avx512f,avx512bw,avx512vnni")] vnni_1, Whole<Vnni>, rows 12, vectors 1);
panel_fn!(#[target_feature(enable = "avx512f,avx512bw,avx512vnni")] vnni_2, Whole<Vnni>, rows 12, vectors 2);
panel_fn!(#[target_feature(enable = "avx512f,avx512bw")] saturating_1, Whole<Saturating>, rows 12, vectors 1);
panel_fn!(#[target_feature(enable = "avx512f,avx512bw")] saturating_2, Whole<Saturating>, rows 12, vectors 2);

/// With exact sums, and with saturating pairs.
pub(super) static INTEGER: [Kernels<Integer>; 2] = [
    quarters::kernels(kernels(16, 12, &[vnni_1, vnni_2], quarters::depthwise)),
    quarters::kernels(kernels(
        16,
        12,
        &[saturating_1, saturating_2],
        quarters::depthwise,
    )),
];

/// 32 words.
#[derive(Clone, Copy)]
struct Words512;

impl Words for Words512 {
    type Register = __m512i;
    const LANES: usize = 32;

    // SAFETY, for all of these: the caller is compiled for AVX-512 BW, and its pointers reach.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, x: __m512i) {
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn add(x: __m512i, y: __m512i) -> __m512i {
        unsafe { _mm512_add_epi16(x, y) }
    }
    #[inline(always)]
    unsafe fn sub(x: __m512i, y: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi16(x, y) }
    }
    #[inline(always)]
    unsafe fn twice(x: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi16::<1>(x) }
    }
    #[inline(always)]
    unsafe fn four_times(x: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi16::<2>(x) }
    }
}

impl Modular for Vnni {
    // SAFETY, for all of these: as for its other functions.
    #[inline(always)]
    unsafe fn dot_words(sums: __m512i, x: __m512i, y: __m512i) -> __m512i {
        unsafe { _mm512_dpwssd_epi32(sums, x, y) }
    }
    #[inline(always)]
    unsafe fn sub(x: __m512i, y: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(x, y) }
    }
    #[inline(always)]
    unsafe fn twice(x: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<1>(x) }
    }
    #[inline(always)]
    unsafe fn four_times(x: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<2>(x) }
    }
    #[inline(always)]
    unsafe fn multiply(x: __m512i, y: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(x, y) }
    }
    #[inline(always)]
    unsafe fn shift_right(x: __m512i, by: i32) -> __m512i {
        unsafe { _mm512_sra_epi32(x, _mm_cvtsi32_si128(by)) }
    }
}

word_kernels!(
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) WORDS,
    [Words512, Words256], Vnni, rows 12
);
