//! Images in: every test set becomes one [`Dataset`] of 8-bit RGB images with labels.
//!
//! - [`mod@dataset`]: the common type: pixels, labels, content hash, normalised batches.
//! - [`normalization`]: from 8-bit values to what a network sees.
//! - [`synthetic`]: ten kinds of things, generated from a seed; needs no file.
//! - [`cifar`]: CIFAR-10 and CIFAR-100, binary and Python versions.
//! - [`mod@folder`]: class folders of JPEG and PNG images; [`decode`] and [`resize`] are its exact preprocessing, and a
//!   cache keeps what they made.
//! - [`mod@contact_sheet`]: many images on one sheet, to look at; [`mod@thumbnail`]: one image, small.
//! - [`error`]: what can go wrong, with the file and what to do about it.

mod cache;
pub mod cifar;
pub mod contact_sheet;
pub mod dataset;
pub mod decode;
pub mod error;
pub mod folder;
mod mmap;
pub mod normalization;
pub mod resize;
pub mod synthetic;
#[cfg(test)]
#[path = "../../../testing/data.rs"]
mod testing;
pub mod thumbnail;

pub use contact_sheet::{Picture, contact_sheet};
pub use dataset::{Dataset, Pixels, Record, Sampling, Source};
pub use error::Error;
pub use folder::FolderOptions;
pub use normalization::Normalization;
pub use thumbnail::thumbnail;
