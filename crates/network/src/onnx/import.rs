//! From the messages to a [`Network`]: nodes in an order in which they can be computed, one operator after the other.
//!
//! A tensor of the file is either a [`Constant`], computed at once, or a [`View`] of a value. What an operator does stands in
//! `operators/`; here are the names, the order, and what is left when all is done: nodes that nobody needs go, a softmax at the end is
//! dropped, and what comes out must be classes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use engine::{Code, Shape};
use prost::Message;

use super::constant::Constant;
use super::file::Folder;
use super::operators;
use super::proto;
use super::view::View;
use super::write::Integer;
use crate::error::{Error, quoted};
use crate::network::Network;
use crate::op::Op;
use crate::tensors::{HostTensor, StateDict};
use crate::topology::{Node, NodeId, Topology, Value};

/// Operator sets whose rules are known.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;
/// Numbers that operators may read of constants, make of them, or list: so many, and so many for each byte of the file. A weight of 8
/// bits is read, computed, turned and read again.
const MOST_NUMBERS: usize = 1 << 22;
const NUMBERS_A_BYTE: usize = 16;
/// Nodes that a file may have.
const MOST_NODES: usize = 1 << 20;

/// A tensor of the file.
#[derive(Clone)]
pub(crate) enum Known {
    Constant(Rc<Constant>),
    View(View),
}

/// What is known so far.
pub(crate) struct Import {
    pub opset: i64,
    /// Images in a batch, where the file fixes it; else 1.
    pub batch: usize,
    images: Shape,
    nodes: Vec<Node>,
    shapes: Vec<Shape>,
    pub tensors: StateDict,
    values: HashMap<String, Known>,
    /// How many operators read a tensor of the file; the result counts as one.
    readers: HashMap<String, usize>,
    /// Values that several operators read, or one of which a tensor of the file is another view that several read.
    shared: HashSet<Value>,
    /// The number type of the images, or what they are cast to.
    pub element: i32,
    /// The tensor of the file that is the result.
    pub output: String,
    names: HashSet<String>,
    /// The number that was last put behind a name.
    numbered: HashMap<String, usize>,
    /// Numbers that constants may still have: read by operators, computed, listed in nodes.
    left: usize,
    /// What of the file was passed over or taken to be so.
    pub notes: BTreeMap<String, usize>,
    /// What values are rounded to; none where a value is rounded in two ways.
    codes: HashMap<Value, Option<Code>>,
    /// Scales and bits of layers' weights.
    pub grids: HashMap<Value, (Vec<f32>, u32)>,
}

/// A network of a file, and sentences about what the file leaves open or was passed over.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The network, for images of the file's size.
    pub network: Network,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// SHA-256 of the file's bytes.
    pub file_sha256: String,
    /// What the file's own quantizers round values to, by the names of values.
    pub codes: BTreeMap<String, Code>,
    /// What they round layers' weights to, by the names of layers: a scale for each output channel, and bits.
    pub weights: BTreeMap<String, (Vec<f32>, u32)>,
}

/// The network of `model`, which lies in `folder`.
pub(crate) fn import(model: proto::Model, folder: &Path) -> Result<Imported, Error> {
    let file = model.encoded_len();
    let own = |set: &&proto::OperatorSet| is_standard(&set.domain);
    let opset = model
        .opset_import
        .iter()
        .find(own)
        .map_or(1, |set| set.version);
    if !OPSETS.contains(&opset) {
        return Err(Error::onnx(format!(
            "operator set {opset}; {} to {} are read",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    let graph = model
        .graph
        .ok_or_else(|| Error::onnx("a model without a graph".to_owned()))?;
    if graph.node.len() > MOST_NODES || graph.initializer.len() > MOST_NODES {
        return Err(Error::onnx(format!("{} nodes", graph.node.len())));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(Error::onnx("sparse tensors are not read".to_owned()));
    }
    let [output] = &graph.output[..] else {
        return Err(Error::onnx(format!(
            "{} results ({}); a classifier has one",
            graph.output.len(),
            listed(graph.output.iter().map(|info| &info.name))
        )));
    };
    let mut import = Import {
        opset,
        batch: 1,
        images: Shape::new(1, 1, 1),
        nodes: Vec::new(),
        shapes: Vec::new(),
        tensors: StateDict::new(),
        values: HashMap::new(),
        readers: HashMap::new(),
        shared: HashSet::new(),
        element: 1,
        output: output.name.clone(),
        names: HashSet::from([engine::INPUT.to_owned()]),
        numbered: HashMap::new(),
        left: MOST_NUMBERS.saturating_add(file.saturating_mul(NUMBERS_A_BYTE)),
        notes: BTreeMap::new(),
        codes: HashMap::new(),
        grids: HashMap::new(),
    };
    let order = order(&graph)?;
    let needed: HashSet<&str> = order
        .iter()
        .flat_map(|&index| &graph.node[index].input)
        .map(String::as_str)
        .collect();
    let folder = Folder(folder);
    for tensor in &graph.initializer {
        if needed.contains(tensor.name.as_str()) || tensor.name == output.name {
            let constant = Constant::read(tensor, &folder)?;
            if tensor.data_location != 0 {
                let more = constant.len().saturating_mul(NUMBERS_A_BYTE);
                import.left = import.left.saturating_add(more);
            }
            import.define(&tensor.name, Known::Constant(Rc::new(constant)))?;
        }
    }
    for &index in &order {
        for name in &graph.node[index].input {
            *import.readers.entry(name.clone()).or_default() += 1;
        }
    }
    *import.readers.entry(output.name.clone()).or_default() += 1;
    let input = import.input(&graph, &needed)?;
    for &index in &order {
        let node = &graph.node[index];
        let made = operators::run(&mut import, node, &folder).map_err(|problem| {
            let what = if node.name.is_empty() {
                node.output.first()
            } else {
                Some(&node.name)
            };
            let what = what
                .map(|name| format!(" {}", quoted(name)))
                .unwrap_or_default();
            Error::onnx(format!("{}{what}: {problem}", shown(&node.op_type)))
        })?;
        for (name, known) in node.output.iter().zip(made) {
            if !name.is_empty() {
                import.define(name, known)?;
            }
        }
    }
    import.finish(output, input)
}

/// Numbers that an operation lists.
fn listed_numbers(op: &Op) -> usize {
    let axis = |axis: &engine::Axis| match axis {
        engine::Axis::Whole => 0,
        engine::Axis::Of(places) => places.len(),
    };
    match op {
        Op::Gather(gather) => axis(&gather.channels) + axis(&gather.rows) + axis(&gather.columns),
        Op::ClipEach(ends) => ends.len(),
        _ => 0,
    }
}

/// The operator, for a message.
fn shown(op_type: &str) -> String {
    let plain = op_type.len() < 40 && op_type.chars().all(|c| c.is_ascii_alphanumeric());
    match plain && !op_type.is_empty() {
        true => op_type.to_owned(),
        false => quoted(op_type),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.take(4).map(|name| quoted(name)).collect();
    names.join(", ")
}

/// Whether a domain is ONNX's own.
pub(crate) fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The nodes that the result needs, each behind those that it reads.
fn order(graph: &proto::Graph) -> Result<Vec<usize>, Error> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    let given: HashSet<&str> = (graph.initializer.iter().map(|t| t.name.as_str()))
        .chain(graph.input.iter().map(|info| info.name.as_str()))
        .collect();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if given.contains(name.as_str()) || maker.insert(name, index).is_some() {
                return Err(Error::onnx(format!(
                    "tensor {} is made twice",
                    quoted(name)
                )));
            }
        }
    }
    let output = graph.output.first().map_or("", |info| &info.name);
    let mut order = Vec::new();
    // 0: not seen, 1: waits for what it reads, 2: done.
    let mut state = vec![0_u8; graph.node.len()];
    let mut stack: Vec<(usize, usize)> = Vec::new();
    let start = maker.get(output).copied();
    if start.is_none() && !given.contains(output) {
        return Err(Error::onnx(format!(
            "nothing makes the result {}",
            quoted(output)
        )));
    }
    stack.extend(start.map(|index| (index, 0)));
    while let Some((index, next)) = stack.pop() {
        state[index] = 1;
        let node = &graph.node[index];
        match node.input.get(next) {
            None => {
                state[index] = 2;
                order.push(index);
            }
            Some(name) => {
                stack.push((index, next + 1));
                let Some(&before) = maker.get(name.as_str()) else {
                    let is_absent = name.is_empty() || given.contains(name.as_str());
                    match is_absent {
                        true => continue,
                        false => {
                            return Err(Error::onnx(format!(
                                "{} reads {}, which nothing makes",
                                shown(&node.op_type),
                                quoted(name)
                            )));
                        }
                    }
                };
                match state[before] {
                    0 => stack.push((before, 0)),
                    1 => {
                        return Err(Error::onnx(format!(
                            "{} reads {}, which is made of its own result",
                            shown(&node.op_type),
                            quoted(name)
                        )));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(order)
}

impl Import {
    fn define(&mut self, name: &str, known: Known) -> Result<(), Error> {
        if let (Known::View(view), 2..) = (&known, self.readers(name)) {
            self.shared.insert(view.value);
        }
        match self.values.insert(name.to_owned(), known) {
            None => Ok(()),
            Some(_) => Err(Error::onnx(format!(
                "tensor {} is there twice",
                quoted(name)
            ))),
        }
    }

    /// The images: the one input that is no initializer and that something reads.
    fn input(&mut self, graph: &proto::Graph, needed: &HashSet<&str>) -> Result<View, Error> {
        let initialized: HashSet<&str> =
            graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let free = |info: &&proto::ValueInfo| !initialized.contains(info.name.as_str());
        let used = |info: &&proto::ValueInfo| needed.contains(info.name.as_str());
        let inputs: Vec<_> = graph.input.iter().filter(free).filter(used).collect();
        let [input] = inputs[..] else {
            return Err(Error::onnx(format!(
                "{} inputs ({}); a classifier reads images alone",
                inputs.len(),
                listed(inputs.iter().map(|info| &info.name))
            )));
        };
        let fail = |problem: String| {
            Err(Error::onnx(format!(
                "input {}: {problem}",
                quoted(&input.name)
            )))
        };
        let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
        let Some(tensor) = tensor else {
            return fail("no tensor".to_owned());
        };
        // float32, float16, float64, and bytes that are cast.
        self.element = tensor.element;
        if ![1, 2, 10, 11].contains(&tensor.element) {
            return fail(format!("numbers of type {}, not float32", tensor.element));
        }
        let Some(shape) = &tensor.shape else {
            return fail("its shape is not said".to_owned());
        };
        let extents: Vec<i64> = shape.dim.iter().map(|dim| dim.value).collect();
        let sane = |&extent: &i64| (1..=1 << 16).contains(&extent);
        let Some((&batch, rest)) = extents.split_first() else {
            return fail("a single number".to_owned());
        };
        self.batch = if sane(&batch) { batch as usize } else { 1 };
        if !rest.iter().all(sane) {
            return fail(format!(
                "extents {extents:?}; those behind the first must be said (export the model for a fixed image size)"
            ));
        }
        let view = match *rest {
            [a, b, c] if channels_last(graph, &input.name) => {
                let shape = Shape::new(c as usize, a as usize, b as usize);
                self.note("images with channels last".to_owned());
                View::channels_last(Value::Input, shape)
            }
            [c, h, w] => View::map(Value::Input, Shape::new(c as usize, h as usize, w as usize)),
            [features] => View::flat(Value::Input, Shape::new(features as usize, 1, 1)),
            _ => return fail(format!("extents {extents:?}, not images [n, c, h, w]")),
        };
        self.images = view.shape;
        self.define(&input.name, Known::View(view.clone()))?;
        Ok(view)
    }

    /// A value is rounded to `code`.
    pub fn quantized(&mut self, value: Value, code: Code) {
        let known = self.codes.entry(value).or_insert(Some(code));
        let step = |code: Code| (code.scale, code.zero_point);
        // Rounded again to the same steps: what was cut before stays cut.
        if known.map(step) != Some(step(code)) {
            *known = None;
        }
    }

    /// What a value is rounded to.
    pub fn code(&self, value: Value) -> Option<Code> {
        self.codes.get(&value).copied().flatten()
    }

    /// The value whose numbers these are, moved or not.
    pub fn source(&self, mut value: Value) -> Value {
        while let Some(node) = self.node(value).filter(|node| node.op.is_copy()) {
            value = node.inputs[0];
        }
        value
    }

    /// The codes of a value are cut to `low` and `high`.
    pub fn narrowed(&mut self, value: Value, low: i64, high: i64) {
        if let Some(Some(code)) = self.codes.get_mut(&value) {
            code.quant_min = code.quant_min.max(low.clamp(-70_000, 70_000) as i32);
            code.quant_max = code.quant_max.min(high.clamp(-70_000, 70_000) as i32);
        }
    }

    /// Whether a value has codes and the type of that number holds them all.
    pub fn holds_codes(&self, value: Value, kind: i32) -> bool {
        let Some(Some(code)) = self.codes.get(&value) else {
            return false;
        };
        let found = Integer::ALL
            .into_iter()
            .find(|found| found.number() == kind);
        let (low, high) = found.unwrap_or(Integer::Int32).range();
        low <= code.quant_min && code.quant_max <= high
    }

    pub fn note(&mut self, note: String) {
        *self.notes.entry(note).or_default() += 1;
    }

    /// A tensor that a node reads; none where an operand is left out.
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.values.get(name)
    }

    pub fn shape(&self, value: Value) -> Shape {
        match value {
            Value::Input => self.images,
            Value::Node(id) => self.shapes[id],
        }
    }

    /// The node that makes a value which one operator alone reads, so that it may be changed.
    pub fn own(&self, value: Value) -> Option<&Node> {
        self.node(value).filter(|_| !self.shared.contains(&value))
    }

    /// How many read a tensor.
    fn readers(&self, name: &str) -> usize {
        self.readers.get(name).copied().unwrap_or(0)
    }

    pub fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Input => None,
            Value::Node(id) => self.nodes.get(id),
        }
    }

    pub fn node_mut(&mut self, value: Value) -> Option<&mut Node> {
        match value {
            Value::Input => None,
            Value::Node(id) => self.nodes.get_mut(id),
        }
    }

    /// Numbers that constants may still have.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Fewer by so many.
    pub fn spend(&mut self, numbers: usize) -> Result<(), String> {
        let left = self.left.checked_sub(numbers);
        self.left = left
            .ok_or("its constants grow beyond what a file of its size can mean: a memory bomb")?;
        Ok(())
    }

    /// Adds a node under a name that resembles `name`, its value as a map.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[&View]) -> Result<View, String> {
        let name = self.unique(name);
        let shapes: Vec<Shape> = inputs.iter().map(|view| view.shape).collect();
        let shape = op.output(&shapes)?;
        if super::constant::elements(&[shape.channels, shape.height, shape.width])
            .is_none_or(|n| n > LARGEST_MAP)
        {
            return Err(format!("makes a map of {shape}"));
        }
        self.spend(listed_numbers(&op))?;
        let inputs = inputs.iter().map(|view| view.value).collect();
        self.nodes.push(Node { name, op, inputs });
        self.shapes.push(shape);
        Ok(View::map(Value::Node(self.nodes.len() - 1), shape))
    }

    /// A tensor of the node that makes a value.
    pub fn set(&mut self, value: Value, part: &str, tensor: HostTensor) {
        if let Some(node) = self.node(value) {
            let name = format!("{}.{part}", node.name);
            self.tensors.insert(name, tensor);
        }
    }

    /// A name like `wanted` that no node has, without what would break a line or a path.
    fn unique(&mut self, wanted: &str) -> String {
        let clean: String = wanted
            .chars()
            .take(LONGEST_NAME)
            .map(|c| {
                if c.is_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let clean = if clean.is_empty() {
            "node".to_owned()
        } else {
            clean
        };
        let mut name = clean.clone();
        // Those below were taken the last time.
        let mut number = self.numbered.get(&clean).copied().unwrap_or(1);
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{clean}_{number}");
        }
        self.numbered.insert(clean, number);
        name
    }

    /// `view` as a map, with its channels put in order where a shuffle has moved them.
    pub fn as_map(&mut self, name: &str, view: &View) -> Result<View, String> {
        if view.is_map() {
            return Ok(view.clone());
        }
        if let Some(channels) = view.shuffled_channels() {
            let channels = engine::Axis::Of(channels.into_iter().map(Some).collect());
            let gather = engine::Gather {
                channels,
                ..engine::Gather::WHOLE
            };
            let value = View::map(view.value, view.shape);
            return self.push(&format!("{name}.shuffle"), Op::Gather(gather), &[&value]);
        }
        Err(format!(
            "its operand is [n, {}] in an order that is no map [n, c, h, w]",
            view.extents()
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ))
    }

    /// Drops what nobody needs.
    fn finish(mut self, output: &proto::ValueInfo, input: View) -> Result<Imported, Error> {
        let Some(Known::View(view)) = self.get(&output.name).cloned() else {
            let problem = "the result does not depend on the images";
            return Err(Error::onnx(problem.to_owned()));
        };
        let view = match view.is_flat() {
            true => view,
            false => {
                let ordered = self.as_map("result", &view);
                ordered.map_err(|problem| Error::onnx(format!("the result: {problem}")))?
            }
        };
        let view = match view.value {
            Value::Node(_) => view,
            // Nothing but the shape was changed.
            Value::Input => self
                .push("result", Op::Gather(engine::Gather::WHOLE), &[&view])
                .map_err(Error::onnx)?,
        };
        let Value::Node(last) = view.value else {
            return Err(Error::onnx("nothing is done with the images".to_owned()));
        };
        let mut needed = vec![false; self.nodes.len()];
        let mut stack = vec![last];
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut needed[id], true) {
                stack.extend(
                    self.nodes[id]
                        .inputs
                        .iter()
                        .filter_map(|&value| match value {
                            Value::Input => None,
                            Value::Node(id) => Some(id),
                        }),
                );
            }
        }
        let mut moved: Vec<NodeId> = vec![usize::MAX; self.nodes.len()];
        let mut nodes: Vec<Node> = Vec::new();
        let mut tensors = StateDict::new();
        for (id, mut node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            if !needed[id] {
                continue;
            }
            for value in &mut node.inputs {
                if let Value::Node(from) = value {
                    *from = moved[*from];
                }
            }
            for part in ["weight", "bias", "running_mean", "running_var"] {
                let name = format!("{}.{part}", node.name);
                if let Some(tensor) = self.tensors.remove(&name) {
                    check(&name, &tensor)?;
                    tensors.insert(name, tensor);
                }
            }
            moved[id] = nodes.len();
            nodes.push(node);
        }
        let topology = Topology::new(input.shape, nodes)?;
        let name = |value: Value| match value {
            Value::Input => Some(engine::INPUT.to_owned()),
            Value::Node(id) if needed[id] => Some(topology.node(moved[id]).name.clone()),
            Value::Node(_) => None,
        };
        let codes = self
            .codes
            .iter()
            .filter_map(|(&value, code)| Some((name(value)?, (*code)?)));
        let codes = codes.collect();
        let weights = self
            .grids
            .into_iter()
            .filter_map(|(value, grid)| Some((name(value)?, grid)));
        let weights = weights.collect();
        let notes = self.notes.into_iter().map(|(note, times)| match times {
            1 => note,
            times => format!("{note} ({times} times)"),
        });
        Ok(Imported {
            network: Network::new(topology, tensors)?,
            notes: notes.collect(),
            file_sha256: String::new(),
            codes,
            weights,
        })
    }
}

/// Whether images are `[n, h, w, c]`: what reads them, through operations of each element, puts channels first.
fn channels_last(graph: &proto::Graph, input: &str) -> bool {
    const ELEMENTWISE: [&str; 6] = ["Add", "Cast", "Div", "Identity", "Mul", "Sub"];
    let mut name = input;
    for _ in 0..ELEMENTWISE.len() {
        let reads = |node: &&proto::Node| node.input.iter().any(|other| other == name);
        let readers: Vec<_> = graph.node.iter().filter(reads).collect();
        let transposes = |node: &&proto::Node| {
            let order = node.attribute.iter().find(|a| a.name == "perm");
            node.op_type == "Transpose" && order.is_some_and(|a| a.ints == [0, 3, 1, 2])
        };
        match &readers[..] {
            all if !all.is_empty() && all.iter().all(transposes) => return true,
            [one] if ELEMENTWISE.contains(&one.op_type.as_str()) => match one.output.first() {
                Some(output) => name = output,
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

/// Elements of a map: as many as the engine can address.
const LARGEST_MAP: usize = 1 << 27;
/// Letters of a name.
const LONGEST_NAME: usize = 200;

/// Finite numbers, and variances that have a root.
fn check(name: &str, tensor: &HostTensor) -> Result<(), Error> {
    let variance = name.ends_with(".running_var");
    let wrong = |x: &f32| !x.is_finite() || (variance && *x < 0.0);
    match tensor.data.iter().position(wrong) {
        None => Ok(()),
        Some(index) => Err(Error::onnx(format!(
            "tensor {}: number {index} is {}",
            quoted(name),
            tensor.data[index]
        ))),
    }
}
