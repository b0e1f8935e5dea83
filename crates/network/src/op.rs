//! What a node does: its operands, its tensors, and the shape that comes out.
//!
//! Values are maps `[n, c, h, w]` for any number of images n; a [`Shape`] is the part behind n, and a vector of features is a map
//! of one pixel. Tensors go by the node's name: `NAME.weight`, `NAME.bias` and, of a batch normalization, `NAME.running_mean` and
//! `NAME.running_var`, shaped as PyTorch has them.

use engine::{Function, Gather, Padding, Shape, Window};

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution: weight `[outputs, c / groups, kernel rows, kernel columns]`, a bias `[outputs]` or none.
    Conv {
        /// Output channels.
        outputs: usize,
        /// Blocks of channels that do not see each other.
        groups: usize,
        /// The window.
        window: Window,
    },
    /// Fully connected layer on a whole map, read as PyTorch's `flatten` has it: weight `[outputs, c * h * w]`, a bias `[outputs]`
    /// or none.
    Linear {
        /// Outputs.
        outputs: usize,
    },
    /// `(x - running_mean) / sqrt(running_var + epsilon) * weight + bias`, each `[c]`, behind a layer that nobody else reads.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `min(max(x, low), high)`: a ReLU from 0 to infinity, a ReLU6 from 0 to 6.
    Clip {
        /// The smallest value that comes out.
        low: f32,
        /// The largest.
        high: f32,
    },
    /// The same with ends of each channel's own, low and high.
    ClipEach(Vec<[f32; 2]>),
    /// The largest value in the window; pixels outside the map do not count.
    MaxPool(Window),
    /// The mean over the window. Of the pixels outside the map those within `counted` count as zeros, the others not at all.
    AvgPool {
        /// The window.
        window: Window,
        /// The window's padding, or no padding for the mean over the map's own pixels.
        counted: Padding,
    },
    /// The mean over a whole map, of any size.
    GlobalAvgPool,
    /// A function of each element.
    Function(Function),
    /// The sum of two values of one shape.
    Add,
    /// The product of two values of one shape; the second may have one pixel for each channel.
    Multiply,
    /// The channels of two or more values, one behind the other.
    Concat,
    /// Channels, rows and columns, chosen.
    Gather(Gather),
    /// Option A of He et al. 2016, section 4.2: every `stride`-th pixel, `before` zero channels in front and `behind` behind.
    Subsample {
        /// Steps between the pixels kept.
        stride: usize,
        /// Zero channels in front.
        before: usize,
        /// Zero channels behind.
        behind: usize,
    },
}

/// A tensor that an operation has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What follows the node's name: `weight`, `bias`.
    pub part: &'static str,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Whether it may be absent.
    pub optional: bool,
}

impl Op {
    /// max(x, 0).
    pub const RELU: Op = Op::Clip {
        low: 0.0,
        high: f32::INFINITY,
    };

    /// min(max(x, 0), 6).
    pub const RELU6: Op = Op::Clip {
        low: 0.0,
        high: 6.0,
    };

    /// Whether it can read so many values.
    pub fn reads(&self, operands: usize) -> bool {
        match self {
            Op::Add | Op::Multiply => operands == 2,
            Op::Concat => operands > 1,
            _ => operands == 1,
        }
    }

    /// Whether it is a layer: a convolution or a fully connected one, whose weights are quantized.
    pub fn is_layer(&self) -> bool {
        matches!(self, Op::Conv { .. } | Op::Linear { .. })
    }

    /// Whether it cuts numbers off and does nothing else.
    pub fn clips(&self) -> bool {
        matches!(self, Op::Clip { .. } | Op::ClipEach(_))
    }

    /// Whether it hands numbers on as they are, so that they keep their codes.
    pub fn is_copy(&self) -> bool {
        matches!(self, Op::MaxPool(_) | Op::Subsample { .. } | Op::Gather(_))
    }

    /// The tensors it has behind an input of shape `x`.
    pub fn tensors(&self, x: Shape) -> Vec<Wanted> {
        let one = |part, shape: &[usize], optional| Wanted {
            part,
            shape: shape.to_vec(),
            optional,
        };
        match *self {
            Op::Conv {
                outputs,
                groups,
                window,
            } => {
                let [rows, columns] = window.kernel;
                let inputs = x.channels / groups.max(1);
                vec![
                    one("weight", &[outputs, inputs, rows, columns], false),
                    one("bias", &[outputs], true),
                ]
            }
            Op::Linear { outputs } => vec![
                one("weight", &[outputs, x.len()], false),
                one("bias", &[outputs], true),
            ],
            Op::BatchNorm { .. } => ["weight", "bias", "running_mean", "running_var"]
                .map(|part| one(part, &[x.channels], false))
                .to_vec(),
            _ => Vec::new(),
        }
    }

    /// The shape of its value, or what is wrong; `inputs` has the shapes of its operands.
    pub fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let x = inputs[0];
        let windowed = |channels: usize, window: &Window| {
            let [height, width] = window.output(x)?;
            Ok(Shape::new(channels, height, width))
        };
        match self {
            Op::Conv {
                outputs,
                groups,
                window,
            } => {
                let divides = |n: usize| *groups > 0 && n > 0 && n.is_multiple_of(*groups);
                if !divides(x.channels) || !divides(*outputs) {
                    return Err(format!(
                        "{groups} groups do not divide {} input and {outputs} output channels",
                        x.channels
                    ));
                }
                windowed(*outputs, window)
            }
            Op::Linear { outputs: 0 } => Err("no outputs".into()),
            Op::Linear { outputs } => Ok(Shape::new(*outputs, 1, 1)),
            Op::BatchNorm { epsilon } if !(epsilon.is_finite() && *epsilon >= 0.0) => {
                Err(format!("epsilon {epsilon}"))
            }
            Op::Clip { low, high } if low.is_nan() || high.is_nan() || low > high => {
                Err(format!("clips to {low} .. {high}"))
            }
            Op::ClipEach(ends) if ends.len() != x.channels => {
                Err(format!("clips {} channels of {}", ends.len(), x.channels))
            }
            Op::ClipEach(ends) => {
                // Written so that a NaN is found too.
                let wrong = ends
                    .iter()
                    .find(|[low, high]| low.partial_cmp(high).is_none_or(|o| o.is_gt()));
                match wrong {
                    Some([low, high]) => Err(format!("clips to {low} .. {high}")),
                    None => Ok(x),
                }
            }
            Op::BatchNorm { .. } | Op::Clip { .. } => Ok(x),
            Op::MaxPool(window) | Op::AvgPool { window, .. } => {
                if !window.exceeds_padding() {
                    return Err("padding as large as the window: a window without a pixel".into());
                }
                windowed(x.channels, window)
            }
            Op::GlobalAvgPool => Ok(Shape::new(x.channels, 1, 1)),
            Op::Add if inputs[1] != x => {
                Err(format!("adds a value of {} to one of {x}", inputs[1]))
            }
            Op::Add | Op::Function(_) => Ok(x),
            Op::Multiply if inputs[1] != x && inputs[1] != Shape::new(x.channels, 1, 1) => {
                Err(format!("multiplies {x} by {}", inputs[1]))
            }
            Op::Multiply => Ok(x),
            Op::Concat => {
                let mut channels = 0_usize;
                for other in inputs {
                    let sum = channels.checked_add(other.channels);
                    match sum.filter(|_| [other.height, other.width] == [x.height, x.width]) {
                        Some(sum) => channels = sum,
                        None => return Err(format!("puts {other} behind {x}")),
                    }
                }
                Ok(Shape::new(channels, x.height, x.width))
            }
            Op::Gather(gather) => gather.output(x),
            Op::Subsample {
                stride,
                before,
                behind,
            } => {
                let channels = [*before, *behind]
                    .iter()
                    .try_fold(x.channels, |n, &more| n.checked_add(more));
                match (channels, *stride) {
                    (Some(channels), 1..) => Ok(Shape::new(
                        channels,
                        x.height.div_ceil(*stride),
                        x.width.div_ceil(*stride),
                    )),
                    _ => Err(format!("stride {stride}, {before} and {behind} channels")),
                }
            }
        }
    }
}
