//! CPU inference of a lowered network.
//!
//! ```text
//! nodes --Graph::new (checked)--> Graph --Program::new (weights packed, memory planned)--> Program --run--> results
//! ```
//!
//! What trains a network instead, operation by operation, is [`training`].
//!
//! One image is the work of one thread: see [`Program`]. How a convolution becomes a matrix product is told in
//! `kernel/conv.rs`, what runs in registers in `kernel/mod.rs`.

mod buffer;
mod domain;
mod epilogue;
mod error;
mod exact;
mod function;
mod gather;
mod gemmlowp;
mod graph;
mod kernel;
mod layout;
mod moments;
mod ort;
mod plan;
mod planar;
mod pool;
mod product;
mod program;
#[cfg(test)]
mod reference;
mod shape;
mod shifted;
#[cfg(test)]
mod tests;
pub mod training;
mod typed;

pub use domain::{IntegerArithmetic, Requantize};
pub use epilogue::Multiplier;
pub use error::Error;
pub use function::Function;
pub use gather::{Axis, Gather};
pub use graph::{Clip, Code, Conv, Graph, INPUT, Linear, Node, Op};
pub use kernel::{Accumulator, Algorithm, Isa, peak};
pub use moments::{Moments, Products};
pub use product::{product, transposed};
pub use program::{
    Executed, Execution, NodeInfo, Observation, Options, Program, Variant, WHOLE_GROUPS, Workspace,
};
pub use shape::{Padding, Shape, Window};
