//! What can go wrong in training, said so that the next command is clear.

#[cfg(feature = "burn")]
use std::path::Path;
use std::path::PathBuf;

use crate::evaluate::EvaluateError;

/// Why a training stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error("--{key} is {value}; allowed: {allowed}")]
    Setting {
        /// The option's name.
        key: String,
        /// What was given.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// The loss, a weight or a running statistic is NaN or infinite.
    #[error(
        "{what} is {value} in epoch {epoch}, step {step}; the last finished epoch is kept; try a smaller --lr or a longer --warmup"
    )]
    NotFinite {
        /// `the loss`, or the tensor's name.
        what: String,
        /// What it was.
        value: f64,
        /// From 1.
        epoch: usize,
        /// From 1, within the epoch.
        step: usize,
    },
    /// A label that the network has no output for.
    #[error("a training image has label {label}, but the network has {classes} classes")]
    Label {
        /// The label.
        label: u16,
        /// Outputs.
        classes: usize,
    },
    /// The images are not what the configuration was made for.
    #[error("{found} training images, but the configuration says {expected}")]
    Images {
        /// In the set.
        found: usize,
        /// In the configuration.
        expected: usize,
    },
    /// Resuming was asked for where nothing was begun.
    #[error("no checkpoint at {path}; start without --resume")]
    NoCheckpoint {
        /// Where it would be.
        path: PathBuf,
    },
    /// A fresh start was asked for where something was begun.
    #[error(
        "{folder} already holds a training ({epochs} epochs done); continue it with --resume or name another --checkpoint folder"
    )]
    Begun {
        /// The folder.
        folder: PathBuf,
        /// Epochs in it.
        epochs: usize,
    },
    /// Resuming with other settings.
    #[error(
        "the checkpoint in {folder} belongs to another training ({differences}); resume with its settings or name another --checkpoint folder"
    )]
    OtherConfig {
        /// The folder.
        folder: PathBuf,
        /// Setting by setting.
        differences: String,
    },
    /// The checkpoint file is damaged or somebody else's.
    #[error("cannot use {path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process holds the folder.
    #[error(
        "another process is training into {folder}; wait for it or name another --checkpoint folder"
    )]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint could not be put into words.
    #[error("cannot write the checkpoint: {0}")]
    Header(String),
    /// The weights and the network do not go together.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// Something cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] quantize::Error),
    /// A step could not be computed.
    #[cfg(feature = "burn")]
    #[error(transparent)]
    Pass(#[from] train::Error),
    /// The network cannot be tested.
    #[error(transparent)]
    Executable(#[from] crate::executable::Error),
    /// Threads could not be started.
    #[error("cannot start a worker thread: {0}; try fewer --threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A worker failed.
    #[error("training step failed: {0}; try a smaller --batch")]
    Worker(String),
    /// Testing failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

impl TrainError {
    #[cfg(feature = "burn")]
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    #[cfg(feature = "burn")]
    pub(super) fn header(error: impl std::fmt::Display) -> Self {
        Self::Header(error.to_string())
    }
}
