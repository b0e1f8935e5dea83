//! A sweep on many machines: which share a task of a job array is ([`array`]), the scripts that a Slurm cluster runs ([`slurm`]), and who
//! works on what ([`status`]).
//!
//! Tasks take runs from the shared results folder, one after the other, whichever is free: none waits for a share of its own that is slow,
//! and one that is killed leaves its run to the others (`results::Holder`). What nobody had finished when the last task left is made by the
//! job behind them, which writes the tables.

mod array;
mod slurm;
mod status;

pub use array::{Task, job, task};
pub use slurm::{Job, Request, Tasks};
pub use status::{Standing, standing};
