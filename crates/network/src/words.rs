//! Operations in words, and what they cost.

use std::fmt;

use engine::{Function, Window};

use crate::op::Op;
use crate::topology::{NodeId, Topology};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Conv { groups, window, .. } => {
                write!(f, "conv {}", Words(window))?;
                match groups {
                    1 => Ok(()),
                    groups => write!(f, ", {groups} groups"),
                }
            }
            Op::Linear { .. } => f.write_str("linear"),
            Op::BatchNorm { .. } => f.write_str("batch norm"),
            op if *op == Op::RELU => f.write_str("relu"),
            Op::Clip { low, high } => write!(f, "clip {low} to {high}"),
            Op::ClipEach(_) => f.write_str("clip, each channel by itself"),
            Op::MaxPool(window) => write!(f, "max pool {}", Words(window)),
            Op::AvgPool { window, .. } => write!(f, "average pool {}", Words(window)),
            Op::GlobalAvgPool => f.write_str("global average pool"),
            Op::Function(function) => f.write_str(match function {
                Function::Sigmoid => "sigmoid",
                Function::HardSigmoid { .. } => "hard sigmoid",
                Function::Silu => "silu",
                Function::HardSwish => "hard swish",
                Function::LeakyRelu { .. } => "leaky relu",
                Function::Elu { .. } => "elu",
                Function::Tanh => "tanh",
            }),
            Op::Add => f.write_str("add"),
            Op::Multiply => f.write_str("multiply"),
            Op::Concat => f.write_str("concat"),
            Op::Gather(_) => f.write_str("gather"),
            Op::Subsample { stride, .. } => write!(f, "subsample /{stride}"),
        }
    }
}

/// `3x3/2`: a kernel of three rows and columns, two pixels from one output to the next.
struct Words<'a>(&'a Window);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.0.kernel;
        write!(f, "{rows}x{columns}")?;
        match self.0.stride {
            [1, 1] => {}
            [a, b] if a == b => write!(f, "/{a}")?,
            [a, b] => write!(f, "/{a}x{b}")?,
        }
        match self.0.dilation {
            [1, 1] => Ok(()),
            [a, b] => write!(f, ", dilated {a}x{b}"),
        }
    }
}

impl Topology {
    /// Multiplications of a node for one image; 0 where it has no weights.
    pub fn multiplications(&self, id: NodeId) -> u64 {
        let node = self.node(id);
        let x = self.shape(node.inputs[0]);
        let y = self.shape(crate::topology::Value::Node(id));
        let each = match &node.op {
            Op::Conv { groups, window, .. } => {
                x.channels / groups * window.kernel[0] * window.kernel[1]
            }
            Op::Linear { .. } => x.len(),
            _ => 0,
        };
        y.len() as u64 * each as u64
    }
}
