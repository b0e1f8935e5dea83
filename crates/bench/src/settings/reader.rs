//! Takes settings out of a table one by one, each checked.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use engine::{Execution, IntegerArithmetic, Multiplier, Requantize};
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme,
};
use quantize::{ActivationQuantization, ShortcutPolicy};
use results::Config;
use results::setting::{Setting, Takes, Usual, setting};

use super::applies::does_not_apply;
use super::by_layer::OUTPUT_MSE;
use super::{Activations, CalibrationChoice, Settings};
use crate::experiment::Scalar;
use crate::home;

/// What a setting's text can be read as.
pub(super) trait Read: FromStr<Err: std::error::Error + Send + Sync + 'static> {}
impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> Read for T {}

/// Takes settings out one by one; what is left in the end did not apply.
pub(super) struct Reader {
    pub settings: Settings,
    /// What was taken, defaults included, in the settings' columns.
    pub said: Config,
}

impl Reader {
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            said: Config::empty(),
        }
    }

    /// A setting, if it is given.
    pub fn given<T: Read>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.settings.remove(key) else {
            return Ok(None);
        };
        let text = checked(known(key), &value)?;
        self.noted(key, &text).map(Some)
    }

    /// The same, else its default.
    pub fn value<T: Read>(&mut self, key: &str) -> Result<T> {
        match (self.given(key)?, known(key).usual) {
            (Some(value), _) => Ok(value),
            (None, Usual::Value(usual)) => self.noted(key, usual),
            (None, _) => panic!("{key} has no default by itself"),
        }
    }

    /// The same, else what other settings make the default.
    pub fn or<T: Read + Display>(&mut self, key: &str, usual: T) -> Result<T> {
        match self.given(key)? {
            Some(value) => Ok(value),
            None => self.noted(key, &usual.to_string()),
        }
    }

    /// A parameter of the word `with` of the setting `of`, given or by default; none beside another word, where it may not be given.
    fn parameter<T: Read>(
        &mut self,
        key: &str,
        of: &str,
        with: &str,
        word: &str,
    ) -> Result<Option<T>> {
        if word == with {
            return self.value(key).map(Some);
        }
        match self.given::<T>(key)? {
            None => Ok(None),
            Some(_) => does_not_apply!("{key} goes with {of} = {with}"),
        }
    }

    fn noted<T: Read>(&mut self, key: &str, text: &str) -> Result<T> {
        let setting = known(key);
        // A path is called something else once its files are open.
        if let (Some(column), true) = (setting.column, setting.takes != Takes::Path) {
            self.said.set(column, text);
        }
        text.parse::<T>().with_context(|| format!("{key} = {text}"))
    }

    /// The path of a file or folder, or a name; a leading `~` is the home folder.
    pub fn path(&mut self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.given::<String>(key)? else {
            return Ok(None);
        };
        let path = home::expand(Path::new(&text)).with_context(|| key.to_owned())?;
        // Whatever a text begins with, what comes of it is text.
        Ok(Some(path.into_os_string().into_string().unwrap_or(text)))
    }

    /// Takes a setting that has one possible value so far.
    fn only(&mut self, key: &str, allowed: &str, why: &str) -> Result<()> {
        match self.settings.remove(key) {
            Some(value) if value.to_string() != allowed => {
                does_not_apply!("{key} = {value}: only {allowed} is possible ({why})")
            }
            _ => self.noted::<String>(key, allowed).map(drop),
        }
    }

    /// The weights' scheme, whose range is found by `range` unless it is said; `seed` is for stochastic rounding.
    pub fn scheme(&mut self, bits: Bits, seed: u64, range: &str) -> Result<Scheme> {
        let mapping: Mapping = self.value("weights.mapping")?;
        let codes = self.codes("weights", mapping)?;
        let of = "weights.granularity";
        let granularity: String = self.value(of)?;
        let group = self.parameter("weights.group_size", of, "group", &granularity)?;
        let granularity = Granularity::named(&granularity, group)?;
        let of = "weights.range";
        let range = match self.said.text("weights_range") {
            // Taken by itself: it begins at what is usual.
            OUTPUT_MSE => range.to_owned(),
            _ => self.or(of, range.to_owned())?,
        };
        let percentile = self.parameter("weights.percentile", of, "percentile", &range)?;
        let exponent = self.parameter("weights.mse_exponent", of, "mse", &range)?;
        let range = RangeMethod::named(&range, percentile.or(exponent))?;
        let rounding = match self.said.text("weights_rounding") {
            // Taken with the settings of its own.
            "gram" | "adaround" => Rounding::HalfEven,
            _ => self.value("weights.rounding")?,
        };
        Ok(Scheme::new(
            bits,
            mapping,
            codes,
            granularity,
            range,
            rounding.with_seed(seed),
        )?)
    }

    /// The scheme of `method = linear`; settings that it fixes may be there with its own values alone.
    pub fn linear(&mut self, bits: Bits) -> Result<Scheme> {
        for (key, only) in [
            ("weights.mapping", "affine"),
            ("weights.granularity", "tensor"),
            ("weights.range", "minmax"),
            ("weights.rounding", "half_even"),
        ] {
            self.only(key, only, "`method = linear` fixes it")?;
        }
        Ok(Scheme::linear(bits))
    }

    /// A number of bits, 1 to 16.
    pub fn bits(&mut self, key: &str) -> Result<Option<Bits>> {
        Ok(self.given(key)?.map(Bits::new).transpose()?)
    }

    /// How activations are quantized, if they are, by ranges that are found by `range` unless it is said; the settings that go
    /// with it are checked either way.
    pub fn activations(
        &mut self,
        calibration: &CalibrationChoice,
        range: &str,
        [first_bits, last_bits]: [Option<Bits>; 2],
    ) -> Result<Option<Activations>> {
        let bits: u32 = self.value("activations.bits")?;
        let mapping = self.value("activations.mapping")?;
        let codes = self.codes("activations", mapping)?;
        let shortcut: ShortcutPolicy = self.value("shortcut")?;
        let of = "calibration.method";
        let range = self.or(of, range.to_owned())?;
        let mut parameter = None;
        for (key, with) in [
            ("calibration.percentile", "percentile"),
            ("calibration.momentum", "moving_average"),
            ("calibration.mse_exponent", "mse"),
        ] {
            parameter = parameter.or(self.parameter(key, of, with, &range)?);
        }
        let range = ActivationRange::named(&range, parameter)
            .with_context(|| format!("calibration.method = {range}"))?;
        let is_float = bits == results::FLOAT_BITS;
        let bits = Bits::new(if is_float { 8 } else { bits }).context("activations.bits")?;
        let scheme = ActivationScheme::new(bits, mapping, codes, range, Rounding::HalfEven)?;
        if is_float {
            return Ok(None);
        }
        if calibration.images == 0 {
            bail!("calibration.images = 0: activation ranges need at least one image");
        }
        Ok(Some(Activations {
            how: ActivationQuantization {
                scheme,
                first_bits,
                last_bits,
                bits_of: BTreeMap::new(),
                shortcut,
            },
            calibration: calibration.clone(),
        }))
    }

    /// Which images are looked at, if any are.
    pub fn calibration(&mut self, seed: u64) -> Result<CalibrationChoice> {
        Ok(CalibrationChoice {
            dataset: self.path("calibration.dataset")?,
            images: self.value("calibration.images")?,
            seed,
        })
    }

    /// What quantized activations are computed in.
    pub fn execution(&mut self) -> Result<Execution> {
        let rounding: String = self.value("integer.rounding")?;
        let requantize = match rounding.as_str() {
            "gemmlowp" => Requantize::Gemmlowp,
            "ort" => Requantize::OnnxRuntime,
            word => Requantize::Once(word.parse()?),
        };
        let usual = match requantize {
            Requantize::OnnxRuntime => Multiplier::Float,
            Requantize::Once(_) | Requantize::Gemmlowp => Multiplier::Fixed,
        };
        let arithmetic = IntegerArithmetic {
            requantize,
            multiplier: self.or("integer.multiplier", usual)?,
            accumulator: self.value("integer.accumulator")?,
        };
        let word: String = self.value("execution")?;
        Ok(match word.as_str() {
            "integer" => Execution::Integer(arithmetic),
            "simulate" => Execution::Simulate,
            _ => Execution::Auto,
        })
    }

    /// Narrow or full, from `{what}.narrow`.
    fn codes(&mut self, what: &str, mapping: Mapping) -> Result<CodeRange> {
        let key = format!("{what}.narrow");
        if mapping != Mapping::Affine {
            return Ok(match self.value(&key)? {
                true => CodeRange::Narrow,
                false => CodeRange::Full,
            });
        }
        match self.given::<bool>(&key)? {
            None => Ok(CodeRange::Narrow),
            Some(_) => does_not_apply!("{key} does not apply to {what}.mapping = affine"),
        }
    }
}

/// The setting of a key that stands in this program.
fn known(key: &str) -> &'static Setting {
    setting(key).unwrap_or_else(|| panic!("{key} is no setting"))
}

/// A value as its column has it.
///
/// # Errors
/// It is not what the setting takes.
fn checked(setting: &Setting, value: &Scalar) -> Result<String> {
    let key = setting.key.unwrap_or_default();
    let takes = setting.takes;
    let is_allowed = match (takes, value) {
        (Takes::Words(words), Scalar::Text(word)) if !word.is_empty() => {
            if !words.contains(&word.as_str()) {
                bail!("{key} = {word}: allowed are {}", words.join(", "));
            }
            true
        }
        (Takes::Widths, Scalar::Integer(_) | Scalar::Text(_)) => {
            Takes::widths(&value.to_string()).is_some()
        }
        (Takes::Text | Takes::Path, Scalar::Text(text)) => !text.is_empty(),
        (Takes::Flag, Scalar::Bool(_)) => true,
        (_, Scalar::Integer(value)) => takes.allows_whole(*value),
        (_, Scalar::Float(value)) => takes.allows(*value),
        _ => false,
    };
    if !is_allowed {
        bail!("{key} = {}: expected {takes}", shown(value));
    }
    Ok(match (takes, value) {
        (Takes::Whole(..) | Takes::Width, _) => value.to_string(),
        (Takes::Widths, _) => Takes::widths(&value.to_string()).unwrap_or_default(),
        // Where any number may stand, a whole one is none of another kind.
        (_, Scalar::Integer(value)) => (*value as f64).to_string(),
        _ => value.to_string(),
    })
}

/// A value as a message shows it: a text in quotes, so that `"8"` is told from 8.
fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) if text.parse::<f64>().is_ok() => {
            format!("\"{text}\" (a text; write {text} without quotes)")
        }
        Scalar::Text(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}
