//! Reconstruction: the codes of weights, biases and the steps of activations, found together by gradients, piece by piece in the order
//! of execution, so that each piece of the quantized network makes of its own input what the float network makes there
//! ([`quantize::blocks`]; BRECQ, Li et al. 2021, arXiv 2102.05426; QDrop, Wei et al. 2022, arXiv 2203.05740).
//!
//! It begins with any quantized network ([`latent`] tells where). A piece whose error over all images is no smaller afterwards keeps
//! what it had. The result is a [`quantize::QuantizedNet`] as every other.

#[cfg(feature = "burn")]
mod adam;
#[cfg(feature = "burn")]
mod latent;
#[cfg(feature = "burn")]
mod pass;
#[cfg(feature = "burn")]
mod run;
#[cfg(feature = "burn")]
mod search;

use quantize::Extent;

#[cfg(feature = "burn")]
pub use run::{Course, reconstruct};

/// How pieces are reconstructed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconstruction {
    /// The pieces.
    pub extent: Extent,
    /// Steps for each.
    pub iterations: usize,
    /// Images a step.
    pub batch: usize,
    /// How far weights move in a step at first, in codes.
    pub rate: f64,
    /// How far biases, scales of weights and steps of activations do, in units of themselves.
    pub scale_rate: f64,
    /// The share of numbers that stay unrounded in the search.
    pub drop: f64,
    /// Of batches and of what is dropped.
    pub seed: u64,
}

impl Default for Reconstruction {
    fn default() -> Self {
        Self {
            extent: Extent::Block,
            iterations: 1000,
            batch: 32,
            rate: 3e-3,
            scale_rate: 1e-3,
            drop: 0.5,
            seed: 0,
        }
    }
}

/// Where a search is.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Pieces finished, and of how many.
    pub block: (usize, usize),
    /// Iterations made, and of how many.
    pub iteration: (usize, usize),
    /// Of the last batch.
    pub loss: f64,
}
