//! What a run is: its configuration, the canonical text of it, and the run id.
//!
//! ```text
//! canonical = sorted lines `key=value\n`, one per column that is not empty
//! run_id    = first 12 hex digits of sha256(canonical || "weights_sha256=..\n" || "data_sha256=..\n"
//!                                           || "calibration_sha256=..\n", where there is calibration)
//! ```
//!
//! Nothing else enters the id: no path, no time, no host, no thread count. Empty columns are left out, so that a later
//! version may add a column without renaming the runs that do not use it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file::{one_record, plain_option};

/// `weights_bits` and `activations_bits` of a part of the network that stays in float.
pub const FLOAT_BITS: u32 = 32;

/// `method` of the float run that every other run is compared with.
pub const METHOD_FLOAT: &str = "float";

/// One cell of an experiment. The field names are the TOML keys with dots turned into underscores, and the columns of
/// `run.csv` in the same order. `None` (an empty field) means that the axis does not apply; `Some("")` is the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// An entry of `data/models.toml`, when the model was named so.
    pub model_name: Option<String>,
    /// The architecture, `resnet18` or `cifar-resnet20`.
    pub model_arch: String,
    /// `synthetic`, `cifar10`, `imagenet`, or an entry of `data/datasets.toml`.
    pub dataset: String,
    /// Number of test images, resolved (never "all").
    pub images: u64,
    /// How images are normalized, by name or as `MEAN / STD`; empty: as is usual for the set.
    pub input_normalization: Option<String>,
    /// Shorter side that images of class folders were resized to; empty, with the next: as is usual for the network.
    pub input_resize: Option<u64>,
    /// Side of their crop.
    pub input_size: Option<u64>,
    /// What is added to a label for the network's output, where something is.
    pub labels_offset: Option<i64>,
    /// 1 to 16, or 32 for float.
    pub weights_bits: u32,
    /// `affine`, `symmetric` or `power_of_two`.
    pub weights_mapping: Option<String>,
    /// Symmetric codes start at `-(2^(b-1)-1)` (true) or at `-2^(b-1)` (false).
    pub weights_narrow: Option<bool>,
    /// `tensor`, `channel` or `group`.
    pub weights_granularity: Option<String>,
    /// Values per group, for `group` alone.
    pub weights_group_size: Option<u32>,
    /// `minmax`, `percentile`, `mse`, `entropy`, `gaussian`, `laplacian`, `output_mse`.
    pub weights_range: Option<String>,
    /// The percentile, for `percentile` alone.
    #[serde(serialize_with = "plain_option")]
    pub weights_percentile: Option<f64>,
    /// The exponent p of the error that `mse` minimises, for `mse` alone.
    #[serde(serialize_with = "plain_option")]
    pub weights_mse_exponent: Option<f64>,
    /// `half_even`, `half_away`, `floor`, `stochastic`, `gram` or `adaround`.
    pub weights_rounding: Option<String>,
    /// `nearest`, `feedback` or `descent`; the next four with it, for `gram` alone.
    pub gram_order: Option<String>,
    /// Whether feedback begins with the weights that read the most; empty where it does not.
    pub gram_activation_order: Option<bool>,
    /// `corrected` or `float`.
    pub gram_target: Option<String>,
    /// Whether scales are fitted to the codes.
    pub gram_refit: Option<bool>,
    /// Output pixels of an image; 0 for all.
    pub gram_positions: Option<u64>,
    /// Added to the diagonal, in units of its mean.
    #[serde(serialize_with = "plain_option")]
    pub gram_damping: Option<f64>,
    /// Steps for each layer; the next three with it, for `adaround` alone.
    pub adaround_iterations: Option<u64>,
    /// Adam's rate.
    #[serde(serialize_with = "plain_option")]
    pub adaround_rate: Option<f64>,
    /// Points that a step is taken on.
    pub adaround_batch: Option<u64>,
    /// What weighs the term that drives codes to a decision.
    #[serde(serialize_with = "plain_option")]
    pub adaround_penalty: Option<f64>,
    /// Bits of the first layer and of the images, where they differ.
    pub first_bits: Option<u32>,
    /// Bits of the classifier, its input and the logits, where they differ.
    pub last_bits: Option<u32>,
    /// 32: activations stay in float.
    pub activations_bits: u32,
    /// As for weights.
    pub activations_mapping: Option<String>,
    /// As for weights.
    pub activations_narrow: Option<bool>,
    /// `same`, `int32` or `float`.
    pub bias: Option<String>,
    /// `kept` or `folded`.
    pub bn: Option<String>,
    /// `cross_layer`, where ranges were made alike from layer to layer; the next three with it.
    pub equalize: Option<String>,
    /// `pairs`, `regions` or `sums`: which layers together.
    pub equalize_reach: Option<String>,
    /// `scale`, `replace` or `keep`: what happens to the end of a ReLU6.
    pub equalize_clip: Option<String>,
    /// Whether high biases went into the next layer.
    pub equalize_absorb: Option<bool>,
    /// `analytic` or `empirical`, where biases make up for what rounding does to means.
    pub bias_correction: Option<String>,
    /// `layer` or `block`, where codes were moved by what pieces of the network make of images; the next five with it.
    pub reconstruct: Option<String>,
    /// Steps for each piece.
    pub reconstruct_iterations: Option<u64>,
    /// Images a step.
    pub reconstruct_batch: Option<u64>,
    /// How far weights move in a step at first, in codes.
    #[serde(serialize_with = "plain_option")]
    pub reconstruct_rate: Option<f64>,
    /// How far biases, scales and steps do, in units of themselves.
    #[serde(serialize_with = "plain_option")]
    pub reconstruct_scale_rate: Option<f64>,
    /// Share of numbers that stay unrounded meanwhile.
    #[serde(serialize_with = "plain_option")]
    pub reconstruct_drop: Option<f64>,
    /// `shared`, `rescale`, `float` or `identity_float`: how the two inputs of a residual sum get one scale.
    pub shortcut: Option<String>,
    /// `simulate`: quantized numbers, float arithmetic; `integer`: integers alone.
    pub execution: String,
    /// How integer execution rounds: `half_even`, `half_away`, `floor`, `gemmlowp`, `ort`.
    pub integer_rounding: Option<String>,
    /// What integer execution multiplies by: `fixed`, `power_of_two`, `float`.
    pub integer_multiplier: Option<String>,
    /// What integer execution sums in: `int32`, `saturating16`.
    pub integer_accumulator: Option<String>,
    /// `float`, `linear`, `ptq`, ...
    pub method: String,
    /// The set that activation ranges were taken from.
    pub calibration_dataset: Option<String>,
    /// How many of its images.
    pub calibration_images: Option<u64>,
    /// How ranges were found: `minmax`, `moving_average`, `percentile`, `mse`, `entropy`.
    pub calibration_method: Option<String>,
    /// The percentile, for `percentile` alone.
    #[serde(serialize_with = "plain_option")]
    pub calibration_percentile: Option<f64>,
    /// What is kept of the average at each batch, for `moving_average` alone.
    #[serde(serialize_with = "plain_option")]
    pub calibration_momentum: Option<f64>,
    /// The exponent, for `mse` alone.
    #[serde(serialize_with = "plain_option")]
    pub calibration_mse_exponent: Option<f64>,
    /// What training learns: `minmax`, `lsq`, `lsq_plus`, `pact`; the others below with it, for `qat` alone.
    pub qat_method: Option<String>,
    /// What BatchNorm does in training: `folded`, `static`, `kept`.
    pub qat_bn: Option<String>,
    /// Where its quantizers come from: `float`, `ptq`.
    pub qat_start: Option<String>,
    /// Passes over the training images.
    pub qat_epochs: Option<u64>,
    /// How many of them, resolved.
    pub qat_images: Option<u64>,
    /// Images per step.
    pub qat_batch: Option<u64>,
    /// Parts of a batch that BatchNorm sees apart.
    pub qat_shards: Option<u64>,
    /// Peak learning rate.
    #[serde(serialize_with = "plain_option")]
    pub qat_lr: Option<f64>,
    /// The same of steps, offsets and bounds.
    #[serde(serialize_with = "plain_option")]
    pub qat_scale_lr: Option<f64>,
    /// Epochs of linear warm-up.
    #[serde(serialize_with = "plain_option")]
    pub qat_warmup: Option<f64>,
    /// How the rate falls: `cosine`, `step`.
    pub qat_schedule: Option<String>,
    /// Momentum of SGD.
    #[serde(serialize_with = "plain_option")]
    pub qat_momentum: Option<f64>,
    /// Weight decay.
    #[serde(serialize_with = "plain_option")]
    pub qat_weight_decay: Option<f64>,
    /// Black pixels around an image before a random crop.
    pub qat_padding: Option<u64>,
    /// Whether half of the images are mirrored.
    pub qat_flip: Option<bool>,
    /// Share of the steps before activations are quantized.
    #[serde(serialize_with = "plain_option")]
    pub qat_delay: Option<f64>,
    /// Share of the steps after which BatchNorm's statistics stay.
    #[serde(serialize_with = "plain_option")]
    pub qat_freeze: Option<f64>,
    /// Share of the loss that is the distance to the float network.
    #[serde(serialize_with = "plain_option")]
    pub qat_distillation: Option<f64>,
    /// What logits are divided by for that.
    #[serde(serialize_with = "plain_option")]
    pub qat_temperature: Option<f64>,
    /// What is kept of a moving range at each step, for `minmax` alone.
    #[serde(serialize_with = "plain_option")]
    pub qat_range_momentum: Option<f64>,
    /// Hash of the training images.
    pub qat_train_sha256: Option<String>,
    /// Which of the trainings that the settings above have meant so far: counted up where a fault was mended that changed what
    /// comes out of them; none is the first.
    pub qat_revision: Option<u64>,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// The burn device, `cpu` or `cuda`.
    pub device: String,
}

impl Config {
    /// The columns in file order: the field names.
    pub const COLUMNS: [&'static str; 81] = [
        "model_name",
        "model_arch",
        "dataset",
        "images",
        "input_normalization",
        "input_resize",
        "input_size",
        "labels_offset",
        "weights_bits",
        "weights_mapping",
        "weights_narrow",
        "weights_granularity",
        "weights_group_size",
        "weights_range",
        "weights_percentile",
        "weights_mse_exponent",
        "weights_rounding",
        "gram_order",
        "gram_activation_order",
        "gram_target",
        "gram_refit",
        "gram_positions",
        "gram_damping",
        "adaround_iterations",
        "adaround_rate",
        "adaround_batch",
        "adaround_penalty",
        "first_bits",
        "last_bits",
        "activations_bits",
        "activations_mapping",
        "activations_narrow",
        "bias",
        "bn",
        "equalize",
        "equalize_reach",
        "equalize_clip",
        "equalize_absorb",
        "bias_correction",
        "reconstruct",
        "reconstruct_iterations",
        "reconstruct_batch",
        "reconstruct_rate",
        "reconstruct_scale_rate",
        "reconstruct_drop",
        "shortcut",
        "execution",
        "integer_rounding",
        "integer_multiplier",
        "integer_accumulator",
        "method",
        "calibration_dataset",
        "calibration_images",
        "calibration_method",
        "calibration_percentile",
        "calibration_momentum",
        "calibration_mse_exponent",
        "qat_method",
        "qat_bn",
        "qat_start",
        "qat_epochs",
        "qat_images",
        "qat_batch",
        "qat_shards",
        "qat_lr",
        "qat_scale_lr",
        "qat_warmup",
        "qat_schedule",
        "qat_momentum",
        "qat_weight_decay",
        "qat_padding",
        "qat_flip",
        "qat_delay",
        "qat_freeze",
        "qat_distillation",
        "qat_temperature",
        "qat_range_momentum",
        "qat_train_sha256",
        "qat_revision",
        "seed",
        "device",
    ];

    /// Columns that files of this schema may lack, because they were written before there was anything to fill them with.
    pub(crate) const LATER: [&'static str; 47] = [
        "input_normalization",
        "input_resize",
        "input_size",
        "labels_offset",
        "gram_order",
        "gram_activation_order",
        "gram_target",
        "gram_refit",
        "gram_positions",
        "gram_damping",
        "adaround_iterations",
        "adaround_rate",
        "adaround_batch",
        "adaround_penalty",
        "equalize",
        "equalize_reach",
        "equalize_clip",
        "equalize_absorb",
        "bias_correction",
        "reconstruct",
        "reconstruct_iterations",
        "reconstruct_batch",
        "reconstruct_rate",
        "reconstruct_scale_rate",
        "reconstruct_drop",
        "qat_method",
        "qat_bn",
        "qat_start",
        "qat_epochs",
        "qat_images",
        "qat_batch",
        "qat_shards",
        "qat_lr",
        "qat_scale_lr",
        "qat_warmup",
        "qat_schedule",
        "qat_momentum",
        "qat_weight_decay",
        "qat_padding",
        "qat_flip",
        "qat_delay",
        "qat_freeze",
        "qat_distillation",
        "qat_temperature",
        "qat_range_momentum",
        "qat_train_sha256",
        "qat_revision",
    ];

    /// Column names and their text as the file shows it, in file order, empty ones included.
    pub fn columns(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.into_iter().zip(one_record(self)).collect()
    }

    /// Sorted `key=value` lines, each ended by a newline, empty ones left out. A backslash, newline or carriage return
    /// in a value is escaped, so that two configurations never share a text.
    pub fn canonical(&self) -> String {
        let mut columns = self.columns();
        columns.sort_unstable();
        let mut text = String::new();
        for (key, value) in columns.into_iter().filter(|(_, value)| !value.is_empty()) {
            let value = value
                .replace('\\', "\\\\")
                .replace('\n', "\\n")
                .replace('\r', "\\r");
            text.push_str(&format!("{key}={value}\n"));
        }
        text
    }

    /// Whether this is the float run that others are compared with.
    pub fn is_float(&self) -> bool {
        self.method == METHOD_FLOAT
    }
}

/// 12 hex digits that name a run: equal exactly when configuration, weights and data, those of calibration included, are
/// equal.
pub fn run_id(
    config: &Config,
    weights_sha256: &str,
    data_sha256: &str,
    calibration_sha256: Option<&str>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(config.canonical());
    hash.update(format!(
        "weights_sha256={weights_sha256}\ndata_sha256={data_sha256}\n"
    ));
    if let Some(calibration) = calibration_sha256 {
        hash.update(format!("calibration_sha256={calibration}\n"));
    }
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            model_arch: "cifar-resnet20".into(),
            dataset: "synthetic".into(),
            images: 2000,
            weights_bits: 4,
            weights_mapping: Some("affine".into()),
            weights_percentile: Some(99.99),
            weights_mse_exponent: Some(1e-7),
            activations_bits: 32,
            execution: "simulate".into(),
            method: "linear".into(),
            device: "cpu".into(),
            ..Config::default()
        }
    }

    #[test]
    fn canonical_text_is_sorted_and_leaves_out_what_is_empty() {
        let expected = "activations_bits=32\ndataset=synthetic\ndevice=cpu\nexecution=simulate\nimages=2000\n\
                        method=linear\nmodel_arch=cifar-resnet20\nseed=0\nweights_bits=4\nweights_mapping=affine\n\
                        weights_mse_exponent=0.0000001\nweights_percentile=99.99\n";
        assert_eq!(config().canonical(), expected);
    }

    #[test]
    fn an_empty_text_and_none_are_the_same_run() {
        let mut other = config();
        other.bn = Some(String::new());
        assert_eq!(
            run_id(&other, "w", "d", None),
            run_id(&config(), "w", "d", None)
        );
    }

    #[test]
    fn the_run_id_is_that_of_the_documented_text() {
        // printf '<canonical>weights_sha256=w\ndata_sha256=d\n' | sha256sum | cut -c1-12
        assert_eq!(run_id(&config(), "w", "d", None), "3d33f05c5981");
    }

    #[test]
    fn every_part_of_the_identity_changes_the_id() {
        let id = run_id(&config(), "w", "d", None);
        assert_ne!(run_id(&config(), "v", "d", None), id);
        assert_ne!(run_id(&config(), "w", "e", None), id);
        assert_ne!(run_id(&config(), "w", "d", Some("c")), id);
        for change in [
            |c: &mut Config| c.weights_bits = 5,
            |c: &mut Config| c.seed = 1,
            |c: &mut Config| c.weights_narrow = Some(false),
            |c: &mut Config| c.device = "cuda".into(),
            |c: &mut Config| c.calibration_images = Some(0),
        ] {
            let mut other = config();
            change(&mut other);
            assert_ne!(run_id(&other, "w", "d", None), id);
        }
    }

    #[test]
    fn a_newline_in_a_value_cannot_imitate_another_key() {
        let mut one = config();
        one.dataset = "a\ndevice=b".into();
        let mut two = one.clone();
        two.dataset = "a\\ndevice=b".into();
        assert_ne!(one.canonical(), two.canonical());
        assert_eq!(
            one.canonical().lines().count(),
            config().canonical().lines().count()
        );
    }

    #[test]
    fn column_names_are_the_serde_names_in_order() {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(config()).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().next().unwrap(), Config::COLUMNS.join(","));
    }
}
