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

use network::{HostTensor, Network, NodeId, Op, Value};
use quant_core::{Layout, Mapping, Outcome, QParams, Quantized, Scheme, Values};
use rayon::prelude::*;

use crate::error::Error;
use crate::fold::fold;
use crate::lower::{Epilogue, lower, lower_quantized};
use crate::quantize::{BiasPolicy, QuantizedNet, WeightQuantization, quantize_each};
use crate::sites::{ShortcutPolicy, SiteCodes};
use descent::Descent;
use patches::Geometry;
use problem::{Problem, sums};
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

quant_core::words!(Order, "gram.order": Nearest = "nearest", Feedback = "feedback", Descent = "descent");

/// What weights are moved towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The float weights.
    Float,
    /// Those that make up for what the layers before have lost.
    Corrected,
}

quant_core::words!(Target, "gram.target": Float = "float", Corrected = "corrected");

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

/// Output pixels of an image whose mean a bias is corrected by.
const POSITIONS: usize = 256;

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
        let seen = Seen {
            geometry,
            images: count,
            input,
            output,
        };
        match &layerwise.gram {
            Some(gram) => seen.round(net, (name, weight), scheme, (gram, layerwise.seed))?,
            None => {
                net.layer(name, BiasPolicy::Float, Some(scheme))?;
                // Its bias comes after its weights in the manifest, but is not settled yet.
                net.manifest.retain(|d| d.tensor != format!("{name}.bias"));
                seen.correct(net, name)?;
            }
        }
        net.bias(name, how.bias, Some(scheme))?;
        rounded.renew(unrounded(net)?)
    })
}

/// What a layer reads in the quantized network, and what it makes in the float one.
struct Seen {
    geometry: Geometry,
    images: usize,
    /// `[n, c, h, w]`.
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Seen {
    /// Codes and bias of the layer `name` on Gram matrices.
    fn round(
        &self,
        net: &mut QuantizedNet,
        (name, weight): (&str, &HostTensor),
        scheme: &Scheme,
        (gram, seed): (&Gram, u64),
    ) -> Result<(), Error> {
        let (geometry, images) = (&self.geometry, self.images);
        let seed = name.bytes().fold(seed, |seed, byte| {
            seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
        });
        let points = geometry.points(images, gram.positions, seed);
        let each = weight.len() / geometry.groups;
        let of_group = |group: usize| {
            let sums = sums(geometry, group, &points, (&self.input, &self.output));
            let own = &weight.data[group * each..][..each];
            let how = (gram.damping, gram.target == Target::Float);
            Problem::new(sums, own, how, geometry.groups > 1)
        };
        let groups = (0..geometry.groups).into_par_iter();
        let problems: Vec<Problem> = match groups.map(of_group).collect::<Result<_, _>>() {
            Ok(problems) => problems,
            Err(blank) => {
                net.layer(name, BiasPolicy::Float, Some(scheme))?;
                net.manifest.retain(|d| d.tensor != format!("{name}.bias"));
                net.note_weight(name, &format!("rounded to the nearest: {blank}"));
                return self.correct(net, name);
            }
        };
        let quantized = solve(weight, scheme, &problems, gram, name)?;
        let each = weight.len() / weight.shape[0];
        let outputs = weight.shape[0] / geometry.groups;
        let of_groups = quantized.values.chunks_exact(outputs * each).zip(&problems);
        let errors = of_groups.flat_map(|(rows, problem)| problem.errors(rows));
        let [error, whole] = errors.fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]);
        let mut bias = Vec::with_capacity(weight.shape[0]);
        for (o, row) in quantized.values.chunks_exact(each).enumerate() {
            let problem = &problems[o / outputs];
            bias.push(problem.bias(o % outputs, row) as f32);
        }
        net.take_weight(name, weight, &quantized, &scheme.to_string())?;
        let words = format!(
            "codes by {} patches of {images} images, {:.2e} of the outputs' variance lost",
            points.len(),
            error / whole
        );
        net.note_weight(name, &words);
        net.put_bias(name, bias)
    }

    /// Gives the layer `name` the bias with which its outputs have the means of the float layer's.
    fn correct(&self, net: &mut QuantizedNet, name: &str) -> Result<(), Error> {
        let weight = net.state.require(&format!("{name}.weight"))?.clone();
        let points = self.geometry.points(self.images, POSITIONS, 0);
        let each = weight.len() / weight.shape[0];
        let outputs = weight.shape[0] / self.geometry.groups;
        let groups = (0..self.geometry.groups).into_par_iter();
        let means: Vec<[Vec<f64>; 2]> = groups
            .map(|group| {
                self.geometry
                    .means((&self.input, &self.output), group, &points)
            })
            .collect();
        let rows = weight.data.chunks_exact(each).enumerate();
        let bias: Vec<f32> = rows
            .map(|(o, row)| {
                let [inputs, made] = &means[o / outputs];
                let sum: f64 = row.iter().zip(inputs).map(|(&w, m)| f64::from(w) * m).sum();
                (made[o % outputs] - sum) as f32
            })
            .collect();
        let old = net.state.get(&format!("{name}.bias"));
        let old = old.map_or_else(|| vec![0.0; bias.len()], |bias| bias.data.clone());
        let moves = bias.iter().zip(old).map(|(new, old)| (new - old).abs());
        let most = moves.fold(0.0_f32, f32::max);
        net.note_weight(name, &format!("bias corrected by at most {most:.3e}"));
        net.put_bias(name, bias)
    }
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
