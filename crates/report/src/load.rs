//! The run folders of one experiment, read and checked.
//!
//! Files are read as the typed rows that they are; the long ones become polars frames, which count and group. Refused: a
//! file of another schema, a run whose id is not that of its own configuration, a metric that is there twice, a count that
//! its predictions do not give, a run and its float run with other images or labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use results::{EpochRow, MetricRow, PeerRow, PublishedRow, RunRow, Status, Store, metric};

use crate::apart::tell_apart;
use crate::error::Error;
use crate::frames::{Predictions, polars_error, repeated};

/// A metric of a layer or, with an empty layer, of the network.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub run_id: String,
    pub layer: String,
    pub metric: String,
    pub value: f64,
    pub n: u64,
}

/// What the predictions of a run say by themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counted {
    pub n: u64,
    pub hits: u64,
    /// One more than the largest class seen.
    pub classes: u64,
}

/// A run against its float run, image by image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pairs {
    /// Right in float, wrong here.
    pub lost: u64,
    /// Wrong in float, right here.
    pub won: u64,
    /// Another prediction, right or wrong.
    pub flips: u64,
}

/// An integer run against its simulation, code by code.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Codes {
    /// Codes compared.
    pub n: u64,
    pub differ: u64,
    /// The largest difference of two codes.
    pub largest: u64,
}

/// An experiment in memory, predictions excepted: those are read when two runs are compared.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub name: String,
    pub folder: PathBuf,
    pub rows: Vec<RunRow>,
    /// In the order of the files, runs sorted by id.
    pub values: Vec<Value>,
    pub counted: HashMap<String, Counted>,
    /// Of the runs that were trainings.
    pub epochs: HashMap<String, Vec<EpochRow>>,
    /// What the literature says, by run.
    pub published: HashMap<String, PublishedRow>,
    /// What other tools come to.
    pub peers: Vec<PeerRow>,
}

impl Loaded {
    pub fn open(results_root: &Path, experiment: &str) -> Result<Loaded, Error> {
        let store = Store::existing(results_root)?;
        let folder = store.experiment_dir(experiment)?;
        let rows = store
            .runs(experiment)?
            .iter()
            .map(|id| read_row(&store, experiment, id))
            .collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(Error::Empty { path: folder });
        }
        let values = metrics(&folder, &rows)?;
        let peers = peers(&store, experiment)?;
        let mut loaded = Loaded {
            name: experiment.to_string(),
            folder,
            rows,
            values,
            counted: HashMap::new(),
            epochs: HashMap::new(),
            published: HashMap::new(),
            peers,
        };
        for row in store.published(experiment)? {
            loaded.published.insert(row.run_id.clone(), row);
        }
        tell_apart(&mut loaded.rows);
        for row in loaded.rows.iter().filter(|row| row.status == Status::Ok) {
            let counted = loaded.count(&row.run_id)?;
            loaded.counted.insert(row.run_id.clone(), counted);
            let epochs = store.epochs(experiment, &row.run_id)?;
            if !epochs.is_empty() {
                loaded.epochs.insert(row.run_id.clone(), epochs);
            }
        }
        Ok(loaded)
    }

    /// A metric of the whole network with what it is out of.
    pub fn network(&self, run_id: &str, metric: &str) -> Option<(f64, u64)> {
        let found = self
            .values
            .iter()
            .find(|v| v.run_id == run_id && v.layer.is_empty() && v.metric == metric)?;
        Some((found.value, found.n))
    }

    /// How the codes of an integer run differ: as the run sums it up, else summed over its layers.
    pub fn codes(&self, run_id: &str) -> Option<Codes> {
        let differ = |v: &&Value| v.run_id == run_id && v.metric == metric::CODES_DIFFER;
        let largest = |v: &&Value| v.run_id == run_id && v.metric == metric::CODES_MAX_DIFFERENCE;
        let whole = self
            .values
            .iter()
            .filter(differ)
            .any(|v| v.layer.is_empty());
        let counted = |v: &&Value| v.layer.is_empty() == whole;
        let mut codes: Option<Codes> = None;
        for value in self.values.iter().filter(differ).filter(counted) {
            let codes = codes.get_or_insert_default();
            codes.n += value.n;
            codes.differ += value.value as u64;
        }
        let largest = self.values.iter().filter(largest);
        let largest = largest.map(|v| v.value as u64).max().unwrap_or(0);
        codes.map(|codes| Codes { largest, ..codes })
    }

    /// Compares two runs by their predictions.
    pub fn pairs(&self, run_id: &str, float_id: &str) -> Result<Pairs, Error> {
        let path = self.predictions_file(run_id);
        let ours = Predictions::read(&path)?;
        let float = Predictions::read(&self.predictions_file(float_id))?;
        let disagree = |problem| {
            Err(Error::Disagree {
                path: path.clone(),
                problem,
            })
        };
        let both = ours.shared(&float).map_err(polars_error(&path))?;
        if both != ours.len() || both != float.len() {
            return disagree(format!(
                "{} images, {} in float run {float_id}, {both} in both",
                ours.len(),
                float.len()
            ));
        }
        let beside = ours.beside(&float).map_err(polars_error(&path))?;
        if beside.relabelled != 0 {
            return disagree(format!(
                "{} labels differ from float run {float_id}",
                beside.relabelled
            ));
        }
        Ok(beside.pairs)
    }

    pub fn predictions_file(&self, run_id: &str) -> PathBuf {
        self.folder.join(run_id).join(results::PREDICTIONS_FILE)
    }

    /// Counts the predictions of a run and holds them against its metrics.
    fn count(&self, run_id: &str) -> Result<Counted, Error> {
        let path = self.predictions_file(run_id);
        let predictions = Predictions::read(&path)?;
        let (counted, images) = predictions.count().map_err(polars_error(&path))?;
        let disagree = |problem| {
            Err(Error::Disagree {
                path: path.clone(),
                problem,
            })
        };
        if images != counted.n {
            return disagree(format!("{} rows for {images} images", counted.n));
        }
        match self.network(run_id, metric::TOP1_CORRECT) {
            None => Err(Error::Disagree {
                path: path.with_file_name(results::METRICS_FILE),
                problem: format!(
                    "the run succeeded without the metric {}",
                    metric::TOP1_CORRECT
                ),
            }),
            Some((value, n)) if value != counted.hits as f64 || n != counted.n => {
                disagree(format!(
                    "{} of {} right, but {} has {value} of {n}",
                    counted.hits,
                    counted.n,
                    results::METRICS_FILE
                ))
            }
            Some(_) => Ok(counted),
        }
    }
}

/// What other tools come to, each beside runs that there may be and with a count that there can be.
fn peers(store: &Store, experiment: &str) -> Result<Vec<PeerRow>, Error> {
    let peers = store.peers(experiment)?;
    let wrong = |peer: &&PeerRow| {
        let is_place = peer.columns_beside().is_some();
        let is_count = peer.images > 0 && peer.hits <= peer.images;
        !(is_place && is_count && peer.seconds.is_finite() && peer.seconds > 0.0)
    };
    match peers.iter().find(wrong) {
        None => Ok(peers),
        Some(peer) => Err(Error::Disagree {
            path: store.experiment_dir(experiment)?.join(results::PEERS_FILE),
            problem: format!(
                "`{}` beside `{}`: {} hits of {} images in {} seconds",
                peer.peer, peer.beside, peer.hits, peer.images, peer.seconds
            ),
        }),
    }
}

fn read_row(store: &Store, experiment: &str, run_id: &str) -> Result<RunRow, Error> {
    let row = store.read_row(experiment, run_id)?;
    let expected = results::run_id(
        &row.config,
        &row.weights_sha256,
        &row.data_sha256,
        row.calibration_sha256.as_deref(),
    );
    if expected != run_id {
        let path = store.run_dir(experiment, run_id)?.join(results::RUN_FILE);
        return Err(Error::Disagree {
            path,
            problem: format!("configuration and hashes give the run id {expected}"),
        });
    }
    Ok(row)
}

/// All metrics of all runs, each once.
fn metrics(folder: &Path, rows: &[RunRow]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    for row in rows {
        let path = folder.join(&row.run_id).join(results::METRICS_FILE);
        for metric in results::read_rows::<MetricRow>(&path)? {
            if metric.run_id != row.run_id {
                let problem = format!("a row of run {}", metric.run_id);
                return Err(Error::Disagree { path, problem });
            }
            values.push(Value {
                run_id: metric.run_id,
                layer: metric.layer,
                metric: metric.metric,
                value: metric.value,
                n: metric.n,
            });
        }
    }
    match repeated(&values).map_err(polars_error(folder))? {
        None => Ok(values),
        Some((index, rows)) => Err(Error::Duplicate {
            path: folder.to_path_buf(),
            run_id: values[index].run_id.clone(),
            layer: values[index].layer.clone(),
            metric: values[index].metric.clone(),
            rows,
        }),
    }
}
