//! The settings of equalization, `equalize` and `equalize.*`, and what it goes together with.

use anyhow::Result;
use quantize::{BiasPolicy, BnMode, Equalization, WeightQuantization};

use super::applies::does_not_apply;
use super::reader::Reader;

impl Reader {
    /// How to equalize, if that is asked for; the settings that go with it are checked either way.
    pub fn equalization(&mut self) -> Result<Option<Equalization>> {
        let how = Equalization {
            reach: self.value("equalize.reach")?,
            clip: self.value("equalize.clip")?,
            absorb: self.value("equalize.absorb")?,
            ..Equalization::default()
        };
        let word: String = self.value("equalize")?;
        Ok((word == "cross_layer").then_some(how))
    }
}

/// Both work on a network that is folded and on biases that are not rounded yet.
pub(super) fn check(weights: &WeightQuantization, method: &str, is_corrected: bool) -> Result<()> {
    let key = match is_corrected {
        true => "bias_correction",
        false => "equalize = cross_layer",
    };
    if method == "qat" {
        does_not_apply!("{key}: training begins at the network as it is; leave it out");
    }
    if weights.bn == BnMode::Kept {
        does_not_apply!("{key}: BatchNorm is folded first; set bn = folded");
    }
    if is_corrected && weights.bias == BiasPolicy::Same {
        does_not_apply!(
            "{key}: a corrected bias is not on its grid any more; set bias = float or int32"
        );
    }
    if is_corrected && weights.scheme.is_none() {
        does_not_apply!("{key}: weights.bits = 32 lose nothing to correct");
    }
    Ok(())
}
