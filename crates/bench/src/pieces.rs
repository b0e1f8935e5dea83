//! The pieces of a reconstruction that are finished: a file each, whole or absent, so that a run that was stopped or killed goes on
//! behind the last one and ends in the same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use network::StateDict;
use train::{At, Course};

use crate::quantized::Around;

/// The folder of one run's pieces, and who watches.
pub struct Pieces<'a> {
    folder: Option<PathBuf>,
    around: &'a Around<'a>,
}

impl<'a> Pieces<'a> {
    /// Those of the folder of `around`, which is made where it is absent.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(around: &'a Around<'a>) -> Result<Self> {
        let folder = around.folder.map(|folder| folder.join("pieces"));
        if let Some(folder) = &folder {
            let made = std::fs::create_dir_all(folder);
            made.with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        Ok(Self { folder, around })
    }

    /// The file of the piece that ends in the value `name`.
    fn file(&self, name: &str) -> Option<PathBuf> {
        // A name from a file may be anything.
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '_'
            }
        };
        let file: String = name.chars().map(safe).collect();
        let folder = self.folder.as_ref()?;
        let twin = quantize::names::seed_of(0, name);
        Some(folder.join(format!("{file}-{twin:016x}.safetensors")))
    }
}

impl Course for Pieces<'_> {
    fn found(&self, name: &str) -> Option<StateDict> {
        let file = self.file(name)?;
        resnet::read_tensors(&file).ok()
    }

    fn finished(&self, name: &str, tensors: &StateDict) -> Result<(), String> {
        let Some(file) = self.file(name) else {
            return Ok(());
        };
        let bytes = resnet::to_safetensors(tensors, &BTreeMap::new());
        let bytes = bytes.map_err(|error| error.to_string())?;
        results::write_whole(&file, &bytes)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }

    fn iteration(&self, at: &At) {
        self.around.observer.reconstructed(at);
    }

    fn is_cancelled(&self) -> bool {
        self.around.cancelled.load(Ordering::Relaxed)
    }
}
