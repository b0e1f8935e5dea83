//! Training, in float or with quantizers, from a seed to a file of weights that anyone can make again, byte for byte, on the
//! same machine.
//!
//! `Config` decides the bytes. `Trainer` runs epochs of steps: `augment` makes a batch, `step` its gradients (of whatever
//! network: `learner`; in float: `float`, with quantizers: `qat`),
//! `sgd` moves the weights at the rate of [`schedule`], `checkpoint` keeps the state after each epoch. Nothing has
//! hidden state: an epoch is a function of the configuration, its number, the weights and the momentum buffers.
//!
//! What computes is behind the feature `burn`; what a sweep says of a training without making one is not.

#[cfg(feature = "burn")]
pub mod augment;
#[cfg(feature = "burn")]
pub mod checkpoint;
#[cfg(feature = "burn")]
pub mod config;
mod error;
#[cfg(feature = "burn")]
pub mod float;
#[cfg(feature = "burn")]
pub mod learner;
pub mod log;
mod observer;
#[cfg(feature = "burn")]
pub mod qat;
#[cfg(feature = "burn")]
mod run;
pub mod schedule;
#[cfg(feature = "burn")]
pub mod sgd;
#[cfg(feature = "burn")]
pub mod step;

#[cfg(feature = "burn")]
pub use augment::Augmentation;
#[cfg(feature = "burn")]
pub use checkpoint::{Checkpoint, Folder};
#[cfg(feature = "burn")]
pub use config::{Config, QatConfig};
pub use error::TrainError;
#[cfg(feature = "burn")]
pub use learner::{Batch, Learner};
pub use log::Row;
pub use observer::{Nobody, Observer, StepReport};
#[cfg(feature = "burn")]
pub use run::{Finish, Trainer};
pub use schedule::Decay;
