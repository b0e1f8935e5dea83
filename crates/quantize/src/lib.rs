//! Passes over a network: BatchNorm folded, layers equalized, quantizers placed, weights and activations quantized, the whole lowered
//! for the CPU engine or written for other runtimes.
//!
//! ```text
//! network::Network --fold, equalize, quantize--> QuantizedNet --lower_quantized--> engine::Graph
//!                                                     └--to_onnx--> an ONNX file
//! ```
//!
//! Every pass is a function over the graph of a [`network::Topology`] and knows no family. What is quantized stands beside the graph,
//! by names of values.

mod allocate;
mod blocks;
mod correct;
mod equalize;
mod error;
mod export;
mod fold;
mod layerwise;
mod lower;
mod moments;
pub mod names;
mod output_ranges;
mod quantize;
mod sensitivity;
mod sites;
mod stored;
mod units;

pub use allocate::{
    Allocated, Allocation, Cost, Expected, Kind, Knobs, Latencies, Margins, Measured, Method, Of,
    Predictor, Rounded, Row, Steps, Subject, Widths, greedy, kappa, measure,
};
pub use blocks::{Block, Extent, blocks};
pub use correct::BiasCorrection;
pub use equalize::{ClipPolicy, Equalization, Equalized, Moved, Reach, equalize};
pub use error::Error;
pub use export::{Form, Integers, Packing, float_onnx, to_integers, to_onnx};
pub use fold::{BatchNorm, fold};
pub use layerwise::{
    AdaRound, Choice, Gram, Layerwise, Order, Stream, Target, held, quantize_by_layer,
};
pub use lower::{Epilogue, lower, lower_layer, lower_quantized};
pub use moments::{analytic_correction, expected_inputs};
pub use output_ranges::output_ranges;
pub use quantize::{
    BiasPolicy, BnMode, Decision, LayerReport, OutputLoss, QuantizedNet, WeightCodes, WeightGrids,
    WeightQuantization, float_manifest, float_sites, own_bits, quantize,
};
pub use sensitivity::{LogitError, Probe, first_largest};
pub use sites::{
    ActivationQuantization, ShortcutPolicy, Site, SiteCodes, SiteRounding, SiteStatistics, Sites,
};
pub use stored::{StoredQuantizers, is_quantizer};
pub use units::{Unit, Units};
