//! Images in: every test set becomes one [`Dataset`] of 8-bit RGB images with labels.
//!
//! - [`mod@dataset`]: the common type: pixels, labels, content hash, normalised batches.
//! - [`error`]: what can go wrong, with the file and what to do about it.

pub mod dataset;
pub mod error;

pub use dataset::{Dataset, Normalization, Pixels, Record, Sampling, Source};
pub use error::Error;
