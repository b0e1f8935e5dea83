//! The result columns of a cell.

use engine::{Accumulator, Execution, Multiplier, Requantize};
use quant_core::{ActivationRange, CodeRange, Mapping, RangeMethod, Rounding};
use quantize::{BiasCorrection, Choice, Extent};
use results::Config;

use super::by_layer::OUTPUT_MSE;
use super::{Activations, Quantization, Source, Training};
use quant_core::qat::Method;

/// The columns of a float run: nothing that could vary without changing the numbers.
pub(super) fn float_config(device: &str) -> Config {
    Config {
        weights_bits: results::FLOAT_BITS,
        activations_bits: results::FLOAT_BITS,
        execution: "simulate".to_owned(),
        method: results::METHOD_FLOAT.to_owned(),
        device: device.to_owned(),
        ..Config::default()
    }
}

pub(super) fn quantized_config(
    how: &Quantization,
    method: &str,
    seed: u64,
    device: &str,
) -> Config {
    let weights = &how.weights;
    let equalization = how.equalization.as_ref();
    let choice = how.by_layer.as_ref().map(|by_layer| by_layer.how.choice);
    let choice = choice.unwrap_or(Choice::Nearest);
    let by_layer = how.by_layer.as_ref();
    let output_range = by_layer.is_some_and(|by_layer| by_layer.how.output_range);
    let (gram, adaround) = match choice {
        Choice::Nearest => (None, None),
        Choice::Gram(gram) => (Some(gram), None),
        Choice::AdaRound(adaround) => (None, Some(adaround)),
    };
    let reconstruction = how.reconstruction.as_ref().map(|(how, _)| how);
    let is_corrected = how.bias_correction != BiasCorrection::None;
    let scheme = weights.scheme.as_ref();
    let stochastic = scheme.is_some_and(|s| matches!(s.rounding(), Rounding::Stochastic { .. }));
    let narrow = |mapping: Mapping, codes: CodeRange| {
        (mapping != Mapping::Affine).then_some(codes == CodeRange::Narrow)
    };
    let config = Config {
        weights_bits: scheme.map_or(results::FLOAT_BITS, |s| s.bits().get()),
        weights_mapping: scheme.map(|s| s.mapping().to_string()),
        weights_narrow: scheme.and_then(|s| narrow(s.mapping(), s.codes())),
        weights_granularity: scheme.map(|s| s.granularity().to_string()),
        weights_group_size: scheme
            .and_then(|s| s.granularity().group_size())
            .map(|n| n as u32),
        weights_range: scheme.map(|s| match output_range {
            true => OUTPUT_MSE.to_owned(),
            false => s.range().to_string(),
        }),
        weights_percentile: scheme.and_then(|s| match s.range() {
            RangeMethod::Percentile(p) => Some(p),
            _ => None,
        }),
        weights_mse_exponent: scheme.and_then(|s| match s.range() {
            RangeMethod::Mse { exponent } => Some(exponent),
            _ => None,
        }),
        weights_rounding: scheme.map(|s| match choice {
            Choice::Nearest => s.rounding().to_string(),
            Choice::Gram(_) | Choice::AdaRound(_) => choice.name().to_owned(),
        }),
        gram_order: gram.map(|gram| gram.order.to_string()),
        gram_activation_order: gram.and_then(|gram| gram.activation_order.then_some(true)),
        gram_target: gram.map(|gram| gram.target.to_string()),
        gram_refit: gram.map(|gram| gram.refit),
        gram_positions: gram.map(|gram| gram.positions as u64),
        gram_damping: gram.map(|gram| gram.damping),
        adaround_iterations: adaround.map(|how| how.iterations as u64),
        adaround_rate: adaround.map(|how| how.rate),
        adaround_batch: adaround.map(|how| how.batch as u64),
        adaround_penalty: adaround.map(|how| how.penalty),
        first_bits: weights.first_bits.map(|bits| bits.get()),
        last_bits: weights.last_bits.map(|bits| bits.get()),
        bias: Some(weights.bias.to_string()),
        bn: Some(weights.bn.to_string()),
        equalize: equalization.map(|_| "cross_layer".to_owned()),
        equalize_reach: equalization.map(|how| how.reach.to_string()),
        equalize_clip: equalization.map(|how| how.clip.to_string()),
        equalize_absorb: equalization.map(|how| how.absorb),
        bias_correction: is_corrected.then(|| how.bias_correction.to_string()),
        reconstruct: reconstruction.map(|how| match how.extent {
            Extent::Layer => "layer".to_owned(),
            Extent::Block => "block".to_owned(),
            Extent::Network => "network".to_owned(),
        }),
        reconstruct_iterations: reconstruction.map(|how| how.iterations as u64),
        reconstruct_batch: reconstruction.map(|how| how.batch as u64),
        reconstruct_rate: reconstruction.map(|how| how.rate),
        reconstruct_scale_rate: reconstruction.map(|how| how.scale_rate),
        reconstruct_drop: reconstruction.map(|how| how.drop),
        method: method.to_owned(),
        seed: if stochastic
            || how.calibration().is_some()
            || matches!(how.source, Source::Training(_))
        {
            seed
        } else {
            0
        },
        ..float_config(device)
    };
    let config = match how.execution {
        Execution::Simulate => config,
        Execution::Integer(arithmetic) => Config {
            execution: "integer".to_owned(),
            integer_rounding: Some(
                match arithmetic.requantize {
                    Requantize::Gemmlowp => "gemmlowp",
                    Requantize::OnnxRuntime => "ort",
                    Requantize::Once(rounding) => rounding.name(),
                }
                .to_owned(),
            ),
            integer_multiplier: Some(
                match arithmetic.multiplier {
                    Multiplier::Fixed => "fixed",
                    Multiplier::PowerOfTwo => "power_of_two",
                    Multiplier::Float => "float",
                }
                .to_owned(),
            ),
            integer_accumulator: Some(
                match arithmetic.accumulator {
                    Accumulator::Wide => "int32",
                    Accumulator::Saturating16 => "saturating16",
                }
                .to_owned(),
            ),
            ..config
        },
    };
    let config = match &how.source {
        Source::Training(training) => trained(config, training),
        // Bits are filled in once the file is open.
        Source::PostTraining | Source::Stored => config,
    };
    let config = Config {
        calibration_images: how.calibration().map(|choice| choice.images),
        ..config
    };
    let Some(Activations { how, .. }) = &how.activations else {
        return config;
    };
    let scheme = &how.scheme;
    Config {
        activations_bits: scheme.bits().get(),
        activations_mapping: Some(scheme.mapping().to_string()),
        activations_narrow: narrow(scheme.mapping(), scheme.codes()),
        shortcut: Some(how.shortcut.to_string()),
        calibration_method: Some(scheme.range().name().to_owned()),
        calibration_percentile: match scheme.range() {
            ActivationRange::Percentile(p) => Some(p),
            _ => None,
        },
        calibration_momentum: match scheme.range() {
            ActivationRange::MovingAverage { momentum } => Some(momentum),
            _ => None,
        },
        calibration_mse_exponent: match scheme.range() {
            ActivationRange::Mse { exponent } => Some(exponent),
            _ => None,
        },
        ..config
    }
}

/// 2: steps of weights in units of the unfolded weight, ranges of whole batches.
const TRAINING_REVISION: u64 = 2;

/// With the columns of a training; the number of images and their hash are filled in once they are open.
fn trained(config: Config, training: &Training) -> Config {
    Config {
        qat_method: Some(training.method.to_string()),
        qat_bn: Some(training.bn.to_string()),
        qat_start: Some(training.start.to_string()),
        qat_epochs: Some(training.epochs as u64),
        qat_images: Some(training.images),
        qat_batch: Some(training.batch as u64),
        qat_shards: Some(training.shards as u64),
        qat_lr: Some(training.lr),
        qat_scale_lr: Some(training.scale_lr),
        qat_warmup: Some(training.warmup),
        qat_schedule: Some(training.schedule.to_string()),
        qat_momentum: Some(training.momentum),
        qat_weight_decay: Some(training.weight_decay),
        qat_padding: Some(training.padding as u64),
        qat_flip: Some(training.flip),
        qat_delay: Some(training.delay),
        qat_freeze: Some(training.freeze),
        qat_distillation: Some(training.distillation),
        qat_temperature: Some(training.temperature),
        qat_revision: Some(TRAINING_REVISION),
        qat_range_momentum: (training.method == Method::MinMax).then_some(training.range_momentum),
        ..config
    }
}
