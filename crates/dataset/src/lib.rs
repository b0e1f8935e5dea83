//! Images in: every test set becomes one [`Dataset`] of 8-bit RGB images with labels.
//!
//! - [`mod@dataset`]: the common type: pixels, labels, content hash, normalised batches.
//! - [`mod@folder`]: class folders of JPEG and PNG images; [`decode`] and [`resize`] are its exact preprocessing, a cache
//!   keeps what they made.
//! - [`error`]: what can go wrong, with the file and what to do about it.

mod cache;
pub mod dataset;
pub mod decode;
pub mod error;
pub mod folder;
mod mmap;
pub mod resize;

pub use dataset::{Dataset, Normalization, Pixels, Record, Sampling, Source};
pub use error::Error;
pub use folder::FolderOptions;
