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
        let usual = Gram::default();
        let order = self.parsed_plainly("gram.order")?;
        let target = self.parsed_plainly("gram.target")?;
        let refit = self.yes_or_no("gram.refit")?;
        let positions = self.integer("gram.positions", 0..=1 << 24)?;
        let damping = self.number_in("gram.damping", 0.0..=1e3)?;
        let gram = Gram {
            order: order.unwrap_or(usual.order),
            target: target.unwrap_or(usual.target),
            refit: refit.unwrap_or(usual.refit),
            positions: positions.map_or(usual.positions, |n| n as usize),
            damping: damping.unwrap_or(usual.damping),
        };
        let is_gram = |value: &Scalar| matches!(value, Scalar::Text(word) if word == "gram");
        let key = "weights.rounding";
        Ok(match self.settings.get(key).is_some_and(is_gram) {
            true => {
                self.settings.remove(key);
                Some(gram)
            }
            false => None,
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
