//! Rounding that knows the data, layer by layer in the order of execution: two streams of images run side by side, one through the
//! float network and one through the network as far as it is quantized, and each layer gets the codes and the bias that make, of what
//! the second hands it, what the first has there.

mod adaround;
mod cholesky;
mod descent;
mod gram;
mod patches;
mod problem;
mod rectified;
mod scales;
mod seen;
mod stream;
#[cfg(test)]
mod tests;

use network::{Network, NodeId, Op, Topology, Value};

use crate::error::Error;
use crate::fold::fold;
use crate::lower::{Epilogue, lower, lower_quantized, one_layer};
use crate::quantize::{OutputLoss, QuantizedNet, WeightQuantization, quantize_each};
use crate::sites::{ShortcutPolicy, SiteCodes};
use crate::units::Units;
use patches::Geometry;
use seen::Seen;
pub use stream::Stream;

pub use adaround::AdaRound;
pub use gram::{Gram, Order, Target};

/// How the codes of a layer are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Each weight has its nearest code.
    Nearest,
    /// On Gram matrices.
    Gram(Gram),
    /// One of the two next to a weight, learned.
    AdaRound(AdaRound),
}

impl Choice {
    /// What `weights.rounding` is called in experiments and results; the nearest code has several names there.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Gram(_) => "gram",
            Self::AdaRound(_) => "adaround",
        }
    }
}

/// What is done layer by layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layerwise {
    /// To the weights.
    pub choice: Choice,
    /// Whether scales begin where nearest codes lose least of the layer's outputs, not where the scheme says.
    pub output_range: bool,
    /// Whether biases take what is left of the means; with codes that are not the nearest they always do.
    pub bias: bool,
    /// Of positions.
    pub seed: u64,
}

/// The most numbers of one value that are held at once, of all images: of more images the first take part.
const MOST_VALUES: usize = 1 << 28;

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
    let images = held(&topology, images);
    let lowered = lower(float.clone(), size, Epilogue::Separate)?;
    let mut exact = Stream::new(lowered, images)?;
    let unrounded = |net: &QuantizedNet| {
        let mut net = net.clone();
        net.activations = codes.map(|(codes, shortcut)| (codes.clone(), shortcut));
        lower_quantized(net, size, Epilogue::Separate)
    };
    let mut rounded = Stream::new(unrounded(&QuantizedNet::float(float.clone()))?, images)?;
    let tensors = float.tensors();
    let units = Units::new(&topology);
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
            clip: ends(&units, &topology, layer),
            images: count,
            input,
            output,
        };
        let predicted = seen.round(net, (name, weight), scheme, layerwise)?;
        if let (Some((predicted, points)), Some(report)) = (predicted, net.layers.last_mut()) {
            let graph = one_layer(&topology, &net.state, layer)?;
            report.outputs = Some(OutputLoss {
                predicted,
                points,
                measured: seen.measured(graph)?,
                positions: count * seen.geometry.to.height * seen.geometry.to.width,
            });
        }
        net.bias(name, how.bias, Some(scheme))?;
        rounded.renew(unrounded(net)?)
    })
}

/// Of `images`, `[n, c, h, w]`, as many as can be taken through `topology` all at once.
pub fn held<'a>(topology: &Topology, images: &'a [f32]) -> &'a [f32] {
    let values = (0..topology.nodes().len()).map(|id| topology.shape(Value::Node(id)).len());
    let most = (MOST_VALUES / values.max().unwrap_or(1)).max(1);
    &images[..images.len().min(most * topology.input().len())]
}

/// Where each output of `layer` is cut off, if that is what happens to them first.
fn ends(units: &Units, topology: &Topology, layer: NodeId) -> Option<Vec<[f32; 2]>> {
    let unit = units.of(Value::Node(layer))?;
    match &topology.node(unit.clip?).op {
        Op::ClipEach(ends) => Some(ends.clone()),
        _ => {
            let channels = topology.shape(Value::Node(layer)).channels;
            Some(vec![unit.ends(topology)?; channels])
        }
    }
}

fn geometry(topology: &Topology, layer: NodeId) -> Geometry {
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
