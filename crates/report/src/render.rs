//! The accuracy table as Markdown, CSV and LaTeX.
//!
//! Markdown and LaTeX show the same cells: varying axes, then counts and what they are worth; columns without a single
//! value are left out. CSV has every column always, one number a field, empty where nothing was measured.

use std::collections::BTreeSet;

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::{bits_text, fixed};
use crate::grid::{Grid, latex_grid, markdown_grid, text_grid, text_width, wrapped};
use crate::stats::p_text;

impl AccuracyTable {
    /// The table, its wide form when there is more than one scheme, and a line that says what the numbers are.
    pub fn markdown(&self) -> String {
        let mut text = markdown_grid(&self.grid());
        text.push('\n');
        for line in self.notes() {
            text.push_str(&format!("{line}\n"));
        }
        if let Some(wide) = self.wide() {
            text.push_str("\nTop-1 % against bits:\n\n");
            text.push_str(&markdown_grid(&wide));
        }
        text
    }

    /// The table for a terminal of `width` columns: the columns of [`AccuracyTable::markdown`] side by side, the least
    /// needed ones left out until it fits, and the line that says what the numbers are.
    pub fn text(&self, width: usize) -> String {
        let mut grid = self.grid();
        // The count of images stands in the line below; a run's id is needed only by who opens its folder.
        for head in [
            "n",
            "run",
            "SQNR dB",
            "Δ points",
            "p",
            "95 % interval",
            "top-5 %",
        ] {
            if text_width(&grid) > width {
                grid.drop_column(head);
            }
        }
        let mut text = text_grid(&grid);
        if let Some(wide) = self.wide() {
            text.push_str(&format!("\nTop-1 % against bits:\n\n{}", text_grid(&wide)));
        }
        for note in self.notes().iter().filter(|note| !note.is_empty()) {
            text.push_str(&format!("\n{}", wrapped(&note.replace('`', ""), width)));
        }
        text
    }

    /// Header and one line a run; plain numbers, fractions of one as `_percent`, empty = not measured.
    pub fn csv(&self) -> String {
        let mut heads: Vec<String> = vec!["run_id".into(), "status".into()];
        heads.extend(
            self.axes
                .iter()
                .map(|axis| axis.title.to_lowercase().replace(' ', "_")),
        );
        heads.extend(
            [
                "bits",
                "n",
                "top1_correct",
                "top1_percent",
                "top1_low_percent",
                "top1_high_percent",
                "difference_points",
            ]
            .map(String::from),
        );
        heads.extend(
            [
                "top5_correct",
                "top5_percent",
                "flips",
                "mcnemar_p",
                "weight_sqnr_db",
                "float_run_id",
            ]
            .map(String::from),
        );
        let mut text = heads.join(",") + "\n";
        for row in &self.rows {
            let mut fields = vec![
                row.run_id.clone(),
                if row.failed.is_some() { "failed" } else { "ok" }.into(),
            ];
            fields.extend(
                self.axes
                    .iter()
                    .map(|axis| quoted(&axis.value(&row.config))),
            );
            fields.push(row.config.weights_bits.to_string());
            fields.extend([count(row.n), count(row.top1), number(row.top1_percent(), 2)]);
            fields.push(number(row.interval.map(|(low, _)| low * 100.0), 2));
            fields.push(number(row.interval.map(|(_, high)| high * 100.0), 2));
            fields.extend([
                number(row.difference, 2),
                count(row.top5),
                number(row.top5_percent(), 2),
                count(row.flips),
            ]);
            // A reader of numbers gets the 0 that a number of this size is read as.
            fields.push(
                row.p
                    .map(p_text)
                    .map(|p| if p.starts_with('<') { "0".into() } else { p })
                    .unwrap_or_default(),
            );
            fields.extend([
                number(row.sqnr, 2),
                row.float_run.clone().unwrap_or_default(),
            ]);
            text.push_str(&(fields.join(",") + "\n"));
        }
        text
    }

    /// A `tabular` for the package booktabs, what the numbers are as comments above it.
    pub fn latex(&self) -> String {
        let mut text = format!(
            "% Experiment {}; needs \\usepackage{{booktabs}}.\n",
            self.experiment
        );
        for note in self.notes().iter().filter(|note| !note.is_empty()) {
            text.push_str(&format!("% {}\n", note.replace('`', "")));
        }
        text.push_str(&latex_grid(&self.grid()));
        if let Some(wide) = self.wide() {
            text.push_str("\n% Top-1 % against bits.\n");
            text.push_str(&latex_grid(&wide));
        }
        text
    }

    fn grid(&self) -> Grid {
        type Cell = fn(&TableRow) -> String;
        let columns: [(&str, Cell); 11] = [
            ("bits", |row| bits_text(row.config.weights_bits)),
            ("n", |row| count(row.n)),
            ("top-1 hits", |row| {
                if row.failed.is_some() {
                    "failed".into()
                } else {
                    count(row.top1)
                }
            }),
            ("top-1 %", |row| number(row.top1_percent(), 2)),
            ("95 % interval", |row| {
                row.interval
                    .map(|(low, high)| format!("{:.2}–{:.2}", low * 100.0, high * 100.0))
                    .unwrap_or_default()
            }),
            ("Δ points", |row| signed(row.difference)),
            ("top-5 %", |row| number(row.top5_percent(), 2)),
            ("flips", |row| count(row.flips)),
            ("p", |row| row.p.map(p_text).unwrap_or_default()),
            ("SQNR dB", |row| number(row.sqnr, 1)),
            ("run", |row| format!("`{}`", row.run_id)),
        ];
        let used = columns
            .iter()
            .filter(|(_, cell)| self.rows.iter().any(|row| !cell(row).is_empty()));
        let used: Vec<_> = used.collect();
        let mut heads: Vec<String> = self
            .axes
            .iter()
            .map(|axis| axis.title.to_string())
            .collect();
        let text_columns = heads.len();
        heads.extend(used.iter().map(|(head, _)| head.to_string()));
        let cells = |row: &TableRow| {
            let axes = self.axes.iter().map(|axis| axis.value(&row.config));
            // "float" stands under bits; as a method it says nothing more.
            let axes = axes.map(|value| {
                if row.config.is_float() && value == "float" {
                    String::new()
                } else {
                    value
                }
            });
            axes.chain(used.iter().map(|(_, cell)| cell(row))).collect()
        };
        Grid {
            heads,
            text_columns,
            rows: self.rows.iter().map(cells).collect(),
        }
    }

    /// Schemes down, bits across, as papers print it. `None` for a single scheme.
    fn wide(&self) -> Option<Grid> {
        let lines = self.lines();
        let bits: BTreeSet<u32> = lines
            .iter()
            .flat_map(|line| line.by_bits.keys().copied())
            .collect();
        if lines.len() < 2 || bits.len() < 2 {
            return None;
        }
        let mut heads: Vec<String> = self
            .axes
            .iter()
            .map(|axis| axis.title.to_string())
            .collect();
        let text_columns = heads.len();
        heads.push("float".into());
        heads.extend(bits.iter().rev().map(|bits| format!("{bits} bit")));
        let cell = |row: &TableRow| match row.failed {
            Some(_) => "failed".into(),
            None => number(row.top1_percent(), 2),
        };
        let rows = lines.iter().map(|line| {
            let axes = self.axes.iter().map(|axis| axis.value(&line.first.config));
            let float = self.float_of(line).map(cell).unwrap_or_default();
            let cells = bits.iter().rev().map(|bits| {
                line.by_bits
                    .get(bits)
                    .map(|row| cell(row))
                    .unwrap_or_default()
            });
            axes.chain([float]).chain(cells).collect()
        });
        Some(Grid {
            heads,
            text_columns,
            rows: rows.collect(),
        })
    }

    /// What the numbers are: images, baselines, methods, revisions, hashes, settings that all runs share, failures.
    fn notes(&self) -> Vec<String> {
        let list = |items: BTreeSet<String>| items.into_iter().collect::<Vec<_>>().join(", ");
        let n: BTreeSet<u64> = self.rows.iter().filter_map(|row| row.n).collect();
        let n = n.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let used: BTreeSet<&str> = self
            .rows
            .iter()
            .filter_map(|row| row.float_run.as_deref())
            .collect();
        let baselines = self
            .rows
            .iter()
            .filter(|row| used.contains(row.run_id.as_str()))
            .map(|row| {
                format!(
                    "`{}` ({} hits, {} %)",
                    row.run_id,
                    count(row.top1),
                    number(row.top1_percent(), 2)
                )
            });
        let baselines = baselines.collect::<Vec<_>>().join(", ");
        let baselines = if baselines.is_empty() {
            "none".to_string()
        } else {
            baselines
        };
        let revisions = list(
            self.runs
                .iter()
                .map(|run| revision(&run.git_revision))
                .collect(),
        );
        let model = |run: &results::RunRow| {
            let name = run
                .config
                .model_name
                .as_deref()
                .filter(|name| !name.is_empty());
            format!(
                "{} `{}`",
                name.unwrap_or(&run.config.model_arch),
                short(&run.weights_sha256)
            )
        };
        let models = list(self.runs.iter().map(model).collect());
        let data = list(
            self.runs
                .iter()
                .map(|run| format!("{} `{}`", run.config.dataset, short(&run.data_sha256)))
                .collect(),
        );
        let mut notes = vec![format!(
            "n = {n} images. Float run: {baselines}; Δ is the difference to it in points, flips are predictions that \
                 differ from it. 95 % interval: Wilson score. p: McNemar's exact test against it, two-sided. \
                 Revision: {revisions}. Weights: {models}. Data: {data}."
        )];
        let fixed = fixed(&self.runs);
        if !fixed.is_empty() {
            notes.extend([
                String::new(),
                format!("The same in all runs: {}.", fixed.join(", ")),
            ]);
        }
        let failed = self
            .rows
            .iter()
            .filter_map(|row| row.failed.as_ref().map(|error| (row, error)));
        for (row, error) in failed {
            notes.extend([
                String::new(),
                format!(
                    "Failed: run `{}` ({} bits): {error}",
                    row.run_id,
                    bits_text(row.config.weights_bits)
                ),
            ]);
        }
        notes
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

fn count(value: Option<u64>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value
        .map(|v| zero(format!("{v:.digits$}")))
        .unwrap_or_default()
}

fn signed(value: Option<f64>) -> String {
    let text = number(value, 2);
    if value.is_some_and(|v| v > 0.0) && text != "0.00" {
        format!("+{text}")
    } else {
        text
    }
}

/// A negative number that rounds to zero loses its sign.
fn zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if !rest.contains(|c: char| ('1'..='9').contains(&c)) => rest.to_string(),
        _ => text,
    }
}

/// The first eight characters of a hash.
fn short(hash: &str) -> String {
    hash.chars().take(8).collect()
}

/// A revision with its hash cut to ten characters, `-dirty` kept.
fn revision(text: &str) -> String {
    let (hash, rest) = text.split_at(text.find('-').unwrap_or(text.len()));
    let hash: String = hash.chars().take(10).collect();
    if text.is_empty() {
        "unknown".into()
    } else {
        format!("`{hash}{rest}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign_and_zero_has_none() {
        let texts = [
            Some(0.07),
            Some(-0.17),
            Some(0.0),
            Some(-0.001),
            Some(0.001),
            None,
        ]
        .map(signed);
        assert_eq!(texts, ["+0.07", "-0.17", "0.00", "0.00", "0.00", ""]);
    }

    #[test]
    fn a_dirty_revision_stays_dirty() {
        assert_eq!(revision("0123456789abcdef0123-dirty"), "`0123456789-dirty`");
        assert_eq!(revision("0123456789abcdef0123"), "`0123456789`");
        assert_eq!(revision(""), "unknown");
    }
}
