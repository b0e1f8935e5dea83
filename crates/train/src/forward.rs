//! The one forward pass over a network on a burn device. What layers compute with, and what happens to values on the way, is a
//! [`Hooks`]'s business: inference, looking at layers, fixed grids, training with quantizers.
//!
//! A value is dropped when its last reader has it, so that an operation can take its memory.

use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Int, Tensor, TensorData, s};
use engine::{Axis, Function};
use network::{Op, Topology, Value};

use crate::error::Error;
use crate::ops::{add_clip, clip, clip_each};
use quantize::{Unit, Units};

/// What happens on the way through the network.
pub(crate) trait Hooks {
    /// The value of a layer's step, `[n, c, h, w]`, from its input: batch normalization and clipping included.
    fn layer(&mut self, topology: &Topology, unit: &Unit, x: Tensor<4>)
    -> Result<Tensor<4>, Error>;

    /// The values of an activation site; what comes back goes on in their place.
    fn site(&mut self, site: &str, x: Tensor<4>) -> Result<Tapped, Error>;
}

/// A value on its way: what layers read of it, and what an addition takes. The two differ where rounding is for layers alone
/// ([`quantize::SiteRounding::is_forked`]).
#[derive(Clone)]
pub(crate) struct Tapped {
    read: Tensor<4>,
    /// None where it is the same.
    added: Option<Tensor<4>>,
}

impl Tapped {
    /// A value of which layers read another.
    pub fn forked(read: Tensor<4>, added: Tensor<4>) -> Self {
        let added = Some(added);
        Self { read, added }
    }

    fn added(self) -> Tensor<4> {
        self.added.unwrap_or(self.read)
    }

    /// Does the same to both.
    fn map(self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            read: f(self.read),
            added: self.added.map(f),
        }
    }
}

impl From<Tensor<4>> for Tapped {
    fn from(read: Tensor<4>) -> Self {
        Self { read, added: None }
    }
}

/// The network's result `[n, classes]` for normalised images `[n, c, h, w]`.
pub(crate) fn forward(
    topology: &Topology,
    images: Tensor<4>,
    hooks: &mut impl Hooks,
) -> Result<Tensor<2>, Error> {
    let units = Units::new(topology);
    let mut values = Values {
        topology,
        left: (0..topology.nodes().len())
            .map(|id| topology.readers(Value::Node(id)).len())
            .collect(),
        images_left: topology.readers(Value::Input).len(),
        images: Some(hooks.site(engine::INPUT, images)?),
        made: vec![None; topology.nodes().len()],
    };
    for unit in units.iter() {
        let node = topology.node(unit.head);
        let x = values.take(node.inputs[0]);
        let made = match &node.op {
            op if op.is_copy() => x.map(|x| copy(op, x)),
            op if op.is_layer() => {
                let y = hooks.layer(topology, unit, x.read)?;
                hooks.site(&node.name, y)?
            }
            op => {
                let y = match op {
                    Op::Add => {
                        let other = values.take(node.inputs[1]);
                        sum(topology, unit, x.added(), other.added())
                    }
                    Op::Multiply => x.added() * values.take(node.inputs[1]).added(),
                    Op::Concat => {
                        let others = node.inputs[1..].iter();
                        let others = others.map(|&other| values.take(other).added());
                        Tensor::cat(
                            std::iter::once(x.added())
                                .chain(others.collect::<Vec<_>>())
                                .collect(),
                            1,
                        )
                    }
                    _ => plain(op, x.added()),
                };
                hooks.site(&node.name, y)?
            }
        };
        values.made[unit.tail()] = Some(made);
    }
    let result = values.made[topology.output()].take();
    let result = result.ok_or_else(|| Error::Device {
        reason: "the network has made no value".into(),
    })?;
    let [n, c, h, w] = result.read.dims();
    Ok(result.read.reshape([n, c * h * w]))
}

struct Values<'a> {
    topology: &'a Topology,
    /// How many readers each node's value still has.
    left: Vec<usize>,
    images_left: usize,
    images: Option<Tapped>,
    made: Vec<Option<Tapped>>,
}

impl Values<'_> {
    fn take(&mut self, value: Value) -> Tapped {
        let (left, place) = match value {
            Value::Input => (&mut self.images_left, &mut self.images),
            Value::Node(id) => (&mut self.left[id], &mut self.made[id]),
        };
        *left -= 1;
        let found = if *left == 0 {
            place.take()
        } else {
            place.clone()
        };
        // Steps come in execution order, and each takes its operands once.
        found.unwrap_or_else(|| panic!("{} is made before it is read", self.topology.name(value)))
    }
}

fn sum(topology: &Topology, unit: &Unit, a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    match unit.ends(topology) {
        Some(ends) => add_clip(a, b, ends),
        None => clipped(topology, unit, a + b),
    }
}

/// What comes last in a step.
pub(crate) fn clipped(topology: &Topology, unit: &Unit, y: Tensor<4>) -> Tensor<4> {
    match unit.clip {
        Some(clip) => plain(&topology.node(clip).op, y),
        None => y,
    }
}

/// An operation that hands numbers on.
fn copy(op: &Op, x: Tensor<4>) -> Tensor<4> {
    match op {
        Op::MaxPool(window) => max_pool2d(
            x,
            MaxPoolOptions::new(window.kernel)
                .with_stride(window.stride)
                .with_padding_pairs(window.padding.pairs())
                .with_dilation(window.dilation),
        ),
        &Op::Subsample {
            stride,
            before,
            behind,
        } => {
            let step = stride as isize;
            let x = x.slice(s![.., .., ..;step, ..;step]);
            let [n, _, h, w] = x.dims();
            let zeros = |channels: usize| Tensor::zeros([n, channels, h, w], &x.device());
            Tensor::cat(vec![zeros(before), x.clone(), zeros(behind)], 1)
        }
        Op::Gather(gather) => {
            let [_, c, h, w] = x.dims();
            let x = chosen(x, 1, c, &gather.channels, gather.fill);
            let x = chosen(x, 2, h, &gather.rows, gather.fill);
            chosen(x, 3, w, &gather.columns, gather.fill)
        }
        _ => x,
    }
}

/// Places along an axis of `size`; the filling is a place behind the last.
fn chosen(x: Tensor<4>, axis: usize, size: usize, places: &Axis, fill: f32) -> Tensor<4> {
    let Axis::Of(places) = places else { return x };
    let mut border = x.dims();
    border[axis] = 1;
    let device = x.device();
    let indices: Vec<i64> = places.iter().map(|p| p.unwrap_or(size) as i64).collect();
    let x = match places.contains(&None) {
        true => Tensor::cat(vec![x, Tensor::full(border, fill, &device)], axis),
        false => x,
    };
    let indices = TensorData::new(indices, [places.len()]);
    x.select(axis, Tensor::<1, Int>::from_data(indices, &device))
}

/// An operation of one operand and no numbers of its own.
fn plain(op: &Op, x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    match op {
        Op::Clip { low, high } => clip(x, [*low, *high]),
        Op::ClipEach(ends) => clip_each(x, ends),
        Op::GlobalAvgPool => {
            let mean = x.reshape([n, c, h * w]).mean_dim(2);
            mean.reshape([n, c, 1, 1])
        }
        Op::AvgPool { window, counted } => {
            // The mean of all taps, zeros outside, by the share of those that count.
            let mean = |x: Tensor<4>| {
                let options = AvgPoolOptions::new(window.kernel)
                    .with_stride(window.stride)
                    .with_padding_pairs(window.padding.pairs());
                avg_pool2d(x, options)
            };
            if *counted == window.padding {
                return mean(x);
            }
            let ones = Tensor::ones([1, 1, h, w], &x.device());
            mean(x) / mean(ones)
        }
        Op::Function(function) => apply(*function, x),
        _ => x,
    }
}

fn apply(function: Function, x: Tensor<4>) -> Tensor<4> {
    // x above 0, and something of it below.
    let below = |x: Tensor<4>, y: Tensor<4>| {
        let negative = x.clone().lower_elem(0.0);
        x.mask_where(negative, y)
    };
    match function {
        Function::Sigmoid => sigmoid(x),
        Function::HardSigmoid { alpha, beta } => (x * alpha + beta).clamp(0.0, 1.0),
        Function::Silu => sigmoid(x.clone()) * x,
        Function::HardSwish => (x.clone() / 6.0 + 0.5).clamp(0.0, 1.0) * x,
        Function::LeakyRelu { alpha } => below(x.clone(), x * alpha),
        Function::Elu { alpha } => below(x.clone(), (x.exp() - 1.0) * alpha),
        Function::Tanh => tanh(x),
    }
}
