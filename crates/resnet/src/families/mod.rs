//! Networks that are recognised by the names and shapes of their tensors and are not in [`crate::Arch`]: what computes with them is
//! read off these. A family is a file with one function and one line in [`FAMILIES`].

mod build;
mod mobilenet_v2;
mod residual;
mod squeezenet;
mod vgg;

use std::collections::{BTreeMap, BTreeSet};

use network::Topology;

pub(crate) use build::{Nodes, Shapes};

/// A family: what networks of it are called, and the network that tensors of these names and shapes are, if they are one.
type Family = (&'static str, fn(&Shapes) -> Option<Topology>);

const FAMILIES: [Family; 4] = [
    ("resnet", residual::topology),
    ("mobilenet_v2", mobilenet_v2::topology),
    ("vgg", vgg::topology),
    ("squeezenet", squeezenet::topology),
];

/// The family that has exactly these tensors, and the network.
pub(crate) fn recognise(shapes: &BTreeMap<String, Vec<usize>>) -> Option<(&'static str, Topology)> {
    let shapes = Shapes(shapes);
    FAMILIES.iter().find_map(|(name, topology)| {
        let found = topology(&shapes)?;
        has_exactly(&found, shapes.0).then_some((*name, found))
    })
}

/// What the families are called, for a message.
pub(crate) fn names() -> String {
    let names: Vec<_> = FAMILIES.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn has_exactly(topology: &Topology, shapes: &BTreeMap<String, Vec<usize>>) -> bool {
    let mut had = BTreeSet::new();
    for id in 0..topology.nodes().len() {
        for (name, shape, optional) in topology.wanted(id) {
            match shapes.get(&name) {
                Some(found) if *found == shape => drop(had.insert(name)),
                None if optional => {}
                _ => return false,
            }
        }
    }
    shapes.keys().all(|name| had.contains(name))
}

#[cfg(test)]
mod tests;
