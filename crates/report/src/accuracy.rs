//! The accuracy table: one row a run, with what its count is worth.
//!
//! ```text
//! interval    Wilson's 95 % score interval of hits out of n
//! difference  (hits - hits of the float run) / n * 100, in points
//! p           McNemar's exact test against the float run, over the same images
//! ```
//!
//! The float run of a row is the run with method `float`, the same model, weights, data set, data hash and number of
//! images; of several, the one whose other settings agree most (a folded network is compared with the folded float one).

use std::path::Path;

use results::{Config, PeerRow, PublishedRow, RunRow, Status, metric};

use crate::axes::{Axis, varying};
use crate::bits::Bits;
use crate::error::Error;
use crate::load::{Codes, Loaded, Pairs};
use crate::order::sort;
use crate::stats::{mcnemar, wilson};

/// One run in the table. `None` is "not measured" or "does not apply".
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// The run.
    pub run_id: String,
    /// Its configuration.
    pub config: Config,
    /// The error, first line, of a failed run.
    pub failed: Option<String>,
    /// Images.
    pub n: Option<u64>,
    /// Images whose best class is right.
    pub top1: Option<u64>,
    /// 95 % interval of `top1 / n`, both within 0..=1.
    pub interval: Option<(f64, f64)>,
    /// Images whose label is among the best five.
    pub top5: Option<u64>,
    /// Id of the float run it is compared with; none for a float run itself.
    pub float_run: Option<String>,
    /// Difference to the float run in points of top-1.
    pub difference: Option<f64>,
    /// Predictions that differ from the float run's.
    pub flips: Option<u64>,
    /// McNemar's p against the float run.
    pub p: Option<f64>,
    /// SQNR of all weights in dB; none for a trained network.
    pub sqnr: Option<f64>,
    /// Of a trained network: its own weights against their codes, the median of its layers, in dB.
    pub latent_sqnr: Option<f64>,
    /// Channels that a training has lost.
    pub lost_channels: Option<u64>,
    /// Codes of an integer run, over all values and images, that its simulation gives differently.
    pub codes_differ: Option<u64>,
    /// The largest difference of two such codes.
    pub codes_max_difference: Option<u64>,
    /// What the literature says that it comes to.
    pub published: Option<PublishedRow>,
    /// How fast the test images ran through the network.
    pub images_per_second: Option<f64>,
    pub(crate) codes: Option<u64>,
    pub(crate) classes: u64,
    pub(crate) data_sha256: String,
    pub(crate) weights_sha256: String,
}

impl TableRow {
    /// Top-1 in percent.
    pub fn top1_percent(&self) -> Option<f64> {
        percent(self.top1, self.n)
    }

    /// Top-5 in percent.
    pub fn top5_percent(&self) -> Option<f64> {
        percent(self.top5, self.n)
    }

    pub(crate) fn bits(&self) -> Bits {
        Bits::of(&self.config)
    }

    /// Network and data: rows that agree in it can be drawn into one picture.
    pub(crate) fn subject(&self) -> [&str; 5] {
        let [model, arch, dataset] =
            ["model_name", "model_arch", "dataset"].map(|column| self.config.text(column));
        [
            model,
            arch,
            &self.weights_sha256,
            dataset,
            &self.data_sha256,
        ]
    }
}

/// The rows of an experiment in their order. [`AccuracyTable::markdown`], [`AccuracyTable::csv`] and
/// [`AccuracyTable::latex`] print it.
pub struct AccuracyTable {
    /// Name of the experiment.
    pub experiment: String,
    /// One row a run: by model and data, float first, then by scheme, then from many bits to few.
    pub rows: Vec<TableRow>,
    pub(crate) axes: Vec<&'static Axis>,
    /// Whether some run quantizes activations: then bits are pairs.
    pub(crate) activations: bool,
    /// Whether some run computes in integers: then codes were compared, and speed is of interest.
    pub(crate) integers: bool,
    /// Whether some run was trained: then its weights are not those that the others were made from.
    pub(crate) trained: bool,
    /// Where other tools' figures beside the runs come from.
    pub(crate) peers: Vec<PeerRow>,
    /// The run rows, in the order of `rows`.
    pub(crate) runs: Vec<RunRow>,
}

/// Reads an experiment's run folders and makes its table.
///
/// # Errors
/// No runs, a damaged folder, mixed schemas, duplicate keys, counts that their predictions do not give: see [`Error`].
pub fn accuracy_table(results_root: &Path, experiment: &str) -> Result<AccuracyTable, Error> {
    AccuracyTable::new(&Loaded::open(results_root, experiment)?)
}

impl AccuracyTable {
    pub(crate) fn new(loaded: &Loaded) -> Result<AccuracyTable, Error> {
        let mut runs = loaded.rows.clone();
        sort(&mut runs);
        let rows: Vec<TableRow> = runs
            .iter()
            .map(|run| table_row(loaded, run))
            .collect::<Result<_, _>>()?;
        Ok(AccuracyTable {
            experiment: loaded.name.clone(),
            axes: varying(&runs),
            activations: rows.iter().any(|row| row.bits().has_activations()),
            trained: rows.iter().any(|row| row.latent_sqnr.is_some()),
            integers: rows
                .iter()
                .any(|row| row.config.text("execution") == "integer"),
            peers: loaded.peers.clone(),
            rows,
            runs,
        })
    }

    /// The row of a run.
    pub fn row(&self, run_id: &str) -> Option<&TableRow> {
        self.rows.iter().find(|row| row.run_id == run_id)
    }
}

fn table_row(loaded: &Loaded, run: &RunRow) -> Result<TableRow, Error> {
    let network = |name: &str| loaded.network(&run.run_id, name);
    let counted = loaded.counted.get(&run.run_id);
    let codes = loaded.codes(&run.run_id);
    let mut row = TableRow {
        run_id: run.run_id.clone(),
        config: run.config.clone(),
        failed: None,
        n: counted.map(|c| c.n),
        top1: counted.map(|c| c.hits),
        interval: counted.map(|c| wilson(c.hits, c.n)),
        top5: network(metric::TOP5_CORRECT).map(|(value, _)| value as u64),
        float_run: None,
        difference: None,
        flips: network(metric::FLIPS).map(|(value, _)| value as u64),
        p: None,
        sqnr: network(metric::WEIGHT_SQNR).map(|(value, _)| value),
        latent_sqnr: network(metric::LATENT_SQNR).map(|(value, _)| value),
        lost_channels: network(metric::LOST_CHANNELS).map(|(value, _)| value as u64),
        codes_differ: codes.map(|c| c.differ),
        codes_max_difference: codes.map(|c| c.largest),
        published: loaded.published.get(&run.run_id).cloned(),
        images_per_second: run.images_per_second,
        codes: codes.map(|Codes { n, .. }| n),
        classes: counted.map_or(0, |c| c.classes),
        data_sha256: run.data_sha256.clone(),
        weights_sha256: run.weights_sha256.clone(),
    };
    let Some(counted) = counted else {
        let error = run.error.as_deref().unwrap_or_default();
        row.failed = Some(error.lines().next().unwrap_or_default().to_string());
        return Ok(row);
    };
    if run.config.is_float() {
        row.flips = None;
        return Ok(row);
    }
    if let Some(float) = float_run(loaded, run) {
        let Pairs { lost, won, flips } = loaded.pairs(&run.run_id, &float.run_id)?;
        row.float_run = Some(float.run_id.clone());
        row.difference = Some((won as f64 - lost as f64) / counted.n as f64 * 100.0);
        row.flips = Some(flips);
        row.p = Some(mcnemar(lost, won));
    }
    Ok(row)
}

/// The float run that a run is compared with.
fn float_run<'a>(loaded: &'a Loaded, run: &RunRow) -> Option<&'a RunRow> {
    let same = |other: &&RunRow| {
        let subject = ["model_name", "model_arch", "dataset", "images"];
        subject.map(|column| run.config.text(column))
            == subject.map(|column| other.config.text(column))
            && (&run.weights_sha256, &run.data_sha256)
                == (&other.weights_sha256, &other.data_sha256)
    };
    let candidates = loaded
        .rows
        .iter()
        .filter(|r| r.config.is_float() && r.status == Status::Ok)
        .filter(same);
    let agreement = |other: &RunRow| {
        run.config
            .columns()
            .iter()
            .zip(other.config.columns())
            .filter(|(a, b)| **a == *b)
            .count()
    };
    // Of equals the first, that is the smallest id.
    candidates.fold(None, |best: Option<&RunRow>, other| match best {
        Some(best) if agreement(best) >= agreement(other) => Some(best),
        _ => Some(other),
    })
}

fn percent(count: Option<u64>, n: Option<u64>) -> Option<f64> {
    match (count, n) {
        (Some(count), Some(n)) if n > 0 => Some(count as f64 / n as f64 * 100.0),
        _ => None,
    }
}
