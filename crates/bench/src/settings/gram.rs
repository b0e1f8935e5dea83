//! The settings of `weights.rounding = "gram"`, and what it goes together with.

use anyhow::Result;
use quantize::{BiasPolicy, BnMode, Gram, WeightQuantization};

use super::applies::does_not_apply;
use super::reader::Reader;
use crate::experiment::Scalar;

impl Reader {
    /// How to round on Gram matrices, if `weights.rounding` says so, which is taken then; the settings that go with it are checked
    /// either way.
    pub fn gram(&mut self) -> Result<Option<Gram>> {
        let gram = Gram {
            order: self.value("gram.order")?,
            target: self.value("gram.target")?,
            refit: self.value("gram.refit")?,
            positions: self.value("gram.positions")?,
            damping: self.value("gram.damping")?,
        };
        let key = "weights.rounding";
        Ok(match self.settings.get(key) {
            Some(Scalar::Text(word)) if word == "gram" => {
                self.given::<String>(key)?;
                Some(gram)
            }
            _ => None,
        })
    }
}

/// It works on a network that is folded, and sets biases itself.
pub(super) fn check(
    weights: &WeightQuantization,
    method: &str,
    linear: bool,
    is_corrected: bool,
) -> Result<()> {
    let key = "weights.rounding = gram";
    if linear || method == "qat" {
        does_not_apply!("{key} does not go with method = {method}; set method = ptq");
    }
    if weights.bn == BnMode::Kept {
        does_not_apply!("{key}: BatchNorm is folded first; set bn = folded");
    }
    if weights.bias == BiasPolicy::Same {
        does_not_apply!(
            "{key} sets biases, which are not on a grid then; set bias = float or int32"
        );
    }
    if is_corrected {
        does_not_apply!("{key} sets biases by itself; leave bias_correction out");
    }
    if weights.scheme.is_none() {
        does_not_apply!("{key}: weights.bits = 32 need no rounding");
    }
    Ok(())
}
