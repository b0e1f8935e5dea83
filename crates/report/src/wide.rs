//! The wide table, as papers print it: schemes down, bits across.

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::Axis;
use crate::columns::{FAILED, number};
use crate::grid::Grid;
use crate::series::Across;

/// Top-1 in percent against what goes across.
pub(crate) struct Wide {
    /// What the table shows, in words.
    pub title: String,
    pub grid: Grid,
}

impl AccuracyTable {
    /// Bits across where they vary; else, where two axes or more do, the one with the fewest values. `None` where that
    /// would be one row or one column.
    pub(crate) fn wide(&self) -> Option<Wide> {
        let across = Across::of(self, false);
        let grid = self.wide_grid(across, &across.others(self), |rows| cell(rows[0]));
        // Words, the float run, and what goes across.
        let columns = grid.heads.len() - grid.text_columns - 1;
        (grid.rows.len() > 1 && columns > 1).then(|| Wide {
            title: format!("Top-1 % against {}", across.title()),
            grid,
        })
    }

    /// A row for each value of `axes`, the float run and what goes `across`; `of` makes a cell of the runs that agree in
    /// both, at least one.
    pub(crate) fn wide_grid(
        &self,
        across: Across,
        axes: &[&'static Axis],
        of: impl Fn(&[&TableRow]) -> String,
    ) -> Grid {
        let labels = across.labels(self);
        let unit = match across {
            Across::Bits if !self.activations => " bit",
            _ => "",
        };
        let mut heads: Vec<String> = axes.iter().map(|axis| axis.title.to_string()).collect();
        let text_columns = heads.len();
        heads.push("float".into());
        heads.extend(labels.iter().map(|label| format!("{label}{unit}")));
        let series = self.series(axes);
        let rows = series.iter().map(|series| {
            let axes = axes.iter().map(|axis| axis.value(&series.first().config));
            let float = self.float_of(series).map(cell).unwrap_or_default();
            let cells = labels.iter().map(|label| {
                let rows = series.rows.iter().copied();
                let rows: Vec<&TableRow> = rows
                    .filter(|row| across.label(self, row) == *label)
                    .collect();
                match rows.is_empty() {
                    true => String::new(),
                    false => of(&rows),
                }
            });
            axes.chain([float]).chain(cells).collect()
        });
        Grid {
            heads,
            text_columns,
            rows: rows.collect(),
        }
    }
}

/// Top-1 of a run.
fn cell(row: &TableRow) -> String {
    match row.failed {
        Some(_) => FAILED.into(),
        None => number(row.top1_percent(), 2),
    }
}
