//! Rounding that knows the data, layer by layer in the order of execution: two streams of images run side by side, one through the
//! float network and one through the network as far as it is quantized, and each layer gets the codes and the bias that make, of what
//! the second hands it, what the first has there.

mod cholesky;
mod descent;
mod patches;
mod problem;
mod stream;
#[cfg(test)]
mod tests;
mod words;

use network::{HostTensor, Network, NodeId, Op, Value};
use quant_core::{Layout, Mapping, Outcome, QParams, Quantized, Scheme, Values};
use rayon::prelude::*;

use crate::error::Error;
use crate::fold::fold;
use crate::lower::{Epilogue, lower, lower_quantized};
use crate::quantize::{QuantizedNet, WeightQuantization, quantize_each};
use crate::sites::{ShortcutPolicy, SiteCodes};
use descent::Descent;
use patches::Geometry;
use problem::{Blank, Problem, sums};
use stream::Stream;

/// How codes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The nearest to the target.
    Nearest,
    /// One after the other with what was lost so far.
    Feedback,
    /// By coordinate descent from the nearest.
    Descent,
}

/// What weights are moved towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The float weights.
    Float,
    /// Those that make up for what the layers before have lost.
    Corrected,
}

/// Rounding on Gram matrices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gram {
    /// How codes are found.
    pub order: Order,
    /// What they stand for.
    pub target: Target,
    /// Whether scales are fitted once codes are there, and codes to them again.
    pub refit: bool,
    /// Output pixels of an image that take part; 0 for all.
    pub positions: usize,
    /// Added to the diagonal, in units of its mean.
    pub damping: f64,
}

/// What is done layer by layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layerwise {
    /// The weights; absent: each to its nearest code, and the bias alone is corrected.
    pub gram: Option<Gram>,
    /// Of positions.
    pub seed: u64,
}

impl Default for Gram {
    fn default() -> Self {
        Self {
            order: Order::Descent,
            target: Target::Corrected,
            refit: true,
            positions: 64,
            damping: 1e-2,
        }
    }
}

/// The most numbers of one value that are held at once, of all images: of more images the first take part.
const MOST_VALUES: usize = 1 << 28;

/// Passes over all codes after the start, and after each of so many refits.
const SWEEPS: usize = 4;
const REFITS: usize = 3;
const SWEEPS_AFTER: usize = 2;

/// Quantizes the weights of `network` with `images`, `[n, c, height, width]`, as the network reads them. Where activations will be
/// rounded, `codes` has what to, and the quantized stream has them rounded; they are not in the network that comes out. Memory: some ten
/// times the largest value of all images.
///
/// # Errors
/// As [`crate::quantize`]; images too small for the network.
pub fn quantize_by_layer(
    network: &Network,
    (how, layerwise): (&WeightQuantization, &Layerwise),
    (images, size): (&[f32], [usize; 2]),
    codes: Option<(&SiteCodes, ShortcutPolicy)>,
) -> Result<QuantizedNet, Error> {
    let float = fold(network)?;
    let topology = float.topology().clone().at(size)?;
    let values = (0..topology.nodes().len()).map(|id| topology.shape(Value::Node(id)).len());
    let most = (MOST_VALUES / values.max().unwrap_or(1)).max(1);
    let images = &images[..images.len().min(most * topology.input().len())];
    let lowered = lower(float.clone(), size, Epilogue::Separate)?;
    let mut exact = Stream::new(lowered, images)?;
    let unrounded = |net: &QuantizedNet| {
        let mut net = net.clone();
        net.activations = codes.map(|(codes, shortcut)| (codes.clone(), shortcut));
        lower_quantized(net, size, Epilogue::Separate)
    };
    let mut rounded = Stream::new(unrounded(&QuantizedNet::float(float.clone()))?, images)?;
    let tensors = float.tensors();
    let count = images.len() / topology.input().len();
    quantize_each(network, how, &mut |net, layer, scheme| {
        let node = topology.node(layer);
        let name = &node.name;
        let Some(scheme) = scheme else {
            return net.layer(name, how.bias, None);
        };
        let geometry = geometry(&topology, layer);
        let input = rounded.input_of(name)?;
        exact.input_of(name)?;
        let output = exact.made()?;
        let weight = tensors.require(&format!("{name}.weight"))?;
        let positions = layerwise.gram.map_or(0, |gram| gram.positions);
        let seed = name.bytes().fold(layerwise.seed, |seed, byte| {
            seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
        });
        let points = geometry.points(count, positions, seed);
        // Nearest codes of the float weights: what is left is the bias.
        let gram = layerwise.gram.unwrap_or(Gram {
            order: Order::Nearest,
            target: Target::Float,
            refit: false,
            positions: 0,
            ..Gram::default()
        });
        let each = weight.len() / geometry.groups;
        let of_group = |group: usize| {
            let sums = sums(&geometry, group, &points, (&input, &output));
            let own = &weight.data[group * each..][..each];
            let how = (gram.damping, gram.target == Target::Float);
            Problem::new(sums, own, how, geometry.groups > 1)
        };
        let groups = (0..geometry.groups).into_par_iter();
        let problems: Result<Vec<Problem>, Blank> = groups.map(of_group).collect();
        match problems {
            Ok(problems) => {
                let quantized = solve(weight, scheme, &problems, &gram, name)?;
                let each = weight.len() / weight.shape[0];
                let outputs = weight.shape[0] / geometry.groups;
                let rows = quantized.values.chunks_exact(each).enumerate();
                let (mut error, mut whole) = (0.0, 0.0);
                let mut bias = Vec::with_capacity(weight.shape[0]);
                for (o, row) in rows {
                    let problem = &problems[o / outputs];
                    let [lost, variance] = problem.error(o % outputs, row);
                    error += lost;
                    whole += variance;
                    bias.push(problem.bias(o % outputs, row) as f32);
                }
                let words = format!(
                    "{scheme}, on {} patches of {count} images; {:.2e} of the outputs' variance lost",
                    points.len(),
                    error / whole
                );
                net.take_weight(name, weight, &quantized, &words)?;
                net.state.insert(
                    format!("{name}.bias"),
                    HostTensor::new(vec![bias.len()], bias)?,
                );
                net.bias(name, how.bias, Some(scheme))?;
            }
            Err(blank) => {
                net.layer(name, how.bias, Some(scheme))?;
                let reason = match blank {
                    Blank::Constant => "the layer reads constants",
                    Blank::Singular => "the inputs' products are singular; give some gram.damping",
                };
                if let Some(line) = net.manifest.iter_mut().rfind(|d| d.kind == "weight") {
                    line.reason += &format!("; rounded to the nearest: {reason}");
                }
            }
        }
        rounded.renew(unrounded(net)?)
    })
}

fn geometry(topology: &network::Topology, layer: NodeId) -> Geometry {
    let node = topology.node(layer);
    let from = topology.shape(node.inputs[0]);
    let to = topology.shape(Value::Node(layer));
    let (window, groups) = match node.op {
        Op::Conv { window, groups, .. } => (window, groups),
        _ => (engine::Window::whole(from), 1),
    };
    Geometry {
        from,
        to,
        window,
        groups,
    }
}

/// Codes for the weights of a layer.
fn solve(
    weight: &HostTensor,
    scheme: &Scheme,
    problems: &[Problem],
    gram: &Gram,
    name: &str,
) -> Result<Quantized, Error> {
    let best = problems.iter().flat_map(|problem| &problem.best);
    let best: Vec<f32> = best.map(|&w| w as f32).collect();
    let values = Values::new(name, &best, &weight.shape)?;
    let start = quant_core::quantize(&values, scheme);
    if gram.order == Order::Nearest && !gram.refit {
        return Ok(start);
    }
    let layout = Layout::new(&weight.shape, scheme.granularity());
    let mut descent = Descent::new(problems, layout, start.params.clone(), &start.codes);
    match gram.order {
        Order::Nearest => {}
        Order::Feedback => descent.feedback(),
        Order::Descent => (0..SWEEPS).for_each(|_| descent.sweep()),
    }
    if gram.refit && scheme.mapping() != Mapping::PowerOfTwo {
        for _ in 0..REFITS {
            descent.refit();
            (0..SWEEPS_AFTER).for_each(|_| descent.sweep());
        }
    }
    Ok(assembled(start, &descent))
}

/// `start` with the codes and scales of `descent`.
fn assembled(start: Quantized, descent: &Descent<'_>) -> Quantized {
    let params: &[QParams] = &descent.params;
    let codes = descent.rows.iter().flat_map(|row| &row.codes);
    let mut made = Quantized {
        params: params.to_vec(),
        ..start
    };
    let groups: Vec<_> = made.layout.groups().collect();
    let codes: Vec<i32> = codes.copied().collect();
    for ((range, param), outcome) in groups.into_iter().zip(params).zip(&made.outcomes) {
        if let Outcome::Quantized { .. } = outcome {
            for i in range {
                made.codes[i] = codes[i] + param.zero_point;
                made.values[i] = param.dequantize(made.codes[i]);
            }
        }
    }
    made
}
