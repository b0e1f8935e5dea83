//! The settings an experiment may name, and the one cell of a sweep that a full set of them describes.
//!
//! A setting that does not apply must not be given (a percentile without `weights.range = "percentile"`), and one that
//! is not given has the default listed in [`KEYS`]. What does not apply is left out of the run's identity: every run
//! with `weights.bits = 32` is the same float run, whatever else its cell says.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use quant_core::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme};
use resnet::{BiasPolicy, BnMode, WeightQuantization};
use results::Config;
use toml::de::DeValue;

use crate::experiment::{Scalar, scalar};

/// Weights that share a scale where `weights.granularity = group` and no size is given.
const DEFAULT_GROUP_SIZE: usize = 64;

/// Settings by dotted key.
pub type Settings = BTreeMap<String, Scalar>;

/// Every key with its meaning and default, as `sweep --help` shows them.
pub const KEYS: &[(&str, &str)] = &[
    ("model.name", "an entry of data/models.toml"),
    (
        "model.weights",
        "a .pth or .safetensors file, instead of model.name",
    ),
    (
        "model.arch",
        "resnet18..152, cifar-resnet20..110; default: recognised",
    ),
    (
        "dataset",
        "an entry of data/datasets.toml or a folder; default: the model's own",
    ),
    ("images", "how many test images; default 0 = all"),
    ("method", "linear (the original preset) or ptq; default ptq"),
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
    ("activations.bits", "32; others are not available yet"),
    (
        "bias",
        "same or float; default same for linear, float for ptq",
    ),
    ("bn", "kept or folded; default kept"),
    ("shortcut", "float; others need quantized activations"),
    ("execution", "simulate; integer is not available yet"),
    ("seed", "for stochastic rounding; default 0"),
    (
        "device",
        "engine (the CPU), or burn's flex, cuda, vulkan where built in; default engine",
    ),
];

/// Fails for a key that does not exist, naming the nearest ones.
pub fn check_key(key: &str) -> Result<()> {
    if KEYS.iter().any(|(known, _)| *known == key) {
        return Ok(());
    }
    let known: Vec<_> = KEYS.iter().map(|(known, _)| *known).collect();
    bail!("unknown key `{key}`; known are {}", known.join(", "))
}

/// Reads `key=value` or `key=[value, value]` from a command line: the key, known, and at least one value.
pub fn parse_assignment(assignment: &str) -> Result<(String, Vec<Scalar>)> {
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| anyhow!("--set {assignment}: write key=value"))?;
    let (key, value) = (key.trim(), value.trim());
    check_key(key).with_context(|| format!("--set {assignment}"))?;
    // A bare word is a text: nobody wants to quote quotes in a shell.
    let values = match DeValue::parse(value) {
        Ok(parsed) => match parsed.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<Vec<_>>>(),
            single => scalar(single).map(|value| vec![value]),
        }
        .ok_or_else(|| anyhow!("--set {assignment}: neither a value nor a list of values"))?,
        Err(_) => vec![Scalar::Text(value.to_owned())],
    };
    if values.is_empty() {
        bail!("--set {assignment}: an empty list leaves nothing to run");
    }
    Ok((key.to_owned(), values))
}

/// Which checkpoint a cell runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelChoice {
    /// An entry of `data/models.toml`.
    Named(String),
    /// A file.
    File {
        /// Its path as given.
        path: String,
        /// The architecture, where it should not be recognised.
        arch: Option<String>,
    },
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
    /// What to quantize; absent for the float run.
    pub quantization: Option<WeightQuantization>,
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
        let model = match (read.text("model.name")?, read.text("model.weights")?) {
            (Some(_), Some(_)) => bail!("model.name and model.weights name two models; give one"),
            (None, None) => bail!("no model: give model.name or model.weights"),
            (Some(name), None) => {
                if read.text("model.arch")?.is_some() {
                    bail!("model.arch goes with model.weights; a named model has its architecture");
                }
                ModelChoice::Named(name)
            }
            (None, Some(path)) => ModelChoice::File {
                path,
                arch: read.text("model.arch")?,
            },
        };
        let dataset = read.text("dataset")?;
        let images = read.integer("images", 0..=100_000_000)?.unwrap_or(0);
        let seed = read.integer("seed", 0..=i64::MAX)?.unwrap_or(0);
        let device = read.text("device")?.unwrap_or_else(|| "engine".to_owned());
        read.only(
            "activations.bits",
            "32",
            "activations are not quantized yet",
        )?;
        read.only(
            "execution",
            "simulate",
            "integer execution is not available yet",
        )?;
        read.only(
            "shortcut",
            "float",
            "other policies need quantized activations",
        )?;

        let bits = read.integer("weights.bits", 1..=32)?.unwrap_or(8);
        let method = read.text("method")?.unwrap_or_else(|| "ptq".to_owned());
        let bn: Option<BnMode> = read.parsed("bn")?;
        let bias: Option<BiasPolicy> = read.parsed("bias")?;
        let (quantization, mut config) = match (bits, method.as_str()) {
            (32, _) | (_, "float") => {
                // Axes of the cells beside this one; they mean nothing here, but a wrong word is still wrong.
                read.scheme(Bits::new(8)?, seed)?;
                (None, float_config(&device))
            }
            (bits, "linear") => {
                let scheme = Scheme::linear(Bits::new(bits as u32)?);
                read.only("weights.mapping", "affine", "`method = linear` fixes it")?;
                read.only(
                    "weights.granularity",
                    "tensor",
                    "`method = linear` fixes it",
                )?;
                read.only("weights.range", "minmax", "`method = linear` fixes it")?;
                read.only(
                    "weights.rounding",
                    "half_even",
                    "`method = linear` fixes it",
                )?;
                let how = WeightQuantization {
                    scheme,
                    bias: bias.unwrap_or(BiasPolicy::Same),
                    bn: bn.unwrap_or(BnMode::Kept),
                };
                let config = quantized_config(&how, &method, 0, &device);
                (Some(how), config)
            }
            (bits, "ptq") => {
                let how = WeightQuantization {
                    scheme: read.scheme(Bits::new(bits as u32)?, seed)?,
                    bias: bias.unwrap_or(BiasPolicy::Float),
                    bn: bn.unwrap_or(BnMode::Kept),
                };
                let config = quantized_config(&how, &method, seed, &device);
                (Some(how), config)
            }
            (_, other) => bail!("method = {other}: allowed are linear, ptq, float"),
        };
        if let Some(key) = read.settings.keys().next() {
            check_key(key)?;
            bail!("{key} does not apply here; leave it out");
        }
        config.images = images;
        Ok(Self {
            model,
            dataset,
            images,
            quantization,
            config,
        })
    }
}

/// Takes settings out one by one; what is left in the end did not apply.
struct Reader {
    settings: Settings,
}

impl Reader {
    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Text(text)) if !text.is_empty() => Ok(Some(text)),
            Some(other) => Err(anyhow!("{key} = {other}: expected a word")),
        }
    }

    fn integer(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<u64>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Integer(value)) if allowed.contains(&value) => Ok(Some(value as u64)),
            Some(other) => Err(anyhow!(
                "{key} = {other}: expected a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            )),
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Integer(value)) => Ok(Some(value as f64)),
            Some(Scalar::Float(value)) => Ok(Some(value)),
            Some(other) => Err(anyhow!("{key} = {other}: expected a number")),
        }
    }

    fn parsed<T: FromStr>(&mut self, key: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let text = self.text(key)?;
        text.map(|text| text.parse::<T>().with_context(|| format!("{key} = {text}")))
            .transpose()
    }

    /// Takes a setting that has one possible value so far.
    fn only(&mut self, key: &str, allowed: &str, why: &str) -> Result<()> {
        match self.settings.remove(key) {
            Some(value) if value.to_string() != allowed => {
                bail!("{key} = {value}: only {allowed} is possible ({why})")
            }
            _ => Ok(()),
        }
    }

    /// The weights' scheme; `seed` is for stochastic rounding.
    fn scheme(&mut self, bits: Bits, seed: u64) -> Result<Scheme> {
        let mapping: Mapping = self.parsed("weights.mapping")?.unwrap_or(Mapping::Affine);
        let codes = match self.settings.remove("weights.narrow") {
            None => CodeRange::Narrow,
            Some(Scalar::Bool(_)) if mapping == Mapping::Affine => {
                bail!("weights.narrow does not apply to weights.mapping = affine")
            }
            Some(Scalar::Bool(true)) => CodeRange::Narrow,
            Some(Scalar::Bool(false)) => CodeRange::Full,
            Some(other) => bail!("weights.narrow = {other}: expected true or false"),
        };
        let group = self.integer("weights.group_size", 1..=1 << 30)?;
        let granularity = self.text("weights.granularity")?;
        let granularity = granularity.as_deref().unwrap_or("tensor");
        let group = match (granularity, group) {
            ("group", None) => Some(DEFAULT_GROUP_SIZE),
            ("group", size) => size.map(|size| size as usize),
            (_, Some(_)) => bail!("weights.group_size goes with weights.granularity = group"),
            (_, None) => None,
        };
        let granularity = Granularity::named(granularity, group)?;
        let percentile = self.number("weights.percentile")?;
        let exponent = self.number("weights.mse_exponent")?;
        let range = self.text("weights.range")?;
        let range = range.as_deref().unwrap_or("minmax");
        for (key, value, goes_with) in [
            ("weights.percentile", percentile, "percentile"),
            ("weights.mse_exponent", exponent, "mse"),
        ] {
            if value.is_some() && range != goes_with {
                bail!("{key} goes with weights.range = {goes_with}");
            }
        }
        let range = RangeMethod::named(range, percentile.or(exponent))?;
        let rounding = self
            .parsed("weights.rounding")?
            .unwrap_or(Rounding::HalfEven);
        Ok(Scheme::new(
            bits,
            mapping,
            codes,
            granularity,
            range,
            rounding.with_seed(seed),
        )?)
    }
}

/// The columns of a float run: nothing that could vary without changing the numbers.
fn float_config(device: &str) -> Config {
    Config {
        weights_bits: results::FLOAT_BITS,
        activations_bits: results::FLOAT_BITS,
        execution: "simulate".to_owned(),
        method: results::METHOD_FLOAT.to_owned(),
        device: device.to_owned(),
        ..Config::default()
    }
}

fn quantized_config(how: &WeightQuantization, method: &str, seed: u64, device: &str) -> Config {
    let scheme = &how.scheme;
    let stochastic = matches!(scheme.rounding(), Rounding::Stochastic { .. });
    Config {
        weights_bits: scheme.bits().get(),
        weights_mapping: Some(scheme.mapping().to_string()),
        weights_narrow: (scheme.mapping() != Mapping::Affine)
            .then_some(scheme.codes() == CodeRange::Narrow),
        weights_granularity: Some(scheme.granularity().to_string()),
        weights_group_size: scheme.granularity().group_size().map(|size| size as u32),
        weights_range: Some(scheme.range().to_string()),
        weights_percentile: match scheme.range() {
            RangeMethod::Percentile(p) => Some(p),
            _ => None,
        },
        weights_mse_exponent: match scheme.range() {
            RangeMethod::Mse { exponent } => Some(exponent),
            _ => None,
        },
        weights_rounding: Some(scheme.rounding().to_string()),
        bias: Some(how.bias.to_string()),
        bn: Some(how.bn.to_string()),
        method: method.to_owned(),
        seed: if stochastic { seed } else { 0 },
        ..float_config(device)
    }
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
        assert_eq!(how.scheme, Scheme::linear(Bits::new(5).unwrap()));
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
        assert_eq!(group.weights_group_size, Some(DEFAULT_GROUP_SIZE as u32));
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
        assert!(error(&[bits(0)]).contains("1 to 32"));
        assert!(error(&[bits(20)]).contains("16"));
        assert!(error(&[("weights.mapping", text("afine"))]).contains("power_of_two"));
        assert!(error(&[("bias", text("int32"))]).contains("activations"));
        assert!(error(&[("activations.bits", Scalar::Integer(8))]).contains("only 32"));
        assert!(error(&[("method", text("qat"))]).contains("ptq"));
        assert!(error(&[bits(1), ("weights.mapping", text("symmetric"))]).contains("2 bits"));
        assert!(error(&[("model.weights", text("a.pth"))]).contains("two models"));
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
        assert!(parse_assignment("weights.bits").is_err());
        assert!(parse_assignment("weights.bits=[]").is_err());
        assert!(parse_assignment("bits=4").is_err());
    }
}
