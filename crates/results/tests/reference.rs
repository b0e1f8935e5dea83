//! The committed runs keep their names and their text: what a column is called, how its value is spelled and what enters a run id
//! may not change.

use std::fs;
use std::path::{Path, PathBuf};

use results::{RUN_FILE, RunRow, read_rows, rows_text, run_id};

/// Every `run.csv` of `results/reference`, with the name of its folder.
fn committed() -> Vec<(String, PathBuf)> {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/reference");
    let folders = |of: &Path| {
        let entries = fs::read_dir(of).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // A sweep that is running has its locks there.
        let is_hidden = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_none_or(|name| name.starts_with('.'))
        };
        found.retain(|path| path.is_dir() && !is_hidden(path));
        found.sort();
        found
    };
    let runs = folders(&reference).into_iter();
    let runs = runs.flat_map(|experiment| folders(&experiment));
    let runs = runs.map(|run| {
        let name = run.file_name().unwrap().to_str().unwrap();
        (name.to_owned(), run.join(RUN_FILE))
    });
    runs.collect()
}

/// Header and first record of a file, as its bytes have them.
fn columns(text: &str) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let record = reader.records().next().unwrap().unwrap();
    let both = header.iter().zip(&record);
    both.map(|(name, field)| (name.to_owned(), field.to_owned()))
        .collect()
}

#[test]
fn the_run_id_of_every_committed_run_is_that_of_its_columns_and_its_folder() {
    let committed = committed();
    assert!(committed.len() > 500, "{} runs", committed.len());
    for (name, file) in committed {
        let row = &read_rows::<RunRow>(&file).unwrap()[0];
        let (weights, data) = (&row.weights_sha256, &row.data_sha256);
        let id = run_id(
            &row.config,
            weights,
            data,
            row.calibration_sha256.as_deref(),
        );
        assert_eq!((&id, &row.run_id), (&name, &name), "{}", file.display());
    }
}

#[test]
fn every_committed_run_is_written_as_it_stands_there_but_for_columns_that_came_later() {
    for (_, file) in committed() {
        let stored = columns(&fs::read_to_string(&file).unwrap());
        let mut written = columns(&rows_text(&read_rows::<RunRow>(&file).unwrap()));
        written.retain(|(name, value)| {
            let known = stored.iter().any(|(column, _)| column == name);
            assert!(known || value.is_empty(), "{}: {name}", file.display());
            known
        });
        assert_eq!(written, stored, "{}", file.display());
    }
}
