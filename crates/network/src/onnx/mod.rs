//! ONNX files in, `net.onnx` to a [`crate::Network`], and out ([`Writer`]).
//!
//! | file | is |
//! |---|---|
//! | `proto` | the messages |
//! | `file` | bytes to messages; numbers in files beside the model |
//! | `constant` | tensors of numbers |
//! | `view` | reshaped and transposed tensors, as what they are in maps |
//! | `import` | the walk: names, order, what is left in the end |
//! | `operators` | what each operator becomes; one line names it |
//! | `write` | files out |
//!
//! A file comes from anywhere: every extent and every product of extents is checked before memory is taken, nothing recurses along the
//! graph, and what is not understood is refused by the operator's name.

mod constant;
mod file;
mod import;
mod operators;
mod proto;
mod view;
mod write;

use std::path::Path;

pub use file::looks_like;
pub use import::Imported;
pub use write::{Attribute, Integer, Writer};

use crate::error::Error;

/// Reads the network in `path`.
///
/// # Errors
/// [`Error::Onnx`] for a file that is no model, is damaged, or holds what is not read; errors of [`crate::Network::new`].
pub fn read(path: &Path) -> Result<Imported, Error> {
    let (model, file_sha256) = file::open(path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let found = import::import(model, folder.unwrap_or(Path::new(".")))?;
    Ok(Imported {
        file_sha256,
        ..found
    })
}
