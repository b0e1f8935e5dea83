//! Residual networks: read from PyTorch checkpoints, folded, quantized, lowered for the CPU engine, run on burn devices.
//!
//! One network takes three forms here, and each step between them is one function:
//!
//! ```text
//! file --load--> StateDict (PyTorch names, float32, host) --quantize--> StateDict --lower--> engine::Graph
//!                                                                           └--from_state--> ResNet (burn module)
//! ```
//!
//! The burn module, and training, are behind the feature `burn`; the rest builds without it.
//!
//! [`Arch`] says which tensors a network has and in which order its layers run; everything else asks it.

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
pub use export::to_onnx;
pub use fold::fold;
pub use graph::{network, topology};
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
pub use random::random_state;
pub use sites::{
    ActivationQuantization, ShortcutPolicy, Site, SiteCodes, SiteRounding, SiteStatistics, Sites,
};
pub use units::{Unit, Units};
