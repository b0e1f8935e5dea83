//! Which layers meet: those that make, and those that read, the channels of values that have classes in common.

use network::{NodeId, Topology, Value};

use super::channels::Channels;
use super::slot;

/// Layers between which scales can move.
#[derive(Debug)]
pub(super) struct Region {
    /// Layers that make its channels, in execution order.
    pub makers: Vec<NodeId>,
    /// Layers that read them.
    pub readers: Vec<NodeId>,
}

impl Region {
    /// Whether a layer stands on both sides. What its rows are divided by its columns are multiplied by: it has no say.
    pub fn is_inside(&self, layer: NodeId) -> bool {
        self.makers.contains(&layer) && self.readers.contains(&layer)
    }
}

/// The regions with layers on both sides, by their first makers.
pub(super) fn regions(topology: &Topology, channels: &Channels) -> Vec<Region> {
    let region_of = region_of(topology, channels);
    let mut regions: Vec<(usize, Region)> = Vec::new();
    for layer in topology.layers() {
        let read = region_of[slot(topology.node(layer).inputs[0])];
        let made = region_of[slot(Value::Node(layer))];
        for (number, reads) in [(read, true), (made, false)] {
            let known = regions.iter().position(|(other, _)| *other == number);
            let place = known.unwrap_or(regions.len());
            if known.is_none() {
                let (makers, readers) = (Vec::new(), Vec::new());
                regions.push((number, Region { makers, readers }));
            }
            let region = &mut regions[place].1;
            match reads {
                true => region.readers.push(layer),
                false => region.makers.push(layer),
            }
        }
    }
    let free = |value: Value| channels.of(value).iter().any(|&c| !channels.is_fixed(c));
    let mut whole: Vec<Region> = regions.into_iter().map(|(_, region)| region).collect();
    whole.retain(|region| {
        !region.readers.is_empty() && region.makers.iter().any(|&layer| free(Value::Node(layer)))
    });
    whole.sort_by_key(|region| region.makers[0]);
    whole
}

/// For each value the number of its region: values are in one where a class that is free has channels of both.
fn region_of(topology: &Topology, channels: &Channels) -> Vec<usize> {
    let mut region: Vec<usize> = (0..=topology.nodes().len()).collect();
    let mut seen = vec![None; channels.len()];
    let root = |region: &[usize], mut value: usize| {
        while region[value] != value {
            value = region[value];
        }
        value
    };
    let nodes = (0..topology.nodes().len()).map(Value::Node);
    for value in std::iter::once(Value::Input).chain(nodes) {
        for &class in channels.of(value) {
            if channels.is_fixed(class) {
                continue;
            }
            let one = root(&region, slot(value));
            let other = root(&region, *seen[class].get_or_insert(one));
            region[one.max(other)] = one.min(other);
        }
    }
    (0..region.len())
        .map(|value| root(&region, value))
        .collect()
}
