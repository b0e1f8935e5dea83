//! A convolutional network as data: a graph of plain operations and its named float tensors.
//!
//! A [`Topology`] says what is computed from what, a [`Network`] with which numbers. Nothing here computes: `engine` runs what a network
//! is lowered to.

mod digest;
mod error;
mod network;
pub mod onnx;
mod op;
mod tensors;
mod topology;
mod words;

pub use error::{Error, quoted};
pub use network::Network;
pub use op::{Op, Wanted};
pub use tensors::{HostTensor, StateDict, hex};
pub use topology::{Node, NodeId, Topology, Value};
