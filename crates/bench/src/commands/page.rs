//! `page`: from run folders to pages for a browser, one file an experiment, and one over all of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cli::{Folders, ResultsFolder, decoding_bar, say};
use crate::page::{Images, write, write_index};
use crate::reference::DEFAULT;
use crate::registry::Registry;
use crate::sources::Sources;

/// Write index.html beside the runs of experiments: question, table, plots and every run in one file that needs no network; and an
/// index.html over all of them in the results folder.
#[derive(clap::Args)]
pub struct Arguments {
    /// Experiments: names of folders in the results folder; all of them when none is given.
    experiments: Vec<String>,
    #[command(flatten)]
    results: ResultsFolder,
    /// Where the experiments' files are: question, expectation and checks stand there.
    #[arg(long, default_value = crate::checkout::EXPERIMENTS.as_str(), value_name = "DIR", value_parser = crate::cli::path())]
    files: PathBuf,
    #[command(flatten)]
    folders: Folders,
    /// Open no test set: images that flip are named and not shown.
    #[arg(long)]
    no_pictures: bool,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let results = &arguments.results.path;
    let nothing = |folder: &Path| {
        format!(
            "no runs in {}; `sweep` puts them there, `--results {DEFAULT}` shows the committed ones",
            folder.display()
        )
    };
    if !results.is_dir() {
        bail!(nothing(results));
    }
    let store = results::Store::existing(results)?;
    let experiments = match arguments.experiments.is_empty() {
        true => store.experiments()?,
        false => arguments.experiments.clone(),
    };
    if experiments.is_empty() {
        bail!(nothing(results));
    }
    for experiment in &experiments {
        if store.runs(experiment)?.is_empty() {
            bail!(nothing(&store.experiment_dir(experiment)?));
        }
    }
    let folders = &arguments.folders;
    let registry = match arguments.no_pictures {
        true => Err("they were not asked for (--no-pictures)".to_owned()),
        false => Registry::open(&folders.data).map_err(|error| {
            let reason = format!("{error:#}");
            say(&format!("no pictures: {reason}"));
            reason
        }),
    };
    let mut opened = registry.map(|registry| {
        let sources = Sources::new(registry.clone(), &folders.cache, false, decoding_bar());
        (sources, registry)
    });
    let mut images = match &mut opened {
        Ok((sources, registry)) => Ok(Images {
            known: Vec::new(),
            sources,
            registry,
        }),
        Err(reason) => Err(reason.clone()),
    };
    for experiment in &experiments {
        let lock = store.lock_tables(experiment)?;
        let path = write(results, experiment, &arguments.files, &mut images)?;
        drop(lock);
        println!("{}", path.display());
    }
    println!("{}", write_index(results, &arguments.files)?.display());
    Ok(ExitCode::SUCCESS)
}
