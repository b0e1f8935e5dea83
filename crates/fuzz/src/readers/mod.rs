//! The readers: for each kind of file a function from its bytes to what the program says of it.

mod images;
mod tables;
mod weights;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::mutate::Grammar;
pub(crate) use tables::EXPERIMENT;

/// What a reader says of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was read.
    Taken,
    /// It was refused in these words.
    Refused(String),
}

impl Verdict {
    /// Of a result, whose error says everything in its first message.
    pub fn of<T, E: Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Taken,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// A kind of file.
#[derive(Clone, Copy)]
pub struct Reader {
    /// Its name.
    pub name: &'static str,
    /// What it is made of.
    pub grammar: Grammar,
    /// Bytes that it may allocate beside a multiple of the input.
    pub memory: usize,
    /// Reads an input; `place` is an empty folder of its own, or one with what the last input left.
    pub read: fn(place: &Path, input: &[u8]) -> Verdict,
}

const MIB: usize = 1 << 20;

/// All of them.
pub const READERS: &[Reader] = &[
    reader("pth-zip", Grammar::Zip, 300, weights::checkpoint),
    reader("pth-legacy", Grammar::Pickle, 300, weights::checkpoint),
    reader("safetensors", Grammar::Safetensors, 64, weights::checkpoint),
    reader("quantizers", Grammar::Safetensors, 64, weights::quantizers),
    reader("onnx", Grammar::Protobuf, 300, weights::onnx),
    reader("cifar-binary", Grammar::Bytes, 16, images::cifar_binary),
    reader("cifar-python", Grammar::Pickle, 128, images::cifar_python),
    reader("image", Grammar::Image, 1500, images::image),
    reader("folder", Grammar::Tree, 1500, images::folder),
    reader("experiment", Grammar::Toml, 128, tables::experiment),
    reader("run", Grammar::Csv, 64, tables::run),
    reader("report", Grammar::Csv, 256, tables::report),
    reader("calibration", Grammar::Csv, 64, tables::calibration),
];

const fn reader(
    name: &'static str,
    grammar: Grammar,
    mib: usize,
    read: fn(&Path, &[u8]) -> Verdict,
) -> Reader {
    Reader {
        name,
        grammar,
        memory: mib * MIB,
        read,
    }
}

/// The input as a file of that name.
fn file(place: &Path, name: &str, input: &[u8]) -> PathBuf {
    let path = place.join(name);
    std::fs::write(&path, input).expect("the scratch folder can be written");
    path
}
