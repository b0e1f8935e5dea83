//! What a run's own panel shows beside its row: layers, manifest, the metrics of the whole network, its epochs.

use results::{EpochRow, MANIFEST_FILE, ManifestRow, MetricRow, RunRow};
use serde::Serialize;

use super::pool::{Place, Pool, Short};
use crate::error::Error;
use crate::load::Loaded;

/// A run, read.
pub(super) struct Detail {
    metrics: Vec<MetricRow>,
    manifest: Vec<ManifestRow>,
    epochs: Vec<EpochRow>,
}

/// A run in the JSON.
#[derive(Serialize)]
pub(super) struct Stored {
    /// Metric, value, what it is out of, unit.
    network: Vec<(String, Short, u64, String)>,
    /// The metrics of layers.
    layers: Vec<Layers>,
    /// Tensor, kind, bits, reason; bits of what is not quantized are empty.
    manifest: [Place; 4],
    /// Epoch, learning rate, training loss, training and test top-1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    epochs: Vec<(u64, Short, Short, Short, Option<Short>)>,
}

/// A metric of layers.
#[derive(Serialize)]
struct Layers {
    metric: String,
    unit: String,
    names: Place,
    values: Place,
}

impl Detail {
    pub fn read(run: &RunRow, loaded: &Loaded) -> Result<Detail, Error> {
        let folder = loaded.folder.join(&run.run_id);
        let manifest: Vec<ManifestRow> = results::read_rows(&folder.join(MANIFEST_FILE))?;
        if let Some(row) = manifest.iter().find(|row| row.run_id != run.run_id) {
            return Err(Error::Disagree {
                path: folder.join(MANIFEST_FILE),
                problem: format!("a row of run {}", row.run_id),
            });
        }
        Ok(Detail {
            metrics: results::read_rows(&folder.join(results::METRICS_FILE))?,
            manifest,
            epochs: loaded.epochs.get(&run.run_id).cloned().unwrap_or_default(),
        })
    }

    pub fn stored(&self, pool: &mut Pool) -> Stored {
        let whole = self.metrics.iter().filter(|row| row.layer.is_empty());
        let network = whole.map(|row| {
            let (metric, unit) = (row.metric.clone(), row.unit.clone());
            (metric, Short(row.value), row.n, unit)
        });
        let of_layers = || self.metrics.iter().filter(|row| !row.layer.is_empty());
        let mut metrics: Vec<&str> = Vec::new();
        for row in of_layers() {
            if !metrics.contains(&row.metric.as_str()) {
                metrics.push(&row.metric);
            }
        }
        let layers = metrics.iter().map(|metric| {
            let own = || of_layers().filter(|row| row.metric == *metric);
            Layers {
                metric: (*metric).to_owned(),
                unit: own()
                    .next()
                    .map_or_else(String::new, |row| row.unit.clone()),
                names: pool.words(own().map(|row| row.layer.clone())),
                values: pool.numbers(own().map(|row| Some(row.value))),
            }
        });
        let layers = layers.collect();
        let rows = || self.manifest.iter();
        let bits = |row: &ManifestRow| row.quantized.then(|| f64::from(row.bits));
        Stored {
            network: network.collect(),
            layers,
            manifest: [
                pool.words(rows().map(|row| row.tensor.clone())),
                pool.words(rows().map(|row| row.kind.clone())),
                pool.numbers(rows().map(bits)),
                pool.words(rows().map(|row| row.reason.clone())),
            ],
            epochs: (self.epochs.iter())
                .map(|row| {
                    let test = row.test_top1.map(Short);
                    let [lr, loss, top1] = [row.lr, row.train_loss, row.train_top1].map(Short);
                    (row.epoch, lr, loss, top1, test)
                })
                .collect(),
        }
    }
}
