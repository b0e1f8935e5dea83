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
        Ok(if self.takes("weights.rounding", "gram")? {
            Choice::Gram(gram)
        } else if self.takes("weights.rounding", "adaround")? {
            Choice::AdaRound(adaround)
        } else {
            Choice::Nearest
        })
    }

    /// Whether weights' ranges are those of least output error, which is taken then.
    pub fn output_range(&mut self) -> Result<bool> {
        self.takes("weights.range", OUTPUT_MSE)
    }

    fn gram(&mut self) -> Result<Gram> {
        let order = self.value("gram.order")?;
        let asked: bool = self.value("gram.activation_order")?;
        // There is no order to the others, and the usual one has no name.
        let activation_order = asked && order == Order::Feedback;
        if !activation_order {
            self.said.set("gram_activation_order", "");
        }
        Ok(Gram {
            order,
            activation_order,
            target: self.value("gram.target")?,
            refit: self.value("gram.refit")?,
            positions: self.value("gram.positions")?,
            damping: self.value("gram.damping")?,
        })
    }

    fn adaround(&mut self) -> Result<AdaRound> {
        Ok(AdaRound {
            iterations: self.value("adaround.iterations")?,
            rate: self.value("adaround.rate")?,
            batch: self.value("adaround.batch")?,
            penalty: self.value("adaround.penalty")?,
        })
    }

    /// Whether `key` is `word`; then it is taken.
    fn takes(&mut self, key: &str, word: &str) -> Result<bool> {
        let is_word = |value: &Scalar| matches!(value, Scalar::Text(found) if found == word);
        let found = self.settings.get(key).is_some_and(is_word);
        if found {
            self.given::<String>(key)?;
        }
        Ok(found)
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
