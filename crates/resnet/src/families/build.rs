//! Topologies, node by node.

use std::collections::BTreeMap;

use engine::{Padding, Shape, Window};
use network::{Node, Op, Topology, Value};

use crate::arch::BN_EPSILON;

/// Names and shapes of the tensors of a file.
#[derive(Clone, Copy)]
pub(crate) struct Shapes<'a>(pub &'a BTreeMap<String, Vec<usize>>);

impl Shapes<'_> {
    /// The shape of a layer's weight.
    pub fn weight(&self, layer: &str) -> Option<&[usize]> {
        self.0.get(&format!("{layer}.weight")).map(Vec::as_slice)
    }

    /// A residual block's convolutions `conv1`, `conv2`, ..., and which of them has its stride: the first of 3x3 (torchvision's
    /// "v1.5").
    pub fn convs(&self, block: &str) -> Option<(Vec<String>, usize)> {
        let names = (1..).map(|j| format!("{block}.conv{j}"));
        let convs: Vec<String> = names
            .take_while(|conv| self.weight(conv).is_some())
            .collect();
        let is_wide = |conv: &String| matches!(self.weight(conv), Some([_, _, 3, 3]));
        let strided = convs.iter().position(is_wide)?;
        Some((convs, strided))
    }

    /// The first of these layers that is there.
    pub fn first<'n>(&self, layers: &[&'n str]) -> Option<&'n str> {
        layers
            .iter()
            .copied()
            .find(|layer| self.weight(layer).is_some())
    }
}

/// Nodes in execution order.
#[derive(Default)]
pub(crate) struct Nodes(Vec<Node>);

impl Nodes {
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[Value]) -> Value {
        self.0.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        Value::Node(self.0.len() - 1)
    }

    /// A BatchNorm with PyTorch's epsilon.
    pub fn norm(&mut self, name: impl Into<String>, x: Value) -> Value {
        let epsilon = BN_EPSILON;
        self.push(name, Op::BatchNorm { epsilon }, &[x])
    }

    /// A BatchNorm of `channels` that stands behind no layer of its own ([`super::lone`]).
    pub fn lone_norm(&mut self, name: &str, (x, channels): (Value, usize)) -> Value {
        let op = Op::Conv {
            outputs: channels,
            groups: channels,
            window: Window::square(1, 1, 0),
        };
        self.push(name, op, &[x])
    }

    /// A convolution whose channels and kernel its weights say, padded as for the same size, with the BatchNorm `norm` if that has
    /// weights; `channels` go in.
    pub fn conv(
        &mut self,
        shapes: &Shapes<'_>,
        (conv, norm): (&str, &str),
        stride: usize,
        (x, channels): (Value, usize),
    ) -> Option<(Value, usize)> {
        let &[outputs, each, rows, columns] = shapes.weight(conv)? else {
            return None;
        };
        if rows != columns || each == 0 || !channels.is_multiple_of(each) {
            return None;
        }
        let op = Op::Conv {
            outputs,
            groups: channels / each,
            window: Window::square(rows, stride, rows / 2),
        };
        let y = self.push(conv, op, &[x]);
        let y = match shapes.weight(norm) {
            Some(_) => self.norm(norm, y),
            None => y,
        };
        Some((y, outputs))
    }

    /// A fully connected layer.
    pub fn linear(&mut self, shapes: &Shapes<'_>, name: &str, x: Value) -> Option<Value> {
        let &[outputs, _] = shapes.weight(name)? else {
            return None;
        };
        Some(self.push(name, Op::Linear { outputs }, &[x]))
    }

    /// What comes of it for square images with three channels.
    pub fn topology(self, side: usize) -> Option<Topology> {
        Topology::new(Shape::new(3, side, side), self.0).ok()
    }
}

/// A pool that also has a window where it reaches over the end of a map of `size` pixels (`ceil_mode`).
pub(super) fn ceiled(kernel: usize, stride: usize, size: usize) -> (Window, usize) {
    let count = size.saturating_sub(kernel).div_ceil(stride) + 1;
    let over = ((count - 1) * stride + kernel).saturating_sub(size);
    let padding = Padding {
        bottom: over,
        right: over,
        ..Padding::default()
    };
    let window = Window {
        padding,
        ..Window::square(kernel, stride, 0)
    };
    (window, count)
}
