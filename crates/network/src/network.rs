//! A topology and its numbers.

use std::collections::HashSet;

use crate::error::{Error, quoted};
use crate::tensors::{HostTensor, StateDict};
use crate::topology::{NodeId, Topology};

/// A checked network: every tensor that a node has is there in its shape, and no other.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    topology: Topology,
    tensors: StateDict,
}

impl Network {
    /// The network of `topology` with the numbers of `tensors`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Misshapen`] and [`Error::Unused`] naming a tensor.
    pub fn new(topology: Topology, tensors: StateDict) -> Result<Self, Error> {
        let mut had = HashSet::new();
        for id in 0..topology.nodes().len() {
            for (name, shape, optional) in topology.wanted(id) {
                if !optional || tensors.contains(&name) {
                    tensors.require_shaped(&name, &shape)?;
                    had.insert(name);
                }
            }
        }
        match tensors.names().find(|name| !had.contains(*name)) {
            Some(name) => Err(Error::Unused { name: quoted(name) }),
            None => Ok(Self { topology, tensors }),
        }
    }

    /// How it hangs together.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Its numbers.
    pub fn tensors(&self) -> &StateDict {
        &self.tensors
    }

    /// Both, taken apart.
    pub fn into_parts(self) -> (Topology, StateDict) {
        (self.topology, self.tensors)
    }

    /// A node's tensor, `weight` or `bias`.
    pub fn tensor(&self, id: NodeId, part: &str) -> Option<&HostTensor> {
        let name = &self.topology.node(id).name;
        self.tensors.get(&format!("{name}.{part}"))
    }
}
