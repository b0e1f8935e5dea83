//! The accuracy table as Markdown, CSV and LaTeX.
//!
//! Markdown and LaTeX show the same cells: varying axes, then counts and what they are worth; columns without a single
//! value are left out. CSV has every column of its kind of table (weights alone, activations, integers), one number a
//! field, empty where nothing was measured.

use crate::accuracy::AccuracyTable;
use crate::columns::{FAILED, count, number};
use crate::grid::{Grid, latex_grid, markdown_grid, text_grid, text_width, wrapped};
use crate::stats::p_text;

/// Columns that a narrow terminal does without, the least needed first. The count of images stands in the line below; a
/// run's id is needed only by who opens its folder; hits are the percentage again.
const DISPENSABLE: [&str; 12] = [
    "n",
    "run",
    "SQNR dB",
    "latent SQNR dB",
    "Δ points",
    "p",
    "95 % interval",
    "top-5 %",
    "flips",
    HITS,
    "images/s",
    "max",
];
const HITS: &str = "top-1 hits";

impl AccuracyTable {
    /// The table, its wide form when there is more than one scheme, and a line that says what the numbers are.
    pub fn markdown(&self) -> String {
        let mut text = markdown_grid(&self.grid());
        text.push('\n');
        for line in self.notes() {
            text.push_str(&format!("{line}\n"));
        }
        if let Some(wide) = self.wide() {
            text.push_str(&format!("\n{}:\n\n", wide.title));
            text.push_str(&markdown_grid(&wide.grid));
        }
        text
    }

    /// The wide form alone, with the lines that say what the numbers are; `None` for a single scheme.
    pub fn markdown_wide(&self) -> Option<String> {
        let wide = self.wide()?;
        let mut text = format!("{}:\n\n{}\n", wide.title, markdown_grid(&wide.grid));
        for line in self.notes() {
            text.push_str(&format!("{line}\n"));
        }
        Some(text)
    }

    /// The table for a terminal of `width` columns: the columns of [`AccuracyTable::markdown`] side by side, the least
    /// needed ones left out until it fits, and the line that says what the numbers are.
    pub fn text(&self, width: usize) -> String {
        let mut text = text_grid(&fitting(self.grid(), &DISPENSABLE, width));
        if let Some(wide) = self.wide() {
            // The float run stands in the table above.
            let grid = fitting(wide.grid, &["float"], width);
            if text_width(&grid) <= width {
                text.push_str(&format!("\n{}:\n\n{}", wide.title, text_grid(&grid)));
            }
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
        if self.trained {
            heads.extend(["latent_sqnr_db", "lost_channels"].map(String::from));
        }
        let published = self.rows.iter().any(|row| row.published.is_some());
        if published {
            heads.push("published_top1_percent".into());
        }
        if self.activations {
            let bits = heads.iter().position(|head| head == "bits");
            heads.insert(bits.map_or(0, |i| i + 1), "activation_bits".into());
        }
        if self.integers {
            let columns = ["codes_differ", "codes_max_difference", "images_per_second"];
            heads.extend(columns.map(String::from));
        }
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
            fields.push(row.config.weights_bits().to_string());
            if self.activations {
                fields.push(row.config.activations_bits().to_string());
            }
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
            if self.trained {
                fields.extend([number(row.latent_sqnr, 2), count(row.lost_channels)]);
            }
            if published {
                fields.push(number(row.published.as_ref().map(|p| p.top1_percent), 2));
            }
            if self.integers {
                fields.extend([count(row.codes_differ), count(row.codes_max_difference)]);
                fields.push(number(row.images_per_second, 2));
            }
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
            text.push_str(&format!("\n% {}.\n", wide.title));
            text.push_str(&latex_grid(&wide.grid));
        }
        text
    }
}

/// The grid made as narrow as it must be: headings in two lines, then without the columns that are `dispensable`.
fn fitting(mut grid: Grid, dispensable: &[&str], width: usize) -> Grid {
    if text_width(&grid) > width {
        grid.break_heads();
    }
    for head in dispensable {
        if text_width(&grid) <= width {
            break;
        }
        if *head == HITS {
            // Its column says which runs failed.
            grid.move_cells(HITS, "top-1 %", FAILED);
        }
        grid.drop_column(head);
    }
    grid
}

pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
