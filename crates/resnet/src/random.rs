//! Weights for measurements of speed and for tests: no checkpoint, the same values everywhere.

use quant_core::uniform;

use crate::arch::Arch;
use crate::error::Error;
use network::{HostTensor, Network, StateDict, Topology};

/// Every tensor of `arch` with values drawn from `seed`: weights of the size that He initialisation gives, BatchNorm
/// statistics away from 0 and 1 so that a mix-up shows.
pub fn random_state(arch: &Arch, seed: u64) -> StateDict {
    drawn(arch.expected(), seed)
}

/// The same for any network: a layer has a bias where there is no BatchNorm behind it.
///
/// # Errors
/// None for a topology of this crate.
pub fn random_network(topology: Topology, seed: u64) -> Result<Network, Error> {
    let shapes = (0..topology.nodes().len()).flat_map(|id| {
        let is_normalized = topology.node(id).op.is_layer() && topology.norm(id).is_some();
        let wanted = topology.wanted(id);
        wanted.filter(move |(_, _, optional)| !(is_normalized && *optional))
    });
    let tensors = drawn(shapes.map(|(name, shape, _)| (name, shape)), seed);
    Ok(Network::new(topology, tensors)?)
}

fn drawn(shapes: impl IntoIterator<Item = (String, Vec<usize>)>, seed: u64) -> StateDict {
    let mut index = 0;
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let n = shape.iter().product();
            let (low, high) = match name.rsplit('.').next() {
                Some("running_var") => (0.5, 2.0),
                Some("weight") if shape.len() == 1 => (0.5, 1.5),
                _ if shape.len() > 1 => {
                    let bound = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
                    (-bound, bound)
                }
                _ => (-0.3, 0.3),
            };
            let draw = |_| {
                index += 1;
                low + (high - low) * uniform(seed, index)
            };
            let data = (0..n).map(draw).collect();
            let tensor = HostTensor::new(shape, data).expect("as many values as the shape says");
            (name, tensor)
        })
        .collect()
}
