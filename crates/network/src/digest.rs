//! What identifies a network whose tensors do not say what is computed with them.

use std::fmt::Write;

use engine::{Axis, Function, Padding, Window};
use sha2::{Digest, Sha256};

use crate::network::Network;
use crate::op::Op;
use crate::tensors::hex;
use crate::topology::{Topology, Value};

impl Network {
    /// SHA-256 (64 hex digits) over a line for each node, in execution order, and the tensors' own digest. A line is the operation in
    /// words that never change, and the positions of what it reads (0: the images, i + 1: node i); names do not count beyond those of
    /// tensors, and neither does the size of the images.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(lines(self.topology()));
        hash.update(self.tensors().sha256());
        hex(&hash.finalize())
    }
}

impl Topology {
    /// SHA-256 (64 hex digits) over the lines of [`Network::sha256`] alone: the same for the same operations, whatever the numbers.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(lines(self)))
    }
}

fn lines(topology: &Topology) -> String {
    let mut text = format!("input {}\n", topology.input().channels);
    for node in topology.nodes() {
        text += &words(&node.op);
        for value in &node.inputs {
            let place = match value {
                Value::Input => 0,
                Value::Node(id) => id + 1,
            };
            // Writing to a string cannot fail.
            let _ = write!(text, " {place}");
        }
        text += "\n";
    }
    text
}

/// An operation and its numbers, reals by their bits.
fn words(op: &Op) -> String {
    let bits = |x: f32| format!("{:08x}", x.to_bits());
    match op {
        Op::Conv {
            outputs,
            groups,
            window,
        } => format!("conv {outputs} {groups} {}", of_window(window)),
        Op::Linear { outputs } => format!("linear {outputs}"),
        Op::BatchNorm { epsilon } => format!("batch_norm {:016x}", epsilon.to_bits()),
        Op::Clip { low, high } => format!("clip {} {}", bits(*low), bits(*high)),
        Op::ClipEach(ends) => {
            let each = ends.iter().flatten().map(|&end| bits(end));
            format!("clip_each {}", each.collect::<Vec<_>>().join(" "))
        }
        Op::MaxPool(window) => format!("max_pool {}", of_window(window)),
        Op::AvgPool { window, counted } => {
            format!("avg_pool {} {}", of_window(window), of_padding(*counted))
        }
        Op::GlobalAvgPool => "global_avg_pool".into(),
        Op::Function(function) => match *function {
            Function::Sigmoid => "sigmoid".into(),
            Function::HardSigmoid { alpha, beta } => {
                format!("hard_sigmoid {} {}", bits(alpha), bits(beta))
            }
            Function::Silu => "silu".into(),
            Function::HardSwish => "hard_swish".into(),
            Function::LeakyRelu { alpha } => format!("leaky_relu {}", bits(alpha)),
            Function::Elu { alpha } => format!("elu {}", bits(alpha)),
            Function::Tanh => "tanh".into(),
        },
        Op::Add => "add".into(),
        Op::Multiply => "multiply".into(),
        Op::Concat => "concat".into(),
        Op::Gather(gather) => {
            let axes = [&gather.channels, &gather.rows, &gather.columns].map(of_axis);
            format!("gather {} {}", axes.join(" "), bits(gather.fill))
        }
        Op::Subsample {
            stride,
            before,
            behind,
        } => format!("subsample {stride} {before} {behind}"),
    }
}

fn of_window(window: &Window) -> String {
    let Window {
        kernel: [a, b],
        stride: [c, d],
        dilation: [e, f],
        padding,
    } = window;
    format!("{a} {b} {c} {d} {e} {f} {}", of_padding(*padding))
}

fn of_padding(padding: Padding) -> String {
    let Padding {
        top,
        bottom,
        left,
        right,
    } = padding;
    format!("{top} {bottom} {left} {right}")
}

fn of_axis(axis: &Axis) -> String {
    match axis {
        Axis::Whole => "whole".into(),
        Axis::Of(places) => {
            let place = |place: &Option<usize>| place.map_or("-".into(), |p| p.to_string());
            places.iter().map(place).collect::<Vec<String>>().join(",")
        }
    }
}
