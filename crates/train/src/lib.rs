//! A network on a burn device: one forward pass, whose hooks make it inference, a look at layers, training in float or training with
//! quantizers.
//!
//! ```text
//! Network --OnDevice--> logits             its layers in float, values rounded between them
//! StateDict --Tensors--> forward_float     logits, gradients and running statistics by name
//!                   └--> qat::Qat          the same with quantizers; in the end a quantize::QuantizedNet
//! ```
//!
//! What computes is behind the feature `burn`; what a training with quantizers is, how it begins and what comes of it is not.

#[cfg(feature = "burn")]
mod error;
#[cfg(feature = "burn")]
mod float;
#[cfg(feature = "burn")]
mod forward;
#[cfg(feature = "burn")]
mod initial;
#[cfg(all(test, feature = "burn"))]
mod module_tests;
#[cfg(feature = "burn")]
mod normalized;
#[cfg(feature = "burn")]
mod on_device;
#[cfg(feature = "burn")]
pub mod ops;
pub mod qat;
#[cfg(all(test, feature = "burn"))]
mod quantized_tests;
mod reconstruct;
#[cfg(feature = "burn")]
mod tensors;
#[cfg(feature = "burn")]
mod workers;

#[cfg(feature = "burn")]
pub use error::Error;
#[cfg(feature = "burn")]
pub use float::forward_float;
#[cfg(feature = "burn")]
pub use initial::initial;
#[cfg(feature = "burn")]
pub use on_device::{OnDevice, Tap};
pub use reconstruct::{At, Reconstruction};
#[cfg(feature = "burn")]
pub use reconstruct::{Course, reconstruct};
#[cfg(feature = "burn")]
pub use tensors::{Measured, Probe, Tensors, add_part};
#[cfg(feature = "burn")]
pub use workers::{Workers, shards};
