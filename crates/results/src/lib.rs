//! What was measured, on disk: row types, run ids, and run folders that are written whole or not at all.
//!
//! ```text
//! results/<experiment>/<run_id>/   run.csv          one row: configuration, hashes, status, provenance
//!                                  metrics.csv      run_id, layer, metric, value, n, unit (long form)
//!                                  predictions.csv  image, label, top1
//!                                  manifest.csv     run_id, tensor, kind, quantized, bits, reason
//!                                  epochs.csv       one row an epoch, where the run was a training
//! results/<experiment>/published.csv                what the literature says of runs, where the experiment tells it
//! results/<experiment>/peers.csv                    what other tools come to beside them, likewise
//! ```
//!
//! `results/reference/` is a results folder of its own, with the same layout: what is committed, to compare with.
//!
//! Rules of the format: snake_case headers, units in the unit column, plain decimals (never an exponent), an empty
//! field means "not measured" or "does not apply" (never 0), one spelling per enum, and a failed run is a row like any
//! other. A reader may rely on this: a folder with a run id for its name is complete, because [`Store::write`] fills a
//! folder of another name, syncs it, and renames it.
//!
//! In reading order: [`setting`] says what may be said of a run, [`Config`] and [`run_id`] what a run is, [`RunRow`] and its companions what a file holds,
//! [`Store`] how files come and go, [`FileLock`] how several processes share one folder, [`Holder`] how several machines do. [`ThroughputRow`] and
//! [`LayerRow`] are about speed and belong to no run; [`SensitivityRow`] is about a layer's part in one. A [`CalibrationTable`] is a folder of its own.

mod calibration;
mod claim;
mod config;
mod error;
mod file;
mod folder;
mod latency;
mod lock;
pub mod metric;
mod peer;
mod rows;
mod sensitivity;
pub mod setting;
mod store;
mod throughput;
mod whole;

pub use calibration::{
    BATCHES_FILE, BatchRow, BinRow, CalibrationTable, HISTOGRAM_FILE, SITES_FILE, SOURCE_FILE,
    SiteRow, SourceRow,
};
pub use claim::{Holder, INTERVAL, MISSED};
pub use config::{Config, FLOAT_BITS, Field, METHOD_FLOAT, run_id};
pub use error::{Error, one_line};
pub use file::{read_rows, rows_text, write_rows};
pub use latency::{LatencyRow, read_latencies};
pub use lock::{FileLock, Wait};
pub use peer::PeerRow;
pub use rows::{
    EpochRow, ManifestRow, MetricRow, PredictionRow, PublishedRow, Row, Run, RunRow, SCHEMA, Status,
};
pub use sensitivity::SensitivityRow;
pub use store::{
    EPOCHS_FILE, MANIFEST_FILE, METRICS_FILE, PEERS_FILE, PREDICTIONS_FILE, PUBLISHED_FILE,
    REFERENCE, RUN_FILE, RunLock, Store, check_experiment, is_run_id,
};
pub use throughput::{LayerRow, SweepTimeRow, ThroughputRow};
pub use whole::{remove_unfinished, write_whole};
