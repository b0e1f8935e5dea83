//! The same cells in a Python process ([`crate::python`]) that speaks the protocol which `peer.py` describes at its top.
//!
//! What it reads lies in a folder, numbers little-endian: `tensors.bin` (float32) with names and extents in `tensors.txt`,
//! `images.bin` and `calibration.bin` (float32, normalised, `[n, c, h, w]`), `labels.bin` (int64), and `shape.txt` (`c h w`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use dataset::Dataset;
use tempfile::TempDir;

use crate::plan::PlannedRun;
use crate::python::{Hold, Python, Script, expect};

const SCRIPT: Script = Script {
    text: include_str!("peer.py"),
    packages: "torch and numpy",
};

/// Columns that say which network and images it is, or what no other program could follow: hashes and machines.
const NOT_TOLD: [&str; 7] = [
    "model_",
    "dataset",
    "images",
    "seed",
    "device",
    "execution",
    "convolution",
];

/// What a peer reads, ready.
pub(super) struct Material {
    folder: TempDir,
    arch: String,
}

/// One sweep of a peer.
pub(super) struct PeerSweep {
    /// From the start of the process to its end.
    pub whole: Duration,
    /// Of each cell, how long it took, and its hits.
    pub cells: Vec<(Duration, u64)>,
    /// The versions of its packages.
    pub versions: String,
}

impl Material {
    /// Writes network and images of `runs`, which all have the same.
    ///
    /// # Errors
    /// Runs of several networks or sets; a network without the name of an architecture; a folder that cannot be written.
    pub fn new(runs: &[PlannedRun]) -> Result<Self> {
        let first = runs.first().context("there is nothing to run")?;
        let same = |run: &PlannedRun| {
            run.model.checkpoint.sha256 == first.model.checkpoint.sha256
                && run.set.sha256 == first.set.sha256
        };
        if !runs.iter().all(same) {
            bail!("a peer takes one network and one set of images: leave one of each with --set");
        }
        let checkpoint = &first.model.checkpoint;
        let arch = checkpoint.arch.as_ref();
        let arch = arch.ok_or_else(|| anyhow!("{} is no ResNet by name", first.model.name))?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| -> Result<BufWriter<File>> {
            Ok(BufWriter::new(File::create(folder.path().join(name))?))
        };
        let (mut names, mut values) = (file("tensors.txt")?, file("tensors.bin")?);
        for (name, tensor) in checkpoint.network.tensors() {
            let extents: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            writeln!(names, "{name} {}", extents.join(" "))?;
            floats(&mut values, &tensor.data)?;
        }
        let data = &first.set.data;
        pixels(&mut file("images.bin")?, data)?;
        let mut labels = file("labels.bin")?;
        for image in 0..data.len() {
            labels.write_all(&i64::from(data.label(image)).to_le_bytes())?;
        }
        let mut calibration = file("calibration.bin")?;
        if let Some(set) = runs.iter().find_map(|run| run.calibration.as_ref()) {
            pixels(&mut calibration, &set.data)?;
        }
        let (height, width) = (data.height(), data.width());
        writeln!(file("shape.txt")?, "3 {height} {width}")?;
        for mut written in [names, values, labels, calibration] {
            written.flush()?;
        }
        Ok(Self {
            folder,
            arch: arch.name(),
        })
    }

    /// All of `runs` in a process of its own that uses `threads` threads. `hold` gets the process.
    ///
    /// # Errors
    /// If `python` cannot be started, lacks a package, or fails at a cell, which the error names.
    pub fn sweep(
        &self,
        runs: &[PlannedRun],
        (python, threads): (&Path, usize),
        hold: &Hold,
    ) -> Result<PeerSweep> {
        let started = Instant::now();
        let mut process = Python::start(python, SCRIPT, threads, hold)?;
        let folder = self.folder.path();
        let ready = process.ask(&format!("load {} {}", self.arch, folder.display()))?;
        expect("ready", &ready)?;
        let mut cells = Vec::new();
        for run in runs {
            let begun = Instant::now();
            let answer = process.ask(&request(run));
            let answer = answer.with_context(|| run.label.clone())?;
            let hits = answer.parse();
            let hits = hits.with_context(|| format!("--peers: `{answer}` is no number of hits"))?;
            cells.push((begun.elapsed(), hits));
        }
        let versions = std::mem::take(&mut process.versions);
        drop(process);
        Ok(PeerSweep {
            whole: started.elapsed(),
            cells,
            versions,
        })
    }
}

/// The cell in the words of its columns.
fn request(run: &PlannedRun) -> String {
    let is_told = |column: &str| !NOT_TOLD.iter().any(|start| column.starts_with(start));
    // The calibration images lie in the folder.
    let is_set = |column: &str| ["calibration_dataset", "calibration_images"].contains(&column);
    let columns = run.config.columns().into_iter();
    let told = columns.filter(|(name, text)| is_told(name) && !is_set(name) && !text.is_empty());
    let words = told.map(|(name, text)| format!(" {name}={text}"));
    format!("cell{}", words.collect::<String>())
}

fn pixels(to: &mut BufWriter<File>, data: &Dataset) -> Result<()> {
    let mut image = vec![0.0; data.image_len()];
    for at in 0..data.len() {
        data.write_image(at, &mut image);
        floats(to, &image)?;
    }
    Ok(to.flush()?)
}

fn floats(to: &mut BufWriter<File>, values: &[f32]) -> Result<()> {
    for value in values {
        to.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}
