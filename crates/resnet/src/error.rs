//! What can go wrong between a checkpoint file and a network.
//!
//! Every message is one line that names the file or the tensor, what was found and what was allowed. Text that comes
//! out of a file (tensor names, keys, type names) is untrusted: it enters a message only through [`network::quoted`], which
//! shortens it and escapes control characters.

use std::path::PathBuf;

pub(crate) use network::quoted;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: missing path, permissions, a disk that is full.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// More than a file may hold.
    #[error("no file can be made of the tensors: {reason}")]
    Write {
        /// What is too much.
        reason: String,
    },

    /// The path leads to a folder, a device, a pipe or a socket.
    #[error("{}: not a regular file but {what}; a checkpoint is a .pth, .th, .pt or .safetensors file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
        /// "a directory", "a device", ...
        what: &'static str,
    },

    /// The file is larger than any ResNet checkpoint.
    #[error("{}: {size} bytes is more than the {limit} bytes that a ResNet checkpoint may have", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// The file is no checkpoint, is damaged, or holds something that is refused (code, a memory bomb).
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What a file holds is refused; the inner error names the tensor.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// [`Error::TensorsDiffer`], [`Error::Unrecognised`], [`Error::ElementType`] or [`Error::NonFinite`].
        error: Box<Error>,
    },

    /// More than one dictionary of the file could be the weights.
    #[error("{}: more than one network in this file: {candidates}; choose one with model.key", path.display())]
    AmbiguousStateDict {
        /// The file.
        path: PathBuf,
        /// The keys that lead to them, each with its architecture.
        candidates: String,
    },

    /// No tensor lies under the key that was asked for.
    #[error("no tensor lies under model.key = {key}; the outermost keys are {known}")]
    NoSuchKey {
        /// The key, quoted.
        key: String,
        /// The first parts of the names in the file.
        known: String,
    },

    /// The tensors are not those of the architecture; all differences in one line.
    #[error("{arch}: {differences}")]
    TensorsDiffer {
        /// The architecture's name.
        arch: String,
        /// Missing, unused and misshapen tensors, counted and (up to a bound) named.
        differences: String,
    },

    /// A word that is none of a setting's.
    #[error("{key} = {value}: allowed are {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// The word, quoted.
        value: String,
        /// The words it may be.
        allowed: &'static str,
    },

    /// A tensor that is missing or misshapen.
    #[error(transparent)]
    Network(#[from] network::Error),

    /// A tensor of a type that no weight has.
    #[error(
        "tensor {tensor}: values of type {dtype}; weights are float32, float16, bfloat16 or float64"
    )]
    ElementType {
        /// The tensor, quoted.
        tensor: String,
        /// Its element type.
        dtype: String,
    },

    /// A tensor holds NaN or infinity.
    #[error("tensor {tensor}: {value} at index {index}; every weight must be a finite float32")]
    NonFinite {
        /// The tensor, quoted.
        tensor: String,
        /// Row-major index of the first such value.
        index: usize,
        /// The value as stored in the file.
        value: f64,
    },

    /// A variance below zero.
    #[error(
        "tensor {tensor}: {value} at index {index}; a variance is never negative (averaged checkpoints: average the weights alone and estimate the statistics again)"
    )]
    NegativeVariance {
        /// The tensor, quoted.
        tensor: String,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },

    /// A name that is no architecture.
    #[error("unknown architecture {name}; known: {known}")]
    UnknownArch {
        /// The name, quoted.
        name: String,
        /// The names that are known.
        known: String,
    },

    /// Tensor names and shapes that belong to no architecture of this crate.
    #[error("these tensors are no ResNet that is known here: {reason}")]
    Unrecognised {
        /// What is missing or strange.
        reason: String,
    },
}
