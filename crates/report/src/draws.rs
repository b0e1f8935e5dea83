//! Runs that differ in nothing but the `seed`: draws of one configuration, as papers give them. One number of a draw says little where
//! draws differ as much as methods do.
//!
//! ```text
//! median    of the draws' hits, of an even number the lower of the two in the middle: always a run that there is
//! spread    highest less lowest top-1, in points
//! ```

use crate::accuracy::{AccuracyTable, TableRow};
use crate::axes::Axis;
use crate::columns::{FAILED, count, number};
use crate::grid::{Grid, markdown_grid};
use crate::render::quoted;
use crate::series::Across;

/// The setting that makes a draw.
const SEED: &str = "seed";

/// What the draws of one configuration came to.
struct Draws<'a> {
    /// That are there, finished.
    done: usize,
    failed: usize,
    lowest: &'a TableRow,
    median: &'a TableRow,
    highest: &'a TableRow,
}

impl<'a> Draws<'a> {
    /// Of runs that differ in the seed alone; `None` where none finished.
    fn of(rows: &[&'a TableRow]) -> Option<Draws<'a>> {
        let done = rows.iter().copied().filter(|row| row.failed.is_none());
        let mut done: Vec<&TableRow> = done.collect();
        done.sort_by_key(|row| (row.top1, &row.run_id));
        Some(Draws {
            done: done.len(),
            failed: rows.len() - done.len(),
            lowest: done.first()?,
            median: done[(done.len() - 1) / 2],
            highest: done.last()?,
        })
    }

    /// Highest less lowest, in points; `None` of a single draw.
    fn spread(&self) -> Option<f64> {
        let spread = self.highest.top1_percent()? - self.lowest.top1_percent()?;
        (self.done > 1).then_some(spread)
    }
}

/// Those of `axes` that say what a run is a draw of, for pictures, in which draws are marks of one series.
pub(crate) fn without_seed(axes: &[&'static Axis]) -> Vec<&'static Axis> {
    let others = axes.iter().copied().filter(|axis| !axis.is_of(SEED));
    others.collect()
}

/// Which draw a run is.
pub(crate) fn seed(row: &TableRow) -> &str {
    row.config.text(SEED)
}

/// Of rows that are draws at several places the median of each place, the places in the order of their first rows.
pub(crate) fn medians<'a, P: PartialEq>(
    rows: &[&'a TableRow],
    place: impl Fn(&TableRow) -> P,
) -> Vec<&'a TableRow> {
    let mut places: Vec<(P, Vec<&TableRow>)> = Vec::new();
    for &row in rows {
        let own = place(row);
        match places.iter_mut().find(|(known, _)| *known == own) {
            Some((_, draws)) => draws.push(row),
            None => places.push((own, vec![row])),
        }
    }
    let draws = places.iter().filter_map(|(_, draws)| Draws::of(draws));
    draws.map(|draws| draws.median).collect()
}

/// `91.45 (0.14)`: median and spread, and how many failed.
fn cell(rows: &[&TableRow]) -> String {
    let Some(draws) = Draws::of(rows) else {
        return FAILED.into();
    };
    let mut text = number(draws.median.top1_percent(), 2);
    if let Some(spread) = draws.spread() {
        text.push_str(&format!(" ({spread:.2})"));
    }
    if draws.failed > 0 {
        text.push_str(&format!(", {} {FAILED}", draws.failed));
    }
    text
}

impl AccuracyTable {
    /// The axes that say what a run is a draw of; `None` where nothing was drawn more than once.
    fn drawn(&self) -> Option<(Across, Vec<&'static Axis>)> {
        let across = match Across::of(self, false) {
            Across::Axis(axis) if axis.is_of(SEED) => Across::Bits,
            across => across,
        };
        let all = across.others(self);
        let axes = without_seed(&all);
        (axes.len() < all.len()).then_some((across, axes))
    }

    /// A row a configuration, what goes across as in the wide table, median and spread of the draws in each cell. `None` where no
    /// configuration was drawn more than once.
    pub(crate) fn draws(&self) -> Option<Grid> {
        let (across, axes) = self.drawn()?;
        Some(self.wide_grid(across, &axes, cell))
    }

    /// The draws for Markdown: the table, what its cells say, and the lines that are below every table of the experiment.
    pub(crate) fn draws_markdown(&self) -> Option<String> {
        let mut text = format!("{}\n{NOTE}\n", markdown_grid(&self.draws()?));
        for line in self.notes() {
            text.push_str(&format!("{line}\n"));
        }
        Some(text)
    }

    /// Header and one line a configuration; plain numbers, empty = not measured.
    pub(crate) fn draws_csv(&self) -> Option<String> {
        let (across, axes) = self.drawn()?;
        // One line each, also where bits go across.
        let column = match across {
            Across::Axis(axis) => Some(axis),
            Across::Bits => None,
        };
        let axes: Vec<&Axis> = axes.into_iter().chain(column).collect();
        let named = axes
            .iter()
            .map(|axis| axis.title.to_lowercase().replace(' ', "_"));
        let mut heads: Vec<String> = named.collect();
        heads.extend(COLUMNS.map(str::to_owned));
        let mut text = heads.join(",") + "\n";
        for series in self.series(&axes) {
            for bits in Across::Bits.labels(self) {
                let rows = series.rows.iter().copied();
                let rows: Vec<&TableRow> = rows
                    .filter(|row| Across::Bits.label(self, row) == bits)
                    .collect();
                let Some(first) = rows.first() else {
                    continue;
                };
                let draws = Draws::of(&rows);
                let percent =
                    |of: fn(&Draws<'_>) -> Option<f64>| number(draws.as_ref().and_then(of), 2);
                let mut fields: Vec<String> = axes
                    .iter()
                    .map(|axis| quoted(&axis.value(&first.config)))
                    .collect();
                fields.extend([
                    first.config.weights_bits().to_string(),
                    first.config.activations_bits().to_string(),
                    draws.as_ref().map_or(0, |draws| draws.done).to_string(),
                    draws
                        .as_ref()
                        .map_or(rows.len(), |draws| draws.failed)
                        .to_string(),
                    count(first.n),
                    percent(|draws| draws.median.top1_percent()),
                    percent(|draws| draws.lowest.top1_percent()),
                    percent(|draws| draws.highest.top1_percent()),
                    percent(|draws| draws.median.difference),
                    draws
                        .as_ref()
                        .map_or("", |draws| &draws.median.run_id)
                        .to_owned(),
                ]);
                text.push_str(&(fields.join(",") + "\n"));
            }
        }
        Some(text)
    }
}

/// What the cells are, below the table.
const NOTE: &str = "Median of the draws (`seed`), in brackets highest less lowest, in points.";

/// Behind the axes. The median's difference to its float run, and its id, come last.
const COLUMNS: [&str; 10] = [
    "bits",
    "activation_bits",
    "draws",
    "failed",
    "n",
    "top1_median_percent",
    "top1_lowest_percent",
    "top1_highest_percent",
    "difference_points",
    "median_run_id",
];
