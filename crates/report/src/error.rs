//! The errors of this crate.

use std::io;
use std::path::PathBuf;

use results::one_line;

/// Why a table or a plot could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run folder could not be read, or is of another schema.
    #[error(transparent)]
    Results(#[from] results::Error),
    /// polars could not combine rows.
    #[error("{path}: {problem}", path = one_line(path.display()), problem = first_line(error))]
    Polars {
        /// The file or the experiment's folder.
        path: PathBuf,
        /// What polars said.
        error: polars::error::PolarsError,
    },
    /// An experiment without a run.
    #[error("no runs in {path}; `sweep` puts them there", path = one_line(path.display()))]
    Empty {
        /// The experiment's folder.
        path: PathBuf,
    },
    /// Rows that must be one.
    #[error("{path}: {rows} rows for metric `{metric}` of layer `{layer}` in run {run_id}, allowed is 1", metric = one_line(metric), layer = one_line(layer), run_id = one_line(run_id), path = one_line(path.display()))]
    Duplicate {
        /// The experiment's folder.
        path: PathBuf,
        /// The run.
        run_id: String,
        /// The layer; empty for the network.
        layer: String,
        /// The metric.
        metric: String,
        /// Number of rows.
        rows: usize,
    },
    /// Files of one run, or a run and its float run, that contradict each other.
    #[error("{path}: {problem}", path = one_line(path.display()), problem = one_line(problem))]
    Disagree {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        problem: String,
    },
    /// A README without a proper pair of markers.
    #[error("markers `<!-- {marker}:begin -->` and `<!-- {marker}:end -->`: {problem}")]
    Marker {
        /// Name of the marker.
        marker: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Numbers that cannot be drawn.
    #[error("histogram of `{layer}`: {problem}", layer = one_line(layer), problem = one_line(problem))]
    Histogram {
        /// The layer.
        layer: String,
        /// What is wrong.
        problem: String,
    },
    /// A file could not be written or read.
    #[error("cannot {action} {path}: {error}", path = one_line(path.display()))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// polars adds advice for programmers below its message; a user gets the message.
fn first_line(error: &polars::error::PolarsError) -> String {
    error
        .to_string()
        .lines()
        .next()
        .map(one_line)
        .unwrap_or_default()
}
