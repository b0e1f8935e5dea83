//! A convolutional network as data: a graph of plain operations and its named float tensors.

mod error;
mod tensors;

pub use error::{Error, quoted};
pub use tensors::{HostTensor, StateDict, hex};
