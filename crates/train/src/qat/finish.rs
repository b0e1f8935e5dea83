//! From a training's state to the network that every other run ends in: weights folded, quantized, with their integers; a code
//! for every site; biases of 32 bits.
//!
//! `static` quantizes the folded weights by the trained steps, `folded` too unless each channel has a learned step of its own.
//! Then, and with `kept`, the convolution's own weights w are quantized and folded afterwards, which moves the grid and not the
//! codes: with `k` of [`quantize::fold`],
//!
//! ```text
//! w = s (q - z)      w k = (s |k|) (sign(k) (q - z))
//! ```
//!
//! so every channel has a scale of its own, and a channel with a negative k has its codes mirrored.

use quant_core::qat::{Method, lsq_plus, minmax, pact};
use quant_core::{QParams, Scheme, Values, parameters, quantize_by};

use super::{Qat, QatBn};
use network::{HostTensor, Network, StateDict};
use quantize::Error;
use quantize::{BatchNorm, fold};
use quantize::{Decision, QuantizedNet, WeightCodes, float_sites};
use quantize::{ShortcutPolicy, SiteCodes};
use quantize::{is_quantizer, names};

pub(super) fn finish(qat: &Qat, state: &StateDict) -> Result<QuantizedNet, Error> {
    let network = network(qat, state)?;
    let mut net = QuantizedNet::float(fold(&network)?);
    let own = qat.rounds_own_weights();
    let (topology, tensors) = network.into_parts();
    for id in topology.layers() {
        let layer = &topology.node(id).name;
        let name = format!("{layer}.weight");
        let source = if own { &tensors } else { &net.state };
        let original = source.require(&name)?.clone();
        let scheme = qat.scheme(layer)?;
        let params = qat.weight_params(state, layer, &original, &scheme)?;
        let values = Values::new(&name, &original.data, &original.shape)?;
        let quantized = quantize_by(&values, &scheme, &params);
        let how = format!("{}, trained by {}", scheme, qat.spec.method);
        net.take_weight(layer, &original, &quantized, &how)?;
        if own && let Some(bn) = BatchNorm::copy(&topology, &tensors, id)? {
            fold_codes(&mut net, layer, &bn.scale())?;
        }
        let bias = format!("{layer}.bias");
        if net.state.contains(&bias) {
            net.manifest
                .push(Decision::float(bias, "bias", "bias = float"));
        }
    }
    net.manifest.extend(float_sites(&net.topology));
    if let Some(how) = &qat.spec.activations {
        let codes = qat.site_codes(state)?;
        net.quantize_activations(&qat.as_weights(), codes, how.shortcut)?;
    }
    Ok(net)
}

/// The network without its quantizers.
pub(super) fn network(qat: &Qat, state: &StateDict) -> Result<Network, Error> {
    let own = state.iter().filter(|(name, _)| !is_quantizer(name));
    let own = own.map(|(name, tensor)| (name.clone(), tensor.clone()));
    let topology = match qat.spec.bn {
        QatBn::Static => qat.topology.clone().without_norms(),
        QatBn::Kept | QatBn::Folded => qat.topology.clone(),
    };
    Ok(Network::new(topology, own.collect())?)
}

/// Multiplies a layer's quantized weights by BatchNorm's factor.
fn fold_codes(net: &mut QuantizedNet, layer: &str, k: &[f32]) -> Result<(), Error> {
    let name = format!("{layer}.weight");
    let shape = net.state.require(&name)?.shape.clone();
    let Some(WeightCodes { codes, scale }) = net.codes.get_mut(layer) else {
        return Err(network::Error::missing(&name).into());
    };
    let each = codes.len() / k.len().max(1);
    let finest = scale.iter().zip(k).map(|(s, k)| s * k.abs());
    let finest = finest.filter(|s| *s > 0.0).fold(f32::MAX, f32::min);
    let mut values = Vec::with_capacity(codes.len());
    for ((codes, scale), k) in codes.chunks_exact_mut(each).zip(scale.iter_mut()).zip(k) {
        *scale *= k.abs();
        if *scale == 0.0 {
            // Nothing comes out of this channel; any scale is exact.
            codes.fill(0);
            *scale = finest;
        }
        if *k < 0.0 {
            codes.iter_mut().for_each(|q| *q = -*q);
        }
        values.extend(codes.iter().map(|&q| *scale * q as f32));
    }
    net.state.insert(&name, HostTensor::new(shape, values)?);
    Ok(())
}

impl Qat {
    /// What a finished network is stored as: its quantized weights, and its biases before they are rounded.
    ///
    /// # Errors
    /// A tensor that is missing, by name.
    pub fn folded(&self, state: &StateDict, net: &QuantizedNet) -> Result<StateDict, Error> {
        let (_, mut folded) = fold(&network(self, state)?)?.into_parts();
        for (name, tensor) in &net.state {
            if name.ends_with(".weight") {
                folded.insert(name, tensor.clone());
            }
        }
        Ok(folded)
    }

    /// The grid of a layer's weights, one entry for each group.
    pub(super) fn weight_params(
        &self,
        state: &StateDict,
        layer: &str,
        weight: &HostTensor,
        scheme: &Scheme,
    ) -> Result<Vec<QParams>, Error> {
        let name = format!("{layer}.weight");
        if !self.spec.method.learns_weight_steps() {
            let values = Values::new(&name, &weight.data, &weight.shape)?;
            return Ok(parameters(&values, scheme));
        }
        let steps = state.require(&names::weight(layer, "step"))?;
        let unit = self.step_unit(state, layer)?;
        let zero_points = state.get(&names::weight(layer, "zero_point"));
        let (quant_min, quant_max) = scheme.quant_bounds();
        let zero_point = |i: usize| {
            let value = zero_points.and_then(|t| t.data.get(i).copied());
            value.unwrap_or(0.0) as i32
        };
        let steps = steps.data.iter().enumerate();
        Ok(steps
            .map(|(i, &step)| QParams {
                scale: step * unit,
                zero_point: zero_point(i),
                quant_min,
                quant_max,
            })
            .collect())
    }

    /// The grid of a site that has a quantizer of its own.
    pub(super) fn site_params(&self, state: &StateDict, owner: &str) -> Result<QParams, Error> {
        let read = |part: &str, n: usize| {
            let tensor = state.require_shaped(&names::site(owner, part), &[n]);
            tensor.map(|tensor| &tensor.data)
        };
        if self.spec.method == Method::MinMax {
            let how = self.spec.activations.as_ref();
            let how = how.ok_or_else(|| network::Error::missing(owner))?;
            // Sites that share a scale: the range of all.
            let mut range = (0.0_f32, 0.0_f32);
            for (site, _) in self.owners.iter().filter(|(_, o)| *o == owner) {
                let own = state.require(&names::site(site, "range"))?;
                let (lo, hi) = (own.data.first(), own.data.last());
                range.0 = range.0.min(lo.copied().unwrap_or(0.0));
                range.1 = range.1.max(hi.copied().unwrap_or(0.0));
            }
            let scheme = self.sites.scheme(owner, how)?;
            let params = minmax::activation_params(range, &scheme);
            return params.map_err(|reason| Error::Site {
                site: owner.to_owned(),
                reason,
            });
        }
        let codes = read("codes", 3)?;
        let (quant_min, quant_max) = (codes[0] as i32, codes[1] as i32);
        let calibrated = codes[2] as i32;
        let (scale, zero_point) = match self.spec.method {
            Method::Pact => (pact::step(read("bound", 1)?[0], quant_max), calibrated),
            Method::LsqPlus => {
                let step = read("step", 1)?[0];
                let offset = read("offset", 1)?[0];
                let bounds = (quant_min, quant_max);
                (step, lsq_plus::zero_point(step, offset, bounds))
            }
            Method::Lsq | Method::MinMax => (read("step", 1)?[0], calibrated),
        };
        Ok(QParams {
            scale,
            zero_point,
            quant_min,
            quant_max,
        })
    }

    /// The code of every site.
    fn site_codes(&self, state: &StateDict) -> Result<SiteCodes, Error> {
        let codes = self.owners.iter();
        codes
            .map(|(site, owner)| Ok((site.clone(), self.site_params(state, owner)?)))
            .collect()
    }

    /// How summands are added.
    pub fn shortcut(&self) -> Option<ShortcutPolicy> {
        self.spec.activations.as_ref().map(|how| how.shortcut)
    }
}
