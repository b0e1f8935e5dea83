//! What runs as one step, and the names of the values that steps make.
//!
//! A step is a layer with its batch normalization and the clipping that follows, or an addition with its clipping, or any other
//! operation by itself. It is called what its first node is called, and so are its value, the activation site, the engine's node and
//! the lines about it in results. Inside a step nothing is rounded: between a convolution and its ReLU, an addition and its ReLU.

use network::{NodeId, Op, Topology, Value};

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its first node, whose name it has.
    pub head: NodeId,
    /// The layer's batch normalization.
    pub norm: Option<NodeId>,
    /// The clipping that comes last.
    pub clip: Option<NodeId>,
}

impl Unit {
    /// The node that makes its value.
    pub fn tail(&self) -> NodeId {
        self.clip.or(self.norm).unwrap_or(self.head)
    }

    /// What its value is cut off at, below and above, where all of it is cut off at the same.
    pub fn ends(&self, topology: &Topology) -> Option<[f32; 2]> {
        match topology.node(self.clip?).op {
            Op::Clip { low, high } => Some([low, high]),
            _ => None,
        }
    }
    /// The clipping at its end that has ends of each channel's own: a node by itself where a graph is executed.
    pub fn each(&self, topology: &Topology) -> Option<NodeId> {
        self.clip
            .filter(|&id| matches!(topology.node(id).op, Op::ClipEach(_)))
    }
}

/// The steps of a network in execution order.
#[derive(Clone, Debug)]
pub struct Units {
    units: Vec<Unit>,
    /// The step that each node belongs to.
    unit_of: Vec<usize>,
}

impl Units {
    /// The steps of `topology`.
    pub fn new(topology: &Topology) -> Self {
        let nodes = topology.nodes();
        let mut all = Self {
            units: Vec::new(),
            unit_of: vec![usize::MAX; nodes.len()],
        };
        for (head, node) in nodes.iter().enumerate() {
            // The tail of a step that came before.
            if all.unit_of[head] != usize::MAX {
                continue;
            }
            let is_layer = node.op.is_layer();
            let norm = if is_layer { topology.norm(head) } else { None };
            let clips = |id: &NodeId| nodes[*id].op.clips();
            let clip = match is_layer || matches!(node.op, Op::Add) {
                true => topology.only_reader(norm.unwrap_or(head)).filter(clips),
                false => None,
            };
            for id in [Some(head), norm, clip].into_iter().flatten() {
                all.unit_of[id] = all.units.len();
            }
            all.units.push(Unit { head, norm, clip });
        }
        all
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Unit> {
        self.units.iter()
    }

    /// The step that makes a value; none for the images.
    pub fn of(&self, value: Value) -> Option<&Unit> {
        match value {
            Value::Input => None,
            Value::Node(id) => Some(&self.units[self.unit_of[id]]),
        }
    }

    /// The name of the step whose codes a value has: the one that makes it, or that of which it is a copy.
    pub fn site<'a>(&self, topology: &'a Topology, value: Value) -> &'a str {
        match self.of(value).map(|unit| topology.node(unit.head)) {
            Some(node) if node.op.is_copy() => self.site(topology, node.inputs[0]),
            Some(node) => &node.name,
            None => topology.name(Value::Input),
        }
    }

    /// The summand of the addition `head` that can be computed together with it: a layer's value that is read nowhere else and not
    /// clipped; of two, the first.
    pub fn fused(&self, topology: &Topology, head: NodeId) -> Option<&Unit> {
        let node = topology.node(head);
        if node.op != Op::Add {
            return None;
        }
        let fits = |value: &&Value| {
            let unit = self.of(**value);
            unit.is_some_and(|unit| {
                topology.node(unit.head).op.is_layer()
                    && unit.clip.is_none()
                    && topology.only_reader(unit.tail()) == Some(head)
            })
        };
        node.inputs
            .iter()
            .find(fits)
            .and_then(|value| self.of(*value))
    }
}
