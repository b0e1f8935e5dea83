//! Operations of our own on burn's flex device, with gradients of our own: what they share, and fake quantization.
//!
//! burn composes an operation such as equation (1) and (2) of the crate's header of ten of its own, each a pass over the
//! tensor on one thread that makes a new tensor, and as many again for the gradients. One operation makes one pass of it.
//!
//! | file | is |
//! |---|---|
//! | `apply` | tensors to slices and back, which tensors are on flex, an operation under autodiff |
//! | [`pool`] | buffers that are used again: a fresh one costs a page fault for every 4 KiB |
//! | `fake_quant` | quantization in training |

mod apply;
mod fake_quant;
pub mod pool;
#[cfg(test)]
mod tests;

pub use apply::{Argument, Tracked, apply, into_values, recycle, tensor, values};
pub use fake_quant::fake_quant;
