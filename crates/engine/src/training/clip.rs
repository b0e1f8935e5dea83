//! min(max(x, low), high), of a value and of a sum, with the gradient
//!
//! ```text
//! dx = dy where low < y < high, else 0
//! ```
//!
//! which needs y alone. A NaN stays one.

use rayon::prelude::*;

use crate::graph::Clip;
use crate::kernel::{Body, Isa, wide};

/// Values that a thread takes at once.
const RUN: usize = 32 << 10;

/// `x` in place. The ends are below and above; infinite ones cut nothing off.
pub fn clip(x: &mut [f32], ends: [f32; 2]) {
    let isa = Isa::best();
    x.par_chunks_mut(RUN)
        .for_each(|x| wide(isa, Work::Clip(x, ends)));
}

/// The same of `a + b`, in `a`. What one has more of than the other stays as it is.
pub fn add_clip(a: &mut [f32], b: &[f32], ends: [f32; 2]) {
    let isa = Isa::best();
    a.par_chunks_mut(RUN)
        .zip(b.par_chunks(RUN))
        .for_each(|(a, b)| wide(isa, Work::Add(a, b, ends)));
}

/// The gradient `dy` of `y`, which was clipped, becomes that of what was clipped.
pub fn clip_gradient(y: &[f32], dy: &mut [f32], ends: [f32; 2]) {
    let isa = Isa::best();
    dy.par_chunks_mut(RUN)
        .zip(y.par_chunks(RUN))
        .for_each(|(dy, y)| wide(isa, Work::Gradient(dy, y, ends)));
}

/// What the functions above do with a part of their slices.
enum Work<'a> {
    Clip(&'a mut [f32], [f32; 2]),
    Add(&'a mut [f32], &'a [f32], [f32; 2]),
    Gradient(&'a mut [f32], &'a [f32], [f32; 2]),
}

impl Body for Work<'_> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        match self {
            Self::Clip(x, ends) => x.iter_mut().for_each(|x| *x = clipped(*x, ends)),
            Self::Add(a, b, ends) => {
                let pairs = a.iter_mut().zip(b);
                pairs.for_each(|(a, b)| *a = clipped(*a + b, ends));
            }
            Self::Gradient(dy, y, ends) => {
                let pairs = dy.iter_mut().zip(y);
                pairs.for_each(|(dy, y)| *dy = masked(*y, *dy, ends));
            }
        }
    }
}

/// A value that was cut off; a NaN stays one.
#[inline(always)]
pub(super) fn clipped(y: f32, [low, high]: [f32; 2]) -> f32 {
    Clip { low, high }.of(y)
}

/// The gradient before a clipping that was given `y` or made it.
#[inline(always)]
pub(super) fn masked(y: f32, dy: f32, [low, high]: [f32; 2]) -> f32 {
    // Both compared: a short circuit would be a branch.
    if (y > low) & (y < high) { dy } else { 0.0 }
}
