//! A network in pieces that are reconstructed one after the other: each reads one value and makes one.
//!
//! A block ends where everything behind reads nothing but its value: behind the sum of a residual block, behind each layer of a
//! plain chain. What has no layer goes to the block behind it (a pool to the classifier), at the end to the one before.

use network::{NodeId, Topology, Value};

use crate::units::Units;

/// How large the pieces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A layer with the clipping that follows it.
    Layer,
    /// All between two values that everything goes through.
    Block,
    /// All of it.
    Network,
}

quant_core::words!(Extent, "reconstruct": Layer = "layer", Block = "block", Network = "network");

/// A piece of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it reads.
    pub input: Value,
    /// Its nodes in execution order; the last one makes its value.
    pub nodes: Vec<NodeId>,
}

impl Block {
    /// The node that makes its value.
    pub fn tail(&self) -> NodeId {
        self.nodes[self.nodes.len() - 1]
    }
}

/// The pieces of `topology` in execution order, which has no BatchNorms; each has a layer.
pub fn blocks(topology: &Topology, extent: Extent) -> Vec<Block> {
    let units = Units::new(topology);
    match extent {
        Extent::Layer => {
            let layers = units.iter().filter(|u| topology.node(u.head).op.is_layer());
            let block = |unit: &crate::Unit| Block {
                input: topology.node(unit.head).inputs[0],
                nodes: [Some(unit.head), unit.clip].into_iter().flatten().collect(),
            };
            layers.map(block).collect()
        }
        Extent::Block => between(topology, &units),
        Extent::Network => vec![Block {
            input: Value::Input,
            nodes: (0..topology.nodes().len()).collect(),
        }],
    }
}

fn between(topology: &Topology, units: &Units) -> Vec<Block> {
    let last_reader = |value| topology.readers(value).last().copied().unwrap_or(0);
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0;
    let mut input = Value::Input;
    // The last reader of anything made so far but the newest value.
    let mut open = last_reader(Value::Input);
    let mut seen = 0;
    for unit in units.iter() {
        let tail = unit.tail();
        for id in seen..tail {
            open = open.max(last_reader(Value::Node(id)));
        }
        seen = seen.max(tail);
        let is_last = tail == topology.output();
        let is_copy = topology.node(unit.head).op.is_copy();
        if open > tail || (is_copy && !is_last) {
            continue;
        }
        let nodes: Vec<NodeId> = (start..=tail).collect();
        let has_layer = nodes.iter().any(|&id| topology.node(id).op.is_layer());
        match (has_layer, is_last, blocks.last_mut()) {
            (true, _, _) => blocks.push(Block { input, nodes }),
            (false, true, Some(last)) => last.nodes.extend(nodes),
            (false, _, _) => continue,
        }
        (start, input) = (tail + 1, Value::Node(tail));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, extent: Extent) -> Vec<String> {
        let arch = resnet::Arch::parse(name).unwrap();
        let topology = resnet::topology(&arch).without_norms();
        let blocks = blocks(&topology, extent);
        for block in &blocks {
            topology.part(block.input, &block.nodes).unwrap();
        }
        let name = |block: &Block| {
            let input = topology.name(block.input).to_owned();
            format!("{input} > {}", topology.node(block.tail()).name)
        };
        blocks.iter().map(name).collect()
    }

    #[test]
    fn residual_blocks_the_stem_and_the_classifier_are_blocks() {
        let found = names("resnet18", Extent::Block);
        assert_eq!(found.len(), 1 + 8 + 1);
        assert!(found[1].ends_with("> layer1.0.relu"), "{found:?}");
        assert!(found[9].starts_with("layer4.1"), "{found:?}");
        assert!(found[9].ends_with("> fc"), "{found:?}");
        assert_eq!(names("cifar-resnet20", Extent::Block).len(), 1 + 9 + 1);
    }

    #[test]
    fn every_layer_is_a_piece_of_its_own() {
        assert_eq!(names("resnet18", Extent::Layer).len(), 21);
    }
}
