//! The page of all experiments in a results folder: what each asks, of which networks and images, with a search over all of it and
//! over the ids of runs.

use std::collections::BTreeSet;
use std::path::Path;

use results::{RunRow, Status, Store};
use serde::Serialize;

use super::{About, PAGE_FILE, shell};
use crate::apart::tell_apart;
use crate::axes::varying;
use crate::error::Error;
use crate::output::Output;

#[derive(Serialize)]
struct Data {
    experiments: Vec<Entry>,
    /// Whether the committed results lie in a folder of this one and have such a page.
    reference: bool,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    question: String,
    expects: String,
    found: String,
    /// Whether it has a page.
    page: bool,
    /// Why it cannot be read; empty where it can.
    problem: String,
    failed: usize,
    networks: Vec<String>,
    sets: Vec<String>,
    /// Numbers of test images.
    images: Vec<u64>,
    /// In what the runs differ.
    axes: Vec<String>,
    /// Ids of the runs.
    runs: Vec<String>,
}

/// The page, with what `about` knows of each experiment. One that cannot be read is listed with the reason.
///
/// # Errors
/// [`Error::Results`] for a folder that cannot be read.
pub fn output(results_root: &Path, about: impl Fn(&str) -> About) -> Result<Output, Error> {
    let store = Store::existing(results_root)?;
    let mut experiments = Vec::new();
    for name in store.experiments()? {
        experiments.push(entry(&store, &name, about(&name))?);
    }
    let reference = results_root.join(results::REFERENCE).join(PAGE_FILE);
    let data = Data {
        experiments,
        reference: reference.is_file(),
    };
    Ok(Output {
        path: results_root.join(PAGE_FILE),
        text: Some(shell::index("Experiments", &data)),
    })
}

fn entry(store: &Store, name: &str, about: About) -> Result<Entry, Error> {
    let ids = store.runs(name)?;
    let rows = ids.iter().map(|id| store.read_row(name, id));
    let (rows, problem) = match rows.collect::<Result<Vec<RunRow>, _>>() {
        Ok(rows) => (rows, String::new()),
        Err(error) => (Vec::new(), error.to_string()),
    };
    let mut named = rows.clone();
    tell_apart(&mut named);
    let words = |of: fn(&RunRow) -> &str| -> Vec<String> {
        let words: BTreeSet<&str> = named.iter().map(of).collect();
        words.into_iter().map(str::to_owned).collect()
    };
    let images: BTreeSet<u64> = (named.iter())
        .filter_map(|row| row.config.get("images"))
        .collect();
    let differ = |of: fn(&RunRow) -> u32| {
        let mut bits = named.iter().filter(|row| !row.config.is_float()).map(of);
        let first = bits.next();
        bits.any(|bits| Some(bits) != first)
    };
    let widths = [
        ("weight bits", differ(|row| row.config.weights_bits())),
        (
            "activation bits",
            differ(|row| row.config.activations_bits()),
        ),
    ];
    let widths = widths.iter().filter(|(_, differs)| *differs);
    let axes = varying(&named).into_iter().map(|axis| axis.title);
    Ok(Entry {
        name: name.to_owned(),
        question: about.question,
        expects: about.expects,
        found: about.found,
        page: store.experiment_dir(name)?.join(PAGE_FILE).is_file(),
        problem,
        failed: (rows.iter())
            .filter(|row| row.status == Status::Failed)
            .count(),
        networks: words(|row| row.config.model()),
        sets: words(|row| row.config.text("dataset")),
        images: images.into_iter().collect(),
        axes: axes
            .chain(widths.map(|(title, _)| *title))
            .map(str::to_owned)
            .collect(),
        runs: ids,
    })
}
