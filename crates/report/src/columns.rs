//! The columns of the accuracy table: which there are, what stands in them, and numbers as text.

use crate::accuracy::{AccuracyTable, TableRow};
use crate::grid::Grid;
use crate::stats::p_text;

type Cell = fn(&AccuracyTable, &TableRow) -> String;

/// All of them behind the axes, in order.
const COLUMNS: [(&str, Cell); 17] = [
    ("bits", |table, row| row.bits().label(table.activations)),
    ("n", |_, row| count(row.n)),
    ("top-1 hits", |_, row| match row.failed {
        Some(_) => FAILED.into(),
        None => count(row.top1),
    }),
    ("top-1 %", |_, row| number(row.top1_percent(), 2)),
    ("published %", |_, row| {
        number(row.published.as_ref().map(|p| p.top1_percent), 2)
    }),
    ("95 % interval", |_, row| {
        row.interval
            .map(|(low, high)| format!("{:.2}–{:.2}", low * 100.0, high * 100.0))
            .unwrap_or_default()
    }),
    ("Δ points", |_, row| signed(row.difference)),
    ("top-5 %", |_, row| number(row.top5_percent(), 2)),
    ("flips", |_, row| count(row.flips)),
    ("p", |_, row| row.p.map(p_text).unwrap_or_default()),
    ("SQNR dB", |_, row| number(row.sqnr, 1)),
    ("latent SQNR dB", |_, row| number(row.latent_sqnr, 1)),
    ("lost channels", |_, row| {
        count(row.lost_channels.filter(|n| *n > 0))
    }),
    ("codes differ", |_, row| count(row.codes_differ)),
    ("max", |_, row| count(row.codes_max_difference)),
    ("images/s", |table, row| {
        // Speed is what integers are for; elsewhere it would only make two machines' tables differ.
        number(row.images_per_second.filter(|_| table.integers), 0)
    }),
    ("run", |_, row| format!("`{}`", row.run_id)),
];

/// In place of a count that there is none of.
pub(crate) const FAILED: &str = "failed";

impl AccuracyTable {
    /// The axes that vary, then the columns that have a value in some row.
    pub(crate) fn grid(&self) -> Grid {
        let used = COLUMNS
            .iter()
            .filter(|(_, cell)| self.rows.iter().any(|row| !cell(self, row).is_empty()));
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
            axes.chain(used.iter().map(|(_, cell)| cell(self, row)))
                .collect()
        };
        Grid {
            heads,
            text_columns,
            rows: self.rows.iter().map(cells).collect(),
        }
    }
}

pub(crate) fn count(value: Option<u64>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value
        .map(|v| zero(format!("{v:.digits$}")))
        .unwrap_or_default()
}

pub(crate) fn signed(value: Option<f64>) -> String {
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
}
