//! How long whole sweeps take: an experiment from the start of the program to its end, cell by cell, and the same cells as one
//! would write them in PyTorch.
//!
//! Ours is `quantlab sweep` with a results folder of its own, empty in the beginning. What a peer reads is written
//! before its clock starts. Rounds of ours and of the peer take turns, as everywhere in [`crate::throughput`].

mod peer;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use results::{Store, SweepTimeRow, metric};

use super::machine::Machine;
use super::measure::OURS;
use super::settings::Settings;
use super::spread::Spread;
use crate::cli::Folders;
use crate::experiment::Experiment;
use crate::plan::{PlannedRun, plan};
use crate::python::Hold;
use crate::registry::Registry;
use crate::sources::Sources;
use crate::sweep::whole_network;
use peer::Material;

/// The peer's name in tables and files.
const PEER: &str = "pytorch";

/// What was asked for, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepTimes {
    /// What it was measured with.
    pub settings: Settings,
    /// What it was measured on.
    pub machine: Machine,
    /// The peer's versions; `None` without one.
    pub peer: Option<String>,
    /// The experiments.
    pub sweeps: Vec<SweepTime>,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepTime {
    /// Its name.
    pub experiment: String,
    /// The network, as the plan calls it.
    pub network: String,
    /// Test images of a cell.
    pub images: usize,
    /// In the order of the plan.
    pub cells: Vec<CellTime>,
    /// From the start of the process to its end, in seconds.
    pub ours: Spread,
    /// The peer's process.
    pub peer: Option<Spread>,
    /// The peer's seconds over ours, in neighbouring rounds.
    pub ratio: Option<Spread>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellTime {
    /// The settings that vary, for people.
    pub label: String,
    /// What it was executed in.
    pub executed: String,
    /// Seconds of ours, and the images it got right.
    pub ours: (Spread, u64),
    /// The same of the peer.
    pub peer: Option<(Spread, u64)>,
}

/// Seconds of rounds, and of each cell with its hits.
#[derive(Default)]
struct Rounds {
    whole: Vec<f64>,
    cells: Vec<(Vec<f64>, u64)>,
}

impl Rounds {
    fn add(&mut self, whole: f64, cells: impl Iterator<Item = (f64, u64)>) {
        self.whole.push(whole);
        for (place, (seconds, hits)) in cells.enumerate() {
            if place == self.cells.len() {
                self.cells.push((Vec::new(), hits));
            }
            self.cells[place].0.push(seconds);
        }
    }
}

/// Measures the sweeps of `settings`; `bar` counts rounds, `hold` gets the peer's process.
///
/// # Errors
/// An experiment that cannot be planned, a run that fails, a peer that fails.
pub fn measure_sweeps(
    settings: &Settings,
    folders: &Folders,
    bar: &ProgressBar,
    hold: &Hold,
) -> Result<SweepTimes> {
    let own = std::env::current_exe().context("this program does not know where it lies")?;
    bar.set_length((settings.sweeps.len() * settings.rounds) as u64);
    let mut peer = None;
    let mut sweeps = Vec::new();
    for file in &settings.sweeps {
        let mut experiment = Experiment::read(file)?;
        for assignment in &settings.set {
            experiment.set(assignment)?;
        }
        let registry = Registry::open(&folders.data)?;
        let decoding = crate::cli::decoding_bar();
        let mut sources = Sources::new(registry, &folders.cache, false, decoding);
        let runs = plan(&experiment, &mut sources)?;
        let python = settings.peers.as_deref();
        let material = python.map(|_| Material::new(&runs)).transpose()?;
        let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
        let mut executed = Vec::new();
        for _ in 0..settings.rounds {
            bar.set_message(format!("{}: quantlab", experiment.name));
            executed = our_round(
                &mut ours,
                &own,
                (file, &experiment, &runs),
                settings,
                folders,
            )?;
            if let (Some(material), Some(python)) = (&material, python) {
                bar.set_message(format!("{}: PyTorch", experiment.name));
                let made = material.sweep(&runs, (python, settings.threads), hold)?;
                let cells = made.cells.into_iter();
                let seconds = cells.map(|(time, hits)| (time.as_secs_f64(), hits));
                theirs.add(made.whole.as_secs_f64(), seconds);
                peer = Some(made.versions);
            }
            bar.inc(1);
        }
        if bar.is_hidden() {
            eprintln!("{}: measured", experiment.name);
        }
        let time = sweep_time(&experiment.name, &runs, (&ours, &theirs), &executed);
        sweeps.push(time.ok_or_else(|| anyhow!("{}: nothing was run", experiment.name))?);
    }
    bar.finish_and_clear();
    Ok(SweepTimes {
        settings: settings.clone(),
        machine: Machine::detect(settings),
        peer,
        sweeps,
    })
}

/// One sweep of ours, added to `rounds`; what each run was executed in.
fn our_round(
    rounds: &mut Rounds,
    own: &Path,
    (file, experiment, runs): (&Path, &Experiment, &[PlannedRun]),
    settings: &Settings,
    folders: &Folders,
) -> Result<Vec<String>> {
    let results = tempfile::tempdir()?;
    let mut command = Command::new(own);
    command
        .arg("sweep")
        .arg(file)
        .arg("--results")
        .arg(results.path());
    command.arg("--threads").arg(settings.threads.to_string());
    command.arg("--data").arg(&folders.data);
    command.arg("--cache").arg(&folders.cache);
    for assignment in &settings.set {
        command.args(["--set", assignment]);
    }
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", own.display()))?;
    let whole = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default().to_owned();
        bail!(
            "the sweep {} ended with {}: {last}",
            experiment.name,
            output.status
        );
    }
    let store = Store::existing(results.path())?;
    let mut cells = Vec::new();
    let mut executed = Vec::new();
    for run in runs {
        let made = store.read(&experiment.name, &run.run_id)?;
        let hits = whole_network(&made, metric::TOP1_CORRECT).unwrap_or_default();
        cells.push((made.row.seconds, hits as u64));
        executed.push(made.row.executed.unwrap_or_default());
    }
    rounds.add(whole, cells.into_iter());
    Ok(executed)
}

fn sweep_time(
    experiment: &str,
    runs: &[PlannedRun],
    (ours, theirs): (&Rounds, &Rounds),
    executed: &[String],
) -> Option<SweepTime> {
    let spread = |(seconds, hits): &(Vec<f64>, u64)| Some((Spread::of(seconds)?, *hits));
    let cells = runs.iter().zip(executed).enumerate();
    let cells = cells.map(|(place, (run, executed))| {
        Some(CellTime {
            label: run.label.clone(),
            executed: executed.clone(),
            ours: spread(&ours.cells[place])?,
            peer: theirs.cells.get(place).and_then(spread),
        })
    });
    let pairs = theirs.whole.iter().zip(&ours.whole);
    let ratios: Vec<f64> = pairs.map(|(theirs, ours)| theirs / ours).collect();
    let first = runs.first()?;
    Some(SweepTime {
        experiment: experiment.to_owned(),
        network: first.model.name.clone(),
        images: first.set.data.len(),
        cells: cells.collect::<Option<_>>()?,
        ours: Spread::of(&ours.whole)?,
        peer: Spread::of(&theirs.whole),
        ratio: Spread::of(&ratios),
    })
}

impl SweepTimes {
    /// The rows of `sweeps.csv`: of every experiment each cell, and the whole process with an empty one.
    pub fn rows(&self) -> Vec<SweepTimeRow> {
        let mut rows = Vec::new();
        for sweep in &self.sweeps {
            let mut push = |cell: &str, who: &str, seconds: &Spread, hits: Option<u64>| {
                rows.push(SweepTimeRow {
                    experiment: sweep.experiment.clone(),
                    cell: cell.to_owned(),
                    who: who.to_owned(),
                    threads: self.settings.threads as u32,
                    images: sweep.images as u64,
                    seconds: seconds.median,
                    seconds_min: seconds.min,
                    seconds_max: seconds.max,
                    top1_correct: hits,
                    n: seconds.n as u64,
                });
            };
            for cell in &sweep.cells {
                push(&cell.label, OURS, &cell.ours.0, Some(cell.ours.1));
                if let Some((seconds, hits)) = &cell.peer {
                    push(&cell.label, PEER, seconds, Some(*hits));
                }
            }
            push("", OURS, &sweep.ours, None);
            if let Some(peer) = &sweep.peer {
                push("", PEER, peer, None);
            }
        }
        rows
    }
}
