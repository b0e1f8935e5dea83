//! The files to begin with: what the repository has (experiments, checkpoints, images), what is made here, and the corpus, inputs of long
//! rounds that were worth keeping (`corpus/READER/`).

mod images;
mod onnx;
mod tables;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::readers::Reader;

/// The repository's folder `crates`.
fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The seeds of a reader.
///
/// # Errors
/// A file that cannot be read.
pub fn of(reader: &Reader) -> Result<Vec<Vec<u8>>> {
    let mut found = match reader.name {
        "pth-zip" => weights::zips()?,
        "pth-legacy" => weights::legacy()?,
        "safetensors" => weights::safetensors(),
        "quantizers" => weights::quantizers()?,
        "onnx" => onnx::models(),
        "cifar-binary" => images::cifar_binary(),
        "cifar-python" => images::cifar_python(),
        "image" => images::images()?,
        "folder" => images::folders()?,
        "experiment" => tables::experiments()?,
        "run" | "report" => tables::runs()?,
        "calibration" => tables::calibrations()?,
        _ => Vec::new(),
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(reader.name);
    if corpus.is_dir() {
        found.extend(files(&corpus)?);
    }
    Ok(found)
}

/// The files of a folder, by name.
///
/// # Errors
/// One that cannot be read.
pub fn files(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths
        .iter()
        .filter(|path| path.is_file())
        .map(|path| read(path))
        .collect()
}

/// Those whose names end so.
fn with_ending(folder: &Path, ending: &str) -> Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    let named = paths
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending));
    named
        .map(|path| fs::read(path).with_context(|| path.display().to_string()))
        .collect()
}
