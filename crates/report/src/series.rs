//! Runs side by side: which setting goes across the wide table and along the x axis, and the rows that differ in it alone.

use std::collections::BTreeSet;

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::Axis;
use crate::bits::Bits;

/// What goes across.
#[derive(Clone, Copy)]
pub(crate) enum Across {
    Bits,
    /// Where all runs have the same bits.
    Axis(&'static Axis),
}

/// Quantized rows that agree in network, data and some axes, in the order of the table; never empty.
pub(crate) struct Series<'a> {
    pub rows: Vec<&'a TableRow>,
}

impl<'a> Series<'a> {
    pub fn first(&self) -> &'a TableRow {
        self.rows[0]
    }
}

impl Across {
    /// Bits where they vary, else of the axes that do the one with the most values, or the one with the fewest; of
    /// equals the last.
    pub fn of(table: &AccuracyTable, most: bool) -> Across {
        let bits: BTreeSet<Bits> = quantized(table).map(TableRow::bits).collect();
        let axes = table.axes.iter().filter(|axis| axis.is_scheme());
        let size = |axis: &&&'static Axis| {
            let size = axis.values(quantized(table).map(|row| &row.config)).len();
            if most { size } else { usize::MAX - size }
        };
        // An axis may vary among float runs alone.
        let axes =
            axes.filter(|axis| axis.values(quantized(table).map(|row| &row.config)).len() > 1);
        match axes.max_by_key(size) {
            Some(axis) if bits.len() == 1 => Across::Axis(axis),
            _ => Across::Bits,
        }
    }

    /// What it is, in words.
    pub fn title(self) -> &'static str {
        match self {
            Across::Bits => "bits",
            Across::Axis(axis) => axis.title,
        }
    }

    /// Where a row stands.
    pub fn label(self, table: &AccuracyTable, row: &TableRow) -> String {
        match self {
            Across::Bits => row.bits().label(table.activations),
            Across::Axis(axis) => axis.value(&row.config),
        }
    }

    /// Every place, in order: bits from many to few, values as the vocabulary has them.
    pub fn labels(self, table: &AccuracyTable) -> Vec<String> {
        match self {
            Across::Bits => {
                let bits: BTreeSet<Bits> = quantized(table).map(TableRow::bits).collect();
                let label = |bits: &Bits| bits.label(table.activations);
                bits.iter().rev().map(label).collect()
            }
            Across::Axis(axis) => axis.values(quantized(table).map(|row| &row.config)),
        }
    }

    /// The varying axes that are not across.
    pub fn others(self, table: &AccuracyTable) -> Vec<&'static Axis> {
        let axes = table.axes.iter().copied();
        axes.filter(|axis| !matches!(self, Across::Axis(across) if across.title == axis.title))
            .collect()
    }
}

fn quantized(table: &AccuracyTable) -> impl Iterator<Item = &TableRow> {
    table.rows.iter().filter(|row| !row.config.is_float())
}

impl AccuracyTable {
    /// Quantized rows gathered into those that agree in network, data and `axes`, in the order of the rows.
    pub(crate) fn series(&self, axes: &[&Axis]) -> Vec<Series<'_>> {
        let values = |row: &TableRow| -> Vec<String> {
            axes.iter().map(|axis| axis.value(&row.config)).collect()
        };
        let mut all: Vec<(Vec<String>, Series<'_>)> = Vec::new();
        for row in quantized(self) {
            let key = values(row);
            let same = |(known, series): &&mut (Vec<String>, Series<'_>)| {
                *known == key && series.first().subject() == row.subject()
            };
            match all.iter_mut().find(same) {
                Some((_, series)) => series.rows.push(row),
                None => all.push((key, Series { rows: vec![row] })),
            }
        }
        all.into_iter().map(|(_, series)| series).collect()
    }

    /// The float row that a series is compared with.
    pub(crate) fn float_of(&self, series: &Series<'_>) -> Option<&TableRow> {
        let mut rows = series.rows.iter();
        rows.find_map(|row| row.float_run.as_ref())
            .and_then(|id| self.row(id))
    }
}
