//! Scales into weights, biases and the ends of clippings.

use network::{HostTensor, Network, Node, Op, StateDict, Topology, Value};

use super::channels::Channels;
use crate::error::Error;
use crate::quantize::Decision;

/// `network` with every clipping between 0 and an end made a ReLU, a line for each in `manifest`.
///
/// # Errors
/// None for a checked network.
pub(super) fn replaced(network: Network, manifest: &mut Vec<Decision>) -> Result<Network, Error> {
    let (topology, tensors) = network.into_parts();
    let mut nodes = topology.nodes().to_vec();
    for node in &mut nodes {
        let has_end = match &node.op {
            Op::Clip { low, high } => *low == 0.0 && high.is_finite(),
            Op::ClipEach(ends) => {
                ends.iter().all(|[low, _]| *low == 0.0)
                    && ends.iter().any(|[_, high]| high.is_finite())
            }
            _ => false,
        };
        if has_end {
            let reason = format!(
                "equalize.clip = replace: {} is a relu now, another function",
                node.op
            );
            manifest.push(Decision::float(&node.name, "clip", reason));
            node.op = Op::RELU;
        }
    }
    Ok(Network::new(
        Topology::new(topology.input(), nodes)?,
        tensors,
    )?)
}

/// `network` with each class divided by its `scale`.
///
/// # Errors
/// None for a checked network.
pub(super) fn scaled(
    network: &Network,
    channels: &Channels,
    scale: &[f64],
) -> Result<Network, Error> {
    let (topology, mut tensors) = network.clone().into_parts();
    for layer in topology.layers() {
        let made: Vec<f64> = channels.scales(Value::Node(layer), scale).collect();
        let node = topology.node(layer);
        let read: Vec<f64> = channels.scales(node.inputs[0], scale).collect();
        if made.iter().chain(&read).all(|&s| s == 1.0) {
            continue;
        }
        let groups = match node.op {
            Op::Conv { groups, .. } => groups,
            _ => 1,
        };
        weights(&mut tensors, node, groups, [&made, &read])?;
    }
    let nodes = (topology.nodes().iter().enumerate()).map(|(id, node)| {
        let op = match &node.op {
            Op::Clip { low, high } => clipping(&[[*low, *high]], channels, (id, scale)),
            Op::ClipEach(ends) => clipping(ends, channels, (id, scale)),
            op => op.clone(),
        };
        Node { op, ..node.clone() }
    });
    let scaled = Topology::new(topology.input(), nodes.collect())?;
    Ok(Network::new(scaled, tensors)?)
}

/// `w[o, i] * read[i] / made[o]` and `b[o] / made[o]`.
fn weights(
    tensors: &mut StateDict,
    node: &Node,
    groups: usize,
    [made, read]: [&[f64]; 2],
) -> Result<(), Error> {
    let name = format!("{}.weight", node.name);
    let HostTensor { shape, mut data } = tensors.take(&name)?;
    let (rows, columns) = (made.len() / groups, read.len() / groups);
    let taps = data.len() / (made.len() * columns);
    for (at, weights) in data.chunks_exact_mut(taps).enumerate() {
        let (o, i) = (at / columns, at % columns);
        let factor = read[o / rows * columns + i] / made[o];
        weights
            .iter_mut()
            .for_each(|w| *w = (f64::from(*w) * factor) as f32);
    }
    tensors.insert(name, HostTensor::new(shape, data)?);
    if let Some(bias) = tensors.get_mut(&format!("{}.bias", node.name)) {
        for (b, s) in bias.data.iter_mut().zip(made) {
            *b = (f64::from(*b) / s) as f32;
        }
    }
    Ok(())
}

/// The clipping of node `id`, `ends` being one pair for all channels or one for each.
fn clipping(ends: &[[f32; 2]], channels: &Channels, (id, scale): (usize, &[f64])) -> Op {
    let scales = channels.scales(Value::Node(id), scale);
    let each = scales.enumerate().map(|(channel, s)| {
        let ends = ends[channel.min(ends.len() - 1)];
        ends.map(|end| (f64::from(end) / s) as f32)
    });
    let each: Vec<[f32; 2]> = each.collect();
    match each[0] {
        [low, high] if each.iter().all(|ends| *ends == each[0]) => Op::Clip { low, high },
        _ => Op::ClipEach(each),
    }
}
