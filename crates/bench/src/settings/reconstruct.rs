//! The settings of reconstruction, `reconstruct` and `reconstruct.*`, and what it goes together with.

use anyhow::{Result, bail};
use quantize::{BiasPolicy, BnMode, Extent, WeightQuantization};
use train::Reconstruction;

use super::applies::does_not_apply;
use super::reader::Reader;

impl Reader {
    /// How to reconstruct, if that is asked for; the settings that go with it are checked either way.
    pub fn reconstruction(&mut self, seed: u64) -> Result<Option<Reconstruction>> {
        let usual = Reconstruction::default();
        let iterations = self.integer("reconstruct.iterations", 1..=1 << 24)?;
        let batch = self.integer("reconstruct.batch", 1..=1 << 16)?;
        let rate = self.number_in("reconstruct.rate", 0.0..=10.0)?;
        let scale_rate = self.number_in("reconstruct.scale_rate", 0.0..=1.0)?;
        let drop = self.number_in("reconstruct.drop", 0.0..=1.0)?;
        let extent = match self.text("reconstruct")?.as_deref() {
            Some("layer") => Extent::Layer,
            Some("block") => Extent::Block,
            Some("network") => Extent::Network,
            None | Some("none") => return Ok(None),
            Some(other) => bail!("reconstruct = {other}: allowed are none, layer, block, network"),
        };
        Ok(Some(Reconstruction {
            extent,
            iterations: iterations.map_or(usual.iterations, |n| n as usize),
            batch: batch.map_or(usual.batch, |n| n as usize),
            rate: rate.unwrap_or(usual.rate),
            scale_rate: scale_rate.unwrap_or(usual.scale_rate),
            drop: drop.unwrap_or(usual.drop),
            seed,
        }))
    }
}

/// It works on a network that is folded, and moves biases.
pub(super) fn check(weights: &WeightQuantization, method: &str, linear: bool) -> Result<()> {
    let key = "reconstruct";
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
