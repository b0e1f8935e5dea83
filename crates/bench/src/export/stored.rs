//! A run in a results folder, and from its row back to the settings that make it.
//!
//! A row has every setting's value, after all defaults, in the column of the setting's name. What is not in it, since a run's hashes
//! stand for it: the path of a folder to calibrate on, `labels.class_list`, `model.rename` and `model.extra`. Whoever gave those gives
//! them again; that the settings are the run's is not believed but seen, in the run id ([`check`]).

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use resnet::Arch;
use results::{Config, REFERENCE, Run, RunRow, Status, Store, setting};

use crate::experiment::Scalar;
use crate::plan::PlannedRun;
use crate::registry::Registry;
use crate::settings::{Settings, bare};

/// The finished run called `run_id` in a results folder, or in the reference that lies in it.
///
/// # Errors
/// There is none, or it has failed; a folder that is damaged.
pub fn finished(results: &Path, run_id: &str) -> Result<Run> {
    if !results::is_run_id(run_id) {
        bail!("--run {run_id}: a run id is 12 digits of 0-9 and a-f, the name of a run's folder");
    }
    let mut failed = false;
    for (store, experiment) in places(results, run_id)? {
        if store.read_row(&experiment, run_id)?.status == Status::Ok {
            return Ok(store.read(&experiment, run_id)?);
        }
        failed = true;
    }
    let results = results.display();
    match failed {
        true => bail!("run {run_id} in {results} has failed; `sweep` makes it again"),
        false => bail!("there is no run {run_id} in {results}; --results names another folder"),
    }
}

/// The same where nobody asked for it by name: none where there is none.
///
/// # Errors
/// A folder that is damaged.
pub fn if_finished(results: &Path, run_id: &str) -> Result<Option<Run>> {
    for (store, experiment) in places(results, run_id)? {
        if store.is_complete(&experiment, run_id)? {
            return Ok(Some(store.read(&experiment, run_id)?));
        }
    }
    Ok(None)
}

/// The experiments that have the run; it is the same run in each.
fn places(results: &Path, run_id: &str) -> Result<Vec<(Store, String)>> {
    let mut found = Vec::new();
    for folder in [results.to_owned(), results.join(REFERENCE)] {
        if !folder.is_dir() {
            continue;
        }
        let store = Store::existing(folder)?;
        for experiment in store.experiments()? {
            if store.run_dir(&experiment, run_id)?.is_dir() {
                found.push((store.clone(), experiment));
            }
        }
    }
    Ok(found)
}

/// The settings that the columns of a run say, as far as they have columns.
pub fn columns(config: &Config) -> Settings {
    let said = |setting: &setting::Setting| match config.text(setting.column?) {
        "" => None,
        text => Some((setting.key?.to_owned(), bare(text))),
    };
    setting::settings().filter_map(said).collect()
}

/// The settings of a run; those of `given` come first.
///
/// # Errors
/// A setting that the row does not hold and `given` lacks, by name.
pub fn settings(row: &RunRow, registry: &Registry, given: &Settings) -> Result<Settings> {
    let mut settings = columns(&row.config);
    let text = |word: &str| Scalar::Text(word.to_owned());
    settings.remove("model.name");
    settings.remove("model.arch");
    settings.extend(model(row, registry, given)?);
    let tested = row.config.text("dataset");
    let dataset = row.data_folder.as_deref().unwrap_or(tested);
    settings.insert("dataset".to_owned(), text(dataset));
    let key = "calibration.dataset";
    settings.remove(key);
    match row.config.text("calibration_dataset") {
        // The test set's own training part.
        set if set == tested || set.is_empty() => {}
        set if registry.datasets.contains_key(set) => {
            settings.insert(key.to_owned(), text(set));
        }
        set if !given.contains_key(key) => bail!(
            "run {} was calibrated on a folder called {set}, whose path a run does not keep: add --set {key}=FOLDER",
            row.run_id
        ),
        _ => {}
    }
    settings.extend(given.clone());
    Ok(settings)
}

/// `model.*`: the entry that was named, else the file; the key of a file with several networks stands behind the name, in brackets.
fn model(row: &RunRow, registry: &Registry, given: &Settings) -> Result<Settings> {
    let called = row.config.text("model_name");
    let file = row.weights_file.as_deref().unwrap_or_default();
    let text = |word: &str| Scalar::Text(word.to_owned());
    let mut entries = registry.models.iter().filter_map(|(name, entry)| {
        let own = Path::new(&entry.file).file_name()?;
        let key = key_of(called, name).filter(|_| own == file)?;
        Some((name.as_str(), key))
    });
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
    let (mut found, key) = match entries.next() {
        Some((name, key)) => (vec![("model.name", text(name))], key),
        None if file.is_empty() && !given.contains_key("model.weights") => bail!(
            "run {} does not say which file its weights are in: add --set model.weights=FILE",
            row.run_id
        ),
        None => {
            let arch = row.config.text("model_arch");
            let mut found = vec![("model.weights", text(file))];
            found.extend(
                Arch::parse(arch)
                    .is_ok()
                    .then(|| ("model.arch", text(arch))),
            );
            (found, key_of(called, stem.unwrap_or_default()).flatten())
        }
    };
    // Another file or entry takes the place of the recorded one, under either name.
    if given.contains_key("model.name") || given.contains_key("model.weights") {
        found.retain(|(key, _)| *key == "model.arch" && !given.contains_key("model.name"));
    }
    found.extend(key.map(|key| ("model.key", text(key))));
    let named = |(key, value): (&str, Scalar)| (key.to_owned(), value);
    Ok(found.into_iter().map(named).collect())
}

/// The key in a network's name that begins with `plain`; outside, none where it has another name.
fn key_of<'a>(called: &'a str, plain: &str) -> Option<Option<&'a str>> {
    match called.strip_prefix(plain)? {
        "" => Some(None),
        rest => Some(Some(rest.strip_prefix('[')?.strip_suffix(']')?)),
    }
}

/// Fails where `planned` is not the run of `row`, naming what differs.
///
/// # Errors
/// It is another run.
pub fn check(planned: &PlannedRun, row: &RunRow) -> Result<()> {
    let id = &row.run_id;
    if planned.run_id == *id {
        return Ok(());
    }
    let file = planned.model.file.display();
    let set = &planned.set.name;
    if planned.model.checkpoint.sha256 != row.weights_sha256 {
        bail!(
            "run {id} had other weights than {file} gives: name its file with --set model.weights=FILE (and give model.rename and \
             model.extra as they were, which a run does not keep)"
        );
    }
    if planned.set.sha256 != row.data_sha256 {
        bail!(
            "run {id} had other test images or labels than {set} gives: name its folder with --set dataset=FOLDER (and give \
             labels.class_list as it was, which a run does not keep)"
        );
    }
    let theirs = row.config.columns().into_iter();
    let both = theirs.zip(planned.config.columns());
    if let Some(((column, theirs), (_, ours))) = both.into_iter().find(|(a, b)| a != b) {
        let said = |value: &str| match value {
            "" => "nothing".to_owned(),
            value => value.to_owned(),
        };
        bail!(
            "run {id} has {column} = {}, and these settings make {}: they are not that run's",
            said(&theirs),
            said(&ours)
        );
    }
    Err(anyhow!(
        "run {id} was calibrated on other images: name their folder with --set calibration.dataset=FOLDER"
    ))
}
