//! Rows of run folders as polars frames, and what is asked of them.
//!
//! Eager frames alone: polars' lazy engine and its CSV reader take longer to build than everything else in the workspace,
//! and the typed row reader names file, line and column of what it refuses.

use std::path::Path;

use polars::prelude::*;
use results::PredictionRow;

use crate::error::Error;
use crate::load::{Counted, Pairs, Value};

/// `predictions.csv` as the columns `image`, `label`, `top1`, sorted by image: the rows of two runs over the same images
/// lie side by side.
pub(crate) struct Predictions(DataFrame);

/// A run beside its float run.
pub(crate) struct Beside {
    pub pairs: Pairs,
    /// Images whose labels differ.
    pub relabelled: u64,
}

impl Predictions {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Predictions, Error> {
        let rows: Vec<PredictionRow> = results::read_rows(path)?;
        let class = |of: fn(&PredictionRow) -> u16| -> Vec<u32> {
            rows.iter().map(|row| u32::from(of(row))).collect()
        };
        let images: Vec<&str> = rows.iter().map(|row| row.image.as_str()).collect();
        let frame = df!(
            "image" => images,
            "label" => class(|row| row.label),
            "top1" => class(|row| row.top1),
        );
        let sorted = frame.and_then(|frame| frame.sort(["image"], Default::default()));
        sorted.map(Predictions).map_err(polars_error(path))
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.0.height()
    }

    /// What the predictions say by themselves, and the number of different images.
    pub fn count(&self) -> PolarsResult<(Counted, u64)> {
        let largest = |column: &UInt32Chunked| u64::from(column.max().unwrap_or(0));
        let (label, top1) = (self.class("label")?, self.class("top1")?);
        let counted = Counted {
            n: self.len() as u64,
            hits: count(&top1.equal(label)),
            classes: 1 + largest(label).max(largest(top1)),
        };
        Ok((counted, self.0.column("image")?.n_unique()? as u64))
    }

    /// Images that are in both.
    pub fn shared(&self, other: &Predictions) -> PolarsResult<usize> {
        let (ours, theirs) = (self.0.column("image")?, other.0.column("image")?);
        let mut all = ours.clone();
        all.append(theirs)?;
        Ok(ours.n_unique()? + theirs.n_unique()? - all.n_unique()?)
    }

    /// Row by row beside the float run over the same images.
    pub fn beside(&self, float: &Predictions) -> PolarsResult<Beside> {
        let (label, top1) = (self.class("label")?, self.class("top1")?);
        let (float_label, float_top1) = (float.class("label")?, float.class("top1")?);
        let (right, float_right) = (top1.equal(label), float_top1.equal(float_label));
        Ok(Beside {
            pairs: Pairs {
                lost: count(&(&float_right & &!&right)),
                won: count(&(&!&float_right & &right)),
                flips: count(&top1.not_equal(float_top1)),
            },
            relabelled: count(&label.not_equal(float_label)),
        })
    }

    fn class(&self, name: &str) -> PolarsResult<&UInt32Chunked> {
        self.0.column(name)?.u32()
    }
}

/// The first metric, by run, layer and name, that is there more than once: its place among `values`, and how often.
pub(crate) fn repeated(values: &[Value]) -> PolarsResult<Option<(usize, usize)>> {
    let text = |of: fn(&Value) -> &str| -> Vec<&str> { values.iter().map(of).collect() };
    let keys = ["run_id", "layer", "metric"];
    let frame = df!(
        keys[0] => text(|value| &value.run_id),
        keys[1] => text(|value| &value.layer),
        keys[2] => text(|value| &value.metric),
        "row" => (0..values.len() as u32).collect::<Vec<_>>(),
    )?
    .sort(keys, Default::default())?;
    let groups = frame.group_by_stable(keys)?;
    let sizes = groups.get_groups().iter().map(|group| group.len());
    let mut start = 0;
    for size in sizes {
        if size > 1 {
            let row = frame.column("row")?.u32()?.get(start).unwrap_or(0);
            return Ok(Some((row as usize, size)));
        }
        start += size;
    }
    Ok(None)
}

/// How often a condition holds.
fn count(condition: &BooleanChunked) -> u64 {
    u64::from(condition.sum().unwrap_or(0))
}

/// For `map_err`.
pub(crate) fn polars_error(path: &Path) -> impl FnOnce(PolarsError) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Polars { path, error }
}
