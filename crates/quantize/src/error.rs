//! What can go wrong between a network and a quantized one.
//!
//! Every message is one line that names the tensor, the site or the setting, what was found and what was allowed.

pub(crate) use network::quoted;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A quantized network that the format cannot hold.
    #[error("cannot be exported: {reason}")]
    Export {
        /// What it has and the format has not.
        reason: String,
    },

    /// Fewer bits than there can be.
    #[error(
        "allocate.budget = {budget}: the fewest bits that everything may have cost as much as {least:.3} everywhere; give at least that"
    )]
    Budget {
        /// What was given.
        budget: f64,
        /// The least that can be given.
        least: f64,
    },

    /// A budget of time needs the time of every layer.
    #[error(
        "layer {layer} has no time for {weights} bits of weights and {activations} of activations (32: float), nor for more"
    )]
    NoLatency {
        /// Its name.
        layer: String,
        /// Bits of its weights.
        weights: u32,
        /// Bits of what it reads.
        activations: u32,
    },

    /// Quantization was asked for and changed no tensor.
    #[error("nothing was quantized ({reason})")]
    NothingQuantized {
        /// The first tensor and why it stayed as it was.
        reason: String,
    },

    /// A word that is none of a setting's.
    #[error("{key} = {value}: allowed are {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// The word, quoted.
        value: String,
        /// The words it may be.
        allowed: &'static str,
    },

    /// A tensor cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] quant_core::Error),

    /// An activation site has no codes.
    #[error("activation site {site}: {reason}; calibrate on other or more images")]
    Site {
        /// The site.
        site: String,
        /// Why it cannot be quantized.
        reason: quant_core::Reason,
    },

    /// A file's quantizer holds what no quantizer holds, or does not fit its weights.
    #[error("tensor {name}: {problem}; train the model again or leave its quantizers out")]
    Quantizer {
        /// The tensor, quoted.
        name: String,
        /// What was found.
        problem: String,
    },

    /// A tensor that is missing or misshapen.
    #[error(transparent)]
    Network(#[from] network::Error),

    /// The network cannot run on images of this size.
    #[error(transparent)]
    Graph(#[from] engine::Error),
}
