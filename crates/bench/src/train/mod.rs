//! Training, in float or with quantizers, from a seed to a file of weights that anyone can make again, byte for byte, on the
//! same machine.
//!
//! [`Config`] decides the bytes. [`Trainer`] runs epochs of steps: [`augment`] makes a batch, [`step`] its gradients (of whatever
//! network: [`learner`]; with quantizers: [`qat`]),
//! [`sgd`] moves the weights at the rate of [`schedule`], [`checkpoint`] keeps the state after each epoch. Nothing has
//! hidden state: an epoch is a function of the configuration, its number, the weights and the momentum buffers.

pub mod augment;
pub mod checkpoint;
pub mod config;
mod error;
pub mod learner;
pub mod log;
pub mod qat;
mod run;
pub mod schedule;
pub mod sgd;
pub mod step;

pub use augment::Augmentation;
pub use checkpoint::{Checkpoint, Folder};
pub use config::{Config, QatConfig};
pub use error::TrainError;
pub use learner::{Batch, Learner};
pub use log::Row;
pub use run::{Finish, Observer, StepReport, Trainer};
pub use schedule::Decay;
