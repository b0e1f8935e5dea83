//! A trained network as a file: folded weights and biases under PyTorch's names, and beside them what its quantizers are.
//!
//! | tensor | holds |
//! |---|---|
//! | `LAYER.weight` | representable numbers: codes times scale |
//! | `LAYER.bias` | float; rounded to 32 bits when it is loaded |
//! | `quantizer.weight.LAYER.scale` | `[out]` |
//! | `quantizer.weight.LAYER.bits` | `[1]` |
//! | `quantizer.site.SITE.grid` | `[4]`: scale, zero point, smallest code, largest code; no tensor where a summand or a sum is not rounded |
//!
//! A weight's integer is round(w / scale): w is the float32 product of the two, so the quotient is within a rounding of it.
//! Whoever ignores `quantizer.` has an ordinary network with quantized weights.

use std::collections::BTreeMap;

use quant_core::QParams;

use crate::error::{Error, quoted};
use crate::names;
use crate::quantize::{
    BiasPolicy, BnMode, Decision, QuantizedNet, WeightCodes, WeightQuantization,
};
use crate::sites::{Addition, ShortcutPolicy, SiteCodes, Sites};
use network::{HostTensor, Network, StateDict};

/// Whether a tensor of a file belongs to a quantizer.
pub fn is_quantizer(name: &str) -> bool {
    name.starts_with(names::PREFIX)
}

/// The quantizers that came with a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredQuantizers(StateDict);

impl StoredQuantizers {
    /// Of a file's tensors that are called so.
    pub fn new(tensors: StateDict) -> Self {
        Self(tensors)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of a finished training; `bits` are those of each layer's weights.
    pub fn of(net: &QuantizedNet) -> Self {
        let weights = net.codes.iter().map(|(layer, weights)| {
            let name = format!("{layer}.weight");
            let decision = net.manifest.iter().find(|d| d.tensor == name);
            let bits = decision.map_or(0, |d| d.bits);
            (layer.clone(), (weights.scale.clone(), bits))
        });
        let codes = net.activations.as_ref().map(|(codes, _)| codes.clone());
        Self::with(weights.collect(), &codes.unwrap_or_default())
    }

    /// Scales of each layer's output channels and bits of its weights; what sites are rounded to.
    pub fn with(weights: BTreeMap<String, (Vec<f32>, u32)>, codes: &SiteCodes) -> Self {
        let vector = |data: Vec<f32>| HostTensor {
            shape: vec![data.len()],
            data,
        };
        let mut all = StateDict::new();
        for (layer, (scale, bits)) in weights {
            all.insert(names::weight(&layer, "scale"), vector(scale));
            all.insert(names::weight(&layer, "bits"), vector(vec![bits as f32]));
        }
        for (site, q) in codes {
            let codes = [q.zero_point, q.quant_min, q.quant_max];
            let grid = [q.scale].into_iter().chain(codes.map(|c| c as f32));
            all.insert(names::site(site, "grid"), vector(grid.collect()));
        }
        Self(all)
    }

    /// The tensors, to be written beside the network's.
    pub fn tensors(&self) -> &StateDict {
        &self.0
    }

    /// Bits of weights and of activations, where they are quantized: those of most layers and sites.
    pub fn bits(&self) -> (Option<u32>, Option<u32>) {
        let most = |values: Vec<u32>| {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            for value in values {
                *counts.entry(value).or_default() += 1;
            }
            counts.into_iter().max_by_key(|(_, n)| *n).map(|(v, _)| v)
        };
        let (mut weights, mut sites) = (Vec::new(), Vec::new());
        for (name, tensor) in &self.0 {
            match (name.rsplit_once('.'), tensor.data.as_slice()) {
                (Some((_, "bits")), [bits]) => weights.push(*bits as u32),
                (Some((_, "grid")), [_, _, low, high]) => {
                    sites.push(u32::BITS - ((high - low) as u32).leading_zeros());
                }
                _ => {}
            }
        }
        (most(weights), most(sites))
    }

    /// What `network` is with these quantizers, ready to run.
    ///
    /// # Errors
    /// A quantizer that is missing or holds what no quantizer holds, by name; weights that are not on their grid.
    pub fn network(&self, network: &Network) -> Result<QuantizedNet, Error> {
        let mut net = QuantizedNet::float(network.clone());
        let topology = network.topology();
        for id in topology.layers() {
            let layer = &topology.node(id).name;
            let name = format!("{layer}.weight");
            let weight = network.tensors().require(&name)?;
            let scale = self.read(&names::weight(layer, "scale"), weight.shape[0])?;
            let bits = self.read(&names::weight(layer, "bits"), 1)?[0] as u32;
            let codes = codes(&name, weight, scale)?;
            net.codes.insert(layer.to_owned(), codes);
            let bias = Decision::float(format!("{layer}.bias"), "bias", "bias = float");
            let weight = Decision {
                quantized: true,
                bits,
                ..Decision::float(name, "weight", "as stored with the model")
            };
            net.manifest.extend([weight, bias]);
        }
        net.manifest.extend(crate::quantize::float_sites(topology));
        let sites = Sites::new(topology);
        let mut grids = SiteCodes::new();
        for site in sites.names() {
            let name = names::site(site, "grid");
            if self.0.contains(&name) {
                grids.insert(site.to_owned(), self.grid(&name)?);
            }
        }
        let shortcut = policy(&sites, &grids);
        if !grids.is_empty() {
            let how = WeightQuantization {
                scheme: None,
                first_bits: None,
                last_bits: None,
                bits_of: BTreeMap::new(),
                bias: BiasPolicy::Int32,
                bn: BnMode::Folded,
            };
            net.quantize_activations(&how, grids, shortcut)?;
        }
        Ok(net)
    }

    fn read(&self, name: &str, n: usize) -> Result<&[f32], Error> {
        Ok(&self.0.require_shaped(name, &[n])?.data)
    }

    fn grid(&self, name: &str) -> Result<QParams, Error> {
        let values = self.read(name, 4)?;
        let whole = |v: f32| v.fract() == 0.0 && v.abs() < (1 << 20) as f32;
        let fits = values[0].is_normal()
            && values[0] > 0.0
            && values[1..].iter().all(|&v| whole(v))
            && values[2] <= values[1]
            && values[1] <= values[3]
            && values[3] - values[2] <= 65_535.0;
        if !fits {
            return Err(refused(name, "no scale, zero point and codes"));
        }
        Ok(QParams {
            scale: values[0],
            zero_point: values[1] as i32,
            quant_min: values[2] as i32,
            quant_max: values[3] as i32,
        })
    }
}

/// The policy of additions that `grids` were made for: what is not rounded has none.
fn policy(sites: &Sites, grids: &SiteCodes) -> ShortcutPolicy {
    let equal = |Addition { summands, .. }: &Addition| {
        let [one, other] = summands;
        grids.contains_key(one) && grids.get(one) == grids.get(other)
    };
    if sites.additions.iter().all(equal) {
        return ShortcutPolicy::Shared;
    }
    let unrounded = |policy: &ShortcutPolicy| {
        let mut names = sites.names();
        names.all(|site| grids.contains_key(site) != sites.is_unrounded(site, *policy))
    };
    let real = [ShortcutPolicy::Float, ShortcutPolicy::IdentityFloat];
    let found = real.into_iter().find(unrounded);
    found.unwrap_or(ShortcutPolicy::Rescale)
}

/// The integers of weights that lie on their grid.
fn codes(name: &str, weight: &HostTensor, scale: &[f32]) -> Result<WeightCodes, Error> {
    let each = weight.len() / scale.len().max(1);
    let mut codes = Vec::with_capacity(weight.len());
    for (values, &scale) in weight.data.chunks_exact(each.max(1)).zip(scale) {
        if !(scale.is_normal() && scale > 0.0) {
            return Err(refused(name, "a scale that is not a positive number"));
        }
        for &w in values {
            let code = (w / scale).round_ties_even();
            if code.abs() > 65_536.0 || (code * scale - w).abs() > 1e-6 * w.abs() {
                return Err(refused(name, "a weight beside the grid of its quantizer"));
            }
            codes.push(code as i32);
        }
    }
    Ok(WeightCodes {
        codes,
        scale: scale.to_vec(),
    })
}

fn refused(name: &str, what: &str) -> Error {
    Error::Quantizer {
        name: quoted(name),
        problem: what.to_owned(),
    }
}
