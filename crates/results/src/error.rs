//! The errors of this crate. Each names the file or folder it is about, what was found there and what was allowed, and
//! says all of it in its own text, so that a chain of causes does not say it twice.

use std::io;
use std::path::{Path, PathBuf};

/// Why a result could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {path}: {error}", path = one_line(path.display()))]
    Io {
        /// What was tried, as a verb phrase ("read", "lock").
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// A name that becomes part of a path, and may not.
    #[error("{what} `{name}` is not allowed: {allowed}", name = one_line(name))]
    Name {
        /// "experiment" or "run id".
        what: &'static str,
        /// The name given.
        name: String,
        /// The rule.
        allowed: &'static str,
    },
    /// The header of a file is not the one this version writes.
    #[error("{path}: {problem}; this version reads schema {allowed}", problem = one_line(problem), path = one_line(path.display()))]
    Columns {
        /// The file.
        path: PathBuf,
        /// The first difference, in words.
        problem: String,
        /// [`crate::SCHEMA`].
        allowed: u32,
    },
    /// A file of another schema version.
    #[error("{path}: schema version `{found}`, this version reads {allowed}", found = one_line(found), path = one_line(path.display()))]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: String,
        /// [`crate::SCHEMA`].
        allowed: u32,
    },
    /// A line of a file that cannot be read as a row.
    #[error("{path}, line {line}: {problem}", problem = one_line(problem), path = one_line(path.display()))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line the record starts at, from 1.
        line: u64,
        /// The column and what is wrong with its value.
        problem: String,
    },
    /// A file with a wrong number of rows.
    #[error("{path}: {found} rows, but it must hold exactly {allowed}", path = one_line(path.display()))]
    RowCount {
        /// The file.
        path: PathBuf,
        /// Rows in the file.
        found: usize,
        /// Rows it must have.
        allowed: usize,
    },
    /// A run that contradicts itself.
    #[error("run {run_id}: {problem}", run_id = one_line(run_id), problem = one_line(problem))]
    Run {
        /// The run.
        run_id: String,
        /// The contradiction.
        problem: String,
    },
    /// A calibration table that contradicts itself.
    #[error("calibration of `{site}`: {problem}", site = one_line(site), problem = one_line(problem))]
    Calibration {
        /// The activation site.
        site: String,
        /// The contradiction.
        problem: String,
    },
    /// A file that is too long to be what it should be.
    #[error("{path}: {found} bytes, but at most {allowed} are read", path = one_line(path.display()))]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes in the file.
        found: u64,
        /// Bytes it may have.
        allowed: u64,
    },
    /// A run folder that lacks a file or whose name is not its run's id. Deleting the folder makes the run due again.
    #[error("{path}: {problem}; delete the folder to have the run done again", problem = one_line(problem), path = one_line(path.display()))]
    Folder {
        /// The run folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A successful run is never overwritten.
    #[error("{path} holds a finished run, which is never overwritten", path = one_line(path.display()))]
    AlreadyComplete {
        /// The run folder.
        path: PathBuf,
    },
}

impl Error {
    /// For `map_err`: an [`Error::Io`] that knows its path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |error| Error::Io {
            action,
            path,
            error,
        }
    }
}

/// `text` on one line of at most 400 characters, for words that come from a file: [`message::one_line`].
pub fn one_line(text: impl std::fmt::Display) -> String {
    message::one_line(text, 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_file_stay_on_one_line_of_bounded_length() {
        let error = Error::Line {
            path: PathBuf::from("a\nb.csv"),
            line: 3,
            problem: format!("column `\u{1b}[2J\u{202e}{}`", "x".repeat(5000)),
        };
        let message = error.to_string();
        assert!(
            message.starts_with("a\\nb.csv, line 3: column `\\u{1b}[2J\\u{202e}xxx"),
            "{message}"
        );
        assert!(message.len() < 500 && !message.contains(char::is_control));
    }
}
