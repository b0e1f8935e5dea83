//! The errors of this crate: each names the file (or the value) and says what was expected or what to do.

use std::path::{Path, PathBuf};

/// Why a data set could not be opened, or a picture not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot read or write {}", line(path.display()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A folder holds none of the files that make up the data set, or only empty ones.
    #[error("{}: {expected} missing or empty; {advice}", line(folder.display()))]
    NoImages {
        /// The folder that was searched.
        folder: PathBuf,
        /// The file names that were looked for.
        expected: String,
        /// How to get them.
        advice: String,
    },
    /// A file's length is no whole number of rows.
    #[error(
        "{}: {found} bytes is not a whole number of {row}-byte rows ({} rows and {} bytes left over); \
         or more than a set has; the file is truncated or not in the binary layout: fetch it again",
        line(path.display()), found / row, found % row
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length of one row in bytes.
        row: u64,
    },
    /// A label names no class.
    #[error("{}: row {row} has label {found}, but labels go from 0 to {}; the file is damaged: fetch it again", line(path.display()), classes - 1)]
    Label {
        /// The file.
        path: PathBuf,
        /// The row, counted from 0.
        row: usize,
        /// The label found.
        found: u16,
        /// How many classes there are.
        classes: usize,
    },
    /// Pixels, records and sizes that were handed to [`crate::Dataset::new`] contradict one another.
    #[error("data set `{}`: {}", line(name), line(detail))]
    Inconsistent {
        /// The data set's name.
        name: String,
        /// The contradiction, with the values.
        detail: String,
    },
    /// A label that an offset moves to no output.
    #[error(
        "data set `{}`: image {} has label {label}, with labels.offset = {offset} output {}, but the network has \
         outputs 0 to {}; set another labels.offset",
        line(name), line(image), i64::from(*label) + i64::from(*offset), outputs.saturating_sub(1)
    )]
    LabelOffset {
        /// The data set's name.
        name: String,
        /// The image.
        image: String,
        /// Its label in the set.
        label: u16,
        /// What is added to it.
        offset: i32,
        /// How many outputs the network has.
        outputs: usize,
    },
    /// A file in the layout of CIFAR's Python version cannot be used.
    #[error(
        "{}: {}; expected is a batch of cifar-10-python.tar.gz or cifar-100-python.tar.gz as published, or take the \
         binary version (cifar-10-binary.tar.gz)",
        line(path.display()), line(problem)
    )]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A picture could not be encoded.
    #[error("{}: {}", line(path.display()), line(detail))]
    Encode {
        /// The file that was being written.
        path: PathBuf,
        /// What the encoder said.
        detail: String,
    },
    /// An image file cannot be decoded; the text says why, without the file's name.
    #[error("{}", line(detail))]
    Image {
        /// The reason.
        detail: String,
    },
    /// Some images of a folder cannot be decoded.
    #[error(
        "{}: {count} of {total} images cannot be read: {}; repair or remove them, or go on without them by --skip-unreadable",
        line(root.display()), line(examples)
    )]
    Unreadable {
        /// The data set's folder.
        root: PathBuf,
        /// How many.
        count: usize,
        /// Of how many image files.
        total: usize,
        /// The first few with their reasons.
        examples: String,
    },
    /// A class folder has no place in the class list, so its images have no label.
    #[error(
        "{}: this class is not one of the {classes} in {}; remove or rename the folder, or give the class list that the model was trained with (labels.class_list)",
        line(folder.display()), line(list)
    )]
    ClassNotListed {
        /// The class folder.
        folder: PathBuf,
        /// Where the classes come from.
        list: String,
        /// How many there are.
        classes: usize,
    },
    /// A class folder with more folders in it than any set has, by way of links.
    #[error("{}: more than {most} folders in this class, links counted as often as they lead there", line(folder.display()))]
    TooManyFolders {
        /// The class folder.
        folder: PathBuf,
        /// How many there may be.
        most: usize,
    },
    /// A class folder without images, where labels are counted over folders.
    #[error(
        "{}: no image in this class folder, yet it counts as a class; remove it, or give a class list (labels.class_list) if the class is meant to have none",
        line(folder.display())
    )]
    EmptyClass {
        /// The class folder.
        folder: PathBuf,
    },
    /// A class list cannot be used.
    #[error("{}: {}; a class list has one class name a line, in index order", line(path.display()), line(detail))]
    ClassList {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A size for resize or crop that makes no image.
    #[error("resize to {resize} and crop to {crop} pixels: both must be 1 to {largest}")]
    Geometry {
        /// Shorter side after the resize.
        resize: usize,
        /// Side of the crop.
        crop: usize,
        /// The largest that is allowed.
        largest: usize,
    },
}

impl Error {
    /// For `map_err`: an I/O error together with its file.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// `text` on one line of at most 800 characters, for names and words that come from files.
fn line(text: impl std::fmt::Display) -> String {
    message::one_line(text, 800)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_stay_on_one_line() {
        let error = Error::EmptyClass {
            folder: PathBuf::from("set/a\n\u{1b}[2Jb"),
        };
        let message = error.to_string();
        assert!(
            message.starts_with("set/a\\n\\u{1b}[2Jb: no image"),
            "{message}"
        );
    }
}
