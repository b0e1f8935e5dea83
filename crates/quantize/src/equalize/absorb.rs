//! High biases absorbed into the next layer (Nagel et al. 2019, section 4.1.3).
//!
//! In front of a ReLU a channel is roughly normal with BatchNorm's mean beta and deviation |gamma|, and lies above
//!
//! ```text
//! c = max(0, beta - 3 |gamma|) / s
//! ```
//!
//! in all but 0.13 % of its values, s being its scale. There relu(x) = relu(x - c) + c, and
//!
//! ```text
//! b1 := b1 - c    b2 := b2 + sum_i w2_i c_i
//! ```
//!
//! is the same function; elsewhere the value comes out too large, as 0 where it lies below c. A border of zeros is not c: what is read by
//! a layer with padding, or by anything but layers, stays.

use std::collections::BTreeMap;

use network::{HostTensor, Network, NodeId, Op, Topology, Value};

use super::Moved;
use super::channels::Channels;
use crate::error::Error;
use crate::fold::BatchNorm;
use crate::moments::constant_output;
use crate::quantize::Decision;

/// What is absorbed from each layer.
pub(super) struct High(Vec<(NodeId, Vec<f64>)>);

impl High {
    /// From the statistics of `network`, whose layers have the same names in `topology`, where BatchNorms are folded. Layers without
    /// BatchNorm, and those that are not read through a ReLU by layers without padding alone, give nothing.
    ///
    /// # Errors
    /// None for a checked network.
    pub fn of(
        network: &Network,
        topology: &Topology,
        channels: &Channels,
        scale: &[f64],
    ) -> Result<Self, Error> {
        let mut all = Vec::new();
        let before = network.topology();
        for layer in topology.layers() {
            let Some(own) = before.find(&topology.node(layer).name) else {
                continue;
            };
            let Some(norm) = BatchNorm::copy(before, network.tensors(), own)? else {
                continue;
            };
            if takers(topology, layer).is_some() {
                let scales = channels.scales(Value::Node(layer), scale);
                let each = norm.beta().iter().zip(norm.gamma()).zip(scales);
                let each = each.map(|((&beta, &gamma), s)| {
                    (f64::from(beta) - 3.0 * f64::from(gamma.abs())).max(0.0) / s
                });
                all.push((layer, each.collect()));
            }
        }
        Ok(Self(all))
    }
}

/// The layers that read `layer` through a ReLU, if nothing else does and none of them has a border.
fn takers(topology: &Topology, layer: NodeId) -> Option<&[NodeId]> {
    let relu = topology.only_reader(layer)?;
    let readers = topology.readers(Value::Node(relu));
    let takes = |&id: &NodeId| match topology.node(id).op {
        Op::Conv { window, .. } => window.padding == Default::default(),
        Op::Linear { .. } => true,
        _ => false,
    };
    let fits = topology.node(relu).op == Op::RELU && !readers.is_empty();
    (fits && readers.iter().all(takes)).then_some(readers)
}

/// `network` with `high` absorbed, which `inputs` and `manifest` say.
///
/// # Errors
/// None for a checked network.
pub(super) fn absorb(
    network: Network,
    high: &High,
    inputs: &mut BTreeMap<String, Moved>,
    manifest: &mut Vec<Decision>,
) -> Result<Network, Error> {
    let (topology, mut tensors) = network.into_parts();
    for (layer, each) in &high.0 {
        let name = &topology.node(*layer).name;
        let absorbed = each.iter().filter(|&&c| c > 0.0).count();
        if absorbed == 0 {
            continue;
        }
        if let Some(bias) = tensors.get_mut(&format!("{name}.bias")) {
            for (b, c) in bias.data.iter_mut().zip(each) {
                *b = (f64::from(*b) - c) as f32;
            }
        }
        let readers = takers(&topology, *layer).unwrap_or_default();
        for &reader in readers {
            let node = topology.node(reader);
            let groups = match node.op {
                Op::Conv { groups, .. } => groups,
                _ => 1,
            };
            let weight = tensors.require(&format!("{}.weight", node.name))?;
            let more = constant_output(weight, groups, each);
            let bias = format!("{}.bias", node.name);
            let old = tensors.remove(&bias).map(|bias| bias.data);
            let old = old.unwrap_or_else(|| vec![0.0; more.len()]);
            let sums = old
                .iter()
                .zip(&more)
                .map(|(&b, m)| (f64::from(b) + m) as f32);
            tensors.insert(bias, HostTensor::new(vec![more.len()], sums.collect())?);
            if let Some(moved) = inputs.get_mut(&node.name) {
                moved.absorbed.clone_from(each);
            }
        }
        let names: Vec<_> = readers
            .iter()
            .map(|&id| topology.node(id).name.as_str())
            .collect();
        let reason = format!(
            "{absorbed} of {} channels absorbed into {}; exact above 0, which is all but 0.13 % of what is normal",
            each.len(),
            names.join(" "),
        );
        manifest.push(Decision::float(format!("{name}.bias"), "absorbed", reason));
    }
    Ok(Network::new(topology, tensors)?)
}
