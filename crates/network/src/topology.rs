//! How a network hangs together: nodes in execution order, what each reads, the shape of what each makes. No numbers.
//!
//! [`Topology::new`] checks everything that can be wrong but the tensors. A value has one name, that of the node that makes it; the
//! images are called [`INPUT`].

use std::collections::HashSet;

use engine::{INPUT, Shape};

use crate::error::Error;
use crate::op::Op;

/// A node's position in execution order.
pub type NodeId = usize;

/// Something that a node can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// The images.
    Input,
    /// What a node makes.
    Node(NodeId),
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, and that of its value.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it reads, as many values as the operation has operands.
    pub inputs: Vec<Value>,
}

/// Checked nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    input: Shape,
    nodes: Vec<Node>,
    /// Of each node's value.
    shapes: Vec<Shape>,
    /// The nodes that read the images, then those that read each node's value.
    readers: Vec<Vec<NodeId>>,
}

impl Topology {
    /// Checks `nodes`, given in execution order, for images of shape `input`; the last one's value is the result.
    ///
    /// # Errors
    /// [`Error::Node`] naming the node: a name that is empty, taken or [`INPUT`], an operand that is not made before, shapes that do
    /// not go together, a value that nobody reads, a batch normalization that does not stand behind a layer of its own.
    pub fn new(input: Shape, nodes: Vec<Node>) -> Result<Self, Error> {
        let shapes = shapes(input, &nodes)?;
        let all = Self::connected(input, nodes, shapes);
        let mut names = HashSet::from([INPUT]);
        for (id, node) in all.nodes.iter().enumerate() {
            let fail = |problem: &str| Err(Error::node(&node.name, problem.to_owned()));
            if node.name.is_empty() || !names.insert(&node.name) {
                return fail("its name is empty or taken");
            }
            if all.readers(Value::Node(id)).is_empty() && id != all.output() {
                return fail("nobody reads its value");
            }
            let is_norm = matches!(node.op, Op::BatchNorm { .. });
            if is_norm && all.normalized(id).is_none() {
                return fail("a batch normalization stands behind a layer that nobody else reads");
            }
        }
        Ok(all)
    }

    fn connected(input: Shape, nodes: Vec<Node>, shapes: Vec<Shape>) -> Self {
        let mut readers = vec![Vec::new(); nodes.len() + 1];
        for (id, node) in nodes.iter().enumerate() {
            for &value in &node.inputs {
                readers[slot(value)].push(id);
            }
        }
        Self {
            input,
            nodes,
            shapes,
            readers,
        }
    }

    /// The same for images of another size.
    ///
    /// # Errors
    /// [`Error::Node`] where they do not fit.
    pub fn at(mut self, [height, width]: [usize; 2]) -> Result<Self, Error> {
        self.input = Shape::new(self.input.channels, height, width);
        self.shapes = shapes(self.input, &self.nodes)?;
        Ok(self)
    }

    /// The shape of one image.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The nodes in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a position.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The node whose value is the result: the last one.
    pub fn output(&self) -> NodeId {
        self.nodes.len() - 1
    }

    /// How many numbers the result has.
    pub fn classes(&self) -> usize {
        self.shapes[self.output()].len()
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Input => self.input,
            Value::Node(id) => self.shapes[id],
        }
    }

    /// The name of a value.
    pub fn name(&self, value: Value) -> &str {
        match value {
            Value::Input => INPUT,
            Value::Node(id) => &self.nodes[id].name,
        }
    }

    /// The nodes that read a value, in execution order.
    pub fn readers(&self, value: Value) -> &[NodeId] {
        &self.readers[slot(value)]
    }

    /// The node that alone reads a node's value.
    pub fn only_reader(&self, id: NodeId) -> Option<NodeId> {
        match self.readers(Value::Node(id)) {
            &[one] => Some(one),
            _ => None,
        }
    }

    /// The layers in execution order.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = NodeId> {
        (0..self.nodes.len()).filter(|&id| self.nodes[id].op.is_layer())
    }

    /// A layer's batch normalization.
    pub fn norm(&self, layer: NodeId) -> Option<NodeId> {
        let reader = self.only_reader(layer)?;
        matches!(self.nodes[reader].op, Op::BatchNorm { .. }).then_some(reader)
    }

    /// Whether any layer has one.
    pub fn has_norms(&self) -> bool {
        self.layers().any(|layer| self.norm(layer).is_some())
    }

    /// The layer in front of a batch normalization, if nobody else reads it.
    fn normalized(&self, norm: NodeId) -> Option<NodeId> {
        match self.nodes[norm].inputs[0] {
            Value::Node(layer) if self.nodes[layer].op.is_layer() => {
                self.only_reader(layer).map(|_| layer)
            }
            _ => None,
        }
    }

    /// Name, shape and whether it may be absent, of every tensor that a node has.
    pub fn wanted(&self, id: NodeId) -> impl Iterator<Item = (String, Vec<usize>, bool)> {
        let node = &self.nodes[id];
        let tensors = node.op.tensors(self.shape(node.inputs[0])).into_iter();
        tensors.map(|t| (format!("{}.{}", node.name, t.part), t.shape, t.optional))
    }

    /// The same with another number of classes, where its result is a fully connected layer's.
    pub fn with_classes(mut self, classes: usize) -> Option<Self> {
        let last = self.nodes.last_mut()?;
        let Op::Linear { outputs } = &mut last.op else {
            return None;
        };
        *outputs = classes;
        self.shapes = shapes(self.input, &self.nodes).ok()?;
        Some(self)
    }

    /// The nodes `nodes`, in execution order, by themselves: the last one's value is the result, and `input` is what they read in
    /// place of images.
    ///
    /// # Errors
    /// [`Error::Node`] for a node that reads anything else, or whose value only others read.
    pub fn part(&self, input: Value, nodes: &[NodeId]) -> Result<Self, Error> {
        let made = nodes.iter().map(|&id| {
            let node = self.node(id);
            let inputs = node.inputs.iter().map(|&value| match value {
                value if value == input => Ok(Value::Input),
                Value::Node(read) => {
                    let place = nodes.iter().position(|&id| id == read);
                    let place = place.map(Value::Node);
                    let what = || format!("it reads {}, which is no part", self.name(value));
                    place.ok_or_else(|| Error::node(&node.name, what()))
                }
                Value::Input => Err(Error::node(&node.name, "it reads the images".into())),
            });
            Ok(Node {
                inputs: inputs.collect::<Result<_, _>>()?,
                ..node.clone()
            })
        });
        Self::new(self.shape(input), made.collect::<Result<_, Error>>()?)
    }

    /// The same without its batch normalizations.
    pub fn without_norms(self) -> Self {
        // What each node's value is called in the other numbering.
        let mut moved: Vec<Value> = Vec::with_capacity(self.nodes.len());
        let to = |moved: &[Value], value: Value| match value {
            Value::Input => value,
            Value::Node(id) => moved[id],
        };
        let (mut nodes, mut shapes) = (Vec::new(), Vec::new());
        for (id, mut node) in self.nodes.into_iter().enumerate() {
            if matches!(node.op, Op::BatchNorm { .. }) {
                moved.push(to(&moved, node.inputs[0]));
                continue;
            }
            for value in &mut node.inputs {
                *value = to(&moved, *value);
            }
            moved.push(Value::Node(nodes.len()));
            nodes.push(node);
            shapes.push(self.shapes[id]);
        }
        Self::connected(self.input, nodes, shapes)
    }
}

/// The shape of each node's value, operands and shapes checked.
fn shapes(input: Shape, nodes: &[Node]) -> Result<Vec<Shape>, Error> {
    if input.is_empty() {
        return Err(Error::node(INPUT, format!("images of {input}")));
    }
    if nodes.is_empty() {
        return Err(Error::node(INPUT, "a network without a node".into()));
    }
    let mut shapes: Vec<Shape> = Vec::with_capacity(nodes.len());
    for (position, node) in nodes.iter().enumerate() {
        let fail = |problem: String| Err(Error::node(&node.name, problem));
        if !node.op.reads(node.inputs.len()) {
            return fail(format!("{} operands", node.inputs.len()));
        }
        let mut read = Vec::with_capacity(2);
        for &value in &node.inputs {
            read.push(match value {
                Value::Input => input,
                Value::Node(id) if id < position => shapes[id],
                Value::Node(_) => return fail("it reads what is made behind it".into()),
            });
        }
        match node.op.output(&read) {
            Ok(shape) if !shape.is_empty() => shapes.push(shape),
            Ok(shape) => return fail(format!("it makes a map of {shape}")),
            Err(problem) => return fail(problem),
        }
    }
    Ok(shapes)
}

/// Where a value's readers stand.
fn slot(value: Value) -> usize {
    match value {
        Value::Input => 0,
        Value::Node(id) => id + 1,
    }
}
