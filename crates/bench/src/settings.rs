//! The settings an experiment may name, and the one cell of a sweep that a full set of them describes.
//!
//! A setting that does not apply must not be given (a percentile without `weights.range = "percentile"`), and one that
//! is not given has the default listed in [`KEYS`]. What does not apply is left out of the run's identity: every run
//! with `weights.bits = 32` and `activations.bits = 32` is the same float run, whatever else its cell says.

mod applies;
mod columns;
mod input;
mod keys;
mod model;
mod reader;
mod training;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use engine::Execution;
use quant_core::{Bits, Granularity};
use resnet::{ActivationQuantization, BiasPolicy, BnMode, ShortcutPolicy, WeightQuantization};
use results::Config;
use toml::de::DeValue;

use crate::experiment::{Scalar, scalar};
pub(crate) use applies::{DoesNotApply, does_not_apply, is_combination};
use columns::{float_config, quantized_config};
use reader::Reader;

pub use input::Input;
pub use keys::{check_key, help};
pub use model::{ModelChoice, ModelFile};
pub use training::Training;

/// Settings by dotted key.
pub type Settings = BTreeMap<String, Scalar>;

/// Every key with its meaning and default, as `sweep --help` shows them by subject (which the key's first part says).
pub const KEYS: &[(&str, &str)] = &[
    ("model.name", "an entry of data/models.toml"),
    (
        "model.weights",
        "a .pth or .safetensors file, instead of model.name",
    ),
    (
        "model.arch",
        "resnet18..152, resnet50-v1..152-v1 (stride in the first 1x1), cifar-resnet20..110; default: recognised",
    ),
    (
        "model.key",
        "which network of a file with several: its keys joined by dots, such as state_dict_ema; . is the outermost",
    ),
    (
        "model.extra",
        "tensors beside a complete network: refuse or ignore (the manifest names them); default refuse",
    ),
    (
        "model.rename",
        "parts of a file's names and ours: \"classifier=linear, stage_1=layer1\"; default: by names, else shapes and order",
    ),
    (
        "dataset",
        "an entry of data/datasets.toml or a folder; default: the model's own",
    ),
    ("images", "how many test images; default 0 = all"),
    (
        "input.normalization",
        "imagenet, cifar10, half, unit (0..1), bytes (0..255) or \"MEAN / STD\"; default: the set's, imagenet",
    ),
    (
        "input.resize",
        "of class folders: pixels of the shorter side; default 256, or 32 for networks made for 32",
    ),
    (
        "input.size",
        "of class folders: pixels of the crop; default 224, or 32 for networks made for 32",
    ),
    (
        "labels.class_list",
        "of class folders: a file with one class name a line, in the order of the outputs",
    ),
    (
        "labels.offset",
        "what is added to a label for the network's output, 1 where output 0 is no class; default 0",
    ),
    (
        "method",
        "linear (the original preset), ptq, qat (trained) or stored (the quantizers of the model's file); default ptq",
    ),
    ("weights.bits", "1 to 16, or 32 for float; default 8"),
    (
        "weights.mapping",
        "affine, symmetric, power_of_two; default affine",
    ),
    (
        "weights.narrow",
        "symmetric codes without the lowest one; default true",
    ),
    (
        "weights.granularity",
        "tensor, channel, group; default tensor",
    ),
    (
        "weights.group_size",
        "weights per group, for group; default 64",
    ),
    (
        "weights.range",
        "minmax, percentile, mse, entropy, gaussian, laplacian; default minmax",
    ),
    (
        "weights.percentile",
        "for percentile: what is kept; default 99.99",
    ),
    ("weights.mse_exponent", "for mse: p in |x - y|^p; default 2"),
    (
        "weights.rounding",
        "half_even, half_away, floor, stochastic; default half_even",
    ),
    (
        "first.bits",
        "for the first layer's weights and the images; default: as the others",
    ),
    (
        "last.bits",
        "for the classifier's weights, its input and the logits; default: as the others",
    ),
    ("activations.bits", "1 to 16, or 32 for float; default 32"),
    (
        "activations.mapping",
        "affine, symmetric, power_of_two; default affine",
    ),
    (
        "activations.narrow",
        "signed codes without the lowest one; default true",
    ),
    (
        "bias",
        "same, int32 or float; default same for linear, int32 with quantized activations, else float",
    ),
    (
        "bn",
        "kept or folded; default folded with quantized activations, else kept",
    ),
    (
        "shortcut",
        "rescale, shared or float, with quantized activations; default rescale",
    ),
    ("execution", "simulate or integer; default simulate"),
    (
        "integer.rounding",
        "half_even, half_away, floor, gemmlowp; default half_even",
    ),
    (
        "integer.multiplier",
        "fixed, power_of_two, float; default fixed",
    ),
    ("integer.accumulator", "int32, saturating16; default int32"),
    (
        "calibration.dataset",
        "an entry of data/datasets.toml or a folder; default: the test set's training part",
    ),
    (
        "calibration.images",
        "images that activation ranges are taken from; default 512",
    ),
    (
        "calibration.method",
        "minmax, moving_average, percentile, mse, entropy; default minmax",
    ),
    (
        "calibration.percentile",
        "for percentile: what is kept; default 99.99",
    ),
    (
        "calibration.momentum",
        "for moving_average: what is kept at each batch; default 0.9",
    ),
    (
        "calibration.mse_exponent",
        "for mse: p in |x - y|^p; default 2",
    ),
    ("qat.method", "lsq, lsq_plus, pact, minmax; default lsq"),
    (
        "qat.bn",
        "BatchNorm in training: folded, static, kept; default folded",
    ),
    (
        "qat.start",
        "first scales: ptq (as calibrated) or float (the method's own); default ptq",
    ),
    ("qat.epochs", "passes over the training images; default 4"),
    ("qat.images", "training images; default 0 = all"),
    ("qat.batch", "images per step; default 64"),
    (
        "qat.shards",
        "parts of a batch, each with BatchNorm of its own; default 2",
    ),
    ("qat.lr", "peak learning rate; default 0.01"),
    (
        "qat.scale_lr",
        "of steps, offsets and bounds; default that of weights",
    ),
    ("qat.warmup", "epochs of linear warm-up; default 0"),
    ("qat.schedule", "cosine or step; default cosine"),
    ("qat.momentum", "of SGD; default 0.9"),
    (
        "qat.weight_decay",
        "of kernels and clipping bounds; default 0.0001",
    ),
    (
        "qat.padding",
        "pixels around an image before a random crop; default 4",
    ),
    ("qat.flip", "mirror half of the images; default true"),
    (
        "qat.delay",
        "share of the steps before activations are quantized; default 0",
    ),
    (
        "qat.freeze",
        "share of the steps after which BatchNorm's statistics stay; default 0.7",
    ),
    (
        "qat.distillation",
        "share of the loss that is the distance to the float network; default 0",
    ),
    (
        "qat.temperature",
        "what logits are divided by for that; default 1",
    ),
    (
        "qat.range_momentum",
        "what a moving activation range keeps at a step, for minmax; default 0.99",
    ),
    (
        "seed",
        "for stochastic rounding, the choice of calibration images, and training; default 0",
    ),
    (
        "device",
        "engine (the CPU), or burn's flex, cuda, vulkan where built in; default engine",
    ),
];

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

/// A value of a list in which some are bare words.
fn bare(word: &str) -> Scalar {
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
    /// The result columns. Model, dataset and image count are filled in once the files are open.
    pub config: Config,
}

impl Cell {
    /// The float run that this cell is compared with.
    pub fn baseline(&self) -> Self {
        Self {
            quantization: None,
            config: float_config(&self.config.device),
            ..self.clone()
        }
    }

    /// Checks a full set of settings. Fails naming the setting that is unknown, unavailable, or does not apply.
    pub fn new(settings: &Settings) -> Result<Self> {
        let mut read = Reader {
            settings: settings.clone(),
        };
        let model = read.model()?;
        let dataset = read.path("dataset")?;
        let images = read.integer("images", 0..=100_000_000)?.unwrap_or(0);
        let input = read.input()?;
        let seed = read.integer("seed", 0..=i64::MAX)?.unwrap_or(0);
        let device = read.text("device")?.unwrap_or_else(|| "engine".to_owned());
        let bits = read.width("weights.bits")?.unwrap_or(8);
        let method = read.text("method")?.unwrap_or_else(|| "ptq".to_owned());
        let bn: Option<BnMode> = read.parsed("bn")?;
        let bias: Option<BiasPolicy> = read.parsed("bias")?;
        let [first_bits, last_bits] = [read.bits("first.bits")?, read.bits("last.bits")?];
        let activations = read.activations(seed, [first_bits, last_bits])?;
        let execution = read.execution()?;
        let training = read.training(seed)?;
        let linear = match method.as_str() {
            "linear" => true,
            "ptq" | "qat" | "stored" | "float" => false,
            other => bail!("method = {other}: allowed are linear, ptq, qat, stored, float"),
        };
        let scheme = match bits {
            results::FLOAT_BITS => {
                // Axes of the cells beside this one; they mean nothing here, but a wrong word is still wrong.
                read.scheme(Bits::new(8)?, seed)?;
                None
            }
            bits if linear => Some(read.linear(Bits::new(bits)?)?),
            bits => Some(read.scheme(Bits::new(bits)?, seed)?),
        };
        if let Some(key) = read.settings.keys().next() {
            check_key(key)?;
            does_not_apply!("{key} does not apply here; leave it out");
        }
        let (quantization, mut config) = if method == "stored" {
            let quantization = Quantization {
                weights: WeightQuantization {
                    scheme: None,
                    first_bits: None,
                    last_bits: None,
                    bias: BiasPolicy::Int32,
                    bn: BnMode::Folded,
                },
                activations: None,
                execution,
                source: Source::Stored,
            };
            if execution != Execution::Simulate && device != "engine" {
                does_not_apply!(
                    "execution = integer: device = {device} computes in float; set device = engine"
                );
            }
            let config = quantized_config(&quantization, &method, seed, &device);
            (Some(quantization), config)
        } else if method == "float" || (scheme.is_none() && activations.is_none()) {
            (None, float_config(&device))
        } else {
            let quantized = activations.is_some();
            let weights = WeightQuantization {
                scheme,
                first_bits,
                last_bits,
                bias: bias.unwrap_or(match (linear, quantized && scheme.is_some()) {
                    (true, _) => BiasPolicy::Same,
                    (false, true) => BiasPolicy::Int32,
                    (false, false) => BiasPolicy::Float,
                }),
                bn: bn.unwrap_or(match (quantized && !linear) || method == "qat" {
                    true => BnMode::Folded,
                    false => BnMode::Kept,
                }),
            };
            check_bias(&weights, quantized)?;
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
                execution,
                source,
            };
            check_integer(&quantization, &device).context("execution = integer")?;
            let config = quantized_config(&quantization, &method, seed, &device);
            (Some(quantization), config)
        };
        config.images = images;
        Ok(Self {
            model,
            dataset,
            images,
            input,
            quantization,
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
    if how.execution == Execution::Simulate {
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
    if activations.how.shortcut == ShortcutPolicy::Float {
        does_not_apply!(
            "shortcut = float is a real number to add; set shortcut = rescale or shared"
        );
    }
    if device != "engine" {
        does_not_apply!("device = {device} computes in float; set device = engine");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(pairs: &[(&str, Scalar)]) -> Result<Cell> {
        let mut settings: Settings = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        settings
            .entry("model.name".to_owned())
            .or_insert_with(|| text("m"));
        Cell::new(&settings)
    }

    fn text(word: &str) -> Scalar {
        Scalar::Text(word.to_owned())
    }

    fn bits(bits: i64) -> (&'static str, Scalar) {
        ("weights.bits", Scalar::Integer(bits))
    }

    fn error(pairs: &[(&str, Scalar)]) -> String {
        format!("{:#}", cell(pairs).unwrap_err())
    }

    #[test]
    fn every_float_cell_is_the_same_run_whatever_else_it_says() {
        let plain = cell(&[bits(32)]).unwrap();
        let other = cell(&[
            bits(32),
            ("weights.mapping", text("symmetric")),
            ("weights.granularity", text("channel")),
            ("bn", text("folded")),
            ("method", text("linear")),
            ("seed", Scalar::Integer(3)),
        ])
        .unwrap();
        assert!(plain.quantization.is_none());
        assert_eq!(plain.config, other.config);
        assert_eq!(cell(&[bits(4)]).unwrap().baseline().config, plain.config);
    }

    #[test]
    fn linear_is_the_original_method() {
        let cell = cell(&[bits(5), ("method", text("linear"))]).unwrap();
        let how = cell.quantization.unwrap();
        let how = how.weights;
        let linear = quant_core::Scheme::linear(Bits::new(5).unwrap());
        assert_eq!(how.scheme, Some(linear));
        assert_eq!((how.bias, how.bn), (BiasPolicy::Same, BnMode::Kept));
        let wrong = error(&[
            bits(5),
            ("method", text("linear")),
            ("weights.mapping", text("symmetric")),
        ]);
        assert!(wrong.contains("weights.mapping"), "{wrong}");
    }

    #[test]
    fn defaults_are_those_that_the_help_names() {
        let config = cell(&[]).unwrap().config;
        assert_eq!(config.weights_bits, 8);
        assert_eq!(config.method, "ptq");
        assert_eq!(config.weights_mapping.as_deref(), Some("affine"));
        assert_eq!(config.weights_granularity.as_deref(), Some("tensor"));
        assert_eq!(config.weights_range.as_deref(), Some("minmax"));
        assert_eq!(config.weights_rounding.as_deref(), Some("half_even"));
        assert_eq!(config.bias.as_deref(), Some("float"));
        assert_eq!(config.bn.as_deref(), Some("kept"));
        let group = cell(&[("weights.granularity", text("group"))])
            .unwrap()
            .config;
        assert_eq!(group.weights_group_size, Some(64));
    }

    #[test]
    fn a_setting_that_does_not_apply_is_refused_by_name() {
        for (key, value, with) in [
            (
                "weights.group_size",
                Scalar::Integer(8),
                ("weights.granularity", text("tensor")),
            ),
            (
                "weights.percentile",
                Scalar::Float(99.0),
                ("weights.range", text("mse")),
            ),
            (
                "weights.mse_exponent",
                Scalar::Float(2.4),
                ("weights.range", text("minmax")),
            ),
            (
                "weights.narrow",
                Scalar::Bool(true),
                ("weights.mapping", text("affine")),
            ),
        ] {
            let message = error(&[(key, value), with]);
            assert!(
                message.contains(key.rsplit('.').next().unwrap()),
                "{key}: {message}"
            );
        }
    }

    #[test]
    fn values_out_of_range_and_wrong_words_say_what_is_allowed() {
        assert!(error(&[bits(0)]).contains("1 to 16, or 32"));
        assert!(error(&[bits(20)]).contains("16"));
        assert!(error(&[("weights.mapping", text("afine"))]).contains("power_of_two"));
        assert!(error(&[("bias", text("int32"))]).contains("activations"));
        assert!(error(&[("activations.bits", Scalar::Integer(20))]).contains("16"));
        assert!(error(&[("execution", text("integer"))]).contains("activations.bits"));
        assert!(error(&[("method", text("qad"))]).contains("ptq, qat"));
        assert!(error(&[bits(1), ("weights.mapping", text("symmetric"))]).contains("2 bits"));
        assert!(error(&[("model.weights", text("a.pth"))]).contains("two models"));
    }

    #[test]
    fn a_text_where_a_number_belongs_is_told_from_the_number() {
        for key in ["weights.bits", "activations.bits"] {
            let quoted = error(&[(key, text("8"))]);
            let says = format!("{key} = \"8\" (a text; write 8 without quotes): expected 1 to 16");
            assert!(quoted.starts_with(&says), "{quoted}");
            for bits in [0, 17, 31, 33, -1] {
                let message = error(&[(key, Scalar::Integer(bits))]);
                let says = format!("{key} = {bits}: expected 1 to 16, or 32 for float");
                assert_eq!(message, says);
            }
        }
        let word = error(&[("images", text("many"))]);
        assert!(
            word.starts_with("images = \"many\": expected a whole"),
            "{word}"
        );
        let share = error(&[("qat.freeze", text("0.5"))]);
        assert!(share.contains("write 0.5 without quotes"), "{share}");
        let momentum = error(&[("qat.momentum", Scalar::Float(1.0))]);
        assert!(momentum.contains("from 0 to below 1"), "{momentum}");
    }

    #[test]
    fn a_combination_that_cannot_be_is_told_from_a_word_that_is_wrong_anywhere() {
        let combination = |pairs: &[(&str, Scalar)]| is_combination(&cell(pairs).unwrap_err());
        let symmetric = ("weights.mapping", text("symmetric"));
        for pairs in [
            vec![bits(1), symmetric.clone()],
            vec![("weights.group_size", Scalar::Integer(8))],
            vec![("weights.percentile", Scalar::Float(99.0))],
            vec![("weights.narrow", Scalar::Bool(true))],
            vec![("method", text("linear")), symmetric],
            vec![("bias", text("int32"))],
            vec![("execution", text("integer"))],
            vec![
                ("method", text("qat")),
                bits(32),
                ("activations.bits", Scalar::Integer(8)),
            ],
            vec![("method", text("qat")), ("bn", text("kept"))],
            vec![
                ("method", text("qat")),
                ("weights.granularity", text("group")),
            ],
        ] {
            assert!(combination(&pairs), "{pairs:?}");
        }
        for pairs in [
            vec![bits(17)],
            vec![("weights.bits", text("8"))],
            vec![("weights.mapping", text("afine"))],
            vec![("weights.range", text("max"))],
            vec![("method", text("qad"))],
            vec![("no.such", Scalar::Integer(1))],
            vec![("model.weights", text("a.pth"))],
        ] {
            assert!(!combination(&pairs), "{pairs:?}");
        }
    }

    #[test]
    fn a_tilde_is_the_home_folder_in_every_setting_that_is_a_path() {
        let home = std::env::var("HOME").unwrap();
        let calibration = ("calibration.dataset", text("~/c"));
        let activations = ("activations.bits", Scalar::Integer(8));
        let of = cell(&[("dataset", text("~/images")), calibration, activations]).unwrap();
        assert_eq!(of.dataset, Some(format!("{home}/images")));
        let calibration = of.quantization.unwrap().activations.unwrap().calibration;
        assert_eq!(calibration.dataset, Some(format!("{home}/c")));
        let mut settings = Settings::from([("model.weights".to_owned(), text("~/net.pth"))]);
        let named = Cell::new(&settings).unwrap().model;
        assert!(
            matches!(named.file, ModelFile::File { path, .. } if path == format!("{home}/net.pth"))
        );
        settings.insert("model.weights".into(), text("~other/net.pth"));
        let message = format!("{:#}", Cell::new(&settings).unwrap_err());
        assert!(
            message.starts_with("model.weights: ~other/net.pth: "),
            "{message}"
        );
    }

    #[test]
    fn what_integers_cannot_do_is_refused_before_anything_runs() {
        let activations = ("activations.bits", Scalar::Integer(8));
        for (key, value, says) in [
            ("activations.bits", Scalar::Integer(9), "give 1 to 8"),
            ("activations.bits", Scalar::Integer(32), "give 1 to 8"),
            ("weights.bits", Scalar::Integer(16), "give 1 to 8"),
            ("weights.bits", Scalar::Integer(32), "give 1 to 8"),
            ("first.bits", Scalar::Integer(9), "give 1 to 8"),
            ("last.bits", Scalar::Integer(12), "give 1 to 8"),
            ("weights.granularity", text("group"), "tensor or channel"),
            ("bias", text("float"), "bias = int32"),
            ("bias", text("same"), "bias = int32"),
            ("method", text("linear"), "bias = int32"),
            ("shortcut", text("float"), "rescale or shared"),
            ("device", text("flex"), "device = engine"),
        ] {
            let integer = ("execution", text("integer"));
            // Of a key given twice the last counts.
            let message = error(&[activations.clone(), integer, (key, value.clone())]);
            assert!(
                message.starts_with("execution = integer: ") && message.contains(says),
                "{key} = {value}: {message}"
            );
        }
        for kind in ["tensor", "channel"] {
            let able = [
                activations.clone(),
                ("execution", text("integer")),
                ("weights.granularity", text(kind)),
            ];
            assert!(cell(&able).is_ok(), "{kind}");
        }
    }

    #[test]
    fn a_training_is_part_of_the_run_and_of_no_other() {
        let pairs = |method: &str, lr: f64| {
            cell(&[
                bits(4),
                ("activations.bits", Scalar::Integer(4)),
                ("method", text(method)),
                ("bn", text("folded")),
                ("qat.method", text("lsq_plus")),
                ("qat.lr", Scalar::Float(lr)),
            ])
            .unwrap()
            .config
        };
        let config = pairs("qat", 0.02);
        assert_eq!(config.qat_method.as_deref(), Some("lsq_plus"));
        assert_eq!(
            (config.qat_lr, config.qat_scale_lr),
            (Some(0.02), Some(0.02))
        );
        assert_ne!(config, pairs("qat", 0.03));
        assert_eq!(pairs("ptq", 0.02), pairs("ptq", 0.03));
    }

    #[test]
    fn what_cannot_be_trained_says_why() {
        let refused = |more: &[(&'static str, Scalar)]| {
            let mut pairs = vec![bits(4), ("method", text("qat"))];
            pairs.extend(more.iter().cloned());
            error(&pairs)
        };
        assert!(refused(&[("bn", text("kept"))]).contains("qat.bn"));
        assert!(refused(&[("weights.granularity", text("group"))]).contains("channel"));
        assert!(refused(&[("qat.method", text("lsd"))]).contains("lsq_plus"));
        assert!(refused(&[("qat.epochs", Scalar::Integer(0))]).contains("from 1"));
        assert!(refused(&[("qat.freeze", Scalar::Float(1.5))]).contains("from 0 to 1"));
        let bias = refused(&[("bias", text("same"))]);
        assert!(bias.contains("int32"), "{bias}");
    }

    #[test]
    fn the_seed_matters_to_stochastic_rounding_alone() {
        let seeded = |rounding: &str, seed: i64| {
            cell(&[
                ("weights.rounding", text(rounding)),
                ("seed", Scalar::Integer(seed)),
            ])
            .unwrap()
            .config
        };
        assert_eq!(seeded("half_even", 1), seeded("half_even", 2));
        assert_ne!(seeded("stochastic", 1), seeded("stochastic", 2));
    }

    #[test]
    fn an_assignment_is_a_key_and_values_and_bare_words_are_texts() {
        let (key, values) = parse_assignment("weights.bits = [8, 4]").unwrap();
        assert_eq!(key, "weights.bits");
        assert_eq!(values, [Scalar::Integer(8), Scalar::Integer(4)]);
        let (_, values) = parse_assignment("model.weights=/a/b.pth").unwrap();
        assert_eq!(values, [text("/a/b.pth")]);
        let (_, values) = parse_assignment("model.weights=[a/c.pth, 'b c.pth', 8]").unwrap();
        assert_eq!(
            values,
            [text("a/c.pth"), text("b c.pth"), Scalar::Integer(8)]
        );
        assert!(parse_assignment("weights.bits").is_err());
        assert!(parse_assignment("weights.bits=[]").is_err());
        assert!(parse_assignment("bits=4").is_err());
    }
}
