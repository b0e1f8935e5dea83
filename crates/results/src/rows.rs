//! One type per file of a run folder, and [`Run`], which is all of them.
//!
//! The fields are the columns, in order; the configuration lies flat inside the run row. Readers compare a header with
//! [`Row::columns`] before they read by position.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{Config, run_id};
use crate::error::Error;
use crate::file::{plain, plain_option};

/// Version of the file formats, first column of `run.csv`.
pub const SCHEMA: u32 = 2;

/// Columns of `run.csv` that older files may lack.
static LATER: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| Config::later().chain(["data_folder", "executed"]).collect());

/// A type that is a row of a CSV file.
pub trait Row: Serialize + DeserializeOwned {
    /// The header, in field order.
    fn columns() -> Vec<&'static str>;

    /// Columns that an older file may lack; they read as empty.
    fn later() -> &'static [&'static str] {
        &[]
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Measured to the end.
    Ok,
    /// Gave an error, which the row carries; due again.
    Failed,
}

/// The row of `run.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// [`SCHEMA`].
    pub schema: u32,
    /// [`run_id`] of what follows.
    pub run_id: String,
    /// Name of the experiment, and of the folder above the run's.
    pub experiment: String,
    /// The cell; its fields are columns of their own.
    pub config: Config,
    /// The weights file as it was named, for people; its hash is what counts.
    pub weights_file: Option<String>,
    /// The folder of the test images, where it was named by its path, for people; their hash is what counts.
    pub data_folder: Option<String>,
    /// Hash of the weights.
    pub weights_sha256: String,
    /// Hash of the test data: preprocessing, pixels and labels in order.
    pub data_sha256: String,
    /// Hash of the calibration data.
    pub calibration_sha256: Option<String>,
    /// How it ended.
    pub status: Status,
    /// The error of a failed run.
    pub error: Option<String>,
    /// Commit of the program, with `-dirty` when the tree had changes.
    pub git_revision: String,
    /// Version of the compiler.
    pub rustc: String,
    /// Version of burn.
    pub burn: String,
    /// Instruction sets in use, such as `avx2+fma`.
    pub cpu_features: String,
    /// The numbers that the test images were run in: `float`, `simulate` or `integer`. Runs that leave the choice
    /// (`execution = auto`) are the same run either way.
    pub executed: Option<String>,
    /// Threads.
    pub threads: u32,
    /// Name of the machine.
    pub host: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Duration in seconds.
    #[serde(serialize_with = "plain")]
    pub seconds: f64,
    /// How fast the test images ran through the finished network, on all threads together.
    #[serde(serialize_with = "plain_option")]
    pub images_per_second: Option<f64>,
}

impl RunRow {
    /// A row that knows what it is and nothing about how it went: run id filled in, status ok, provenance empty.
    pub fn new(
        experiment: &str,
        config: Config,
        weights_sha256: &str,
        data_sha256: &str,
        calibration_sha256: Option<&str>,
    ) -> RunRow {
        RunRow {
            schema: SCHEMA,
            run_id: run_id(&config, weights_sha256, data_sha256, calibration_sha256),
            experiment: experiment.to_string(),
            config,
            weights_file: None,
            data_folder: None,
            weights_sha256: weights_sha256.to_string(),
            data_sha256: data_sha256.to_string(),
            calibration_sha256: calibration_sha256.map(str::to_owned),
            status: Status::Ok,
            error: None,
            git_revision: String::new(),
            rustc: String::new(),
            burn: String::new(),
            cpu_features: String::new(),
            executed: None,
            threads: 0,
            host: String::new(),
            started_at: String::new(),
            seconds: 0.0,
            images_per_second: None,
        }
    }
}

impl Row for RunRow {
    fn columns() -> Vec<&'static str> {
        let mut columns = vec!["schema", "run_id", "experiment"];
        columns.extend(Config::names());
        columns.extend([
            "weights_file",
            "data_folder",
            "weights_sha256",
            "data_sha256",
            "calibration_sha256",
        ]);
        columns.extend([
            "status",
            "error",
            "git_revision",
            "rustc",
            "burn",
            "cpu_features",
        ]);
        columns.extend(["executed", "threads", "host", "started_at", "seconds"]);
        columns.push("images_per_second");
        columns
    }

    fn later() -> &'static [&'static str] {
        &LATER
    }
}

/// A row of `metrics.csv`. What was not measured has no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// The run.
    pub run_id: String,
    /// PyTorch name of the layer; empty for the whole network.
    pub layer: String,
    /// One of [`crate::metric`].
    pub metric: String,
    /// The value, finite.
    #[serde(serialize_with = "plain")]
    pub value: f64,
    /// What the value is out of, or taken over.
    pub n: u64,
    /// Unit of the value.
    pub unit: String,
}

impl Row for MetricRow {
    fn columns() -> Vec<&'static str> {
        vec!["run_id", "layer", "metric", "value", "n", "unit"]
    }
}

/// A row of `predictions.csv`, in the order of the data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionRow {
    /// Id of the image: its path below the data set's root, or its index.
    pub image: String,
    /// The true class.
    pub label: u16,
    /// The class with the largest logit.
    pub top1: u16,
}

impl Row for PredictionRow {
    fn columns() -> Vec<&'static str> {
        vec!["image", "label", "top1"]
    }
}

/// A row of `manifest.csv`: a parameter tensor or an activation site, quantized or not, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// The run.
    pub run_id: String,
    /// PyTorch name of the tensor, or of the site.
    pub tensor: String,
    /// `weight`, `bias`, `activation`, ...
    pub kind: String,
    /// Whether it was.
    pub quantized: bool,
    /// Its bits; 32 for float.
    pub bits: u32,
    /// Why it was, or was not.
    pub reason: String,
}

impl Row for ManifestRow {
    fn columns() -> Vec<&'static str> {
        vec!["run_id", "tensor", "kind", "quantized", "bits", "reason"]
    }
}

/// A row of `epochs.csv`: what an epoch of a training came to. Rates are fractions of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The run.
    pub run_id: String,
    /// From 1.
    pub epoch: u64,
    /// Learning rate of its last step.
    #[serde(serialize_with = "plain")]
    pub lr: f64,
    /// Mean cross-entropy of the training images as the steps saw them, in nats.
    #[serde(serialize_with = "plain")]
    pub train_loss: f64,
    /// Share of them that were classified correctly.
    #[serde(serialize_with = "plain")]
    pub train_top1: f64,
    /// Share of the test images after the epoch.
    #[serde(serialize_with = "plain_option")]
    pub test_top1: Option<f64>,
    /// Training images per second, tests not counted.
    #[serde(serialize_with = "plain")]
    pub images_per_second: f64,
    /// Seconds of training, tests not counted.
    #[serde(serialize_with = "plain")]
    pub seconds: f64,
}

impl Row for EpochRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "run_id",
            "epoch",
            "lr",
            "train_loss",
            "train_top1",
            "test_top1",
            "images_per_second",
            "seconds",
        ]
    }
}

/// A row of an experiment's `published.csv`: what the literature says that a run comes to. Nothing that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedRow {
    /// The run that it is for.
    pub run_id: String,
    /// Top-1 accuracy in percent.
    #[serde(serialize_with = "plain")]
    pub top1_percent: f64,
    /// Who says so, and where.
    pub source: String,
    /// The paper; empty where `source` says it all.
    pub paper: String,
    /// Its table; empty where it does not matter.
    pub paper_table: String,
    /// The row of that.
    pub paper_row: String,
    /// Top-1 of the float network there, in percent.
    #[serde(serialize_with = "plain_option")]
    pub float_percent: Option<f64>,
    /// How far off ours may be beside what chance explains; empty: not at all.
    #[serde(serialize_with = "plain_option")]
    pub tolerance_points: Option<f64>,
    /// How many test images there were.
    pub images: Option<u64>,
    /// In what the run is another thing.
    pub differs: Option<String>,
}

/// What files of before there were papers end with, and what they do not have.
const PAPER: [&str; 7] = [
    "paper",
    "paper_table",
    "paper_row",
    "float_percent",
    "tolerance_points",
    "images",
    "differs",
];

impl Row for PublishedRow {
    fn columns() -> Vec<&'static str> {
        let columns = ["run_id", "top1_percent", "source"];
        columns.into_iter().chain(PAPER).collect()
    }

    fn later() -> &'static [&'static str] {
        &PAPER
    }
}

/// A run folder in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `run.csv`.
    pub row: RunRow,
    /// `metrics.csv`.
    pub metrics: Vec<MetricRow>,
    /// `predictions.csv`.
    pub predictions: Vec<PredictionRow>,
    /// `manifest.csv`.
    pub manifest: Vec<ManifestRow>,
    /// `epochs.csv`, which a run without a training does not have.
    pub epochs: Vec<EpochRow>,
}

impl Run {
    /// Checks what no single row can tell.
    ///
    /// # Errors
    /// [`Error::Run`] for a run id that is not that of the configuration and hashes, rows of another run, a key that
    /// occurs twice, a value that is not finite, or a status and an error that contradict each other.
    pub fn validate(&self) -> Result<(), Error> {
        let row = &self.row;
        let fail = |problem: String| {
            Err(Error::Run {
                run_id: row.run_id.clone(),
                problem,
            })
        };
        let expected = run_id(
            &row.config,
            &row.weights_sha256,
            &row.data_sha256,
            row.calibration_sha256.as_deref(),
        );
        if row.run_id != expected {
            return fail(format!(
                "its configuration and hashes give the run id {expected}"
            ));
        }
        if row.schema != SCHEMA {
            return fail(format!(
                "schema {} cannot be written, only {SCHEMA}",
                row.schema
            ));
        }
        let error = row.error.as_deref().unwrap_or("");
        match row.status {
            Status::Ok if !error.is_empty() => {
                return fail(format!("status ok with the error `{error}`"));
            }
            Status::Failed if error.is_empty() => {
                return fail("status failed without an error".into());
            }
            _ => {}
        }
        if !row.seconds.is_finite() {
            return fail(format!("seconds is {}", row.seconds));
        }
        let mut keys = HashSet::new();
        for metric in &self.metrics {
            let MetricRow {
                run_id,
                layer,
                metric,
                value,
                ..
            } = metric;
            if *run_id != row.run_id {
                return fail(format!(
                    "metric `{metric}` of layer `{layer}` belongs to run {run_id}"
                ));
            }
            if !value.is_finite() {
                return fail(format!(
                    "metric `{metric}` of layer `{layer}` is {value}; leave out what has no value"
                ));
            }
            if !keys.insert((layer, metric)) {
                return fail(format!(
                    "metric `{metric}` of layer `{layer}` is there twice"
                ));
            }
        }
        let mut images = HashSet::new();
        if let Some(twice) = self.predictions.iter().find(|p| !images.insert(&p.image)) {
            return fail(format!("image `{}` is predicted twice", twice.image));
        }
        let mut tensors = HashSet::new();
        for ManifestRow {
            run_id,
            tensor,
            kind,
            ..
        } in &self.manifest
        {
            if *run_id != row.run_id {
                return fail(format!("manifest row `{tensor}` belongs to run {run_id}"));
            }
            if !tensors.insert((tensor, kind)) {
                return fail(format!("`{tensor}` ({kind}) is in the manifest twice"));
            }
        }
        for (nth, epoch) in (1..).zip(&self.epochs) {
            if epoch.run_id != row.run_id {
                return fail(format!("epoch {nth} belongs to run {}", epoch.run_id));
            }
            if epoch.epoch != nth {
                return fail(format!("epoch {} stands where {nth} does", epoch.epoch));
            }
        }
        Ok(())
    }
}
