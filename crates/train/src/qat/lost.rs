//! Channels that a training has lost: they say the same whatever is learned, and nothing brings them back.
//!
//! - A running variance below a thousandth of what it was: BatchNorm divides by next to nothing, and what comes out is the noise
//!   of the statistics.
//! - More than nine tenths of the weights past the ends of the grid: none of those has a gradient.

use quant_core::QParams;

use super::{Qat, finish};
use network::{Network, StateDict};
use quantize::Error;
use quantize::QuantizedNet;
use quantize::{BatchNorm, fold};

/// The share of the variance at the start below which a channel is lost.
const LEAST_VARIANCE: f32 = 1e-3;
/// The share of clipped weights above which a channel is lost.
const MOST_CLIPPED: f64 = 0.9;

/// A layer's channels, and which of them are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostChannels {
    /// The layer's PyTorch name.
    pub layer: String,
    /// How many channels it has.
    pub channels: usize,
    /// Those whose variance has gone.
    pub without_variance: Vec<usize>,
    /// Those whose weights are clipped.
    pub clipped: Vec<usize>,
}

impl LostChannels {
    /// How many are lost, one way or both.
    pub fn count(&self) -> usize {
        let also = |c: &&usize| !self.without_variance.contains(c);
        self.without_variance.len() + self.clipped.iter().filter(also).count()
    }

    /// What the manifest says of them; none where there is nothing to say.
    fn note(&self) -> Option<String> {
        let mut notes = Vec::new();
        if !self.without_variance.is_empty() {
            notes.push(format!(
                "running variance below a thousandth of its start in {} of {} channels",
                self.without_variance.len(),
                self.channels
            ));
        }
        if !self.clipped.is_empty() {
            notes.push(format!(
                "more than 90 % of the weights clipped in {} of {} channels",
                self.clipped.len(),
                self.channels
            ));
        }
        (!notes.is_empty()).then(|| notes.join(", "))
    }
}

impl Qat {
    /// The channels of every layer after a training that began with the float network `begin` and has come to `state`.
    ///
    /// # Errors
    /// A tensor that is missing, by name.
    pub fn lost_channels(
        &self,
        begin: &Network,
        state: &StateDict,
    ) -> Result<Vec<LostChannels>, Error> {
        let network = finish::network(self, state)?;
        let weights = match self.rounds_own_weights() {
            true => network.clone(),
            false => fold(&network)?,
        };
        let one = |layer: &str| {
            let weight = weights.tensors().require(&format!("{layer}.weight"))?;
            let params = self.weight_params(state, layer, weight, &self.scheme(layer)?)?;
            let channels = weight.shape.first().copied().unwrap_or(1);
            let variances = |network: &Network| -> Result<Vec<f32>, Error> {
                let topology = network.topology();
                let Some(id) = topology.find(layer) else {
                    return Ok(Vec::new());
                };
                let bn = BatchNorm::copy(topology, network.tensors(), id)?;
                Ok(bn.map(|bn| bn.variance().to_vec()).unwrap_or_default())
            };
            let pairs = variances(begin)?.into_iter().zip(variances(&network)?);
            let without_variance = pairs
                .enumerate()
                .filter(|(_, (then, now))| *now < then * LEAST_VARIANCE);
            let each = (weight.len() / channels.max(1)).max(1);
            let groups = weight.data.chunks_exact(each).enumerate();
            let clipped = groups.filter(|(c, group)| {
                let params = params.get(*c).or(params.first());
                params.is_some_and(|params| clipped(group, params) > MOST_CLIPPED)
            });
            Ok(LostChannels {
                layer: layer.to_owned(),
                channels,
                without_variance: without_variance.map(|(c, _)| c).collect(),
                clipped: clipped.map(|(c, _)| c).collect(),
            })
        };
        self.layers().map(one).collect()
    }
}

/// Says in the manifest of `net` which layers have lost channels.
pub fn note_lost(net: &mut QuantizedNet, lost: &[LostChannels]) {
    for layer in lost {
        let name = format!("{}.weight", layer.layer);
        let decision = net.manifest.iter_mut().find(|d| d.tensor == name);
        if let (Some(decision), Some(note)) = (decision, layer.note()) {
            decision.reason += &format!("; {note}");
        }
    }
}

/// The share of values past the ends of a grid.
fn clipped(group: &[f32], params: &QParams) -> f64 {
    if params.is_float() || group.is_empty() {
        return 0.0;
    }
    let (low, high) = (params.quant_min as f32, params.quant_max as f32);
    let outside = |w: &&f32| {
        let code = (*w / params.scale).round_ties_even() + params.zero_point as f32;
        code < low || code > high
    };
    group.iter().filter(outside).count() as f64 / group.len() as f64
}
