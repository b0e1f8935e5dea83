//! Networks that are recognised by the names and shapes of their tensors and are not in [`crate::Arch`]: what computes with them is
//! read off these. A family is a file with one function and one line in [`FAMILIES`].

mod build;
mod cifar_mobilenet;
mod lone;
mod mobilenet_v2;
mod preact;
mod residual;
mod squeezenet;
mod vgg;

use std::collections::{BTreeMap, BTreeSet};

use network::{StateDict, Topology};

use crate::arch::Arch;
use crate::error::Error;

pub(crate) use build::{Nodes, Shapes};
pub(crate) use lone::settle;

/// A family: what networks of it are called, and the network that tensors of these names and shapes are, if they are one.
type Family = (&'static str, fn(&Shapes) -> Option<Topology>);

const FAMILIES: [Family; 5] = [
    ("resnet", residual::topology),
    ("preact_resnet", preact::topology),
    ("mobilenet_v2", mobilenet_v2::topology),
    ("vgg", vgg::topology),
    ("squeezenet", squeezenet::topology),
];

/// Networks by name that no checkpoint is needed for: the name, and the network with that many classes.
type Named = (&'static str, fn(usize) -> Option<Topology>);

const NAMED: [Named; 1] = [("cifar-mobilenet", cifar_mobilenet::topology)];

/// The network that is called `name`, of an architecture or a family, with `classes` classes.
///
/// # Errors
/// [`Error::UnknownArch`] with the names that there are.
pub fn named(name: &str, classes: usize) -> Result<Topology, Error> {
    let found = NAMED.iter().find(|(own, _)| *own == name);
    if let Some(found) = found.and_then(|(_, topology)| topology(classes)) {
        return Ok(found);
    }
    match Arch::parse(name) {
        Ok(arch) => Ok(crate::topology(&arch.with_classes(classes))),
        Err(Error::UnknownArch { name, known }) => {
            let more: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            let known = format!("{known}, {}", more.join(", "));
            Err(Error::UnknownArch { name, known })
        }
        Err(other) => Err(other),
    }
}

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
