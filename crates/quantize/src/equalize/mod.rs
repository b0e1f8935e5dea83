//! Cross-layer equalization: scales moved from the rows of a layer's weights to the columns of the next one's, so that one scale of a
//! tensor fits all channels (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1).
//!
//! For a channel i that goes from layers with the rows `w1_i`, `b1_i` to layers with the columns `w2_i` through operations that scale with
//! their input, f(x / s) = f(x) / s:
//!
//! ```text
//! r1_i = max |w1_i|    r2_i = max |w2_i|    over all layers that make or read the channel
//! s_i  = sqrt(r1_i r2_i) / r2_i
//! w1_i := w1_i / s_i   b1_i := b1_i / s_i   w2_i := w2_i s_i
//! ```
//!
//! again and again until no s moves any more. Which channels must share an s is in [`channels`], which layers meet there in
//! [`regions`]. A channel of which one side is zeros alone (dead: what it carries is a constant, or nobody sees it) has no such s; with R
//! the largest sqrt(r1 r2) of the other channels of its region
//!
//! ```text
//! s_i = min(1, R / r2_i)   where r1_i = 0
//! s_i = max(1, r1_i / R)   where r2_i = 0
//! ```
//!
//! so that it widens no range beyond what living channels need.

mod absorb;
mod apply;
mod channels;
mod regions;
mod scales;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use network::{Network, Topology, Value};

use crate::error::Error;
use crate::fold::fold;
use crate::quantize::Decision;

use channels::Channels;
use regions::regions;
pub use words::{ClipPolicy, Reach};

/// How to equalize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equalization {
    /// Which layers are equalized together.
    pub reach: Reach,
    /// What happens to clippings at other ends than 0.
    pub clip: ClipPolicy,
    /// What a dead channel's scale is: by the header's rule, or 1.
    pub dead: bool,
    /// Whether high biases move into the next layer too (`absorb`).
    pub absorb: bool,
}

impl Default for Equalization {
    /// Everything that leaves the function as it is.
    fn default() -> Self {
        Self {
            reach: Reach::Regions,
            clip: ClipPolicy::Scale,
            dead: true,
            absorb: false,
        }
    }
}

/// What a channel of a layer's input became: `x / scale - absorbed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// One for each input channel, above 0.
    pub scale: Vec<f64>,
    /// One for each input channel.
    pub absorbed: Vec<f64>,
}

/// A network after equalization.
#[derive(Clone, Debug)]
pub struct Equalized {
    /// The network, its BatchNorms folded.
    pub network: Network,
    /// By layer, what happened to its input.
    pub inputs: BTreeMap<String, Moved>,
    /// A line for each region, and for what was replaced or absorbed.
    pub manifest: Vec<Decision>,
}

/// `network` with its BatchNorms folded and its layers equalized. The function stays as it is up to float rounding, but for clippings
/// that [`ClipPolicy::Replace`] replaces and for what [`Equalization::absorb`] takes from below three deviations.
///
/// # Errors
/// None for a checked network.
pub fn equalize(network: &Network, how: &Equalization) -> Result<Equalized, Error> {
    let mut manifest = Vec::new();
    let folded = fold(network)?;
    let folded = match how.clip {
        ClipPolicy::Replace => apply::replaced(folded, &mut manifest)?,
        ClipPolicy::Scale | ClipPolicy::Keep => folded,
    };
    let topology = folded.topology();
    let channels = Channels::new(topology, how);
    let regions = regions(topology, &channels);
    let solved = scales::solve(&folded, &channels, &regions, how.dead);
    manifest.extend(solved.decisions(topology, &regions));
    let mut scaled = apply::scaled(&folded, &channels, &solved.scale)?;
    let mut inputs = moved(topology, &channels, &solved.scale);
    if how.absorb {
        let high = absorb::High::of(network, scaled.topology(), &channels, &solved.scale)?;
        scaled = absorb::absorb(scaled, &high, &mut inputs, &mut manifest)?;
    }
    Ok(Equalized {
        network: scaled,
        inputs,
        manifest,
    })
}

fn moved(topology: &Topology, channels: &Channels, scale: &[f64]) -> BTreeMap<String, Moved> {
    let each = topology.layers().map(|layer| {
        let node = topology.node(layer);
        let scale: Vec<f64> = channels.scales(node.inputs[0], scale).collect();
        let absorbed = vec![0.0; scale.len()];
        (node.name.clone(), Moved { scale, absorbed })
    });
    each.collect()
}

impl Equalized {
    /// What a value of the network before becomes here, in [`Moved`]'s terms: expected inputs of each layer
    /// ([`crate::expected_inputs`]).
    pub fn expected(
        &self,
        before: &BTreeMap<String, Option<Vec<f64>>>,
    ) -> BTreeMap<String, Option<Vec<f64>>> {
        let each = before.iter().map(|(layer, means)| {
            let now = means.as_ref().map(|means| match self.inputs.get(layer) {
                Some(Moved { scale, absorbed }) => {
                    let parts = means.iter().zip(scale).zip(absorbed);
                    parts.map(|((mean, s), c)| mean / s - c).collect()
                }
                None => means.clone(),
            });
            (layer.clone(), now)
        });
        each.collect()
    }
}

/// The values of a network, by number: the images first.
fn slot(value: Value) -> usize {
    match value {
        Value::Input => 0,
        Value::Node(id) => id + 1,
    }
}
