//! Runs a plan: skips what is there, lets other processes work beside it, keeps what is finished whatever happens.
//!
//! Every run has a lock that the operating system frees when its process dies, and a claim that tells other machines so. A run that
//! somebody else holds is left to him and looked at again after the others, until he is done or gone; so is one whose float run
//! somebody else holds, since it needs its predictions.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use results::{Run, Status, Store};

use crate::chance::warning;
use crate::device::{Target, WITHOUT_BURN};
use crate::environment::Environment;
use crate::experiment::Experiment;
use crate::export::ExportFolder;
use crate::measure::{Bench, Gathered, by_image};
use crate::plan::PlannedRun;
use crate::progress::Progress;

/// How a sweep ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs made now.
    pub made: usize,
    /// Runs that were there already, or that another process made meanwhile.
    pub skipped: usize,
    /// Runs that gave an error.
    pub failed: usize,
    /// Runs that others work on, left to them.
    pub left: usize,
    /// Whether Ctrl-C ended it.
    pub cancelled: bool,
}

/// How often one who waits for others looks.
const WAIT: Duration = Duration::from_millis(300);

/// Where and how a plan is run.
pub struct Sweep<'a> {
    /// The experiment's name.
    pub experiment: &'a str,
    /// The results folder.
    pub store: &'a Store,
    /// Where trainings keep their checkpoints.
    pub trainings: &'a Path,
    /// Worker threads.
    pub threads: usize,
    /// Whether it ends when nothing is free, though others still work on some.
    pub leaves: bool,
    /// Raised by Ctrl-C.
    pub cancelled: Arc<AtomicBool>,
    /// Where the networks of finished runs go, if anywhere.
    pub export: Option<&'a ExportFolder>,
}

impl Sweep<'_> {
    /// Runs all of `runs` that are not complete.
    pub fn run(&self, runs: &[&PlannedRun]) -> Result<Summary> {
        self.store.clean(self.experiment)?;
        for run in runs {
            if !self.store.is_complete(self.experiment, &run.run_id)? {
                check_built(run)?;
            }
        }
        let environment = Environment::detect();
        let progress = Progress::new(runs.len());
        let gathered = Gathered::default();
        let mut summary = Summary::default();
        let mut baselines: HashMap<String, HashMap<String, u16>> = HashMap::new();
        let mut left: Vec<(usize, &PlannedRun)> = runs.iter().copied().enumerate().collect();
        while !left.is_empty() {
            let (mut held, mut behind) = (Vec::new(), 0);
            let before = left.len();
            for (index, run) in std::mem::take(&mut left) {
                if self.cancelled.load(Ordering::Relaxed) {
                    summary.cancelled = true;
                    break;
                }
                if self.store.is_complete(self.experiment, &run.run_id)? {
                    summary.skipped += 1;
                    progress.skip();
                    self.exported(run, None, &gathered, &progress)?;
                    continue;
                }
                // What it is compared with is being made elsewhere.
                if held
                    .iter()
                    .any(|(_, own): &(_, &PlannedRun)| own.run_id == run.baseline)
                {
                    held.push((index, run));
                    behind += 1;
                    continue;
                }
                let Some(_lock) = self.store.try_lock(self.experiment, &run.run_id)? else {
                    held.push((index, run));
                    continue;
                };
                // Between the look and the lock somebody may have finished it.
                if self.store.is_complete(self.experiment, &run.run_id)? {
                    summary.skipped += 1;
                    progress.skip();
                    self.exported(run, None, &gathered, &progress)?;
                    continue;
                }
                let target = Target::open(run.config.text("device"))?;
                let bar = progress.start(index, run);
                let bench = Bench {
                    experiment: self.experiment,
                    target: &target,
                    threads: self.threads,
                    environment: &environment,
                    cancelled: &self.cancelled,
                    gathered: &gathered,
                    trainings: self.trainings,
                    observer: &bar,
                };
                let result = self.baseline_of(run, &mut baselines).and_then(|baseline| {
                    bench.measure(run, baseline, &|images, hits| bar.add(images, hits))
                });
                if self.cancelled.load(Ordering::Relaxed) {
                    summary.cancelled = true;
                    break;
                }
                let finished = match result {
                    Ok(finished) => finished,
                    Err(error) => bench.failed(run, &error),
                };
                match self.store.write(&finished) {
                    Ok(_) => {}
                    // Another machine took the run over while this one slept: the same bytes, made twice.
                    Err(results::Error::AlreadyComplete { .. }) => {
                        summary.skipped += 1;
                        progress.skip();
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                progress.finish(index, run, &finished);
                match finished.row.status {
                    Status::Ok => {
                        summary.made += 1;
                        self.exported(run, Some(finished), &gathered, &progress)?;
                    }
                    Status::Failed => summary.failed += 1,
                }
            }
            if summary.cancelled {
                break;
            }
            if self.leaves && behind == 0 {
                summary.left = held.len();
                break;
            }
            if held.len() == before {
                std::thread::sleep(WAIT);
            }
            left = held;
        }
        progress.close();
        Ok(summary)
    }

    /// Exports a finished run that quantizes something, if that is asked for. What its form does not have is said and no fault of the
    /// sweep.
    fn exported(
        &self,
        run: &PlannedRun,
        finished: Option<Run>,
        gathered: &Gathered,
        progress: &Progress,
    ) -> Result<()> {
        let Some(folder) = self.export.filter(|_| !run.is_baseline()) else {
            return Ok(());
        };
        // Before the run is read: most of a sweep that is made again are there.
        if folder.has(self.experiment, &run.run_id) {
            return Ok(());
        }
        let finished = match finished {
            Some(finished) => finished,
            None => self.store.read(self.experiment, &run.run_id)?,
        };
        let how = (self.trainings, gathered, self.threads);
        if let Err(error) = folder.write(run, &finished, how, &self.cancelled)
            && !self.cancelled.load(Ordering::Relaxed)
        {
            let (label, id) = (&run.label, &run.run_id);
            progress.say(&format!("{label} ({id}) is not exported: {error:#}"));
        }
        Ok(())
    }

    fn baseline_of<'m>(
        &self,
        run: &PlannedRun,
        known: &'m mut HashMap<String, HashMap<String, u16>>,
    ) -> Result<Option<&'m HashMap<String, u16>>> {
        if run.is_baseline() {
            return Ok(None);
        }
        if !known.contains_key(&run.baseline) {
            if !self.store.is_complete(self.experiment, &run.baseline)? {
                bail!(
                    "its float run {} failed, so there is nothing to compare with",
                    run.baseline
                );
            }
            let float = self.store.read(self.experiment, &run.baseline)?;
            known.insert(run.baseline.clone(), by_image(&float));
        }
        Ok(known.get(&run.baseline))
    }

    /// One line for each finished float run of `runs` that is no better than guessing.
    pub fn at_chance(&self, runs: &[&PlannedRun]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for run in runs.iter().filter(|run| run.is_baseline()) {
            if !self.store.is_complete(self.experiment, &run.run_id)? {
                continue;
            }
            let finished = self.store.read(self.experiment, &run.run_id)?;
            let hits = whole_network(&finished, results::metric::TOP1_CORRECT).unwrap_or_default();
            let (n, outputs) = (run.set.data.len(), run.model.checkpoint.classes());
            let name = run.subject().join(" on ");
            lines.extend(warning(&name, hits as u64, n as u64, outputs));
        }
        Ok(lines)
    }

    /// Compares finished runs with the experiment's checks. Returns one line for each check that fails, and how many
    /// were compared; a check that no run of the plan answers to is passed over, since `--set` may have left it out.
    pub fn check(
        &self,
        experiment: &Experiment,
        runs: &[&PlannedRun],
    ) -> Result<(usize, Vec<String>)> {
        let (mut compared, mut wrong) = (0, Vec::new());
        for check in &experiment.checks {
            for run in runs
                .iter()
                .filter(|run| check.condition.holds(&run.spelled_out()))
            {
                if !self.store.is_complete(self.experiment, &run.run_id)? {
                    continue;
                }
                let finished = self.store.read(self.experiment, &run.run_id)?;
                let value = whole_network(&finished, &check.metric).with_context(|| {
                    format!(
                        "[[check]]: run {} has no metric {}",
                        run.run_id, check.metric
                    )
                })?;
                compared += 1;
                if !check.holds(value) {
                    wrong.push(format!(
                        "{}: {} is {value}, expected {} +- {}",
                        run.label, check.metric, check.expected, check.tolerance
                    ));
                }
            }
        }
        Ok((compared, wrong))
    }
}

/// Fails for a run that needs what this program was built without.
fn check_built(run: &PlannedRun) -> Result<()> {
    Target::open(run.config.text("device"))?;
    if cfg!(not(feature = "burn")) && run.training.is_some() {
        bail!("method = qat: {WITHOUT_BURN}");
    }
    let how = run.cell.quantization.as_ref();
    if cfg!(not(feature = "burn")) && how.is_some_and(|how| how.reconstruction.is_some()) {
        bail!("reconstruct: {WITHOUT_BURN}");
    }
    Ok(())
}

/// A whole-network metric of a run.
pub fn whole_network(run: &Run, metric: &str) -> Option<f64> {
    run.metrics
        .iter()
        .find(|row| row.layer.is_empty() && row.metric == metric)
        .map(|row| row.value)
}
