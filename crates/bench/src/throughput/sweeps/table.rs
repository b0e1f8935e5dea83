//! The times of sweeps for people: on a terminal and, as Markdown, for a page.

use report::{Grid, markdown_grid, text_grid};

use super::{CellTime, SweepTime, SweepTimes};
use crate::throughput::Spread;

impl SweepTimes {
    /// The tables as text.
    pub fn text(&self) -> String {
        let table = |sweep: &SweepTime| {
            let (name, network) = (&sweep.experiment, &sweep.network);
            let grid = text_grid(&self.grid([sweep]));
            format!(
                "{name}: {network}, {} images a cell\n\n{grid}\n",
                sweep.images
            )
        };
        let tables: String = self.sweeps.iter().map(table).collect();
        tables + &report::wrapped(&self.notes().replace('`', ""), 80)
    }

    /// One table of all.
    pub fn markdown(&self) -> String {
        let grid = self.grid(&self.sweeps);
        format!("{}\n{}\n", markdown_grid(&grid), self.notes())
    }

    fn grid<'a>(&self, sweeps: impl IntoIterator<Item = &'a SweepTime>) -> Grid {
        let mut heads = vec!["experiment", "cell", "executed", "quantlab s", "hits"];
        if self.peer.is_some() {
            heads.extend(["pytorch s", "hits", "it / quantlab"]);
        }
        let width = heads.len();
        let rows = sweeps.into_iter().flat_map(|sweep| {
            let cells = sweep.cells.iter().map(|cell| cell_row(sweep, cell));
            cells.chain([whole_row(sweep)])
        });
        let rows = rows.map(|mut row: Vec<String>| {
            row.truncate(width);
            row
        });
        Grid {
            heads: heads.into_iter().map(String::from).collect(),
            text_columns: 3,
            rows: rows.collect(),
        }
    }

    fn notes(&self) -> String {
        let machine = &self.machine;
        let peer = self.peer.as_ref().map_or_else(String::new, |versions| {
            format!(
                " {versions}: the same cells in a process of its own, batches of 256, its times from outside. it / quantlab: \
                 its seconds over ours, of the whole in neighbouring rounds."
            )
        });
        format!(
            "Seconds, the median of {} rounds: of each cell, and from the start of the process to its end, {} threads.{peer} {}, {} \
             cores; {}, revision `{}`: `{}`",
            self.settings.rounds,
            self.settings.threads,
            machine.processor,
            machine.cores,
            machine.date,
            machine.revision,
            machine.command
        )
    }
}

fn cell_row(sweep: &SweepTime, cell: &CellTime) -> Vec<String> {
    let (seconds, hits) = &cell.ours;
    let mut row = vec![
        sweep.experiment.clone(),
        cell.label.clone(),
        cell.executed.clone(),
        shown(seconds),
        hits.to_string(),
    ];
    row.extend(match &cell.peer {
        Some((theirs, hits)) => [
            shown(theirs),
            hits.to_string(),
            format!("{:.2}", theirs.median / seconds.median.max(1e-9)),
        ],
        None => Default::default(),
    });
    row
}

fn whole_row(sweep: &SweepTime) -> Vec<String> {
    let whole = "the whole process";
    let ratio = sweep.ratio.map(|ratio| format!("{:.2}", ratio.median));
    vec![
        sweep.experiment.clone(),
        whole.to_owned(),
        String::new(),
        shown(&sweep.ours),
        String::new(),
        sweep.peer.as_ref().map(shown).unwrap_or_default(),
        String::new(),
        ratio.unwrap_or_default(),
    ]
}

fn shown(seconds: &Spread) -> String {
    format!("{:.2}", seconds.median)
}
