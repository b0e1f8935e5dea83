//! The settings of `allocate.*`, and what they go together with.

use std::path::Path;

use anyhow::{Context, Result};
use quant_core::Bits;
use quantize::{Allocation, Cost, Method, Of, WeightQuantization};

use super::applies::does_not_apply;
use super::reader::Reader;
use super::{Activations, latencies};

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
            latencies: match self.path("allocate.latencies")? {
                Some(path) => Some(latencies::read(Path::new(&path))?),
                None => None,
            },
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
    match (how.cost, &how.latencies) {
        (Cost::Latency, None) => does_not_apply!(
            "allocate.cost = latency: times belong to a machine; give allocate.latencies = layers.csv, which throughput --models NET --out DIR writes"
        ),
        (Cost::Size | Cost::BitOperations, Some(_)) => does_not_apply!(
            "allocate.latencies: allocate.cost = {} asks for no times; set allocate.cost = latency",
            how.cost
        ),
        _ => {}
    }
    let is_additive = how.cost == Cost::Size || (how.cost == Cost::BitOperations && of != Of::Both);
    if how.method == Method::Lin && !is_additive {
        does_not_apply!(
            "allocate.method = lin: its closed form has one cost for each bit; set allocate.cost = size, or bit_operations with allocate.of = weights or activations"
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
