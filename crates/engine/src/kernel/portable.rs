//! Plain Rust, for processors that have none of the others. Product and sum are rounded apart: without the
//! instruction, a fused multiply-add is a function call.

use crate::kernel::doubles::Array;
use crate::kernel::float::{CHUNK, FloatKernels, Floats, peak_rounds};
use crate::kernel::integer::{Integers, Whole, kernels};
use crate::kernel::simulated::{self, Simulate};
use crate::kernel::tile::{depthwise_fn, panel_fn};
use crate::kernel::winograd::{Modular, Words, transforms, word_kernels};
use crate::kernel::{Integer, Kernels, Simulated};

#[derive(Clone, Copy)]
struct Portable;

impl Floats for Portable {
    type Register = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    // SAFETY, for the next three: the caller's pointers reach.
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_splat(from: *const f32) -> [f32; 4] {
        unsafe { [*from; 4] }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: [f32; 4]) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        [x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]]
    }
    #[inline(always)]
    unsafe fn multiply_add(x: [f32; 4], y: [f32; 4], z: [f32; 4]) -> [f32; 4] {
        [
            x[0] * y[0] + z[0],
            x[1] * y[1] + z[1],
            x[2] * y[2] + z[2],
            x[3] * y[3] + z[3],
        ]
    }
    #[inline(always)]
    unsafe fn at_least(x: [f32; 4], floor: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if x[i] < floor[i] { floor[i] } else { x[i] })
    }
    #[inline(always)]
    unsafe fn at_most(x: [f32; 4], ceiling: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if x[i] > ceiling[i] { ceiling[i] } else { x[i] })
    }

    type Wide = Array<4>;
    #[inline(always)]
    unsafe fn widen(x: [f32; 4]) -> [f64; 4] {
        x.map(f64::from)
    }
    #[inline(always)]
    unsafe fn narrow(x: [f64; 4]) -> [f32; 4] {
        x.map(|x| x as f32)
    }
}

panel_fn!(panel_1, Portable, rows 4, vectors 1);
panel_fn!(panel_2, Portable, rows 4, vectors 2);
depthwise_fn!(depthwise, Portable);

unsafe fn peak(rounds: u64) -> f32 {
    // SAFETY: no instruction set to promise.
    unsafe { peak_rounds::<Portable, 8>(rounds) }
}

transforms!(WINOGRAD, Portable, rows 4);

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 4,
        step: 1,
        taps: 1,
        chunk: CHUNK,
        rows: 4,
        panels: &[panel_1, panel_2],
        adding: &[panel_1, panel_2],
        depthwise,
    },
    winograd: &WINOGRAD,
    peak,
    peak_operations: 8 * 4 * 2,
};

panel_fn!(simulated_1, Simulate<Portable>, rows 4, vectors 1);
panel_fn!(simulated_2, Simulate<Portable>, rows 4, vectors 2);
depthwise_fn!(simulated_depthwise, Simulate<Portable>);

pub(super) static SIMULATED: Kernels<Simulated> = Kernels {
    lanes: 4,
    step: 1,
    taps: 1,
    chunk: simulated::CHUNK,
    rows: 4,
    panels: &[simulated_1, simulated_2],
    adding: &[simulated_1, simulated_2],
    depthwise: simulated_depthwise,
};

/// Exact sums.
#[derive(Clone, Copy)]
struct Exact;

/// Pairs saturated to 16 bits.
#[derive(Clone, Copy)]
struct Saturating;

macro_rules! integers {
    ($name:ty, $dot:expr) => {
        impl Integers for $name {
            type Register = [i32; 4];
            type Fours = [[u8; 4]; 4];
            type Pairs = [[i32; 2]; 4];
            const LANES: usize = 4;

            // SAFETY, where there is something to promise: the caller's pointers reach.
            #[inline(always)]
            unsafe fn zero() -> [i32; 4] {
                [0; 4]
            }
            #[inline(always)]
            unsafe fn load(from: *const i32) -> [i32; 4] {
                unsafe { from.cast::<[i32; 4]>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i32, x: [i32; 4]) {
                unsafe { to.cast::<[i32; 4]>().write_unaligned(x) }
            }
            #[inline(always)]
            unsafe fn splat(x: i32) -> [i32; 4] {
                [x; 4]
            }
            #[inline(always)]
            unsafe fn extend_unsigned(from: *const u8) -> [i32; 4] {
                unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(i32::from)
            }
            #[inline(always)]
            unsafe fn weight_fours(from: *const i8) -> [[u8; 4]; 4] {
                unsafe { from.cast::<[[u8; 4]; 4]>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn input_fours(from: *const u8) -> [[u8; 4]; 4] {
                [unsafe { from.cast::<[u8; 4]>().read_unaligned() }; 4]
            }
            #[inline(always)]
            unsafe fn dot_fours(sums: [i32; 4], u: [[u8; 4]; 4], w: [[u8; 4]; 4]) -> [i32; 4] {
                std::array::from_fn(|lane| {
                    let (u, w) = (u[lane], w[lane]);
                    let product = |i: usize| i32::from(u[i]) * i32::from(w[i] as i8);
                    sums[lane].wrapping_add($dot(product))
                })
            }
            #[inline(always)]
            unsafe fn weight_pairs(from: *const i8) -> [[i32; 2]; 4] {
                unsafe { from.cast::<[[i8; 2]; 4]>().read_unaligned() }.map(|w| w.map(i32::from))
            }
            #[inline(always)]
            unsafe fn input_pairs(first: *const u8, last: *const u8) -> [[i32; 2]; 4] {
                let four = |from: *const u8| unsafe { from.cast::<[u8; 4]>().read_unaligned() };
                let (first, last) = (four(first), four(last));
                std::array::from_fn(|lane| [first[lane], last[lane]].map(i32::from))
            }
            #[inline(always)]
            unsafe fn dot_pairs(sums: [i32; 4], u: [[i32; 2]; 4], w: [[i32; 2]; 4]) -> [i32; 4] {
                std::array::from_fn(|lane| {
                    let [first, last] = [0, 1].map(|i| u[lane][i] * w[lane][i]);
                    sums[lane].wrapping_add(first + last)
                })
            }

            type Wide = Array<4>;
            #[inline(always)]
            unsafe fn widen(x: [i32; 4]) -> [f64; 4] {
                x.map(f64::from)
            }
            #[inline(always)]
            unsafe fn narrow(x: [f64; 4]) -> [i32; 4] {
                x.map(|x| x.round_ties_even() as i32)
            }
            #[inline(always)]
            unsafe fn add(x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
                std::array::from_fn(|i| x[i].wrapping_add(y[i]))
            }
            #[inline(always)]
            unsafe fn clamp(x: [i32; 4], low: [i32; 4], high: [i32; 4]) -> [i32; 4] {
                std::array::from_fn(|i| x[i].max(low[i]).min(high[i]))
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, x: [i32; 4]) {
                unsafe { to.cast::<[u8; 4]>().write_unaligned(x.map(|x| x as u8)) }
            }

            const SHIFTS: bool = true;
        }
    };
}
integers!(Exact, exact_dot);
integers!(Saturating, saturating_dot);

#[inline(always)]
fn exact_dot(product: impl Fn(usize) -> i32) -> i32 {
    product(0) + product(1) + product(2) + product(3)
}

#[inline(always)]
fn saturating_dot(product: impl Fn(usize) -> i32) -> i32 {
    let pair = |i: usize| (product(i) + product(i + 1)).clamp(i16::MIN.into(), i16::MAX.into());
    pair(0) + pair(2)
}

panel_fn!(exact_1, Whole<Exact>, rows 4, vectors 1);
panel_fn!(exact_2, Whole<Exact>, rows 4, vectors 2);
depthwise_fn!(exact_depthwise, Whole<Exact>);
panel_fn!(saturating_1, Whole<Saturating>, rows 4, vectors 1);
panel_fn!(saturating_2, Whole<Saturating>, rows 4, vectors 2);
depthwise_fn!(saturating_depthwise, Whole<Saturating>);

/// With exact sums, and with saturating pairs.
pub(super) static INTEGER: [Kernels<Integer>; 2] = [
    kernels(4, 4, &[exact_1, exact_2], exact_depthwise),
    kernels(4, 4, &[saturating_1, saturating_2], saturating_depthwise),
];

/// Eight words.
#[derive(Clone, Copy)]
struct Eight;

impl Words for Eight {
    type Register = [i16; 8];
    const LANES: usize = 8;

    // SAFETY, where there is something to promise: the caller's pointers reach.
    #[inline(always)]
    unsafe fn load(from: *const u8) -> [i16; 8] {
        unsafe { from.cast::<[u8; 8]>().read_unaligned() }.map(i16::from)
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, x: [i16; 8]) {
        unsafe { to.cast::<[i16; 8]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(x: [i16; 8], y: [i16; 8]) -> [i16; 8] {
        std::array::from_fn(|i| x[i] + y[i])
    }
    #[inline(always)]
    unsafe fn sub(x: [i16; 8], y: [i16; 8]) -> [i16; 8] {
        std::array::from_fn(|i| x[i] - y[i])
    }
    #[inline(always)]
    unsafe fn twice(x: [i16; 8]) -> [i16; 8] {
        x.map(|x| 2 * x)
    }
    #[inline(always)]
    unsafe fn four_times(x: [i16; 8]) -> [i16; 8] {
        x.map(|x| 4 * x)
    }
}

impl Modular for Exact {
    #[inline(always)]
    unsafe fn dot_words(sums: [i32; 4], x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| {
            let words = |pair: i32| [pair as i16, (pair >> 16) as i16].map(i32::from);
            let (x, y) = (words(x[lane]), words(y[lane]));
            sums[lane]
                .wrapping_add(x[0] * y[0])
                .wrapping_add(x[1] * y[1])
        })
    }
    #[inline(always)]
    unsafe fn sub(x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| x[i].wrapping_sub(y[i]))
    }
    #[inline(always)]
    unsafe fn twice(x: [i32; 4]) -> [i32; 4] {
        x.map(|x| x.wrapping_mul(2))
    }
    #[inline(always)]
    unsafe fn four_times(x: [i32; 4]) -> [i32; 4] {
        x.map(|x| x.wrapping_mul(4))
    }
    #[inline(always)]
    unsafe fn multiply(x: [i32; 4], y: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| x[i].wrapping_mul(y[i]))
    }
    #[inline(always)]
    unsafe fn shift_right(x: [i32; 4], by: i32) -> [i32; 4] {
        x.map(|x| x >> by)
    }
}

word_kernels!(pub(super) WORDS, [Eight, Eight], Exact, rows 4);
