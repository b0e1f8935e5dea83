//! Rows about one layer's or one site's bits: what the network loses by them.

use serde::{Deserialize, Serialize};

use crate::file::plain;
use crate::rows::Row;

/// A row of `sensitivity.csv`: counts and sums over the images, so that rows of other images can be added. The powers are those of
/// logits of which each image's mean is taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensitivityRow {
    /// The layer, by PyTorch's name, or the activation site.
    pub layer: String,
    /// `weight` or `activation`.
    pub kind: String,
    /// `alone`: at so few bits, all else in float; `all_but`: in float, all else at so few bits.
    pub tried: String,
    /// So many.
    pub bits: u32,
    /// Images that were seen.
    pub images: u64,
    /// Sum of the float logits' powers.
    #[serde(serialize_with = "plain")]
    pub signal: f64,
    /// Sum of the powers of what logits differ by.
    #[serde(serialize_with = "plain")]
    pub noise: f64,
    /// Sum of divergences of the answers' probabilities from the float network's, in nats.
    #[serde(serialize_with = "plain")]
    pub kl_sum: f64,
    /// Sum of the losses, in nats.
    #[serde(serialize_with = "plain")]
    pub loss_sum: f64,
    /// Images with another answer than the float network's.
    pub flips: u64,
    /// Images whose answer is the label.
    pub top1_correct: u64,
}

impl SensitivityRow {
    /// The logit SQNR in dB; none without noise or without signal.
    pub fn sqnr_db(&self) -> Option<f64> {
        let ratio = self.signal / self.noise;
        (ratio > 0.0 && ratio.is_finite()).then(|| 10.0 * ratio.log10())
    }
}

impl Row for SensitivityRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "layer",
            "kind",
            "tried",
            "bits",
            "images",
            "signal",
            "noise",
            "kl_sum",
            "loss_sum",
            "flips",
            "top1_correct",
        ]
    }
}
