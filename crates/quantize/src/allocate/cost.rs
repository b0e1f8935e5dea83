//! What bits cost.
//!
//! ```text
//! size:            sum of n_i b_i           n_i weights of a layer, or values of a site for one image          (1)
//! bit operations:  sum of m_i w_i a_i       m_i multiplications of a layer for one image, w_i bits of its weights, a_i of what
//!                                           it reads, 32 where that stays in float (van Baalen et al. 2020)    (2)
//! latency:         sum of t_i(w_i, a_i)     the time that a layer was measured to take with such operands      (3)
//! ```
//!
//! A budget is given as the bits that would cost as much everywhere: in (1) the average over all weights or values, in (2) with weights
//! and activations both at so many, in (3) between two numbers of bits that can be had in proportion to the times of both.

use std::collections::BTreeMap;

use quant_core::words;

/// What a budget is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// (1). Scales and zero points are not counted.
    Size,
    /// (2).
    BitOperations,
    /// (3).
    Latency,
}

words!(
    Cost, "allocate.cost": Size = "size", BitOperations = "bit_operations", Latency = "latency",
);

impl Cost {
    /// Whether a layer's cost is a matter of both of its operands together.
    pub(super) fn is_of_products(self) -> bool {
        self != Self::Size
    }
}

/// Nanoseconds of layers for one image, by the bits that were measured; 32 for float.
///
/// Operands of few bits run on a kernel for more: a layer takes the least time that is known for at least its bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies(BTreeMap<String, BTreeMap<[u32; 2], u64>>);

impl Latencies {
    /// Adds a measurement; false where there is one of this layer with as many bits.
    pub fn insert(&mut self, layer: &str, weights: u32, activations: u32, time: u64) -> bool {
        let own = self.0.entry(layer.to_owned()).or_default();
        own.insert([weights, activations], time).is_none()
    }

    /// Of a layer with operands of so many bits.
    pub fn of(&self, layer: &str, weights: u32, activations: u32) -> Option<u64> {
        let rows = self.0.get(layer)?.iter();
        let holding = rows.filter(|([w, a], _)| *w >= weights && *a >= activations);
        holding.map(|(_, &time)| time).min()
    }

    /// Layer, bits of weights, bits of activations, nanoseconds: in one order whatever the order of adding.
    pub fn rows(&self) -> impl Iterator<Item = (&str, [u32; 2], u64)> {
        let rows = self.0.iter();
        rows.flat_map(|(layer, own)| own.iter().map(|(&bits, &time)| (&layer[..], bits, time)))
    }
}
