//! The result columns of a cell: of what was read, the subjects that apply to it.

use engine::{Algorithm, Execution};
use quant_core::Rounding;
use quant_core::qat::Method;
use quantize::{BiasCorrection, Choice};
use results::Config;

use super::{Quantization, Source, latencies};

/// 2: steps of weights in units of the unfolded weight, ranges of whole batches.
const TRAINING_REVISION: u64 = 2;

/// The columns of a float run: nothing that could vary without changing the numbers. `execution` is whose numbers they are: the
/// simulation's, too, where integers have computed them.
pub(super) fn float_config(device: &str, convolution: Algorithm) -> Config {
    let is_direct = convolution == Algorithm::Direct;
    Config::default()
        .with("weights_bits", results::FLOAT_BITS)
        .with("activations_bits", results::FLOAT_BITS)
        .with("execution", "simulate")
        .with("method", results::METHOD_FLOAT)
        .with("device", device)
        .with("convolution", (!is_direct).then(|| convolution.to_string()))
}

/// Those of a run that quantizes, of all that was `said`, defaults included. What is known only once files are open (names, numbers of
/// images, hashes, the bits of a quantized file) is filled in then.
pub(super) fn quantized_config(
    how: &Quantization,
    method: &str,
    seed: u64,
    (device, convolution): (&str, Algorithm),
    said: &Config,
) -> Config {
    let weights = &how.weights;
    let scheme = weights.scheme.as_ref();
    let is_stochastic = scheme.is_some_and(|s| matches!(s.rounding(), Rounding::Stochastic { .. }));
    let choice = how.by_layer.as_ref().map(|by_layer| by_layer.how.choice);
    let training = match &how.source {
        Source::Training(training) => Some(training),
        Source::PostTraining | Source::Stored => None,
    };
    let is_integer = matches!(how.execution, Execution::Integer(_));
    let has_activations = how.activations.is_some();
    let mut config = float_config(device, convolution)
        .with("first_bits", weights.first_bits.map(|bits| bits.get()))
        .with("last_bits", weights.last_bits.map(|bits| bits.get()))
        .with("bias", weights.bias.to_string())
        .with("bn", weights.bn.to_string())
        .with("method", method);
    for (subject, applies) in [
        ("weights", scheme.is_some()),
        ("gram", matches!(choice, Some(Choice::Gram(_)))),
        ("adaround", matches!(choice, Some(Choice::AdaRound(_)))),
        ("equalize", how.equalization.is_some()),
        (
            "bias_correction",
            how.bias_correction != BiasCorrection::None,
        ),
        ("reconstruct", how.reconstruction.is_some()),
        ("allocate", how.allocation.is_some()),
        ("execution", is_integer),
        ("integer", is_integer),
        ("qat", training.is_some()),
        ("activations", has_activations),
        ("shortcut", has_activations),
        ("calibration", has_activations),
    ] {
        if applies {
            config.take(subject, said);
        }
    }
    let allocation = how.allocation.as_ref();
    if let Some(times) = allocation.and_then(|(how, _)| how.latencies.as_ref()) {
        config.set("allocate_latencies", latencies::digest(times));
    }
    if let Some(training) = training {
        config.set("qat_revision", TRAINING_REVISION);
        if training.method != Method::MinMax {
            config.set("qat_range_momentum", "");
        }
    }
    if let Some(calibration) = how.calibration() {
        config.set("calibration_images", calibration.images);
    }
    if is_stochastic || how.calibration().is_some() || training.is_some() {
        config.set("seed", seed);
    }
    config
}
