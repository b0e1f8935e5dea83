//! Operations of our own on burn's flex device, with gradients of our own: what they share.
//!
//! burn composes an operation such as fake quantization of ten of its own, each a pass over the
//! tensor on one thread that makes a new tensor, and as many again for the gradients. One operation makes one pass of it.
//!
//! | file | is |
//! |---|---|
//! | `apply` | tensors to slices and back, which tensors are on flex, an operation under autodiff |
//! | [`pool`] | buffers that are used again: a fresh one costs a page fault for every 4 KiB |

mod apply;
pub mod pool;

/// Why operations on slices do not fail here.
pub const LENGTHS: &str = "slices are as long as the shapes that they were made from";

pub use apply::{Argument, apply, into_values, recycle, tensor, values};
