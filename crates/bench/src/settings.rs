//! The settings an experiment may name, and the one cell of a sweep that a full set of them describes.
//!
//! A setting that does not apply must not be given (a percentile without `weights.range = "percentile"`), and one that
//! is not given has the default that [`results::setting`] lists. What does not apply is left out of the run's identity: every run
//! with `weights.bits = 32` and `activations.bits = 32` is the same float run, whatever else its cell says.

mod allocation;
mod applies;
mod by_layer;
mod columns;
mod equalization;
mod input;
mod keys;
mod latencies;
mod model;
mod reader;
mod reconstruct;
#[cfg(test)]
mod tests;
mod training;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use engine::{Algorithm, Execution};
use quant_core::{Bits, Granularity};
use quantize::{
    ActivationQuantization, Allocation, BiasCorrection, BiasPolicy, BnMode, Choice, Equalization,
    Layerwise, WeightQuantization,
};
use results::Config;
use toml::de::DeValue;
use train::Reconstruction;

use crate::experiment::{Scalar, scalar, widths};
pub(crate) use applies::{DoesNotApply, does_not_apply, is_combination};
use columns::{float_config, quantized_config};
use reader::Reader;

pub use input::Input;
pub use keys::{check_key, help};
pub use model::{ModelChoice, ModelFile};
pub use training::Training;

/// Settings by dotted key.
pub type Settings = BTreeMap<String, Scalar>;

/// Reads `key=value` or `key=[value, value]` from a command line: the key, known, and at least one value.
pub fn parse_assignment(assignment: &str) -> Result<(String, Vec<Scalar>)> {
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| anyhow!("--set {assignment}: write key=value"))?;
    let (key, value) = (key.trim(), value.trim());
    check_key(key).with_context(|| format!("--set {assignment}"))?;
    // A bare word is a text, in a list, too: nobody wants to quote quotes in a shell.
    let words = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let values = match DeValue::parse(value) {
        Ok(parsed) => match parsed.get_ref() {
            list if widths(key, list).is_some() => widths(key, list).map(|one| vec![one]),
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<Vec<_>>>(),
            single => scalar(single).map(|value| vec![value]),
        }
        .ok_or_else(|| anyhow!("--set {assignment}: neither a value nor a list of values"))?,
        Err(_) => match words {
            Some(words) => words.split(',').map(bare).collect(),
            None => vec![Scalar::Text(value.to_owned())],
        },
    };
    if values.is_empty() {
        bail!("--set {assignment}: an empty list leaves nothing to run");
    }
    Ok((key.to_owned(), values))
}

/// Reads `key=value` where a list would leave open which is meant.
pub fn parse_single(assignment: &str) -> Result<(String, Scalar)> {
    let (key, values) = parse_assignment(assignment)?;
    match <[Scalar; 1]>::try_from(values) {
        Ok([value]) => Ok((key, value)),
        Err(_) => bail!("--set {assignment}: one value, not a list"),
    }
}

/// A value as it stands in a list with bare words, or in a result column.
pub(crate) fn bare(word: &str) -> Scalar {
    let value = DeValue::parse(word.trim()).ok();
    let value = value.and_then(|value| scalar(value.get_ref()));
    value.unwrap_or_else(|| Scalar::Text(word.trim().to_owned()))
}

/// What a cell quantizes.
#[derive(Clone, Debug)]
pub struct Quantization {
    /// Weights, biases, BatchNorm.
    pub weights: WeightQuantization,
    /// Activations; absent where they stay in float.
    pub activations: Option<Activations>,
    /// What happens to the network before; absent: nothing.
    pub equalization: Option<Equalization>,
    /// What biases make up for.
    pub bias_correction: BiasCorrection,
    /// What looks at images layer by layer; absent: nothing.
    pub by_layer: Option<ByLayer>,
    /// How layers and sites get bits of their own, and by which images; absent: not.
    pub allocation: Option<(Allocation, CalibrationChoice)>,
    /// What moves codes afterwards, and by which images; absent: nothing.
    pub reconstruction: Option<(Reconstruction, CalibrationChoice)>,
    /// What quantized activations are computed in.
    pub execution: Execution,
    /// Where weights and quantizers come from.
    pub source: Source,
}

/// Where a quantized network comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Weights are quantized as they are, activations by calibration.
    PostTraining,
    /// They are trained first.
    Training(Box<Training>),
    /// The model's file says it all.
    Stored,
}

/// What is done to weights and biases layer by layer, and by which images.
#[derive(Clone, Debug)]
pub struct ByLayer {
    /// What.
    pub how: Layerwise,
    /// The images.
    pub calibration: CalibrationChoice,
}

impl Quantization {
    /// The images that anything is taken from.
    pub fn calibration(&self) -> Option<&CalibrationChoice> {
        let activations = self.activations.as_ref();
        let ranges = activations.map(|activations| &activations.calibration);
        let by_layer = self.by_layer.as_ref().map(|by_layer| &by_layer.calibration);
        let moved = self.reconstruction.as_ref().map(|(_, images)| images);
        let allocated = self.allocation.as_ref().map(|(_, images)| images);
        ranges.or(by_layer).or(moved).or(allocated)
    }
}

/// How activations are quantized, and what their ranges are taken from.
#[derive(Clone, Debug)]
pub struct Activations {
    /// The scheme.
    pub how: ActivationQuantization,
    /// The images.
    pub calibration: CalibrationChoice,
}

/// Which images are calibrated on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalibrationChoice {
    /// Name or folder of the set; the training part of the test set where absent.
    pub dataset: Option<String>,
    /// How many.
    pub images: u64,
    /// Which ones.
    pub seed: u64,
}

/// One cell of a sweep, checked.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The checkpoint.
    pub model: ModelChoice,
    /// Name or folder of the test set; the model's own where absent.
    pub dataset: Option<String>,
    /// Number of test images; 0 for all.
    pub images: u64,
    /// What is said of images and labels.
    pub input: Input,
    /// What to quantize; absent for the float run.
    pub quantization: Option<Quantization>,
    /// How real numbers are convolved.
    pub convolution: Algorithm,
    /// The result columns. Model, dataset and image count are filled in once the files are open.
    pub config: Config,
}

impl Cell {
    /// Whether it quantizes weights with BatchNorm beside them.
    pub fn keeps_norms(&self) -> bool {
        let how = self.quantization.as_ref();
        how.is_some_and(|how| how.weights.bn == BnMode::Kept)
    }

    /// The float run that this cell is compared with.
    pub fn baseline(&self) -> Self {
        Self {
            quantization: None,
            config: float_config(self.config.text("device"), self.convolution),
            ..self.clone()
        }
    }

    /// Checks a full set of settings. Fails naming the setting that is unknown, unavailable, or does not apply.
    pub fn new(settings: &Settings) -> Result<Self> {
        let mut read = Reader::new(settings);
        let model = read.model()?;
        let dataset = read.path("dataset")?;
        let images = read.value("images")?;
        let input = read.input()?;
        let seed = read.value("seed")?;
        let device: String = read.value("device")?;
        let asked: Algorithm = read.value("convolution")?;
        if asked != Algorithm::Direct && device != "engine" {
            does_not_apply!(
                "convolution = {asked}: device = {device} convolves in its own way; set device = engine"
            );
        }
        let bits: u32 = read.value("weights.bits")?;
        let method: String = read.value("method")?;
        let bn: Option<BnMode> = read.given("bn")?;
        let bias: Option<BiasPolicy> = read.given("bias")?;
        let [first_bits, last_bits] = [read.bits("first.bits")?, read.bits("last.bits")?];
        let training = read.training(seed, bits, asked)?;
        // Learned steps can leave a poor start, but at few bits they do not go far.
        let learned = method == "qat" && training.method.learns_weight_steps();
        let range = if learned { "mse" } else { "minmax" };
        let calibration = read.calibration(seed)?;
        let activations = read.activations(&calibration, range, [first_bits, last_bits])?;
        let reconstruction = read.reconstruction(seed)?;
        let allocation = read.allocation(seed)?;
        let choice = read.choice()?;
        let output_range = read.output_range()?;
        // What is done layer by layer to the network as it is folded.
        let is_by_layer = choice != Choice::Nearest || output_range;
        let execution = read.execution()?;
        let equalization = read.equalization()?;
        let bias_correction: BiasCorrection = read.value("bias_correction")?;
        let linear = method == "linear";
        let scheme = match bits {
            results::FLOAT_BITS => {
                // Axes of the cells beside this one; they mean nothing here, but a wrong word is still wrong.
                read.scheme(Bits::new(8)?, seed, range)?;
                None
            }
            bits if linear => Some(read.linear(Bits::new(bits)?)?),
            bits => Some(read.scheme(Bits::new(bits)?, seed, range)?),
        };
        if let Some(key) = read.settings.keys().next() {
            check_key(key)?;
            does_not_apply!("{key} does not apply here; leave it out");
        }
        let is_float = method == "float" || (scheme.is_none() && activations.is_none());
        // Sums of codes are exact, and made by definition alone.
        let is_real = match method.as_str() {
            "qat" => true,
            "stored" => false,
            _ => is_float || activations.is_none(),
        };
        let convolution = if is_real { asked } else { Algorithm::Direct };
        let quantization = if method == "stored" {
            if equalization.is_some()
                || bias_correction != BiasCorrection::None
                || is_by_layer
                || reconstruction.is_some()
                || allocation.is_some()
            {
                does_not_apply!(
                    "method = stored: the file's quantizers are those of its own weights; leave equalize, bias_correction, reconstruct, allocate and weights.* out"
                );
            }
            let quantization = Quantization {
                weights: WeightQuantization {
                    scheme: None,
                    first_bits: None,
                    last_bits: None,
                    bits_of: BTreeMap::new(),
                    bias: BiasPolicy::Int32,
                    bn: BnMode::Folded,
                },
                activations: None,
                equalization: None,
                bias_correction: BiasCorrection::None,
                by_layer: None,
                allocation: None,
                reconstruction: None,
                execution,
                source: Source::Stored,
            };
            if matches!(execution, Execution::Integer(_)) && device != "engine" {
                does_not_apply!(
                    "execution = integer: device = {device} computes in float; set device = engine"
                );
            }
            Some(quantization)
        } else if is_float {
            None
        } else {
            let quantized = activations.is_some();
            let is_corrected = bias_correction != BiasCorrection::None;
            let is_folded =
                equalization.is_some() || is_corrected || is_by_layer || reconstruction.is_some();
            let weights = WeightQuantization {
                scheme,
                first_bits,
                last_bits,
                bits_of: BTreeMap::new(),
                bias: bias.unwrap_or(match (linear, quantized && scheme.is_some()) {
                    (true, _) => BiasPolicy::Same,
                    (false, true) => BiasPolicy::Int32,
                    (false, false) => BiasPolicy::Float,
                }),
                bn: bn.unwrap_or(
                    match (quantized && !linear) || method == "qat" || is_folded {
                        true => BnMode::Folded,
                        false => BnMode::Kept,
                    },
                ),
            };
            check_bias(&weights, quantized)?;
            if equalization.is_some() || is_corrected {
                equalization::check(&weights, &method, is_corrected)?;
            }
            let bias = bias_correction == BiasCorrection::Empirical;
            let layerwise = Layerwise {
                choice,
                output_range,
                bias,
                seed,
            };
            if is_by_layer {
                by_layer::check(&weights, &layerwise, &method, linear, is_corrected)?;
            }
            if reconstruction.is_some() {
                reconstruct::check(&weights, activations.as_ref(), (&method, linear))?;
            }
            if let Some(allocation) = &allocation {
                allocation::check(allocation, &weights, activations.as_ref())?;
            }
            let looks = is_by_layer || bias;
            if (looks || reconstruction.is_some() || allocation.is_some())
                && calibration.images == 0
            {
                bail!("calibration.images = 0: what looks at images needs at least one");
            }
            let by_layer = looks.then(|| ByLayer {
                how: layerwise,
                calibration: calibration.clone(),
            });
            let source = match method.as_str() {
                "qat" => {
                    training.check(&weights, activations.as_ref())?;
                    Source::Training(Box::new(training))
                }
                _ => Source::PostTraining,
            };
            let quantization = Quantization {
                weights,
                activations,
                equalization,
                bias_correction,
                by_layer,
                allocation: allocation.map(|how| (how, calibration.clone())),
                reconstruction: reconstruction.map(|how| (how, calibration)),
                execution,
                source,
            };
            check_integer(&quantization, &device).context("execution = integer")?;
            Some(quantization)
        };
        let run = (device.as_str(), convolution);
        let mut config = match &quantization {
            Some(how) => quantized_config(how, &method, seed, run, &read.said),
            None => float_config(&device, convolution),
        };
        config.set("images", images);
        Ok(Self {
            model,
            dataset,
            images,
            input,
            quantization,
            convolution,
            config,
        })
    }
}

/// A bias needs what its policy rounds it with.
fn check_bias(weights: &WeightQuantization, activations: bool) -> Result<()> {
    if weights.bias != BiasPolicy::Int32 {
        return Ok(());
    }
    if !activations || weights.scheme.is_none() {
        does_not_apply!(
            "bias = int32: its scale is that of weights times activations; quantize both"
        );
    }
    if weights.bn == BnMode::Kept {
        does_not_apply!(
            "bias = int32: a BatchNorm that is kept has no bias to round; set bn = folded"
        );
    }
    Ok(())
}

/// Integers have 8 bits, one scale for all weights of a sum, and nothing real to add.
fn check_integer(how: &Quantization, device: &str) -> Result<()> {
    if !matches!(how.execution, Execution::Integer(_)) {
        return Ok(());
    }
    let weights = &how.weights;
    let Some(activations) = &how.activations else {
        does_not_apply!("activations.bits = 32 leaves nothing to do in integers; give 1 to 8");
    };
    let Some(scheme) = weights.scheme else {
        does_not_apply!("weights.bits = 32 leaves real weights; give 1 to 8");
    };
    for (key, bits) in [
        ("weights.bits", Some(scheme.bits())),
        ("activations.bits", Some(activations.how.scheme.bits())),
        ("first.bits", weights.first_bits),
        ("last.bits", weights.last_bits),
    ] {
        if let Some(bits) = bits.filter(|bits| bits.get() > 8) {
            does_not_apply!(
                "{key} = {}, but the kernels hold 8 bits; give 1 to 8",
                bits.get()
            );
        }
    }
    let allocation = how.allocation.as_ref();
    let allocated = allocation.and_then(|(how, _)| how.bits.iter().map(|bits| bits.get()).max());
    if let Some(most) = allocated.filter(|&most| most > 8) {
        does_not_apply!("allocate.bits has {most}, but the kernels hold 8 bits; give 1 to 8");
    }
    if matches!(scheme.granularity(), Granularity::Group(_)) {
        does_not_apply!(
            "weights.granularity = group has several scales in one sum; set weights.granularity = tensor or channel"
        );
    }
    if weights.bias != BiasPolicy::Int32 {
        does_not_apply!(
            "bias = {} is a real number to add; set bias = int32 and bn = folded",
            weights.bias
        );
    }
    let shortcut = activations.how.shortcut;
    if !shortcut.adds_codes() {
        does_not_apply!(
            "shortcut = {shortcut} is a real number to add; set shortcut = rescale or shared"
        );
    }
    if device != "engine" {
        does_not_apply!("device = {device} computes in float; set device = engine");
    }
    Ok(())
}
