//! resnet
mod error;
mod state_dict;

pub use error::Error;
pub use state_dict::{HostTensor, StateDict};
