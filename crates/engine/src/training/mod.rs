//! What training a convolutional network takes, as functions on slices: a convolution with its two gradients, batch
//! normalisation, clipping and fake quantization with their own.
//!
//! Maps are `[n, c, h, w]`, row-major float32, as tensors are; inside, an image at a time is turned into the layout that the
//! kernels want, while it is in the cache. Work is spread over the threads of the rayon pool in which a function is called.
//! What it computes does not depend on their number: every element of a map is made by one thread in one order, and sums
//! over images are made of partial sums over *fixed* blocks of images, which are added in the order of the blocks.

mod batch_norm;
mod clip;
mod conv;
mod fake_quant;
mod input_gradient;
mod scratch;
mod sums;
#[cfg(test)]
mod tests;
mod weight_gradient;
mod winograd;

pub use batch_norm::{BatchNorm, BatchNormGradients, Statistics};
pub use clip::{add_clip, clip, clip_gradient};
pub use conv::Conv2d;
pub use fake_quant::{FakeQuant, StepGrid};

/// An image's share of a thread's work is some of these; more of them cost room, fewer cost calls.
fn images_per_task(images: usize) -> usize {
    // Twice as many tasks as threads, so that a thread that is held up by others does not hold up all.
    images
        .div_ceil(2 * rayon::current_num_threads().max(1))
        .max(1)
}
