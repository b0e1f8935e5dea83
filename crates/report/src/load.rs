//! The run folders of one experiment, read and checked.
//!
//! `run.csv` is read as the typed row that it is; the long files go through polars. Refused: a file of another schema, a
//! run whose id is not that of its own configuration, a metric that is there twice, a count that its predictions do not
//! give, a run and its float run with other images or labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use results::{EpochRow, MetricRow, PredictionRow, RunRow, Status, Store, metric};

use crate::apart::tell_apart;
use crate::error::Error;
use crate::frames::{count, explain, polars_error, scalar, scan};

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
        let mut loaded = Loaded {
            name: experiment.to_string(),
            folder,
            rows,
            values,
            counted: HashMap::new(),
            epochs: HashMap::new(),
        };
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
        let float = scan::<PredictionRow>(&self.predictions_file(float_id))?.select([
            col("image"),
            col("label").alias("float_label"),
            col("top1").alias("float_top1"),
        ]);
        let (right, float_right) = (
            col("top1").eq(col("label")),
            col("float_top1").eq(col("label")),
        );
        let joined = scan::<PredictionRow>(&path)?
            .join(
                float,
                [col("image")],
                [col("image")],
                JoinArgs::new(JoinType::Inner),
            )
            .select([
                len().cast(DataType::Int64).alias("n"),
                count(col("label").neq(col("float_label"))).alias("relabelled"),
                count(float_right.clone().and(right.clone().not())).alias("lost"),
                count(float_right.not().and(right)).alias("won"),
                count(col("top1").neq(col("float_top1"))).alias("flips"),
            ])
            .collect()
            .map_err(|e| explain::<PredictionRow>([path.clone()], e, &path))?;
        let get = |name: &str| scalar(&joined, name).map_err(polars_error(&path));
        let (n, ours, theirs) = (get("n")?, self.counted[run_id].n, self.counted[float_id].n);
        let disagree = |problem| {
            Err(Error::Disagree {
                path: path.clone(),
                problem,
            })
        };
        if n != ours || n != theirs {
            return disagree(format!(
                "{ours} images, {theirs} in float run {float_id}, {n} in both"
            ));
        }
        if get("relabelled")? != 0 {
            return disagree(format!(
                "{} labels differ from float run {float_id}",
                get("relabelled")?
            ));
        }
        Ok(Pairs {
            lost: get("lost")?,
            won: get("won")?,
            flips: get("flips")?,
        })
    }

    fn predictions_file(&self, run_id: &str) -> PathBuf {
        self.folder.join(run_id).join(results::PREDICTIONS_FILE)
    }

    /// Counts the predictions of a run and holds them against its metrics.
    fn count(&self, run_id: &str) -> Result<Counted, Error> {
        let path = self.predictions_file(run_id);
        let counts = scan::<PredictionRow>(&path)?
            .select([
                len().cast(DataType::Int64).alias("n"),
                col("image")
                    .n_unique()
                    .cast(DataType::Int64)
                    .alias("images"),
                count(col("top1").eq(col("label"))).alias("hits"),
                count(col("label").is_null().or(col("top1").is_null())).alias("holes"),
                col("label").max().fill_null(lit(0)).alias("label"),
                col("top1").max().fill_null(lit(0)).alias("top1"),
            ])
            .collect()
            .map_err(|e| explain::<PredictionRow>([path.clone()], e, &path))?;
        let get = |name: &str| scalar(&counts, name).map_err(polars_error(&path));
        let counted = Counted {
            n: get("n")?,
            hits: get("hits")?,
            classes: 1 + get("label")?.max(get("top1")?),
        };
        let disagree = |problem| {
            Err(Error::Disagree {
                path: path.clone(),
                problem,
            })
        };
        // polars fills a line that is too short; the row reader says which it is.
        if get("holes")? != 0 {
            results::read_rows::<PredictionRow>(&path)?;
            return disagree(format!("{} rows without a class", get("holes")?));
        }
        if get("images")? != counted.n {
            return disagree(format!("{} rows for {} images", counted.n, get("images")?));
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

/// All metrics of all runs as one frame, then as values.
fn metrics(folder: &Path, rows: &[RunRow]) -> Result<Vec<Value>, Error> {
    let mut frames = Vec::new();
    for row in rows {
        let path = folder.join(&row.run_id).join(results::METRICS_FILE);
        frames
            .push(scan::<MetricRow>(&path)?.with_column(lit(row.run_id.as_str()).alias("folder")));
    }
    let error = || polars_error(folder);
    let all = concat(frames, UnionArgs::default())
        .and_then(LazyFrame::collect)
        .map_err(|e| {
            let paths = rows
                .iter()
                .map(|row| folder.join(&row.run_id).join(results::METRICS_FILE));
            explain::<MetricRow>(paths, e, folder)
        })?;

    let repeated = all
        .clone()
        .lazy()
        .group_by([col("run_id"), col("layer"), col("metric")])
        .agg([len().cast(DataType::Int64).alias("rows")])
        .filter(col("rows").gt(lit(1)))
        .sort(
            ["run_id", "layer", "metric"],
            SortMultipleOptions::default(),
        )
        .collect()
        .map_err(error())?;
    if repeated.height() > 0 {
        let text = |name: &str| -> PolarsResult<String> {
            Ok(repeated
                .column(name)?
                .str()?
                .get(0)
                .unwrap_or_default()
                .to_string())
        };
        return Err(Error::Duplicate {
            path: folder.to_path_buf(),
            run_id: text("run_id").map_err(error())?,
            layer: text("layer").map_err(error())?,
            metric: text("metric").map_err(error())?,
            rows: scalar(&repeated, "rows").map_err(error())? as i64,
        });
    }
    values(&all, folder)
}

fn values(all: &DataFrame, folder: &Path) -> Result<Vec<Value>, Error> {
    let text = |name: &str| -> PolarsResult<Vec<String>> {
        Ok(all
            .column(name)?
            .str()?
            .iter()
            .map(|v| v.unwrap_or_default().to_string())
            .collect())
    };
    let read = || -> PolarsResult<_> {
        let value: Vec<Option<f64>> = all.column("value")?.f64()?.iter().collect();
        let n: Vec<Option<i64>> = all.column("n")?.i64()?.iter().collect();
        Ok((
            text("folder")?,
            text("run_id")?,
            text("layer")?,
            text("metric")?,
            value,
            n,
        ))
    };
    let (folders, run_ids, layers, names, value, n) = read().map_err(polars_error(folder))?;
    let mut values = Vec::with_capacity(run_ids.len());
    for (i, run_id) in run_ids.into_iter().enumerate() {
        let disagree = |problem| {
            Err(Error::Disagree {
                path: folder.join(&folders[i]).join(results::METRICS_FILE),
                problem,
            })
        };
        if run_id != folders[i] {
            return disagree(format!("a row of run {run_id}"));
        }
        let (Some(value), Some(n)) = (value[i], n[i]) else {
            return disagree(format!(
                "metric `{}` of layer `{}` has no value or no n",
                names[i], layers[i]
            ));
        };
        let (layer, metric) = (layers[i].clone(), names[i].clone());
        values.push(Value {
            run_id,
            layer,
            metric,
            value,
            n: n.max(0) as u64,
        });
    }
    Ok(values)
}
