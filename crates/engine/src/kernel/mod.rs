//! What runs in registers: one loop, written once, for every instruction set and every pair of element types.
//!
//! A tile is `ROWS` output pixels times `V` vectors of output channels. For every tap and input channel it loads `V`
//! vectors of weights once, spreads one input value per pixel over a vector, and multiplies and adds; when the sums are
//! whole it hands them, still in registers, to the epilogue. Each output is summed by one chain in one order (taps row
//! by row, channels within a tap), so it does not depend on how the pixels are cut into tiles, groups and threads.
//!
//! An instruction set is an implementation of [`Lanes`]; a pair of element types with its epilogue is an
//! implementation of [`Arithmetic`].

#![allow(unsafe_code)]

mod avx2;
mod avx512;
mod conv;
mod depthwise;
mod doubles;
mod float;
mod integer;
mod isa;
mod neon;
mod outer;
mod peak;
mod portable;
mod quarters;
mod simulated;
mod tile;
mod transpose;
mod wide;
mod winograd;

pub use conv::Algorithm;
pub(crate) use conv::{Convolution, Convolve, Geometry, Maps};
pub(crate) use float::{Float32, FloatKernels, Post, VECTOR, float32};
pub use integer::Accumulator;
pub(crate) use integer::{Integer, IntegerPost, Rule, RuleArithmetic, integer};
pub use isa::Isa;
pub(crate) use outer::Outer;
pub use peak::peak;
pub(crate) use simulated::{Simulated, SimulatedPost, simulated};
pub(crate) use tile::{Added, Arithmetic, At, DepthwiseJob, Job, Kernels, Lanes, Segment};
pub(crate) use transpose::{Strides, transpose_blocks};
pub(crate) use wide::{Body, wide};
pub(crate) use winograd::{Kernels3x3, WeightGradient, Winograd, fits_winograd, whole_tiles};
