//! What values are on average, read off the BatchNorms alone, without an image (Nagel et al. 2019, section 4.2 and the appendix on clipped normals), and what
//! rounded weights do to a layer's average output.
//!
//! Behind a BatchNorm a channel has the mean beta and the deviation |gamma|; it is taken as normal. From there on, channel by channel:
//!
//! ```text
//! f(x), clippings too    E f(x) and Var f(x) of a normal x with the mean and variance so far
//! x + y                  means and variances add up, as if x and y were independent
//! mean over a window     the mean stays, the variance is taken as staying
//! ```
//!
//! A maximum over a window and a product of two values depend on what a BatchNorm does not say; nothing is known behind them until the
//! next BatchNorm, and neither is anything about the images. Borders are left out.

use std::collections::BTreeMap;

use engine::{Axis, Gather};
use network::{HostTensor, Network, Op, Topology, Value};
use quant_core::exp;

use crate::error::Error;
use crate::fold::BatchNorm;

/// Mean and variance of each channel.
type Moments = Vec<[f64; 2]>;

/// By layer, the expected mean of each channel of its input; none where it is unknown. `network` still has its BatchNorms: once they
/// are folded nothing is known.
///
/// # Errors
/// None for a checked network.
pub fn expected_inputs(network: &Network) -> Result<BTreeMap<String, Option<Vec<f64>>>, Error> {
    let topology = network.topology();
    let normal = Normal::new();
    let mut made: Vec<Option<Moments>> = Vec::with_capacity(topology.nodes().len());
    let mut expected = BTreeMap::new();
    for node in topology.nodes() {
        let known = |value: Value| match value {
            Value::Input => None,
            Value::Node(id) => made[id].as_ref(),
        };
        let read: Vec<Option<&Moments>> = node.inputs.iter().map(|&x| known(x)).collect();
        if node.op.is_layer() {
            let means = read[0].map(|of| of.iter().map(|[mean, _]| *mean).collect());
            expected.insert(node.name.clone(), means);
        }
        let next = match (&node.op, node.inputs[0]) {
            (Op::BatchNorm { .. }, Value::Node(layer)) => behind_norm(topology, network, layer)?,
            (op, _) => through(op, &read, &normal),
        };
        made.push(next);
    }
    Ok(expected)
}

/// What rounding a layer's weight takes from each of its outputs on average, `E[(w - w_q) x]`, `x` being expected to have the mean
/// `expected` in each channel of the layer's input ([`expected_inputs`]): added to the bias it sets the average right. Weights
/// `[outputs, inputs / groups, ...]`, of a layer on a flattened map `[outputs, inputs * pixels]`; borders are left out.
pub fn analytic_correction(
    weight: &HostTensor,
    rounded: &HostTensor,
    groups: usize,
    expected: &[f64],
) -> Vec<f64> {
    let sums = [weight, rounded].map(|weight| constant_output(weight, groups, expected));
    let [float, rounded] = &sums;
    float.iter().zip(rounded).map(|(w, q)| w - q).collect()
}

/// What a layer without bias makes, for each output, of an input that has the value `x[i]` everywhere in channel i.
pub(crate) fn constant_output(weight: &HostTensor, groups: usize, x: &[f64]) -> Vec<f64> {
    let outputs = weight.shape.first().copied().unwrap_or(1);
    let (rows, columns) = (outputs / groups, x.len() / groups);
    let each = (weight.len() / outputs).max(1);
    let taps = (each / columns).max(1);
    let sums = weight.data.chunks_exact(each).enumerate().map(|(o, row)| {
        let own = &x[o / rows * columns..][..columns];
        let parts = row.chunks_exact(taps).zip(own);
        parts
            .map(|(taps, x)| taps.iter().map(|&w| f64::from(w)).sum::<f64>() * x)
            .sum()
    });
    sums.collect()
}

fn behind_norm(
    topology: &Topology,
    network: &Network,
    layer: usize,
) -> Result<Option<Moments>, Error> {
    let norm = BatchNorm::copy(topology, network.tensors(), layer)?;
    Ok(norm.map(|norm| {
        let each = norm.beta().iter().zip(norm.gamma());
        each.map(|(&beta, &gamma)| [beta.into(), f64::from(gamma).powi(2)])
            .collect()
    }))
}

/// Of what an operation makes, from its operands.
fn through(op: &Op, read: &[Option<&Moments>], normal: &Normal) -> Option<Moments> {
    let x = read[0]?;
    let each = |f: &dyn Fn(usize, f64) -> f64| -> Moments {
        let all = x.iter().enumerate();
        all.map(|(channel, &of)| normal.through(of, |x| f(channel, x)))
            .collect()
    };
    let cut = |x: f64, [low, high]: [f32; 2]| x.max(low.into()).min(high.into());
    match op {
        Op::Clip { low, high } => Some(each(&|_, x| cut(x, [*low, *high]))),
        Op::ClipEach(ends) => Some(each(&|channel, x| cut(x, ends[channel]))),
        Op::Function(function) => Some(each(&|_, x| function.at(x as f32).into())),
        Op::AvgPool { .. } | Op::GlobalAvgPool => Some(x.clone()),
        Op::Add => {
            let pairs = x.iter().zip(read[1]?);
            Some(pairs.map(|(a, b)| [a[0] + b[0], a[1] + b[1]]).collect())
        }
        Op::Concat => {
            let all: Option<Vec<&Moments>> = read.iter().copied().collect();
            Some(all?.into_iter().flatten().copied().collect())
        }
        Op::Gather(gather) => Some(chosen(gather, x)),
        Op::Subsample { before, behind, .. } => {
            let zeros = |n: &usize| std::iter::repeat_n([0.0; 2], *n);
            Some(
                zeros(before)
                    .chain(x.iter().copied())
                    .chain(zeros(behind))
                    .collect(),
            )
        }
        Op::Conv { .. }
        | Op::Linear { .. }
        | Op::BatchNorm { .. }
        | Op::MaxPool(_)
        | Op::Multiply => None,
    }
}

fn chosen(gather: &Gather, x: &Moments) -> Moments {
    let fill = [gather.fill.into(), 0.0];
    match &gather.channels {
        Axis::Whole => x.clone(),
        Axis::Of(places) => {
            let each = places
                .iter()
                .map(|place| place.map_or(fill, |place| x[place]));
            each.collect()
        }
    }
}

/// The standard normal distribution as points and their weights, which sum to 1: a sum over them is off by some 1e-6 for functions
/// that have kinks.
struct Normal(Vec<[f64; 2]>);

impl Normal {
    fn new() -> Self {
        // Eight deviations to either side.
        const STEPS: i32 = 1600;
        let points = (-STEPS..=STEPS).map(|i| f64::from(i) * 8.0 / f64::from(STEPS));
        let points: Vec<_> = points.map(|z| [z, exp(-0.5 * z * z)]).collect();
        let sum: f64 = points.iter().map(|[_, weight]| weight).sum();
        Self(
            points
                .iter()
                .map(|[z, weight]| [*z, weight / sum])
                .collect(),
        )
    }

    /// Mean and variance of f(x).
    fn through(&self, [mean, variance]: [f64; 2], f: impl Fn(f64) -> f64) -> [f64; 2] {
        let deviation = variance.sqrt();
        let each = || {
            self.0
                .iter()
                .map(|[z, weight]| (f(mean + deviation * z), weight))
        };
        let first: f64 = each().map(|(y, weight)| y * weight).sum();
        let second = each().map(|(y, weight)| (y - first).powi(2) * weight).sum();
        [first, second]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Function, Shape, Window};
    use network::Node;
    use quant_core::uniform;

    /// A standard normal number (Box and Muller 1958).
    fn draw(index: u64) -> f64 {
        let [u, v] = [2 * index, 2 * index + 1].map(|i| f64::from(uniform(17, i)));
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    const DRAWS: u64 = 200_000;

    #[test]
    fn functions_of_a_normal_number_have_the_moments_of_samples() {
        let normal = Normal::new();
        let relu6 = |x: f64| x.clamp(0.0, 6.0);
        let swish = |x: f64| Function::HardSwish.at(x as f32).into();
        let functions: [&dyn Fn(f64) -> f64; 3] = [&|x| x.max(0.0), &relu6, &swish];
        for f in functions {
            for [mean, variance] in [[-1.0, 0.5], [0.3, 4.0], [5.5, 1.0], [2.0, 0.0]] {
                let found = normal.through([mean, variance], f);
                let all: Vec<f64> = (0..DRAWS)
                    .map(|i| f(mean + variance.sqrt() * draw(i)))
                    .collect();
                let first = all.iter().sum::<f64>() / all.len() as f64;
                let second =
                    all.iter().map(|y| (y - first).powi(2)).sum::<f64>() / all.len() as f64;
                let error = 5.0 * (second / all.len() as f64).sqrt() + 1e-6;
                assert!(
                    (found[0] - first).abs() < error,
                    "{mean} {variance}: {found:?}, {first}"
                );
                assert!(
                    (found[1] - second).abs() <= 0.02 * second + 1e-6,
                    "{found:?}, {second}"
                );
            }
        }
    }

    /// relu(a) ++ (a + b)[1, 0] of two normalized layers, read by a layer on its whole map.
    fn network() -> Network {
        let pixel = Op::Conv {
            outputs: 2,
            groups: 1,
            window: Window::square(1, 1, 0),
        };
        let norm = Op::BatchNorm { epsilon: 1e-5 };
        let shuffle = Gather {
            channels: Axis::Of(vec![Some(1), Some(0)]),
            ..Gather::WHOLE
        };
        let nodes = [
            ("a", pixel.clone(), vec![Value::Input]),
            ("a.norm", norm.clone(), vec![Value::Node(0)]),
            ("b", pixel, vec![Value::Input]),
            ("b.norm", norm, vec![Value::Node(2)]),
            ("relu", Op::RELU, vec![Value::Node(1)]),
            ("sum", Op::Add, vec![Value::Node(1), Value::Node(3)]),
            ("clip", Op::RELU6, vec![Value::Node(5)]),
            ("shuffle", Op::Gather(shuffle), vec![Value::Node(6)]),
            ("both", Op::Concat, vec![Value::Node(4), Value::Node(7)]),
            ("last", Op::Linear { outputs: 3 }, vec![Value::Node(8)]),
        ];
        let nodes = nodes.map(|(name, op, inputs)| Node {
            name: name.into(),
            op,
            inputs,
        });
        let topology = Topology::new(Shape::new(3, 2, 2), nodes.into()).unwrap();
        resnet::random_network(topology, 3).unwrap()
    }

    #[test]
    fn a_layer_expects_what_samples_of_the_normalized_layers_have() {
        let network = network();
        let expected = expected_inputs(&network).unwrap();
        assert_eq!((&expected["a"], &expected["b"]), (&None, &None));
        let found = expected["last"].as_ref().unwrap();
        let of = |name: &str, part: &str, channel: usize| {
            let tensor = network
                .tensors()
                .get(&format!("{name}.norm.{part}"))
                .unwrap();
            f64::from(tensor.data[channel])
        };
        let sampled = |f: &dyn Fn(f64, f64) -> f64| {
            let all = (0..DRAWS).map(|i| f(draw(i), draw(DRAWS + i)));
            all.sum::<f64>() / DRAWS as f64
        };
        let value = |name: &str, c: usize, z: f64| of(name, "weight", c) * z + of(name, "bias", c);
        let means = [
            sampled(&|z, _| value("a", 0, z).max(0.0)),
            sampled(&|z, _| value("a", 1, z).max(0.0)),
            sampled(&|z, y| (value("a", 1, z) + value("b", 1, y)).clamp(0.0, 6.0)),
            sampled(&|z, y| (value("a", 0, z) + value("b", 0, y)).clamp(0.0, 6.0)),
        ];
        for (found, mean) in found.iter().zip(means) {
            assert!((found - mean).abs() < 0.02, "{found}, {mean}");
        }
        let folded = crate::fold(&network).unwrap();
        assert_eq!(expected_inputs(&folded).unwrap()["last"], None);
    }

    #[test]
    fn the_correction_is_what_the_rounding_takes_from_a_constant_input() {
        // Two groups of one input, kernels of two taps.
        let tensor = |data: [f32; 4]| HostTensor::new(vec![2, 1, 1, 2], data.into()).unwrap();
        let (weight, rounded) = (tensor([1.0, 2.0, 3.0, 4.0]), tensor([1.5, 2.0, 3.0, 3.0]));
        assert_eq!(
            analytic_correction(&weight, &rounded, 2, &[10.0, 100.0]),
            [-5.0, 100.0]
        );
        // Two channels of two pixels, flattened.
        let flat = |data: [f32; 4]| HostTensor::new(vec![1, 4], data.into()).unwrap();
        let (weight, rounded) = (flat([1.0, 2.0, 3.0, 4.0]), flat([1.0, 1.0, 3.0, 4.5]));
        assert_eq!(
            analytic_correction(&weight, &rounded, 1, &[10.0, 100.0]),
            [-40.0]
        );
    }
}
