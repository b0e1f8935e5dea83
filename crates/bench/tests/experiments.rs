//! Every file in `experiments/` parses, every cell of it is one that can be run, and every check in it is about some run.
//! Plans need the files that a run needs: those of the shipped model are always made, those of CIFAR-10 where
//! `QUANTLAB_DATA` has it.

#[path = "../../../testing/data.rs"]
mod testing;

mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bench::experiment::{Experiment, Scalar};
use bench::plan::{PlannedRun, plan};
use bench::registry::Registry;
use bench::settings::Cell;
use bench::sources::Sources;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All experiments, by name.
fn experiments() -> Vec<Experiment> {
    let folders = ["experiments", "experiments/papers"];
    let entries = folders.map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let entries = entries.into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    let read = |file: &PathBuf| Experiment::read(file).unwrap_or_else(|e| panic!("{e:#}"));
    files.iter().map(read).collect()
}

/// Plans those of the experiments whose model has this ending.
fn planned(data: &Path, ending: &str) -> Vec<(Experiment, Vec<PlannedRun>)> {
    let scratch = TempDir::new().unwrap();
    // The registries are found from the repository's root, as for a person who runs `sweep` there.
    std::env::set_current_dir(root()).unwrap();
    let registry = Registry::open(data).unwrap();
    let mut sources = Sources::new(registry, scratch.path(), false, Box::new(|_, _| {}));
    let on = |experiment: &Experiment| match experiment.fixed.get("model.name") {
        Some(Scalar::Text(name)) => name.ends_with(ending),
        // Of those that vary the network all are of one set.
        _ => experiment
            .name
            .starts_with(&format!("{}-", ending.trim_start_matches('-'))),
    };
    let mut found = Vec::new();
    for experiment in experiments().into_iter().filter(on) {
        let runs = plan(&experiment, &mut sources);
        let runs = runs.unwrap_or_else(|e| panic!("{}: {e:#}", experiment.name));
        found.push((experiment, runs));
    }
    found
}

fn every_check_has_its_run(planned: &[(Experiment, Vec<PlannedRun>)]) {
    for (experiment, runs) in planned {
        for check in &experiment.checks {
            assert!(
                runs.iter().any(|run| check.condition.holds(&run.config)),
                "{}: no run for the check of {:?}",
                experiment.name,
                check.condition.settings()
            );
        }
    }
}

/// How many runs each plan has.
fn sizes(planned: &[(Experiment, Vec<PlannedRun>)]) -> Vec<(&str, usize)> {
    let size = |pair: &'_ (Experiment, Vec<PlannedRun>)| pair.1.len();
    let names = planned.iter().map(|pair| pair.0.name.as_str());
    names.zip(planned.iter().map(size)).collect()
}

#[test]
fn every_cell_of_every_experiment_can_be_run() {
    let all = experiments();
    assert!(all.len() >= 14);
    for experiment in &all {
        for settings in experiment.cells().unwrap() {
            Cell::new(&settings).unwrap_or_else(|e| panic!("{}: {e:#}", experiment.name));
        }
    }
}

#[test]
fn experiments_on_the_shipped_model_plan_and_their_checks_have_runs() {
    let planned = planned(&root().join("data"), "-synthetic");
    every_check_has_its_run(&planned);
    assert_eq!(
        sizes(&planned),
        [
            ("activations", 61),
            ("arithmetic", 21),
            ("convolution", 12),
            ("depthwise", 21),
            ("equalization", 33),
            ("granularity", 41),
            ("integer", 17),
            ("post-training", 31),
            ("qat-depthwise", 5),
            ("qat", 5),
            ("ranges", 61),
            ("reconstruction", 10),
            ("rounding", 157),
            ("shortcut", 10),
            ("site-ranges", 25),
            ("weight-bits", 9),
        ]
    );
}

#[test]
fn experiments_on_cifar10_plan_and_their_checks_have_runs() {
    let Some(data) = testing::data(&["cifar10/test_batch.bin"]) else {
        return;
    };
    let planned = planned(&data, "-cifar10");
    every_check_has_its_run(&planned);
    let names: Vec<&str> = planned.iter().map(|pair| pair.0.name.as_str()).collect();
    for name in [
        "activations",
        "allocation",
        "grid-activations",
        "grid-rounding",
        "grid-weights",
        "sensitivity",
        "shortcut",
        "arithmetic",
        "integer",
        "post-training",
        "reconstruction",
        "rounding",
        "site-ranges",
    ] {
        let name = format!("cifar10-{name}");
        assert!(names.contains(&name.as_str()), "{name} in {names:?}");
    }
    assert!(names.contains(&"qat-cifar10"), "{names:?}");
}

#[test]
fn an_experiment_on_cifar10_varies_what_its_namesake_does() {
    let all = experiments();
    let named = |name: &str| {
        all.iter()
            .find(|experiment| experiment.name == name)
            .unwrap()
    };
    for name in ["activations", "shortcut", "arithmetic", "integer"] {
        let (small, large) = (named(name), named(&format!("cifar10-{name}")));
        assert_eq!(small.vary, large.vary, "{name}");
        let own = |experiment: &Experiment| -> BTreeSet<String> {
            let fixed = experiment.fixed.iter();
            let shared = fixed.filter(|(key, _)| !["model.name", "images"].contains(&key.as_str()));
            shared
                .map(|(key, value)| format!("{key} = {value}"))
                .collect()
        };
        assert_eq!(own(small), own(large), "{name}");
    }
}

#[test]
fn every_published_value_is_about_a_cell_and_no_two_experiments_have_one_name() {
    let all = experiments();
    let names: BTreeSet<&str> = all.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    let mut values = 0;
    for experiment in &all {
        let cells = experiment.cells().unwrap();
        for published in &experiment.published {
            values += 1;
            let wanted = published.condition.settings();
            let is_float = wanted.get("weights.bits") == Some(&Scalar::Integer(32));
            let holds = |cell: &&bench::settings::Settings| {
                let mut each = wanted.iter();
                each.all(|(key, value)| cell.get(key).is_some_and(|own| own == value))
            };
            assert!(
                is_float || cells.iter().any(|cell| holds(&cell)),
                "{}: no cell for {:?}",
                experiment.name,
                wanted
            );
        }
    }
    assert!(values > 100, "{values}");
}

#[test]
fn the_page_of_papers_is_up_to_date_with_the_committed_results() {
    let output = program::quantlab("compare")
        .current_dir(root())
        .args([
            "--data",
            "data",
            "--results",
            "results/reference",
            "--check",
            "--pages",
            "docs",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
