//! Plain Rust, for processors that have none of the others. Product and sum are rounded apart: without the
//! instruction, a fused multiply-add is a function call.

use crate::kernel::Kernels;
use crate::kernel::float::{FloatKernels, Floats, peak_rounds};
use crate::kernel::tile::{depthwise_fn, panel_fn};

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
}

panel_fn!(panel_1, Portable, rows 4, vectors 1);
panel_fn!(panel_2, Portable, rows 4, vectors 2);
depthwise_fn!(depthwise, Portable);

unsafe fn peak(rounds: u64) -> f32 {
    // SAFETY: no instruction set to promise.
    unsafe { peak_rounds::<Portable, 8>(rounds) }
}

pub(super) static FLOAT32: FloatKernels = FloatKernels {
    kernels: Kernels {
        lanes: 4,
        step: 1,
        rows: 4,
        panels: &[panel_1, panel_2],
        depthwise,
    },
    peak,
    peak_operations: 8 * 4 * 2,
};
