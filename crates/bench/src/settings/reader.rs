//! Takes settings out of a table one by one, each checked.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use engine::{Accumulator, Execution, IntegerArithmetic, Multiplier, Requantize};
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme,
};
use quantize::{ActivationQuantization, ShortcutPolicy};

use super::applies::does_not_apply;
use super::{Activations, CalibrationChoice, Settings};
use crate::experiment::Scalar;
use crate::home;

/// Weights that share a scale where `weights.granularity = group` and no size is given.
const DEFAULT_GROUP_SIZE: usize = 64;
/// Images that activation ranges are taken from where no number is given.
const DEFAULT_CALIBRATION_IMAGES: u64 = 512;

/// Takes settings out one by one; what is left in the end did not apply.
pub(super) struct Reader {
    pub settings: Settings,
}

impl Reader {
    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Text(text)) if !text.is_empty() => Ok(Some(text)),
            Some(other) => Err(anyhow!("{key} = {}: expected a word", shown(&other))),
        }
    }

    pub fn integer(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<u64>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Integer(value)) if allowed.contains(&value) => Ok(Some(value as u64)),
            Some(other) => Err(anyhow!(
                "{key} = {}: expected a whole number from {} to {}",
                shown(&other),
                allowed.start(),
                allowed.end()
            )),
        }
    }

    /// Bits of a code, or 32 for float.
    pub fn width(&mut self, key: &str) -> Result<Option<u32>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Integer(bits @ (1..=16 | 32))) => Ok(Some(bits as u32)),
            Some(other) => Err(anyhow!(
                "{key} = {}: expected 1 to 16, or 32 for float",
                shown(&other)
            )),
        }
    }

    /// The path of a file or folder, or a name; a leading `~` is the home folder.
    pub fn path(&mut self, key: &str) -> Result<Option<String>> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let path = home::expand(Path::new(&text)).with_context(|| key.to_owned())?;
        // Whatever a text begins with, what comes of it is text.
        Ok(Some(path.into_os_string().into_string().unwrap_or(text)))
    }

    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Integer(value)) => Ok(Some(value as f64)),
            Some(Scalar::Float(value)) => Ok(Some(value)),
            Some(other) => Err(anyhow!("{key} = {}: expected a number", shown(&other))),
        }
    }

    pub fn parsed<T: FromStr>(&mut self, key: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let text = self.text(key)?;
        text.map(|text| text.parse::<T>().with_context(|| format!("{key} = {text}")))
            .transpose()
    }

    /// The same where the error names the setting itself.
    pub fn parsed_plainly<T: FromStr>(&mut self, key: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        Ok(self.text(key)?.map(|text| text.parse()).transpose()?)
    }

    /// Takes a setting that has one possible value so far.
    fn only(&mut self, key: &str, allowed: &str, why: &str) -> Result<()> {
        match self.settings.remove(key) {
            Some(value) if value.to_string() != allowed => {
                does_not_apply!("{key} = {value}: only {allowed} is possible ({why})")
            }
            _ => Ok(()),
        }
    }

    /// The weights' scheme, whose range is found by `range` unless it is said; `seed` is for stochastic rounding.
    pub fn scheme(&mut self, bits: Bits, seed: u64, range: &str) -> Result<Scheme> {
        let default = range;
        let mapping: Mapping = self.parsed("weights.mapping")?.unwrap_or(Mapping::Affine);
        let codes = self.codes("weights", mapping)?;
        let group = self.integer("weights.group_size", 1..=1 << 30)?;
        let granularity = self.text("weights.granularity")?;
        let granularity = granularity.as_deref().unwrap_or("tensor");
        let group = match (granularity, group) {
            ("group", None) => Some(DEFAULT_GROUP_SIZE),
            ("group", size) => size.map(|size| size as usize),
            (_, Some(_)) => {
                does_not_apply!("weights.group_size goes with weights.granularity = group")
            }
            (_, None) => None,
        };
        let granularity = Granularity::named(granularity, group)?;
        let percentile = self.number("weights.percentile")?;
        let exponent = self.number("weights.mse_exponent")?;
        let range = self.text("weights.range")?;
        let range = range.as_deref().unwrap_or(default);
        for (key, value, goes_with) in [
            ("weights.percentile", percentile, "percentile"),
            ("weights.mse_exponent", exponent, "mse"),
        ] {
            if value.is_some() && range != goes_with {
                does_not_apply!("{key} goes with weights.range = {goes_with}");
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
        let bits = self.integer(key, 1..=16)?;
        Ok(bits.map(|bits| Bits::new(bits as u32)).transpose()?)
    }

    /// How activations are quantized, if they are, by ranges that are found by `range` unless it is said; the settings that go
    /// with it are checked either way.
    pub fn activations(
        &mut self,
        calibration: &CalibrationChoice,
        range: &str,
        [first_bits, last_bits]: [Option<Bits>; 2],
    ) -> Result<Option<Activations>> {
        let bits = self
            .width("activations.bits")?
            .unwrap_or(results::FLOAT_BITS);
        let mapping = self
            .parsed("activations.mapping")?
            .unwrap_or(Mapping::Affine);
        let codes = self.codes("activations", mapping)?;
        let shortcut = self.parsed("shortcut")?.unwrap_or(ShortcutPolicy::Rescale);
        let default = range;
        let range = self.text("calibration.method")?;
        let range = range.as_deref().unwrap_or(default);
        let mut parameter = None;
        for (key, goes_with) in [
            ("calibration.percentile", "percentile"),
            ("calibration.momentum", "moving_average"),
            ("calibration.mse_exponent", "mse"),
        ] {
            if let Some(value) = self.number(key)? {
                if range != goes_with {
                    does_not_apply!("{key} goes with calibration.method = {goes_with}");
                }
                parameter = Some(value);
            }
        }
        let range = ActivationRange::named(range, parameter)
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
                shortcut,
            },
            calibration: calibration.clone(),
        }))
    }

    /// Which images are looked at, if any are.
    pub fn calibration(&mut self, seed: u64) -> Result<CalibrationChoice> {
        Ok(CalibrationChoice {
            dataset: self.path("calibration.dataset")?,
            images: self
                .integer("calibration.images", 0..=100_000_000)?
                .unwrap_or(DEFAULT_CALIBRATION_IMAGES),
            seed,
        })
    }

    /// What quantized activations are computed in.
    pub fn execution(&mut self) -> Result<Execution> {
        let word = |found: Option<String>, default: &str| found.unwrap_or_else(|| default.into());
        let rounding = word(self.text("integer.rounding")?, "half_even");
        let requantize = match rounding.as_str() {
            "gemmlowp" => Requantize::Gemmlowp,
            "ort" => Requantize::OnnxRuntime,
            "half_even" => Requantize::Once(Rounding::HalfEven),
            "half_away" => Requantize::Once(Rounding::HalfAway),
            "floor" => Requantize::Once(Rounding::Floor),
            other => bail!(
                "integer.rounding = {other}: allowed are half_even, half_away, floor, gemmlowp, ort"
            ),
        };
        let usual = match requantize {
            Requantize::OnnxRuntime => "float",
            Requantize::Once(_) | Requantize::Gemmlowp => "fixed",
        };
        let multiplier = match word(self.text("integer.multiplier")?, usual).as_str() {
            "fixed" => Multiplier::Fixed,
            "power_of_two" => Multiplier::PowerOfTwo,
            "float" => Multiplier::Float,
            other => bail!("integer.multiplier = {other}: allowed are fixed, power_of_two, float"),
        };
        let accumulator = match word(self.text("integer.accumulator")?, "int32").as_str() {
            "int32" => Accumulator::Wide,
            "saturating16" => Accumulator::Saturating16,
            other => bail!("integer.accumulator = {other}: allowed are int32, saturating16"),
        };
        match word(self.text("execution")?, "simulate").as_str() {
            "simulate" => Ok(Execution::Simulate),
            "integer" => Ok(Execution::Integer(IntegerArithmetic {
                requantize,
                multiplier,
                accumulator,
            })),
            other => bail!("execution = {other}: allowed are simulate, integer"),
        }
    }

    /// Narrow or full, from `{what}.narrow`.
    fn codes(&mut self, what: &str, mapping: Mapping) -> Result<CodeRange> {
        let key = format!("{what}.narrow");
        match self.settings.remove(&key) {
            None => Ok(CodeRange::Narrow),
            Some(Scalar::Bool(_)) if mapping == Mapping::Affine => {
                does_not_apply!("{key} does not apply to {what}.mapping = affine")
            }
            Some(Scalar::Bool(true)) => Ok(CodeRange::Narrow),
            Some(Scalar::Bool(false)) => Ok(CodeRange::Full),
            Some(other) => bail!("{key} = {}: expected true or false", shown(&other)),
        }
    }
}

/// A value as a message shows it: a text in quotes, so that `"8"` is told from 8.
pub(super) fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) if text.parse::<f64>().is_ok() => {
            format!("\"{text}\" (a text; write {text} without quotes)")
        }
        Scalar::Text(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}
