//! `export` of finished runs.

use std::path::Path;

use bench::export::stored;
use bench::plan::{Ranges, plan_cell};
use bench::registry::Registry;
use bench::settings::Settings;
use bench::sources::Sources;
use results::{RunRow, Status, Store};
use tempfile::TempDir;

use crate::place::{EXPERIMENT, Place, said, tells};
use crate::{data, shipped};

/// The committed runs that need no other test set than `set`.
fn committed(set: &str) -> Vec<RunRow> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/reference");
    let store = Store::existing(root).unwrap();
    let mut rows = Vec::new();
    for experiment in store.experiments().unwrap() {
        for run in store.runs(&experiment).unwrap() {
            let row = store.read_row(&experiment, &run).unwrap();
            if row.config.text("dataset") == set && row.status == Status::Ok {
                rows.push(row);
            }
        }
    }
    assert!(rows.len() > 20, "{set}: {}", rows.len());
    rows
}

/// Plans each run again from its row alone.
fn planned_again(data: &Path, rows: &[RunRow]) {
    let registry = Registry {
        own: shipped::data(),
        ..Registry::open(&shipped::data()).unwrap()
    };
    let registry = Registry {
        data: data.to_owned(),
        ..registry
    };
    let cache = TempDir::new().unwrap();
    let quiet = Box::new(|_, _| {});
    let mut sources = Sources::new(registry.clone(), cache.path(), false, quiet);
    for row in rows {
        let settings = stored::settings(row, &registry, &Settings::new()).unwrap();
        let runs = plan_cell(&settings, &mut sources, "", Ranges::Images);
        let runs = runs.unwrap_or_else(|error| panic!("{}: {error:#}", row.run_id));
        stored::check(runs.last().unwrap(), row).unwrap();
    }
}

#[test]
fn every_committed_run_says_its_settings_itself() {
    planned_again(&shipped::data(), &committed("synthetic"));
    if let Some(data) = data::data(&["cifar10", "weights/resnet20-12fca82f.th"]) {
        let has_weights = |row: &RunRow| {
            let file = row.weights_file.as_deref().unwrap_or_default();
            data.join("weights").join(file).is_file()
        };
        let mut rows = committed("cifar10");
        rows.retain(has_weights);
        planned_again(&data, &rows);
    }
}

#[test]
fn a_finished_run_is_exported_by_its_id_alone_with_its_hits() {
    let place = Place::new(EXPERIMENT);
    place.sweep(&[]);
    let rows = place.rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let done = place.export(&["--run", &row.run_id]);
        assert!(done.status.success(), "{}", said(&done));
        let file = place.path("net.onnx");
        assert!(tells(&file, "quantlab.run_id", &row.run_id));
        assert!(tells(&file, "quantlab.hits", &place.hits(&row.run_id)));
        assert!(tells(&file, "quantlab.images", "32"));
        let by_id = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // The same settings, said: the same network, and the run is found by what they make.
        let bits = format!("weights.bits={}", row.config.weights_bits());
        let settings = [
            "model.weights=net.safetensors",
            "dataset=synthetic",
            "images=32",
            "method=ptq",
            "bn=folded",
            "weights.mapping=symmetric",
            "activations.bits=8",
            "calibration.images=16",
            &bits,
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        let done = place.export(&settings);
        assert!(done.status.success(), "{}", said(&done));
        assert!(tells(&file, "quantlab.hits", &place.hits(&row.run_id)));
        assert_eq!(
            resnet::load(&file, None).unwrap().sha256,
            {
                std::fs::write(&file, by_id).unwrap();
                resnet::load(&file, None).unwrap().sha256
            },
            "{bits}"
        );
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_run_that_is_not_there_or_not_what_its_row_says_is_refused_in_one_line() {
    let place = Place::new(EXPERIMENT);
    place.sweep(&["--set", "weights.bits=8"]);
    let id = &place.rows()[0].run_id;
    let line = place.refused(&["--run", "0123456789ab"]);
    assert!(line.contains("there is no run 0123456789ab"), "{line}");
    let line = place.refused(&["--run", "last"]);
    assert!(line.contains("12 digits"), "{line}");
    let line = place.refused(&["--run", id, "--set", "weights.bits=4"]);
    assert!(line.contains("weights_bits = 8"), "{line}");
    let line = place.refused(&["--run", id, "--set", "images=31"]);
    assert!(line.contains("labels.class_list"), "{line}");
    // Moved: the path that was given leads nowhere, until it is given again.
    std::fs::rename(place.path("net.safetensors"), place.path("moved.st")).unwrap();
    let line = place.refused(&["--run", id]);
    assert!(line.contains("net.safetensors"), "{line}");
    std::fs::rename(place.path("moved.st"), place.path("data/net.safetensors")).unwrap();
    let given = ["--run", id, "--set", "model.weights=data/net.safetensors"];
    let done = place.export(&given);
    assert!(done.status.success(), "{}", said(&done));
}
