//! What is the same kind of thing in every run, as columns over all of them: the table, settings, provenance.

use results::setting::settings as all_settings;
use results::{Config, RunRow};
use serde::Serialize;

use super::pool::Words;
use crate::accuracy::AccuracyTable;
use crate::bits::Bits;

/// A column of the table.
#[derive(Serialize)]
pub(super) struct Column {
    head: String,
    kind: Kind,
    #[serde(flatten)]
    cells: Words,
    /// What is filtered by, where that is more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    /// What numbers are sorted by; `null` where there is none. Words have the order of `cells.d`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Option<f64>>,
}

/// How a column is sorted and filtered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// A setting in which runs differ; also filtered by.
    Axis,
    /// Likewise.
    Bits,
    Number,
    /// The id.
    Run,
}

/// A setting or a circumstance, of all runs.
#[derive(Serialize)]
pub(super) struct Said {
    key: &'static str,
    /// Whether it is a setting that can be given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    given: bool,
    /// Whether runs differ in it; that a float run has no mapping is no difference.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    differs: bool,
    #[serde(flatten)]
    values: Words,
}

/// The columns of the table, the id in front.
pub(super) fn table(table: &AccuracyTable) -> Vec<Column> {
    let grid = table.grid();
    let column = |(place, head): (usize, &String)| {
        let cells = || grid.rows.iter().map(move |row| row[place].replace('`', ""));
        let (kind, known) = match head.as_str() {
            _ if place < grid.text_columns => {
                let axis = table.axes[place];
                let configs = table.rows.iter().map(|row| &row.config);
                let mut known = axis.values(configs);
                // A float run has bits to be found by.
                let quantized =
                    || (cells().zip(&table.rows)).filter(|(_, row)| !row.config.is_float());
                known.retain(|value| match value.is_empty() {
                    true => quantized().any(|(cell, _)| cell.is_empty()),
                    false => cells().any(|cell| cell == *value),
                });
                (Kind::Axis, known)
            }
            "bits" => {
                let mut bits: Vec<Bits> = table.rows.iter().map(|row| row.bits()).collect();
                bits.sort_unstable_by(|a, b| b.cmp(a));
                bits.dedup();
                let label = |bits: &Bits| bits.label(table.activations);
                (Kind::Bits, bits.iter().map(label).collect())
            }
            "run" => (Kind::Run, Vec::new()),
            _ => (Kind::Number, Vec::new()),
        };
        Column {
            head: head.clone(),
            kind,
            keys: match kind {
                Kind::Number => cells().map(|cell| key(&cell)).collect(),
                _ => Vec::new(),
            },
            values: match known.len() {
                0 | 1 => Vec::new(),
                _ => known.clone(),
            },
            cells: Words::in_order(known, cells()),
        }
    };
    let mut columns: Vec<Column> = grid.heads.iter().enumerate().map(column).collect();
    columns.sort_by_key(|column| column.kind != Kind::Run);
    columns
}

/// The number that a cell begins with, a sign or a `<` before it.
fn key(cell: &str) -> Option<f64> {
    if let Some(rest) = cell.strip_prefix('<') {
        // Below all that have digits.
        return key(rest).map(|_| 0.0);
    }
    let number = cell.split('–').next().unwrap_or_default();
    number.trim_start_matches('+').parse().ok()
}

/// The settings that some run has, in the order of `run.csv`, by their keys.
pub(super) fn settings(runs: &[RunRow]) -> Vec<Said> {
    let said = |setting: &'static results::setting::Setting| {
        let column = setting.column?;
        let of = |config: &Config| config.text(column).to_owned();
        Some(Said {
            key: setting.key.unwrap_or(column),
            given: setting.key.is_some(),
            differs: [true, false].iter().any(|float| {
                let own = runs.iter().filter(|run| run.config.is_float() == *float);
                let mut own = own.map(|run| of(&run.config));
                let first = own.next();
                own.any(|value| Some(value) != first)
            }),
            values: Words::new(runs.iter().map(|run| of(&run.config))),
        })
    };
    let said = all_settings().filter_map(said);
    said.filter(|said| !said.values.is_silent()).collect()
}

/// Where a run's figures come from: what is in `run.csv` beside the settings.
pub(super) fn provenance(runs: &[RunRow]) -> Vec<Said> {
    type Of = fn(&RunRow) -> String;
    let columns: [(&'static str, Of); 14] = [
        ("weights_file", |run| {
            run.weights_file.clone().unwrap_or_default()
        }),
        ("weights_sha256", |run| run.weights_sha256.clone()),
        ("data_folder", |run| {
            run.data_folder.clone().unwrap_or_default()
        }),
        ("data_sha256", |run| run.data_sha256.clone()),
        ("calibration_sha256", |run| {
            run.calibration_sha256.clone().unwrap_or_default()
        }),
        ("git_revision", |run| run.git_revision.clone()),
        ("rustc", |run| run.rustc.clone()),
        ("burn", |run| run.burn.clone()),
        ("cpu_features", |run| run.cpu_features.clone()),
        ("threads", |run| run.threads.to_string()),
        ("host", |run| run.host.clone()),
        ("started_at", |run| run.started_at.clone()),
        ("seconds", |run| run.seconds.to_string()),
        ("images_per_second", |run| {
            run.images_per_second
                .map(|n| n.to_string())
                .unwrap_or_default()
        }),
    ];
    let said = columns.into_iter().map(|(key, of)| Said {
        key,
        given: false,
        differs: false,
        values: Words::new(runs.iter().map(of)),
    });
    said.filter(|said| !said.values.is_silent()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_sorted_by_the_number_that_they_begin_with() {
        let cells = [
            "9173",
            "+0.07",
            "-22.68",
            "91.17–92.25",
            "1.0e-207",
            "<1e-300",
            "failed",
            "",
        ];
        let keys = cells.map(key);
        let numbers = [9173.0, 0.07, -22.68, 91.17, 1.0e-207, 0.0].map(Some);
        assert_eq!(keys[..6], numbers);
        assert_eq!(keys[6..], [None, None]);
    }
}
