//! The wide table, as papers print it: schemes down, bits across.

use crate::accuracy::{AccuracyTable, TableRow};
use crate::columns::number;
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
        let (axes, labels) = (across.others(self), across.labels(self));
        let series = self.series(&axes);
        if series.len() < 2 || labels.len() < 2 {
            return None;
        }
        let (title, unit) = match across {
            Across::Bits if self.activations => ("bits", ""),
            Across::Bits => ("bits", " bit"),
            Across::Axis(axis) => (axis.title, ""),
        };
        let mut heads: Vec<String> = axes.iter().map(|axis| axis.title.to_string()).collect();
        let text_columns = heads.len();
        heads.push("float".into());
        heads.extend(labels.iter().map(|label| format!("{label}{unit}")));
        let cell = |row: &TableRow| match row.failed {
            Some(_) => "failed".into(),
            None => number(row.top1_percent(), 2),
        };
        let rows = series.iter().map(|series| {
            let axes = axes.iter().map(|axis| axis.value(&series.first().config));
            let float = self.float_of(series).map(cell).unwrap_or_default();
            let cells = labels.iter().map(|label| {
                let mut rows = series.rows.iter();
                rows.find(|row| across.label(self, row) == *label)
                    .map(|row| cell(row))
                    .unwrap_or_default()
            });
            axes.chain([float]).chain(cells).collect()
        });
        Some(Wide {
            title: format!("Top-1 % against {title}"),
            grid: Grid {
                heads,
                text_columns,
                rows: rows.collect(),
            },
        })
    }
}
