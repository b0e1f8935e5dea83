//! BatchNorms that stand behind no layer of their own: in the graph a convolution of each channel by itself with one weight and one bias,
//! in a file the four tensors of a BatchNorm.

use std::collections::BTreeMap;

use network::{HostTensor, NodeId, Op, StateDict, Topology};

use crate::arch::BN_EPSILON;
use crate::error::Error;

/// What a file has of one.
const PARTS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Name, shape and whether it may be absent, of what a file has of the node `id` if it is one there.
pub(super) fn wanted(
    topology: &Topology,
    id: NodeId,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Option<Vec<(String, Vec<usize>, bool)>> {
    let channels = channels(topology, id, |name| shapes.contains_key(name))?;
    let node = &topology.node(id).name;
    let wanted = PARTS.map(|part| (format!("{node}.{part}"), vec![channels], false));
    Some(wanted.to_vec())
}

/// The channels of the node `id` if it is one in a file that `has` tensors.
fn channels(topology: &Topology, id: NodeId, has: impl Fn(&str) -> bool) -> Option<usize> {
    let node = topology.node(id);
    if !has(&format!("{}.running_var", node.name)) {
        return None;
    }
    match node.op {
        Op::Conv {
            outputs,
            groups,
            window,
        } if outputs == groups && window.kernel == [1, 1] => {
            (topology.shape(node.inputs[0]).channels == groups).then_some(outputs)
        }
        _ => None,
    }
}

/// Puts a weight `gamma / sqrt(variance + epsilon)` and a bias `beta - mean weight` in the place of each such BatchNorm's tensors.
///
/// # Errors
/// A tensor that is missing or misshapen, by name.
pub(crate) fn settle(topology: &Topology, state: &mut StateDict) -> Result<(), Error> {
    for id in 0..topology.nodes().len() {
        let name = &topology.node(id).name;
        let Some(channels) = channels(topology, id, |name| state.contains(name)) else {
            continue;
        };
        let mut part = |part: &str| state.take_shaped(&format!("{name}.{part}"), &[channels]);
        let [gamma, beta] = [part("weight")?, part("bias")?];
        let [mean, variance] = [part("running_mean")?, part("running_var")?];
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        let scales = gamma.into_iter().zip(beta);
        for ((gamma, beta), (mean, variance)) in scales.zip(mean.into_iter().zip(variance)) {
            let factor = f64::from(gamma) / (f64::from(variance) + BN_EPSILON).sqrt();
            weight.push(factor as f32);
            bias.push((f64::from(beta) - f64::from(mean) * factor) as f32);
        }
        let weight = HostTensor::new(vec![channels, 1, 1, 1], weight)?;
        state.insert(format!("{name}.weight"), weight);
        state.insert(
            format!("{name}.bias"),
            HostTensor::new(vec![channels], bias)?,
        );
    }
    Ok(())
}
