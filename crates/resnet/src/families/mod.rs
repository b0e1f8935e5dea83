//! Networks that are recognised by the names and shapes of their tensors and are not in [`crate::Arch`]: what computes with them is
//! read off these. A family is a file with its [`Family`] and one line in [`FAMILIES`].

mod build;
mod cifar_mobilenet;
mod lone;
mod mobilenet_v2;
mod preact;
mod residual;
mod squeezenet;
mod standard;
mod vgg;

use std::collections::{BTreeMap, BTreeSet};

use network::{StateDict, Topology};

use crate::arch::Arch;

pub(crate) use build::{Nodes, Shapes};
pub(crate) use lone::settle;
use standard::Standard;

/// A family.
struct Family {
    /// What networks of it are called.
    name: &'static str,
    /// The network that tensors of these names and shapes are, if they are one.
    topology: fn(&Shapes) -> Option<Topology>,
    /// Those of its networks that have a name of their own.
    standard: &'static [Standard],
}

const FAMILIES: [Family; 6] = [
    residual::FAMILY,
    preact::FAMILY,
    mobilenet_v2::FAMILY,
    cifar_mobilenet::FAMILY,
    vgg::FAMILY,
    squeezenet::FAMILY,
];

/// Whether a file of `state` alone, without a word on what computes with it, is read as the network `topology`.
pub fn is_told_by_tensors(topology: &Topology, state: &StateDict) -> bool {
    let size = [topology.input().height, topology.input().width];
    let same = |found: Topology| found.at(size).is_ok_and(|found| found == *topology);
    let of_arch = Arch::recognise(&state.shapes()).is_ok_and(|arch| same(crate::topology(&arch)));
    of_arch || recognise(&state.shapes()).is_some_and(|(_, found)| same(found))
}

/// The family that has exactly these tensors, and the network.
pub(crate) fn recognise(shapes: &BTreeMap<String, Vec<usize>>) -> Option<(&'static str, Topology)> {
    let shapes = Shapes(shapes);
    FAMILIES.iter().find_map(|family| {
        let found = (family.topology)(&shapes)?;
        has_exactly(&found, shapes.0).then_some((family.name, found))
    })
}

/// What the families are called, for a message.
pub(crate) fn names() -> String {
    let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
    names.join(", ")
}

/// The network that has this name.
pub(crate) fn named(name: &str) -> Option<Topology> {
    let (_, topology) = recognise(&standard(name)?)?;
    Some(topology)
}

/// The names that [`named`] knows.
pub(crate) fn names_of_networks() -> impl Iterator<Item = &'static str> {
    let all = FAMILIES.iter().flat_map(|family| family.standard);
    all.map(|(name, _)| *name)
}

/// Names and shapes of the tensors of the network that has this name.
fn standard(name: &str) -> Option<BTreeMap<String, Vec<usize>>> {
    let mut all = FAMILIES.iter().flat_map(|family| family.standard);
    let (_, fill) = all.find(|(own, _)| *own == name)?;
    let mut tensors = standard::Tensors::default();
    fill(&mut tensors);
    Some(tensors.0)
}

fn has_exactly(topology: &Topology, shapes: &BTreeMap<String, Vec<usize>>) -> bool {
    let mut had = BTreeSet::new();
    for id in 0..topology.nodes().len() {
        let wanted =
            lone::wanted(topology, id, shapes).unwrap_or_else(|| topology.wanted(id).collect());
        for (name, shape, optional) in wanted {
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
