//! Pages of experiments (`report::page`): what an experiment's file says, whether its counts came out, and pictures of the images
//! that flip.
//!
//! Pictures are of the run's own test set or there are none: the set is opened as the float run's settings say, and its hash must be
//! the run's. A set that is not at hand is said in the page.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use dataset::thumbnail;
use report::page::{About, Check, Page, Pictures, Wanted, index};
use results::{RunRow, Store};

use crate::cli::say;
use crate::experiment::Experiment;
use crate::export::stored;
use crate::papers::PAPERS;
use crate::plan::{Ranges, plan_cell};
use crate::registry::Registry;
use crate::settings::Settings;
use crate::sources::{Sources, TestSet};

/// The longest side of a picture.
const SIDE: usize = 40;

/// Where test sets come from.
pub struct Images<'a> {
    /// Those that are open.
    pub known: Vec<Arc<TestSet>>,
    /// What opens others.
    pub sources: &'a mut Sources,
    /// What they are called.
    pub registry: &'a Registry,
}

impl Images<'_> {
    /// The test set of a run.
    fn set_of(&mut self, row: &RunRow) -> Result<Arc<TestSet>> {
        let mut known = self.known.iter();
        if let Some(set) = known.find(|set| set.sha256 == row.data_sha256) {
            return Ok(set.clone());
        }
        let settings = stored::settings(row, self.registry, &Settings::new())?;
        let planned = plan_cell(&settings, self.sources, "", Ranges::Saved)?;
        let set = planned.last().map(|run| run.set.clone());
        let set = set.ok_or_else(|| anyhow!("the settings describe no run"))?;
        if set.sha256 != row.data_sha256 {
            bail!(
                "the images or labels of {} at hand are not those of the runs",
                set.name
            );
        }
        Ok(set)
    }
}

/// Writes the page of an experiment, and gives its path. Experiments' files lie in `files`; `images` is why there are no
/// pictures, where there are none.
///
/// # Errors
/// Runs that cannot be read, or a folder that cannot be written.
pub fn write(
    results: &Path,
    name: &str,
    files: &Path,
    images: &mut Result<Images<'_>, String>,
) -> Result<PathBuf> {
    let page = Page::open(results, name)?;
    let about = about(&page, name, files)?;
    let store = Store::existing(results)?;
    let wanted = page.wanted();
    let pictures = wanted.iter().map(|wanted| match images {
        Ok(_) if wanted.images.is_empty() => Pictures::default(),
        Ok(images) => match pictures(&store, name, wanted, images) {
            Ok(pictures) => pictures,
            Err(error) => {
                let reason = format!("{error:#}").replace('\n', " ");
                say(&format!("{name}: no pictures: {reason}"));
                without(&reason)
            }
        },
        Err(reason) => without(reason),
    });
    let pictures: Vec<Pictures> = pictures.collect();
    let output = page.output(&about, &pictures);
    output.write()?;
    Ok(output.path)
}

/// Writes the page of all experiments in a results folder, and gives its path.
///
/// # Errors
/// A folder that cannot be read or written.
pub fn write_index(results: &Path, files: &Path) -> Result<PathBuf> {
    let about = |name: &str| match Experiment::read(&file(files, name)) {
        Ok(experiment) => words(&experiment),
        // Its own page says why.
        Err(_) => About::default(),
    };
    let output = index::output(results, about)?;
    output.write()?;
    Ok(output.path)
}

fn file(folder: &Path, name: &str) -> PathBuf {
    let own = folder.join(format!("{name}.toml"));
    let paper = folder.join(PAPERS).join(format!("{name}.toml"));
    match !own.exists() && paper.exists() {
        true => paper,
        false => own,
    }
}

fn without(reason: &str) -> Pictures {
    Pictures {
        missing: reason.to_owned(),
        ..Pictures::default()
    }
}

/// What the experiment's file says, with the runs that answer its checks.
fn about(page: &Page, name: &str, files: &Path) -> Result<About> {
    let file = file(files, name);
    if !file.exists() {
        return Ok(About {
            missing: format!(
                "There is no {name}.toml among the experiments' files, so its question is not known."
            ),
            ..About::default()
        });
    }
    let experiment = Experiment::read(&file)?;
    let mut about = words(&experiment);
    for check in &experiment.checks {
        let before = about.checks.len();
        for run in page.runs() {
            let config = page.config(run);
            if !config.is_some_and(|config| check.condition.holds(config)) {
                continue;
            }
            let Some(value) = page.metric(run, &check.metric) else {
                continue;
            };
            about.checks.push(Check {
                run: run.to_owned(),
                metric: check.metric.clone(),
                expected: check.expected,
                tolerance: check.tolerance,
                value,
                holds: check.holds(value),
            });
        }
        about.unanswered += usize::from(about.checks.len() == before);
    }
    Ok(about)
}

fn words(experiment: &Experiment) -> About {
    About {
        question: experiment.question.clone(),
        expects: experiment.expects.clone(),
        found: experiment.found.clone(),
        ..About::default()
    }
}

/// Class names and pictures of the wanted images.
fn pictures(
    store: &Store,
    experiment: &str,
    wanted: &Wanted,
    images: &mut Images<'_>,
) -> Result<Pictures> {
    let row = store.read_row(experiment, &wanted.run_id)?;
    let set = images.set_of(&row)?;
    let all = 0..set.data.len();
    let by_name: HashMap<String, usize> = all.map(|i| (set.data.id(i), i)).collect();
    let one = |name: &String| -> Result<(String, Vec<u8>)> {
        let i = by_name.get(name);
        let i = i.ok_or_else(|| anyhow!("{} has no image {name}", set.name))?;
        let png = thumbnail(&set.data, *i, SIDE).png();
        Ok((name.clone(), png.context("cannot make a picture")?))
    };
    Ok(Pictures {
        classes: set.data.classes().to_vec(),
        png: wanted.images.iter().map(one).collect::<Result<_>>()?,
        missing: String::new(),
    })
}
