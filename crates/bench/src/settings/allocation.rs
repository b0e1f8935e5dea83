//! The settings of `allocate.*`, and what they go together with.

use anyhow::{Context, Result};
use quant_core::Bits;
use quantize::{Allocation, Method, Of, WeightQuantization};

use super::Activations;
use super::applies::does_not_apply;
use super::reader::Reader;

impl Reader {
    /// How to allocate bits, if that is asked for; the settings that go with it are checked either way.
    pub fn allocation(&mut self, seed: u64) -> Result<Option<Allocation>> {
        let bits: String = self.value("allocate.bits")?;
        let bits = bits.split(' ').map(|word| Ok(Bits::new(word.parse()?)?));
        let how = Allocation {
            method: Method::Uniform,
            of: self.value("allocate.of")?,
            cost: self.value("allocate.cost")?,
            budget: self.value("allocate.budget")?,
            bits: bits.collect::<Result<_>>().context("allocate.bits")?,
            images: self.value("allocate.images")?,
            seed,
        };
        let word: String = self.value("allocate.method")?;
        if word == "none" {
            return Ok(None);
        }
        let method = word.parse()?;
        Ok(Some(Allocation { method, ..how }))
    }
}

/// What gets bits of its own is quantized; curvature is that of weights.
pub(super) fn check(
    how: &Allocation,
    weights: &WeightQuantization,
    activations: Option<&Activations>,
) -> Result<()> {
    let of = how.of;
    if of != Of::Activations && weights.scheme.is_none() {
        does_not_apply!(
            "allocate.of = {of}: weights.bits = 32 leaves weights in float; give 1 to 16"
        );
    }
    if of != Of::Weights && activations.is_none() {
        does_not_apply!(
            "allocate.of = {of}: activations.bits = 32 leaves activations in float; give 1 to 16"
        );
    }
    if matches!(how.method, Method::Hessian | Method::Fisher) && of != Of::Weights {
        does_not_apply!(
            "allocate.method = {}: curvature is that of weights; set allocate.of = weights",
            how.method
        );
    }
    for &bits in &how.bits {
        if let Some(scheme) = weights.scheme.filter(|_| of != Of::Activations) {
            scheme.with_bits(bits).context("allocate.bits")?;
        }
        if let Some(activations) = activations.filter(|_| of != Of::Weights) {
            activations
                .how
                .scheme
                .with_bits(bits)
                .context("allocate.bits")?;
        }
    }
    let fewest = how.bits.iter().map(|bits| bits.get()).min().unwrap_or(1);
    // Layers with bits of their own may cost more or less; those are known with the network.
    let has_ends = weights.first_bits.is_some() || weights.last_bits.is_some();
    if how.budget < f64::from(fewest) && !has_ends {
        does_not_apply!(
            "allocate.budget = {}: the fewest of allocate.bits are {fewest}; give at least that",
            how.budget
        );
    }
    Ok(())
}
