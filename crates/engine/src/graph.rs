//! A network as a flat list of nodes: what is computed, in which order, with which shapes.
//!
//! A node reads one value (and a second one, where it adds), and makes one value of its own name. Values are maps
//! `[n, c, h, w]` for any number of images `n`; a [`Shape`] is the part that does not depend on `n`. A convolution is
//!
//! ```text
//! acc[o, y, x] = sum over i, ky, kx of  w[o, i, ky, kx] * in[i, y * stride + ky * dilation - padding, ...]
//! out = clip?( (acc + bias[o]) * scale[o] + shift[o] + add[o, y, x] )
//! ```
//!
//! with `i` running over the input channels of the group of `o`, and zero outside the map. `scale` and `shift` are a
//! bias alone (`scale` absent), or what is left of a BatchNorm that was kept apart.
//!
//! # Quantized graphs
//!
//! A value may have a [`Code`]: then it holds numbers `scale * (q - zero_point)` alone, and what a node computes is
//! rounded to the nearest of them when everything else, addition and clipping included, is done. [`Node::inner`] rounds a
//! convolution's own result too, before the addition. Where weights have codes, [`Conv::weight`] holds
//! `q - zero_point` and [`Conv::scale`] their scale; an int32 bias is [`Conv::bias`]. What happens to the codes is
//! written down in `epilogue.rs`, once for float and integer execution.
//!
//! [`Graph::new`] checks everything that can be wrong; what comes out of it can be compiled and run.

use std::collections::HashMap;

use quant_core::Rounding;

use crate::error::Error;
use crate::function::Function;
use crate::gather::Gather;
use crate::shape::{Padding, Shape, Window};

/// What the codes of a value mean: equations (1) and (2) of `quant-core`.
pub type Code = quant_core::QParams;

/// The name under which nodes read the images.
pub const INPUT: &str = "input";

/// A convolution's weights and geometry.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// `[outputs, inputs / groups, kernel rows, kernel columns]`, row-major.
    pub weight: Vec<f32>,
    /// Output channels.
    pub outputs: usize,
    /// Blocks of channels that do not see each other.
    pub groups: usize,
    /// The window.
    pub window: Window,
    /// Added to the sum, per output channel, in units of the sum of the input's codes times [`Conv::weight`]; absent: 0.
    pub bias: Option<Vec<i32>>,
    /// Multiplies the sum, per output channel; absent: 1.
    pub scale: Option<Vec<f32>>,
    /// Added behind it, per output channel; absent: 0.
    pub shift: Option<Vec<f32>>,
}

/// A fully connected layer on maps of one pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[outputs, inputs]`, row-major, as in PyTorch.
    pub weight: Vec<f32>,
    /// Outputs.
    pub outputs: usize,
    /// Added, per output; absent: 0.
    pub bias: Option<Vec<f32>>,
}

impl From<Linear> for Conv {
    /// The same as a convolution with one tap.
    fn from(linear: Linear) -> Self {
        Self {
            weight: linear.weight,
            outputs: linear.outputs,
            groups: 1,
            window: Window::square(1, 1, 0),
            bias: None,
            scale: None,
            shift: linear.bias,
        }
    }
}

/// What a node does with its input.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution.
    Conv(Conv),
    /// Fully connected layer.
    Linear(Linear),
    /// Largest value in the window; pixels outside the map do not count. A NaN wins.
    MaxPool(Window),
    /// Mean over the window. Of the pixels outside the map those within `counted` are counted as zeros, the others not at all.
    AvgPool {
        /// The window.
        window: Window,
        /// The window's padding for PyTorch's default (`count_include_pad`), none for the mean over the map's own pixels alone.
        counted: Padding,
    },
    /// Option A of He et al. 2016, section 4.2: every `stride`-th pixel, `before` zero channels in front of the input's
    /// and `behind` behind them.
    Subsample {
        /// Steps between the pixels kept.
        stride: usize,
        /// Zero channels in front.
        before: usize,
        /// Zero channels behind.
        behind: usize,
    },
    /// A function of each element.
    Function(Function),
    /// The product with the first of [`Node::others`], which has the same shape or, for each channel, one pixel.
    Multiply,
    /// The channels of the input, then those of [`Node::others`].
    Concat,
    /// Channels, rows and columns of the input, chosen.
    Gather(Gather),
    /// `min(max(x, low), high)`, each channel by ends of its own.
    ClipEach(Vec<Clip>),
    /// The input itself: with [`Node::add`] and [`Node::clip`], an addition and a ReLU of their own.
    Identity,
}

impl Op {
    /// How many weights it has.
    pub fn weights(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.weight.len(),
            Self::Linear(linear) => linear.weight.len(),
            _ => 0,
        }
    }

    /// The mean over a window, pixels of its padding counting as zeros, as in PyTorch's default.
    pub fn avg_pool(window: Window) -> Self {
        let counted = window.padding;
        Self::AvgPool { window, counted }
    }

    /// Whether what it makes keeps the codes of what it reads: it hands numbers on as they are, or cuts them off, and codes between
    /// the codes of the ends are those of the numbers between the ends.
    pub fn is_copy(&self) -> bool {
        matches!(
            self,
            Op::MaxPool(_) | Op::Subsample { .. } | Op::Gather(_) | Op::ClipEach(_)
        )
    }
}

/// `min(max(x, low), high)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The smallest value that comes out.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl Clip {
    /// max(x, 0).
    pub const RELU: Self = Self {
        low: 0.0,
        high: f32::INFINITY,
    };
    /// Nothing happens.
    pub(crate) const NONE: Self = Self {
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };

    /// Of one value; a NaN stays one.
    #[inline(always)]
    pub(crate) fn of(self, x: f32) -> f32 {
        let x = if x < self.low { self.low } else { x };
        if x > self.high { self.high } else { x }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, and that of its value.
    pub name: String,
    /// What it reads: a node's name or [`INPUT`].
    pub input: String,
    /// What it does.
    pub op: Op,
    /// What else the operation reads.
    pub others: Vec<String>,
    /// A value of the output's shape that is added; for convolutions, linear layers and [`Op::Identity`].
    pub add: Option<String>,
    /// Whether that is the first of the two summands. Only ONNX Runtime's arithmetic, which rounds on the way, asks.
    pub is_added_first: bool,
    /// What comes last; for the same.
    pub clip: Option<Clip>,
    /// What its value is rounded to; absent: it stays real.
    pub code: Option<Code>,
    /// What the operation's own result is rounded to before something is added.
    pub inner: Option<Code>,
}

impl Node {
    /// A node without addition and ReLU.
    pub fn new(name: impl Into<String>, input: impl Into<String>, op: Op) -> Self {
        Self {
            name: name.into(),
            input: input.into(),
            op,
            others: Vec::new(),
            add: None,
            is_added_first: false,
            clip: None,
            code: None,
            inner: None,
        }
    }

    /// The same with more operands.
    pub fn with<T: Into<String>>(mut self, others: impl IntoIterator<Item = T>) -> Self {
        self.others = others.into_iter().map(Into::into).collect();
        self
    }

    /// The same with another value added to its output.
    pub fn plus(mut self, value: impl Into<String>) -> Self {
        self.add = Some(value.into());
        self
    }

    /// The same with a ReLU behind it.
    pub fn with_relu(mut self) -> Self {
        self.clip = Some(Clip::RELU);
        self
    }

    /// The same with its value rounded to codes.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }
}

/// A node that has its place: values are numbered, 0 being the images and `i + 1` what node `i` makes.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub node: Node,
    pub input: usize,
    pub others: Vec<usize>,
    pub add: Option<usize>,
    pub shape: Shape,
}

/// A checked network in an order in which it can run.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) input: Shape,
    pub(crate) input_code: Option<Code>,
    pub(crate) nodes: Vec<Placed>,
    pub(crate) output: usize,
}

impl Graph {
    /// Checks `nodes`, given in any order, for images of shape `input`; `output` names the node whose value is wanted.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::Dangling`], [`Error::Cycle`], [`Error::Unused`], [`Error::Shape`].
    pub fn new(input: Shape, nodes: Vec<Node>, output: &str) -> Result<Self, Error> {
        Self::quantized(input, None, nodes, output)
    }

    /// [`Graph::new`] for images that are rounded to the codes of `input_code` first.
    ///
    /// # Errors
    /// As [`Graph::new`], and [`Error::Code`].
    pub fn quantized(
        input: Shape,
        input_code: Option<Code>,
        nodes: Vec<Node>,
        output: &str,
    ) -> Result<Self, Error> {
        if input.is_empty() {
            return Err(shape_error(INPUT, format!("images of {input}")));
        }
        let order = order(&nodes, output)?;
        let mut value_of = HashMap::from([(INPUT.to_owned(), 0)]);
        let mut shapes = vec![input];
        let mut codes = vec![checked_code(INPUT, input_code)?];
        let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let mut placed = Vec::with_capacity(order.len());
        for node in order.into_iter().filter_map(|index| slots[index].take()) {
            let read = value_of[&node.input];
            let others: Vec<usize> = node.others.iter().map(|name| value_of[name]).collect();
            let other_shapes: Vec<Shape> = others.iter().map(|&other| shapes[other]).collect();
            let shape = output_shape(&node, shapes[read], &other_shapes)?;
            let add = node.add.as_ref().map(|name| value_of[name]);
            if let Some(add) = add
                && shapes[add] != shape
            {
                return Err(shape_error(
                    &node.name,
                    format!("adds a value of {} to one of {shape}", shapes[add]),
                ));
            }
            shapes.push(shape);
            check_codes(&node, codes[read])?;
            codes.push(node.code);
            value_of.insert(node.name.clone(), placed.len() + 1);
            placed.push(Placed {
                node,
                input: read,
                others,
                add,
                shape,
            });
        }
        Ok(Self {
            input,
            input_code,
            output: value_of[output],
            nodes: placed,
        })
    }

    /// The shape of one image.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The shape of one image's result.
    pub fn output(&self) -> Shape {
        self.shape(self.output)
    }

    /// Name and output shape of every node in the order in which they run.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Shape)> {
        self.nodes
            .iter()
            .map(|placed| (placed.node.name.as_str(), placed.shape))
    }

    /// Whether anything is rounded to codes.
    pub fn is_quantized(&self) -> bool {
        let rounds = |node: &Node| node.code.is_some() || node.inner.is_some();
        self.input_code.is_some() || self.nodes.iter().any(|placed| rounds(&placed.node))
    }

    /// What the codes of a value mean.
    pub(crate) fn code(&self, value: usize) -> Option<Code> {
        match value {
            0 => self.input_code,
            _ => self.nodes[value - 1].node.code,
        }
    }

    pub(crate) fn shape(&self, value: usize) -> Shape {
        match value {
            0 => self.input,
            _ => self.nodes[value - 1].shape,
        }
    }
}

/// The smallest and the largest code of a value, behind a clipping if there is one: rounding is monotone, so the codes of a
/// clipped value are those between the codes of the ends.
pub(crate) fn ends(code: Code, clip: Option<Clip>) -> [i32; 2] {
    let Clip { low, high } = clip.unwrap_or(Clip::NONE);
    [low, high].map(|end| code.quantize(end, Rounding::HalfEven, 0))
}

/// A code that can be computed with.
fn checked_code(value: &str, code: Option<Code>) -> Result<Option<Code>, Error> {
    let Some(Code {
        scale,
        zero_point,
        quant_min,
        quant_max,
    }) = code
    else {
        return Ok(None);
    };
    if scale.is_normal() && scale > 0.0 && (quant_min..=quant_max).contains(&zero_point) {
        return Ok(code);
    }
    Err(code_error(
        value,
        format!(
            "scale {scale} must be above 0, and zero point {zero_point} one of the codes {quant_min} to {quant_max}"
        ),
    ))
}

/// The codes of a node whose input has the code given.
fn check_codes(node: &Node, input: Option<Code>) -> Result<(), Error> {
    checked_code(&node.name, node.code)?;
    checked_code(&node.name, node.inner)?;
    if node.inner.is_some() && node.add.is_none() {
        return Err(code_error(
            &node.name,
            "codes before an addition, but nothing is added".into(),
        ));
    }
    if node.inner.is_some() && matches!(node.op, Op::Identity) {
        return Err(code_error(
            &node.name,
            "an addition of its own has no codes of its own before it; those are its input's"
                .into(),
        ));
    }
    if node.op.is_copy() && node.code != input {
        return Err(code_error(
            &node.name,
            "a value that is copied keeps its codes; those of input and output differ".into(),
        ));
    }
    Ok(())
}

pub(crate) fn code_error(value: &str, detail: String) -> Error {
    Error::Code {
        value: value.to_owned(),
        detail,
    }
}

fn shape_error(node: &str, detail: String) -> Error {
    Error::Shape {
        node: node.to_owned(),
        detail,
    }
}

/// Indices of `nodes` so that each comes after what it reads, otherwise as they were given.
fn order(nodes: &[Node], output: &str) -> Result<Vec<usize>, Error> {
    let mut index_of = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.name == INPUT || index_of.insert(node.name.as_str(), index).is_some() {
            return Err(Error::Duplicate {
                node: node.name.clone(),
            });
        }
    }
    let dangling = |node: &str, input: &str| Error::Dangling {
        node: node.to_owned(),
        input: input.to_owned(),
    };
    let last = *index_of
        .get(output)
        .ok_or_else(|| dangling("output", output))?;
    let mut reads = Vec::with_capacity(nodes.len());
    let mut used = vec![false; nodes.len()];
    used[last] = true;
    for node in nodes {
        let mut from = Vec::new();
        for name in std::iter::once(&node.input)
            .chain(&node.others)
            .chain(&node.add)
        {
            if name != INPUT {
                let index = *index_of
                    .get(name.as_str())
                    .ok_or_else(|| dangling(&node.name, name))?;
                used[index] = true;
                from.push(index);
            }
        }
        reads.push(from);
    }
    let mut order = Vec::with_capacity(nodes.len());
    let mut done = vec![false; nodes.len()];
    while order.len() < nodes.len() {
        let before = order.len();
        for index in 0..nodes.len() {
            if !done[index] && reads[index].iter().all(|&from| done[from]) {
                done[index] = true;
                order.push(index);
            }
        }
        if order.len() == before {
            let waiting: Vec<_> = (0..nodes.len())
                .filter(|&index| !done[index])
                .map(|index| format!("`{}`", nodes[index].name))
                .collect();
            return Err(Error::Cycle {
                nodes: waiting.join(", "),
            });
        }
    }
    match used.iter().position(|used| !used) {
        Some(index) => Err(Error::Unused {
            node: nodes[index].name.clone(),
        }),
        None => Ok(order),
    }
}

/// The shape a node makes of its input, everything about the node checked.
fn output_shape(node: &Node, input: Shape, others: &[Shape]) -> Result<Shape, Error> {
    let fail = |detail: String| Err(shape_error(&node.name, detail));
    let fuses = matches!(node.op, Op::Conv(_) | Op::Linear(_) | Op::Identity);
    if !fuses && (node.add.is_some() || node.clip.is_some()) {
        return fail("only convolutions, linear layers and identities add or clip".into());
    }
    let each = match &node.op {
        Op::ClipEach(each) => &each[..],
        _ => &[],
    };
    let wrong = |Clip { low, high }: &Clip| low.is_nan() || high.is_nan() || low > high;
    if let Some(Clip { low, high }) = node.clip.iter().chain(each).find(|clip| wrong(clip)) {
        return fail(format!("clips to {low} .. {high}"));
    }
    let wanted = match node.op {
        Op::Multiply => 1..=1,
        Op::Concat => 1..=usize::MAX,
        _ => 0..=0,
    };
    if !wanted.contains(&others.len()) {
        return fail(format!("{} operands more", others.len()));
    }
    let shape = match &node.op {
        Op::Conv(conv) => {
            let Conv {
                outputs, groups, ..
            } = *conv;
            if groups == 0
                || outputs == 0
                || !input.channels.is_multiple_of(groups)
                || !outputs.is_multiple_of(groups)
            {
                return fail(format!(
                    "{groups} groups do not divide {} input and {outputs} output channels",
                    input.channels
                ));
            }
            let [height, width] = match conv.window.output(input) {
                Ok(size) => size,
                Err(detail) => return fail(detail),
            };
            let [rows, columns] = conv.window.kernel;
            let expected = [input.channels / groups, rows, columns]
                .into_iter()
                .try_fold(outputs, usize::checked_mul);
            check_len(node, "weights", conv.weight.len(), expected)?;
            let biases = conv.bias.as_ref().map_or(outputs, Vec::len);
            check_len(node, "biases", biases, Some(outputs))?;
            for (what, values) in [("scales", &conv.scale), ("shifts", &conv.shift)] {
                if let Some(values) = values {
                    check_len(node, what, values.len(), Some(outputs))?;
                }
            }
            Shape::new(outputs, height, width)
        }
        Op::Linear(linear) => {
            if (input.height, input.width) != (1, 1) {
                return fail(format!(
                    "a linear layer reads maps of one pixel, not {input}"
                ));
            }
            if linear.outputs == 0 {
                return fail("a linear layer without outputs".into());
            }
            let expected = linear.outputs.checked_mul(input.channels);
            check_len(node, "weights", linear.weight.len(), expected)?;
            if let Some(bias) = &linear.bias {
                check_len(node, "biases", bias.len(), Some(linear.outputs))?;
            }
            Shape::new(linear.outputs, 1, 1)
        }
        Op::MaxPool(window) | Op::AvgPool { window, .. } => {
            let [height, width] = match window.output(input) {
                Ok(size) => size,
                Err(detail) => return fail(detail),
            };
            if !window.exceeds_padding() {
                return fail(format!(
                    "padding of a pool must be smaller than its window: {:?} against {:?}",
                    window.padding, window.kernel
                ));
            }
            if window.dilation != [1, 1] {
                return fail("pools have no dilation".into());
            }
            Shape::new(input.channels, height, width)
        }
        &Op::Subsample {
            stride,
            before,
            behind,
        } => {
            let channels = before
                .checked_add(input.channels)
                .and_then(|sum| sum.checked_add(behind));
            let (Some(channels), true) = (channels, stride > 0) else {
                return fail(format!(
                    "every {stride}-th pixel, {before} channels before and {behind} behind"
                ));
            };
            Shape::new(
                channels,
                input.height.div_ceil(stride),
                input.width.div_ceil(stride),
            )
        }
        Op::Multiply => {
            let gate = Shape::new(input.channels, 1, 1);
            if others[0] != input && others[0] != gate {
                return fail(format!("multiplies {input} by {}", others[0]));
            }
            input
        }
        Op::Concat => {
            let mut channels = input.channels;
            for other in others {
                let sum = channels.checked_add(other.channels);
                match (
                    sum,
                    [other.height, other.width] == [input.height, input.width],
                ) {
                    (Some(sum), true) => channels = sum,
                    _ => return fail(format!("puts {other} behind {input}")),
                }
            }
            Shape::new(channels, input.height, input.width)
        }
        Op::Gather(gather) => match gather.output(input) {
            Ok(shape) => shape,
            Err(detail) => return fail(detail),
        },
        Op::ClipEach(each) => {
            check_len(node, "clippings", each.len(), Some(input.channels))?;
            input
        }
        Op::Function(_) | Op::Identity => input,
    };
    let fits = shape
        .channels
        .checked_mul(shape.height)
        .and_then(|n| n.checked_mul(shape.width))
        .is_some_and(|n| n <= LARGEST);
    if fits {
        Ok(shape)
    } else {
        fail(format!(
            "its value of {shape} has more than {LARGEST} elements"
        ))
    }
}

/// Elements that one image's share of a value may have: offsets into a buffer are 32 bits wide, and there are a few
/// images and a border in it too.
const LARGEST: usize = 1 << 27;

fn check_len(node: &Node, what: &str, found: usize, expected: Option<usize>) -> Result<(), Error> {
    if Some(found) == expected {
        return Ok(());
    }
    let expected = expected.map_or("more than fit in memory".to_owned(), |n| n.to_string());
    Err(shape_error(
        &node.name,
        format!("{found} {what}, expected {expected}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(inputs: usize, outputs: usize, kernel: usize) -> Op {
        Op::Conv(Conv {
            weight: vec![0.5; outputs * inputs * kernel * kernel],
            outputs,
            groups: 1,
            window: Window::square(kernel, 1, kernel / 2),
            bias: None,
            scale: None,
            shift: Some(vec![0.0; outputs]),
        })
    }

    fn node(name: &str, input: &str) -> Node {
        Node::new(name, input, conv(3, 3, 3))
    }

    fn message(nodes: Vec<Node>, output: &str) -> String {
        Graph::new(Shape::new(3, 8, 8), nodes, output)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn nodes_in_any_order_are_put_into_one_that_runs() {
        let nodes = vec![
            node("c", "b").plus("a").with_relu(),
            node("b", "a"),
            node("a", INPUT),
        ];
        let graph = Graph::new(Shape::new(3, 8, 8), nodes, "c").unwrap();
        let names: Vec<_> = graph.nodes().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(graph.output(), Shape::new(3, 8, 8));
    }

    #[test]
    fn what_is_wrong_with_the_edges_is_said_by_name() {
        assert!(
            message(vec![node("a", "b"), node("b", "a")], "b").contains("cycle through `a`, `b`")
        );
        assert!(message(vec![node("a", "a")], "a").contains("cycle through `a`"));
        let self_add = node("a", INPUT).plus("a");
        assert!(message(vec![self_add], "a").contains("cycle"));
        assert!(message(vec![node("a", "z")], "a").contains("`a` reads `z`"));
        assert!(message(vec![node("a", INPUT).plus("y")], "a").contains("`a` reads `y`"));
        assert!(message(vec![node("a", INPUT)], "x").contains("`output` reads `x`"));
        assert!(message(vec![], "x").contains("`output` reads `x`"));
        assert!(
            message(vec![node("a", INPUT), node("a", INPUT)], "a").contains("the name is taken")
        );
        assert!(message(vec![node(INPUT, INPUT)], INPUT).contains("the name is taken"));
        assert!(
            message(vec![node("a", INPUT), node("b", INPUT)], "a").contains("`b`: nothing reads")
        );
    }

    #[test]
    fn what_is_wrong_with_the_shapes_is_said_with_the_values() {
        let one = |op| message(vec![Node::new("a", INPUT, op)], "a");
        assert!(one(conv(4, 3, 3)).contains("108 weights, expected 81"));
        let with = |change: fn(&mut Conv)| {
            let Op::Conv(mut conv) = conv(3, 3, 3) else {
                unreachable!()
            };
            change(&mut conv);
            one(Op::Conv(conv))
        };
        assert!(with(|c| c.groups = 2).contains("2 groups do not divide 3"));
        assert!(with(|c| c.groups = 0).contains("0 groups"));
        assert!(with(|c| c.outputs = 0).contains("0 output channels"));
        assert!(with(|c| c.shift = Some(vec![])).contains("0 shifts, expected 3"));
        assert!(with(|c| c.scale = Some(vec![1.0; 4])).contains("4 scales, expected 3"));
        assert!(with(|c| c.window.stride = [0, 1]).contains("stride 0"));
        assert!(with(|c| c.window.kernel = [11, 3]).contains("11 taps"));
        assert!(with(|c| c.window.dilation = [1, usize::MAX]).contains("does not fit"));
        assert!(with(|c| c.window.padding.top = usize::MAX).contains("does not fit"));
        assert!(with(|c| c.window.padding = Padding::all(1 << 20)).contains("more than"));
        assert!(one(Op::MaxPool(Window::square(2, 2, 2))).contains("smaller than its window"));
        let linear = Op::Linear(Linear {
            weight: vec![],
            outputs: 5,
            bias: None,
        });
        assert!(one(linear).contains("not 3x8x8"));
        let subsample = |stride, before| Op::Subsample {
            stride,
            before,
            behind: 1,
        };
        assert!(one(subsample(0, 1)).contains("0-th"));
        assert!(one(subsample(2, usize::MAX)).contains("channels before"));
        let pool = Node::new("a", INPUT, Op::avg_pool(Window::square(2, 2, 0))).with_relu();
        assert!(message(vec![pool], "a").contains("only convolutions"));
        let added = vec![
            Node::new("a", INPUT, conv(3, 5, 1)),
            Node::new("b", INPUT, conv(3, 3, 1)).plus("a"),
        ];
        assert!(message(added, "b").contains("adds a value of 5x8x8 to one of 3x8x8"));
        let empty = Graph::new(Shape::new(3, 0, 8), vec![node("a", INPUT)], "a");
        assert!(empty.unwrap_err().to_string().contains("3x0x8"));
    }
}
