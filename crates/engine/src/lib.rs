//! CPU inference of a lowered network.
//!
//! ```text
//! nodes --Graph::new (checked)--> Graph --Program::new (weights packed, memory planned)--> Program --run--> results
//! ```
//!
//! One image is the work of one thread: see [`Program`]. How a convolution becomes a matrix product is told in
//! `kernel/conv.rs`, what runs in registers in `kernel/mod.rs`.

mod buffer;
mod error;
mod graph;
mod kernel;
mod layout;
mod plan;
mod pool;
mod program;
#[cfg(test)]
mod reference;
mod shape;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use graph::{Conv, Graph, INPUT, Linear, Node, Op};
pub use kernel::{Isa, peak};
pub use program::{NodeInfo, Observation, Options, Program, Workspace};
pub use shape::{Padding, Shape, Window};
