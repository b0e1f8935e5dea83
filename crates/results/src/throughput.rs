//! Rows about speed. They belong to a machine and a moment, not to a run: they have files of their own.

use serde::{Deserialize, Serialize};

use crate::file::{plain, plain_option};
use crate::rows::Row;

/// A row of `throughput.csv`. What was not measured has no row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThroughputRow {
    /// The network; empty for what is about the whole measurement.
    pub model: String,
    /// `float32` or `int8`; empty where it makes no difference.
    pub precision: String,
    /// Who ran: `quantlab`, a peer, or the bare `processor`.
    pub who: String,
    /// Threads at work.
    pub threads: u32,
    /// What was measured: `images_per_second`, ...
    pub metric: String,
    /// The value, finite.
    #[serde(serialize_with = "plain")]
    pub value: f64,
    /// Unit of the value.
    pub unit: String,
    /// How many measurements are behind it.
    pub n: u64,
}

impl Row for ThroughputRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "model",
            "precision",
            "who",
            "threads",
            "metric",
            "value",
            "unit",
            "n",
        ]
    }
}

/// A row of `layers.csv`: one node of a lowered network while all threads work, each on images of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The network.
    pub model: String,
    /// `float32` or `int8`.
    pub precision: String,
    /// Threads at work.
    pub threads: u32,
    /// Name of the node, PyTorch's where it has one.
    pub layer: String,
    /// What it makes of one image, `CxHxW`.
    pub shape: String,
    /// Operations for one image, a multiply-add counted as two; 0 without weights.
    pub operations: u64,
    /// Its part of the time that an image takes, all threads together.
    #[serde(serialize_with = "plain")]
    pub seconds_per_image: f64,
    /// Operations in 1e-9 seconds, all threads together; empty without operations.
    #[serde(serialize_with = "plain_option")]
    pub gflops: Option<f64>,
    /// Its part of the whole network's time, 0 to 1.
    #[serde(serialize_with = "plain")]
    pub share: f64,
}

impl Row for LayerRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "model",
            "precision",
            "threads",
            "layer",
            "shape",
            "operations",
            "seconds_per_image",
            "gflops",
            "share",
        ]
    }
}

/// A row of `sweeps.csv`: how long a cell of an experiment took, or all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepTimeRow {
    /// The experiment.
    pub experiment: String,
    /// The settings that vary; empty for the whole process, from its start to its end.
    pub cell: String,
    /// Who ran: `quantlab` or a peer.
    pub who: String,
    /// Threads at work.
    pub threads: u32,
    /// Test images of a cell.
    pub images: u64,
    /// The median.
    #[serde(serialize_with = "plain")]
    pub seconds: f64,
    /// The least.
    #[serde(serialize_with = "plain")]
    pub seconds_min: f64,
    /// The most.
    #[serde(serialize_with = "plain")]
    pub seconds_max: f64,
    /// Images that were classified correctly; empty for the whole process.
    pub top1_correct: Option<u64>,
    /// How many measurements are behind it.
    pub n: u64,
}

impl Row for SweepTimeRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "experiment",
            "cell",
            "who",
            "threads",
            "images",
            "seconds",
            "seconds_min",
            "seconds_max",
            "top1_correct",
            "n",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::rows_text;

    #[test]
    fn small_times_have_no_exponent_and_what_has_no_rate_is_empty() {
        let row = LayerRow {
            model: "resnet50".into(),
            precision: "float32".into(),
            threads: 2,
            layer: "maxpool".into(),
            shape: "64x56x56".into(),
            operations: 0,
            seconds_per_image: 1.5e-7,
            gflops: None,
            share: 0.25,
        };
        assert_eq!(
            rows_text(&[row]),
            LayerRow::columns().join(",")
                + "\nresnet50,float32,2,maxpool,64x56x56,0,0.00000015,,0.25\n"
        );
        let header = ThroughputRow::columns().join(",");
        assert_eq!(rows_text::<ThroughputRow>(&[]), header + "\n");
    }
}
