//! The operations that training spends its time in, faster than burn's where the device is flex.
//!
//! Each function here computes what burn's own computes and has its gradients. On the flex device, plain or under autodiff, it
//! runs [`engine::training`]: convolutions by the inference kernels, everything spread over the threads of the rayon pool
//! that it is called in, with results that do not depend on their number. On any other device (and under gradient
//! checkpointing, which wants to compute an operation twice) it *is* burn's own, so that a network is written once.
//!
//! | file | is |
//! |---|---|
//! | `conv`, `batch_norm`, `clip`, `fake_quant` | an operation each: values, gradients, the function that chooses |
//! | `flex` | tensors to slices and back, and which tensors are on flex |
//!
//! An operation that alone holds its operand overwrites it. Gradients are consumed one after another and most have one reader,
//! so backward passes run in place; forward passes do where nobody has kept the operand for a backward of its own.

mod batch_norm;
mod clip;
mod conv;
mod fake_quant;
#[cfg(test)]
mod fake_quant_tests;
mod flex;
#[cfg(test)]
mod tests;

pub use batch_norm::{Normalized, batch_norm_train};
pub use clip::{Ends, RELU, add_clip, clip, clip_each};
pub use conv::conv2d;
pub use fake_quant::{fake_quant, fake_quant_in_part};
