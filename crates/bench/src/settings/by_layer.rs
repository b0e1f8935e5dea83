//! The settings of `weights.rounding = "gram"` and `"adaround"`, and `weights.range = "output_mse"`: what they go together with.

use anyhow::Result;
use quantize::{AdaRound, BiasPolicy, BnMode, Choice, Gram, Layerwise, Order, WeightQuantization};

use super::applies::does_not_apply;
use super::reader::Reader;
use crate::experiment::Scalar;

/// The word for ranges of least output error.
pub(super) const OUTPUT_MSE: &str = "output_mse";

impl Reader {
    /// How codes are chosen by images, if `weights.rounding` says so, which is taken then; the settings that go with it are checked
    /// either way.
    pub fn choice(&mut self) -> Result<Choice> {
        let (gram, adaround) = (self.gram()?, self.adaround()?);
        Ok(if self.takes("weights.rounding", "gram") {
            Choice::Gram(gram)
        } else if self.takes("weights.rounding", "adaround") {
            Choice::AdaRound(adaround)
        } else {
            Choice::Nearest
        })
    }

    /// Whether weights' ranges are those of least output error, which is taken then.
    pub fn output_range(&mut self) -> bool {
        self.takes("weights.range", OUTPUT_MSE)
    }

    fn gram(&mut self) -> Result<Gram> {
        let usual = Gram::default();
        let order = self.parsed_plainly("gram.order")?.unwrap_or(usual.order);
        let activation_order = self.yes_or_no("gram.activation_order")?;
        let target = self.parsed_plainly("gram.target")?;
        let refit = self.yes_or_no("gram.refit")?;
        let positions = self.integer("gram.positions", 0..=1 << 24)?;
        let damping = self.number_in("gram.damping", 0.0..=1e3)?;
        Ok(Gram {
            order,
            // There is no order to the others.
            activation_order: order == Order::Feedback && activation_order == Some(true),
            target: target.unwrap_or(usual.target),
            refit: refit.unwrap_or(usual.refit),
            positions: positions.map_or(usual.positions, |n| n as usize),
            damping: damping.unwrap_or(usual.damping),
        })
    }

    fn adaround(&mut self) -> Result<AdaRound> {
        let usual = AdaRound::default();
        let iterations = self.integer("adaround.iterations", 1..=1_000_000)?;
        let rate = self.number_in("adaround.rate", 1e-6..=1.0)?;
        let batch = self.integer("adaround.batch", 1..=1 << 20)?;
        let penalty = self.number_in("adaround.penalty", 0.0..=1e3)?;
        Ok(AdaRound {
            iterations: iterations.map_or(usual.iterations, |n| n as usize),
            rate: rate.unwrap_or(usual.rate),
            batch: batch.map_or(usual.batch, |n| n as usize),
            penalty: penalty.unwrap_or(usual.penalty),
        })
    }

    /// Whether `key` is `word`; then it is taken.
    fn takes(&mut self, key: &str, word: &str) -> bool {
        let is_word = |value: &Scalar| matches!(value, Scalar::Text(found) if found == word);
        let found = self.settings.get(key).is_some_and(is_word);
        if found {
            self.settings.remove(key);
        }
        found
    }
}

/// All of them work on a network that is folded; codes that are not the nearest bring biases of their own.
pub(super) fn check(
    weights: &WeightQuantization,
    layerwise: &Layerwise,
    method: &str,
    linear: bool,
    is_corrected: bool,
) -> Result<()> {
    let choice = layerwise.choice;
    let is_nearest = choice == Choice::Nearest;
    let key = match is_nearest {
        true => format!("weights.range = {OUTPUT_MSE}"),
        false => format!("weights.rounding = {}", choice.name()),
    };
    if linear || method == "qat" {
        does_not_apply!("{key} does not go with method = {method}; set method = ptq");
    }
    if weights.bn == BnMode::Kept {
        does_not_apply!("{key}: BatchNorm is folded first; set bn = folded");
    }
    if !is_nearest && weights.bias == BiasPolicy::Same {
        does_not_apply!(
            "{key} sets biases, which are not on a grid then; set bias = float or int32"
        );
    }
    if !is_nearest && is_corrected {
        does_not_apply!("{key} sets biases by itself; leave bias_correction out");
    }
    if weights.scheme.is_none() {
        does_not_apply!("{key}: weights.bits = 32 need none");
    }
    Ok(())
}
