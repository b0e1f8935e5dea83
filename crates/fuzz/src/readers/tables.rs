//! Experiments, results and calibrations: text.

use std::fs;
use std::path::Path;

use bench::calibration::table::from_table;
use bench::cli::line;
use bench::experiment::Experiment;
use bench::settings::Cell;
use results::{CalibrationTable, LayerRow, SensitivityRow, Store, SweepTimeRow, ThroughputRow};

use super::{Verdict, file};
use crate::mutate::parts;

/// Cells of one file that are looked at.
const CELLS: usize = 200;

/// An experiment, and each of its first cells.
pub fn experiment(place: &Path, input: &[u8]) -> Verdict {
    let path = file(place, "hostile.toml", input);
    let experiment = match Experiment::read(&path) {
        Ok(experiment) => experiment,
        Err(error) => return Verdict::Refused(line(&error)),
    };
    let cells = match experiment.cells() {
        Ok(cells) => cells,
        Err(error) => return Verdict::Refused(line(&error)),
    };
    for cell in cells.iter().take(CELLS) {
        if let Err(error) = Cell::new(cell) {
            return Verdict::Refused(line(&error));
        }
    }
    Verdict::Taken
}

/// Name and run id of the run that is changed: what [`crate::seeds`] writes, for the run id is checked.
pub(crate) const EXPERIMENT: &str = "hostile";

/// The parts of the input as files of an experiment's folder: `NAME` or `RUN_ID/NAME`.
fn lay_out(place: &Path, input: &[u8]) {
    let folder = place.join(EXPERIMENT);
    let _ = fs::remove_dir_all(&folder);
    for (name, bytes) in parts(input).iter().take(24) {
        let mut names = name.split('/');
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() < 100
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        };
        if names.clone().count() > 2 || !names.all(plain) || name.contains("..") {
            continue;
        }
        let path = folder.join(name);
        if let Some(above) = path.parent() {
            let _ = fs::create_dir_all(above);
        }
        let _ = fs::write(path, bytes);
    }
}

/// Run folders, file by file, and the tables beside them.
pub fn run(place: &Path, input: &[u8]) -> Verdict {
    lay_out(place, input);
    let read = || -> Result<(), results::Error> {
        let store = Store::existing(place)?;
        for run_id in store.runs(EXPERIMENT)? {
            store.is_complete(EXPERIMENT, &run_id)?;
            store.read(EXPERIMENT, &run_id)?;
        }
        store.published(EXPERIMENT)?;
        store.peers(EXPERIMENT)?;
        let folder = place.join(EXPERIMENT);
        let beside = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        beside("sensitivity.csv")
            .map(|path| results::read_rows::<SensitivityRow>(&path))
            .transpose()?;
        beside("throughput.csv")
            .map(|path| results::read_rows::<ThroughputRow>(&path))
            .transpose()?;
        beside("layers.csv")
            .map(|path| results::read_rows::<LayerRow>(&path))
            .transpose()?;
        beside("sweeps.csv")
            .map(|path| results::read_rows::<SweepTimeRow>(&path))
            .transpose()?;
        Ok(())
    };
    Verdict::of(read())
}

/// The same folders as tables and plots.
pub fn report(place: &Path, input: &[u8]) -> Verdict {
    lay_out(place, input);
    Verdict::of(report::outputs(place, EXPERIMENT))
}

/// A saved calibration.
pub fn calibration(place: &Path, input: &[u8]) -> Verdict {
    lay_out(place, input);
    match CalibrationTable::read(&place.join(EXPERIMENT)) {
        Err(error) => Verdict::Refused(error.to_string()),
        Ok(table) => match from_table(&table) {
            Err(error) => Verdict::Refused(line(&error)),
            Ok(_) => Verdict::Taken,
        },
    }
}
