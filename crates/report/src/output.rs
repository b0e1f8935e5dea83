//! The files that belong beside an experiment's runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::accuracy::AccuracyTable;
use crate::accuracy_plot::accuracy_plot;
use crate::cost_plot::cost_plot;
use crate::epoch_plot::epoch_plot;
use crate::error::Error;
use crate::grid::{Grid, markdown_grid};
use crate::load::Loaded;
use crate::pareto::pareto;
use crate::predictors::predictors;
use crate::scatter::{Scatters, scatter};
use crate::sqnr_plot::sqnr_plot;

/// A file as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it belongs.
    pub path: PathBuf,
    /// Its text; `None` when the runs have nothing to fill it with, and it must not be there.
    pub text: Option<String>,
}

impl Output {
    /// Whether the file on disk differs.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there and cannot be read.
    pub fn is_stale(&self) -> Result<bool, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(self
                .text
                .as_ref()
                .is_none_or(|text| text.as_bytes() != bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(self.text.is_some()),
            Err(e) => Err(Error::Io {
                action: "read",
                path: self.path.clone(),
                error: e,
            }),
        }
    }

    /// Writes the file, whole or not at all; removes it when it must not be there. A file that is as it
    /// should be is not touched.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<(), Error> {
        if !self.is_stale()? {
            return Ok(());
        }
        let io = |action| {
            let path = self.path.clone();
            move |error| Error::Io {
                action,
                path,
                error,
            }
        };
        let Some(text) = &self.text else {
            return fs::remove_file(&self.path).map_err(io("remove"));
        };
        results::write_whole(&self.path, text.as_bytes()).map_err(io("write"))
    }
}

/// The table of an experiment and its files: `table.md`, `table.csv`, `table.tex`, `accuracy.svg`, `sqnr.svg`, where runs are
/// draws of one configuration `draws.md` and `draws.csv`, where they were trainings `epochs.svg`, where other tools stand beside them `cost.svg`, and where bits were allocated the fronts of accuracy and
/// cost (`pareto.md`, `pareto.svg`) and how well that was predicted (`predictors.md`, `predictors.svg`).
///
/// # Errors
/// Those of [`crate::accuracy_table`].
pub fn outputs(
    results_root: &Path,
    experiment: &str,
) -> Result<(AccuracyTable, Vec<Output>), Error> {
    let loaded = Loaded::open(results_root, experiment)?;
    let table = AccuracyTable::new(&loaded)?;
    let printed = |found: Option<(Grid, Scatters)>| match found {
        Some((grid, drawn)) => [Some(markdown_grid(&grid)), scatter(&drawn)],
        None => [None, None],
    };
    let [pareto_text, pareto_svg] = printed(pareto(&table, &loaded));
    let [predictors_text, predictors_svg] = printed(predictors(&table, &loaded));
    let texts = [
        ("table.md", Some(table.markdown())),
        ("table.csv", Some(table.csv())),
        ("table.tex", Some(table.latex())),
        ("draws.md", table.draws_markdown()),
        ("draws.csv", table.draws_csv()),
        ("accuracy.svg", accuracy_plot(&table)),
        ("sqnr.svg", sqnr_plot(&table, &loaded)),
        ("epochs.svg", epoch_plot(&table, &loaded)),
        ("cost.svg", cost_plot(&table)),
        ("pareto.md", pareto_text),
        ("pareto.svg", pareto_svg),
        ("predictors.md", predictors_text),
        ("predictors.svg", predictors_svg),
    ];
    let outputs = texts
        .into_iter()
        .map(|(name, text)| Output {
            path: loaded.folder.join(name),
            text,
        })
        .collect();
    Ok((table, outputs))
}

/// Writes the files of [`outputs`]; gives the table and the paths of the files that are there now.
///
/// # Errors
/// Those of [`crate::accuracy_table`], and [`Error::Io`].
pub fn write_all(
    results_root: &Path,
    experiment: &str,
) -> Result<(AccuracyTable, Vec<PathBuf>), Error> {
    let (table, outputs) = outputs(results_root, experiment)?;
    outputs.iter().try_for_each(Output::write)?;
    let written = outputs
        .into_iter()
        .filter(|output| output.text.is_some())
        .map(|output| output.path)
        .collect();
    Ok((table, written))
}
