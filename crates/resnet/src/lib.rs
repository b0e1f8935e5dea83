//! Networks from files: PyTorch's checkpoints and their families, safetensors, ONNX.
//!
//! `families` and [`Arch`] say which graph a file of tensors belongs to; [`load`] reads any of them into a [`Checkpoint`], whose
//! network knows no family any more. The feature `burn` adds a ResNet as a module of burn's.

mod arch;
mod checkpoint;
mod error;
mod families;
mod graph;
#[cfg(feature = "burn")]
mod module;
mod random;

pub use arch::{Arch, BN_EPSILON, BlockSpec, ConvUnit, Family, Layout, Shortcut};
pub use checkpoint::{
    Checkpoint, Extra, Reading, Rename, load, load_as, read_tensors, to_safetensors,
};
pub use error::Error;
pub use families::is_told_by_tensors;
pub use graph::{network, topology, topology_named};
#[cfg(feature = "burn")]
pub use module::{Block, Downsample, ResNet};
pub use random::{random_network, random_state};
