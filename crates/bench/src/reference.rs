//! Runs against the reference: the committed results of the same experiments, which lie apart from a user's own.
//!
//! A run id stands for configuration, weights and data, so a run and the reference's run of that id must give every
//! image the same class. Integers do on any machine; float sums are made in another order by another kind of processor,
//! where a rare prediction may legitimately fall to the other side.

mod comparison;

use std::path::Path;

use anyhow::{Context, Result, bail};
use results::metric::{CODES_DIFFER, TOP1_CORRECT};
use results::{Run, Store};

use crate::checkout;
use crate::plan::PlannedRun;
use crate::sweep::whole_network;
use crate::throughput::Spread;

pub use comparison::{Comparison, Difference, Origin};

/// Where the reference lies in a checkout, when nobody says otherwise.
pub const DEFAULT: &str = "results/reference";

/// What a sweep's runs are compared with.
#[derive(Clone, Debug)]
pub enum Reference {
    /// Nothing: there is no such folder.
    Absent,
    /// Nothing: the reference is the very folder that the runs go to.
    Itself,
    /// The runs of a folder.
    At(Store),
}

impl Reference {
    /// The folder `asked` for, which must exist; without one [`DEFAULT`], or else `reference` in the results folder,
    /// if there is one.
    pub fn find(asked: Option<&Path>, results: &Path) -> Result<Self> {
        let store = match asked {
            Some(folder) => Store::existing(folder).context("--reference")?,
            None => {
                let beside = results.join(results::REFERENCE);
                let folders = [&checkout::find(DEFAULT), &beside];
                match folders.into_iter().find(|folder| folder.is_dir()) {
                    Some(folder) => Store::existing(folder)?,
                    None => return Ok(Self::Absent),
                }
            }
        };
        let same = match (store.root().canonicalize(), results.canonicalize()) {
            (Ok(reference), Ok(results)) => reference == results,
            _ => false,
        };
        Ok(if same { Self::Itself } else { Self::At(store) })
    }

    /// Whether it has a finished run of this id. A run folder that cannot be read is none.
    pub fn has(&self, experiment: &str, run_id: &str) -> bool {
        match self {
            Self::At(store) => store.is_complete(experiment, run_id).unwrap_or(false),
            Self::Absent | Self::Itself => false,
        }
    }

    /// Images per second of the trainings of `experiment`, the median of their epochs, on the machine that they were made on.
    pub fn training_rate(&self, experiment: &str) -> Option<f64> {
        let Self::At(store) = self else {
            return None;
        };
        let runs = store.runs(experiment).ok()?.into_iter();
        let epochs = runs.filter_map(|run| store.epochs(experiment, &run).ok());
        let rates: Vec<f64> = epochs.flatten().map(|row| row.images_per_second).collect();
        Spread::of(&rates).map(|spread| spread.median)
    }

    /// An error unless at least one of `runs` can be compared: known before the work, said before the work.
    pub fn require(&self, experiment: &str, runs: &[&PlannedRun]) -> Result<()> {
        match self {
            Self::Absent => bail!("--verify: there is no {DEFAULT}; --reference says where it is"),
            Self::Itself => {
                bail!("--verify: --results is the reference itself; give another folder")
            }
            Self::At(store) if runs.iter().all(|run| !self.has(experiment, &run.run_id)) => bail!(
                "--verify: {} has no run of this plan of {experiment}",
                store.root().display()
            ),
            Self::At(_) => Ok(()),
        }
    }

    /// Compares those of `runs` that are finished in `results`. `None` where there is no reference of the experiment.
    ///
    /// # Errors
    /// Those of [`Store::read`], of either folder.
    pub fn compare(
        &self,
        results: &Store,
        experiment: &str,
        runs: &[&PlannedRun],
    ) -> Result<Option<Comparison>> {
        let Self::At(reference) = self else {
            return Ok(None);
        };
        if reference.runs(experiment)?.is_empty() {
            return Ok(None);
        }
        let mut comparison = Comparison::default();
        for run in runs {
            if !reference.is_complete(experiment, &run.run_id)? {
                comparison.missing += 1;
            } else if !results.is_complete(experiment, &run.run_id)? {
                comparison.unfinished += 1;
            } else {
                let here = results.read(experiment, &run.run_id)?;
                let there = reference.read(experiment, &run.run_id)?;
                comparison.add(&there, difference(&here, &there, &run.label));
            }
        }
        Ok(Some(comparison))
    }
}

/// Image by image, in the order of the set; `None` for runs that agree.
fn difference(here: &Run, there: &Run, label: &str) -> Option<Difference> {
    let pairs = || here.predictions.iter().zip(&there.predictions);
    let same_image = pairs()
        .filter(|(a, b)| a.image == b.image && a.label == b.label)
        .count();
    let metric = |name| [here, there].map(|run| whole_network(run, name));
    let found = Difference {
        run_id: here.row.run_id.clone(),
        label: label.to_owned(),
        images: here.predictions.len(),
        predictions: pairs().filter(|(a, b)| a.top1 != b.top1).count(),
        other_images: here.predictions.len().max(there.predictions.len()) - same_image,
        hits: metric(TOP1_CORRECT),
        codes_differ: metric(CODES_DIFFER),
        cpu_features: here.row.cpu_features.clone(),
    };
    found.is_any().then_some(found)
}
