//! The program's commands, and what they share: experiments to plans, plans to runs, runs to the results folder.
//!
//! ```text
//! experiments/*.toml -> experiment -> settings -> plan -> sweep -> measure -> evaluate -> network
//!                          data/*.toml -> registry -> sources -^
//! ```

pub mod agreement;
pub mod allocated;
pub mod assumptions;
pub mod calibration;
pub mod chance;
pub mod checkout;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod device;
pub mod environment;
pub mod evaluate;
pub mod executable;
pub mod experiment;
pub mod export;
pub mod fetch;
pub mod hints;
pub mod home;
pub mod input;
pub mod inspect;
pub mod measure;
mod misspelt;
pub mod observe;
pub mod page;
pub mod papers;
#[cfg(feature = "burn")]
mod pieces;
pub mod plan;
pub mod progress;
pub mod python;
#[cfg(feature = "burn")]
pub mod qat;
pub mod quantized;
pub mod reference;
pub mod registry;
pub mod sensitivity;
pub mod settings;
pub mod single;
pub mod sources;
pub mod sweep;
pub mod tapped;
#[cfg(test)]
mod testing;
pub mod throughput;
pub mod train;
