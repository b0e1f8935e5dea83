//! The settings of reconstruction, `reconstruct` and `reconstruct.*`, and what it goes together with.

use anyhow::Result;
use quant_core::Mapping;
use quantize::{BiasPolicy, BnMode, Extent, WeightQuantization};
use train::Reconstruction;

use super::Activations;
use super::applies::does_not_apply;
use super::reader::Reader;

impl Reader {
    /// How to reconstruct, if that is asked for; the settings that go with it are checked either way.
    pub fn reconstruction(&mut self, seed: u64) -> Result<Option<Reconstruction>> {
        let how = Reconstruction {
            extent: Extent::Block,
            iterations: self.value("reconstruct.iterations")?,
            batch: self.value("reconstruct.batch")?,
            rate: self.value("reconstruct.rate")?,
            scale_rate: self.value("reconstruct.scale_rate")?,
            drop: self.value("reconstruct.drop")?,
            seed,
        };
        let word: String = self.value("reconstruct")?;
        if word == "none" {
            return Ok(None);
        }
        let extent = word.parse()?;
        Ok(Some(Reconstruction { extent, ..how }))
    }
}

/// It works on a network that is folded, and moves biases.
pub(super) fn check(
    weights: &WeightQuantization,
    activations: Option<&Activations>,
    (method, linear): (&str, bool),
) -> Result<()> {
    let key = "reconstruct";
    let mapping = activations.map(|activations| activations.how.scheme.mapping());
    if mapping == Some(Mapping::PowerOfTwo) {
        does_not_apply!(
            "{key}: a step that moves is no power of two; set activations.mapping = affine or symmetric"
        );
    }
    if linear || method == "qat" {
        does_not_apply!("{key} does not go with method = {method}; set method = ptq");
    }
    if weights.bn == BnMode::Kept {
        does_not_apply!("{key}: BatchNorm is folded first; set bn = folded");
    }
    if weights.bias == BiasPolicy::Same {
        does_not_apply!(
            "{key} moves biases, which are not on a grid then; set bias = float or int32"
        );
    }
    Ok(())
}
