//! Networks read from checkpoints, folded, quantized, lowered for the CPU engine, run on burn devices, trained and exported.
//!
//! A network takes four forms, and each step between them is one function:
//!
//! ```text
//! file --load--> network::Network --quantize--> QuantizedNet --lower_quantized--> engine::Graph
//!                                                   ├--OnDevice--> a forward pass of burn
//!                                                   └--export--> an ONNX file
//! ```
//!
//! Every step works on the graph of a [`network::Topology`] and knows no family; `families` and [`Arch`] say which graph
//! a PyTorch checkpoint belongs to. The forward pass of burn, and training, are behind the feature `burn`; the rest builds without it.

mod arch;
mod checkpoint;
mod error;
mod export;
mod families;
mod fold;
#[cfg(feature = "burn")]
mod forward;
mod graph;
mod lower;
#[cfg(feature = "burn")]
mod module;
#[cfg(feature = "burn")]
mod on_device;
#[cfg(feature = "burn")]
pub mod ops;
pub mod qat;
mod quantize;
#[cfg(all(test, feature = "burn"))]
mod quantized_tests;
mod random;
mod sites;
mod units;

pub use arch::{Arch, BN_EPSILON, BlockSpec, ConvUnit, Family, Layout, Shortcut};
pub use checkpoint::{
    Checkpoint, Extra, Reading, Rename, load, load_as, read_tensors, save_safetensors,
};
pub use error::Error;
pub use export::{Form, to_onnx};
pub use fold::fold;
pub use graph::{network, topology, topology_named};
pub use lower::{Epilogue, lower, lower_layer, lower_quantized};
#[cfg(feature = "burn")]
pub use module::{Block, Downsample, ResNet};
pub use network::{HostTensor, StateDict};
#[cfg(feature = "burn")]
pub use on_device::{OnDevice, Tap};
pub use quantize::{
    BiasPolicy, BnMode, Decision, LayerReport, QuantizedNet, WeightCodes, WeightQuantization,
    float_manifest, quantize,
};
pub use random::{random_network, random_state};
pub use sites::{
    ActivationQuantization, ShortcutPolicy, Site, SiteCodes, SiteRounding, SiteStatistics, Sites,
};
pub use units::{Unit, Units};
