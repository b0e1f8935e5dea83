//! Where the quantizers sit: the weights of every convolution and of the classifier, and on request their biases.
//!
//! The order of folding and quantizing is the axis `bn`:
//! - `kept`: the convolution's own weights are quantized, BatchNorm stays in float behind it;
//! - `folded`: BatchNorm is folded first (see [`fold`]), and the product is quantized.
//!
//! Either way the network that is run afterwards has no BatchNorm: multiplying the *quantized* weights by BatchNorm's
//! factor computes the same function as applying it to the output, at half the passes over memory. The quantized
//! weights themselves are in [`QuantizedNet::state`].
//!
//! Biases under [`BiasPolicy::Same`] are quantized as the original method does it: each bias vector as its own tensor
//! with the same number of bits, affine, range as found. [`BiasPolicy::Int32`] needs the scale of the layer's input, so
//! it is done by [`QuantizedNet::quantize_activations`].

use std::collections::{BTreeMap, BTreeSet};

use quant_core::{
    BiasCodes, Bits, Comparison, Layout, QParams, Quantized, Scheme, Values, bits_per_value,
    compare,
};

use crate::error::Error;
use crate::fold::fold;
use crate::sites::{ShortcutPolicy, SiteCodes, SiteRounding, Sites};
use network::{HostTensor, Network, NodeId, StateDict, Topology, Value};

/// Whether BatchNorm is folded before the weights are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BnMode {
    /// The convolution's own weights are quantized; BatchNorm stays in float.
    Kept,
    /// BatchNorm is folded into weights and biases, then those are quantized.
    Folded,
}

quant_core::words!(BnMode, "bn": Kept = "kept", Folded = "folded");

/// What happens to biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BiasPolicy {
    /// Quantized with the weights' number of bits, each vector with its own scale and zero point.
    Same,
    /// 32-bit codes in the scale of the sums, that of the weights times that of the layer's input.
    Int32,
    /// Left in float32.
    Float,
}

quant_core::words!(BiasPolicy, "bias": Same = "same", Int32 = "int32", Float = "float");

/// What to quantize, and how.
#[derive(Clone, Debug)]
pub struct WeightQuantization {
    /// Applied to each weight tensor; absent: weights stay in float.
    pub scheme: Option<Scheme>,
    /// Bits of the first convolution, where they differ.
    pub first_bits: Option<Bits>,
    /// Bits of the classifier, where they differ.
    pub last_bits: Option<Bits>,
    /// Bits of layers by name, before all others.
    pub bits_of: BTreeMap<String, Bits>,
    /// Applied to each bias vector.
    pub bias: BiasPolicy,
    /// Applied before everything else.
    pub bn: BnMode,
}

impl WeightQuantization {
    /// The scheme of a layer's weights; none where they stay in float.
    ///
    /// # Errors
    /// Bits of its own that the scheme cannot have.
    pub fn scheme_of(&self, topology: &Topology, layer: NodeId) -> Result<Option<Scheme>, Error> {
        let ends = [self.first_bits, self.last_bits];
        let bits = own_bits(topology, layer, ends, &self.bits_of);
        Ok(match (self.scheme, bits) {
            (Some(scheme), Some(bits)) => Some(scheme.with_bits(bits)?),
            (scheme, _) => scheme,
        })
    }
}

/// A layer's weights as integers: weight `w` of output channel `c` is `codes[w] * scale[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightCodes {
    /// `q - zero_point`, in the tensor's order.
    pub codes: Vec<i32>,
    /// One for each output channel.
    pub scale: Vec<f32>,
}

/// What a layer's weights were rounded to.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightGrids {
    /// Which weights share parameters.
    pub layout: Layout,
    /// The parameters of each group of weights, in order.
    pub params: Vec<QParams>,
}

/// One line of the quantization manifest: a parameter tensor or an activation site, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The tensor's PyTorch name, or the activation site's.
    pub tensor: String,
    /// `weight`, `bias`, `batchnorm` or `activation`; of the file's own: `ignored`, `name`.
    pub kind: &'static str,
    /// Whether it holds representable values alone.
    pub quantized: bool,
    /// Bits of a code; 32 where it stays in float.
    pub bits: u32,
    /// Why; never empty.
    pub reason: String,
}

impl Decision {
    /// What stays in float.
    pub fn float(tensor: impl Into<String>, kind: &'static str, reason: impl Into<String>) -> Self {
        Self {
            tensor: tensor.into(),
            kind,
            quantized: false,
            bits: 32,
            reason: reason.into(),
        }
    }
}

/// What a layer's outputs lost by its rounding, in shares of their variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputLoss {
    /// As the sums promise that the codes were chosen by, for the best bias.
    pub predicted: f64,
    /// The points of those sums.
    pub points: usize,
    /// Of the outputs themselves on the calibration images, at every position.
    pub measured: f64,
    /// How many positions.
    pub positions: usize,
}

/// What quantization did to one weight tensor.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The layer's PyTorch name (without `.weight`).
    pub layer: String,
    /// Quantized weights against the weights they were made from.
    pub comparison: Comparison,
    /// Weights that were clipped to an end of the range.
    pub saturated: usize,
    /// Smallest and largest scale of the tensor's groups.
    pub scales: (f32, f32),
    /// Bits that weights, scales and zero points take together.
    pub bits_stored: f64,
    /// What its outputs lost, where codes were chosen by that.
    pub outputs: Option<OutputLoss>,
}

/// A network after quantization.
#[derive(Clone, Debug)]
pub struct QuantizedNet {
    /// How it hangs together, its BatchNorms as [`BnMode`] says.
    pub topology: Topology,
    /// Weights that hold representable values alone, in float32; BatchNorm as [`BnMode`] says.
    pub state: StateDict,
    /// One line for each parameter tensor and activation site.
    pub manifest: Vec<Decision>,
    /// One entry for each quantized weight tensor, in execution order.
    pub layers: Vec<LayerReport>,
    /// The weights as integers, by layer; none where they are in float or where a channel has several scales.
    pub codes: BTreeMap<String, WeightCodes>,
    /// What weights were rounded to, by layer; nothing of those that came with the model.
    pub grids: BTreeMap<String, WeightGrids>,
    /// Biases as 32-bit codes, by layer.
    pub bias_codes: BTreeMap<String, Vec<i32>>,
    /// Channels whose bias code was clamped ([`quant_core::LARGEST_BIAS`]), by layer.
    pub bias_overflows: BTreeMap<String, Vec<usize>>,
    /// What activations are rounded to; none where they stay in float, and so does a site that is not among them.
    pub activations: Option<(SiteCodes, ShortcutPolicy)>,
}

/// Quantizes the weights of `network`. Fails where a tensor is missing, cannot be quantized (NaN, infinity), or where
/// weights were asked for and not one tensor ended up quantized.
pub fn quantize(network: &Network, how: &WeightQuantization) -> Result<QuantizedNet, Error> {
    quantize_each(network, how, &mut |net, layer, scheme| {
        let name = net.topology.node(layer).name.clone();
        net.layer(&name, how.bias, scheme)
    })
}

/// What is done to a layer's weights and bias under its scheme.
type OneLayer<'a> = dyn FnMut(&mut QuantizedNet, NodeId, Option<&Scheme>) -> Result<(), Error> + 'a;

/// [`quantize`] with `quantize_layer` for what is done to a layer's weights and bias under the scheme that it has, if any.
pub(crate) fn quantize_each(
    network: &Network,
    how: &WeightQuantization,
    quantize_layer: &mut OneLayer<'_>,
) -> Result<QuantizedNet, Error> {
    let network = match how.bn {
        BnMode::Kept => network.clone(),
        BnMode::Folded => fold(network)?,
    };
    let topology = network.topology().clone();
    let mut net = QuantizedNet::float(network);
    for layer in topology.layers() {
        let scheme = how.scheme_of(&topology, layer)?;
        quantize_layer(&mut net, layer, scheme.as_ref())?;
        if let Some(norm) = topology.norm(layer) {
            net.batch_norm(&topology.node(norm).name);
        }
    }
    net.manifest.extend(float_sites(&topology));
    if how.scheme.is_none() || net.manifest.iter().any(|decision| decision.quantized) {
        Ok(net)
    } else {
        Err(Error::NothingQuantized {
            reason: net
                .manifest
                .first()
                .map(|d| format!("{}: {}", d.tensor, d.reason))
                .unwrap_or_default(),
        })
    }
}

/// The bits of a layer, where they are its own: by its name, of one that reads the images, and of the last.
pub fn own_bits(
    topology: &Topology,
    layer: NodeId,
    [first, last]: [Option<Bits>; 2],
    bits_of: &BTreeMap<String, Bits>,
) -> Option<Bits> {
    if let Some(&bits) = bits_of.get(&topology.node(layer).name) {
        Some(bits)
    } else if topology.node(layer).inputs[0] == Value::Input {
        first
    } else if topology.layers().next_back() == Some(layer) {
        last
    } else {
        None
    }
}

/// The manifest of a network that stays in float.
pub fn float_manifest(network: &Network) -> Vec<Decision> {
    let state = network.tensors();
    let decisions = state
        .names()
        .map(|name| Decision::float(name, kind_of(name, state), "weights.bits = 32"));
    let sites = float_sites(network.topology());
    decisions.chain(sites).collect()
}

impl QuantizedNet {
    /// A network of which nothing is quantized and nothing is said.
    pub fn float(network: Network) -> Self {
        let (topology, state) = network.into_parts();
        Self {
            topology,
            state,
            manifest: Vec::new(),
            layers: Vec::new(),
            codes: BTreeMap::new(),
            grids: BTreeMap::new(),
            bias_codes: BTreeMap::new(),
            bias_overflows: BTreeMap::new(),
            activations: None,
        }
    }

    /// The network with its weights as they are rounded.
    ///
    /// # Errors
    /// None for a network that was made here.
    pub fn network(&self) -> Result<Network, Error> {
        Ok(Network::new(self.topology.clone(), self.state.clone())?)
    }

    /// Rounds activations to `codes` from here on, and biases to 32 bits where `how` says so.
    ///
    /// # Errors
    /// [`Error::Missing`] where `codes` lacks a site.
    pub fn quantize_activations(
        &mut self,
        how: &WeightQuantization,
        codes: SiteCodes,
        shortcut: ShortcutPolicy,
    ) -> Result<(), Error> {
        let sites = Sites::new(&self.topology);
        let code = |site: &str| codes.get(site).ok_or_else(|| network::Error::missing(site));
        for decision in &mut self.manifest {
            if decision.kind != "activation" {
                continue;
            }
            if sites.is_unrounded(&decision.tensor, shortcut) {
                decision.reason = format!("shortcut = {shortcut}");
                continue;
            }
            let code = code(&decision.tensor)?;
            decision.quantized = true;
            decision.bits = code.bits();
            decision.reason = format!(
                "scale {:e}, zero point {}, codes {} to {}",
                code.scale, code.zero_point, code.quant_min, code.quant_max
            );
        }
        if how.bias == BiasPolicy::Int32 {
            for (layer, site) in &sites.inputs {
                self.int32_bias(layer, code(site)?.scale)?;
            }
        }
        self.activations = Some((codes, shortcut));
        Ok(())
    }

    /// Says in the manifest of `sites` that calibration saw zeros alone there ([`Sites::dead`]), as far as they are quantized.
    pub fn note_dead(&mut self, sites: &BTreeSet<String>) {
        self.note_sites(sites, "every value was zero in calibration");
    }

    /// Says in the manifest of `sites` that their ranges are those of [`crate::output_ranges`], as far as they are quantized.
    pub fn note_output_ranges(&mut self, sites: &BTreeSet<String>) {
        self.note_sites(sites, "range of least output error");
    }

    fn note_sites(&mut self, sites: &BTreeSet<String>, words: &str) {
        for decision in &mut self.manifest {
            let is_site = decision.kind == "activation" && decision.quantized;
            if is_site && sites.contains(&decision.tensor) {
                decision.reason += &format!("; {words}");
            }
        }
    }

    /// The code of each site in the order of [`Sites`], none where its values stay as they are; empty where all activations
    /// stay in float.
    pub fn site_codes(&self) -> Vec<Option<QParams>> {
        let rounding = self.site_rounding().into_iter();
        rounding.map(|site| site.map(|site| site.code)).collect()
    }

    /// What happens at each site in the order of [`Sites`]; empty where activations stay in float.
    pub fn site_rounding(&self) -> Vec<Option<SiteRounding>> {
        let Some((codes, shortcut)) = &self.activations else {
            return Vec::new();
        };
        let sites = Sites::new(&self.topology);
        let rounding = |site: &str| {
            let code = sites.code(site, codes, *shortcut)?;
            let is_forked = sites.is_forked(site, *shortcut);
            Some(SiteRounding { code, is_forked })
        };
        sites.names().map(rounding).collect()
    }

    /// Rounds a layer's bias to multiples of its sums' scale.
    fn int32_bias(&mut self, layer: &str, input_scale: f32) -> Result<(), Error> {
        let name = format!("{layer}.bias");
        let (Some(bias), Some(weights)) = (self.state.get(&name), self.codes.get(layer)) else {
            return Ok(());
        };
        let scale = weights.scale.iter();
        let scale: Vec<f64> = scale
            .map(|&s| f64::from(s) * f64::from(input_scale))
            .collect();
        let BiasCodes { codes, overflowed } = quant_core::bias_codes(&bias.data, &scale);
        let values = codes.iter().zip(&scale);
        let values = values.map(|(&q, s)| (f64::from(q) * s) as f32).collect();
        let tensor = HostTensor::new(bias.shape.clone(), values)?;
        self.state.insert(&name, tensor);
        let decision = self.manifest.iter_mut().find(|d| d.tensor == name);
        if let Some(decision) = decision {
            decision.quantized = true;
            decision.reason = match overflowed.len() {
                0 => "bias = int32".to_owned(),
                n => format!("bias = int32; {n} of {} codes pass 2^30", codes.len()),
            };
        }
        if !overflowed.is_empty() {
            self.bias_overflows.insert(layer.to_owned(), overflowed);
        }
        self.bias_codes.insert(layer.to_owned(), codes);
        Ok(())
    }

    /// Adds to the manifest's line about a layer's weights.
    pub(crate) fn note_weight(&mut self, layer: &str, words: &str) {
        let weight = format!("{layer}.weight");
        if let Some(line) = self.manifest.iter_mut().find(|d| d.tensor == weight) {
            line.reason += &format!("; {words}");
        }
    }

    /// Gives a layer the bias `bias`, one value for each output.
    ///
    /// # Errors
    /// None for a vector.
    pub fn put_bias(&mut self, layer: &str, bias: Vec<f32>) -> Result<(), Error> {
        let bias = HostTensor::new(vec![bias.len()], bias)?;
        self.state.insert(format!("{layer}.bias"), bias);
        Ok(())
    }

    /// A layer's weights rounded to the nearest codes of `scheme`, and its bias as `bias` says.
    pub(crate) fn layer(
        &mut self,
        layer: &str,
        bias: BiasPolicy,
        scheme: Option<&Scheme>,
    ) -> Result<(), Error> {
        match scheme {
            Some(scheme) => self.weight(layer, scheme)?,
            None => {
                let name = format!("{layer}.weight");
                let decision = Decision::float(name, "weight", "weights.bits = 32");
                self.manifest.push(decision);
            }
        }
        self.bias(layer, bias, scheme)
    }

    /// A layer's weights rounded to the nearest codes of `scheme`.
    pub(crate) fn weight(&mut self, layer: &str, scheme: &Scheme) -> Result<(), Error> {
        let name = format!("{layer}.weight");
        let original = self.state.require(&name)?.clone();
        let values = Values::new(&name, &original.data, &original.shape)?;
        let scheme = scheme.with_rounding(scheme.rounding().for_tensor(&name));
        let quantized = quant_core::quantize(&values, &scheme);
        self.take_weight(layer, &original, &quantized, &scheme.to_string())
    }

    /// Puts quantized weights in place of `original`; `how` they were made is for the manifest.
    pub fn take_weight(
        &mut self,
        layer: &str,
        original: &HostTensor,
        quantized: &Quantized,
        how: &str,
    ) -> Result<(), Error> {
        self.put(&format!("{layer}.weight"), "weight", quantized, how)?;
        let channels = original.shape.first().copied().unwrap_or(1);
        if let Some(codes) = integers(quantized, channels) {
            self.codes.insert(layer.to_owned(), codes);
        }
        let grids = WeightGrids {
            layout: quantized.layout,
            params: quantized.params.clone(),
        };
        self.grids.insert(layer.to_owned(), grids);
        let comparison = compare(&original.data, &quantized.values);
        let scales = quantized.params.iter().map(|p| p.scale);
        self.layers.push(LayerReport {
            layer: layer.to_owned(),
            comparison,
            saturated: quantized.saturated,
            scales: (
                scales.clone().fold(f32::INFINITY, f32::min),
                scales.fold(0.0, f32::max),
            ),
            bits_stored: bits_per_value(quantized) * original.len() as f64,
            outputs: None,
        });
        Ok(())
    }

    /// Puts other values on other grids, of the same scheme, in place of a layer's weights; `words` say why. `original` is what they
    /// were quantized from.
    ///
    /// # Errors
    /// A value that is not finite.
    pub fn recode(
        &mut self,
        layer: &str,
        original: &HostTensor,
        (scheme, grids): (&Scheme, Vec<QParams>),
        values: &[f32],
        words: &str,
    ) -> Result<(), Error> {
        let name = format!("{layer}.weight");
        let values = Values::new(&name, values, &original.shape)?;
        let quantized = quant_core::quantize_by(&values, scheme, &grids);
        let channels = original.shape.first().copied().unwrap_or(1);
        if let Some(codes) = integers(&quantized, channels) {
            self.codes.insert(layer.to_owned(), codes);
        }
        if let Some(report) = self.layers.iter_mut().find(|report| report.layer == layer) {
            report.comparison = compare(&original.data, &quantized.values);
            let fine = grids.iter().map(|grid| grid.scale);
            report.scales = (
                fine.clone().fold(f32::INFINITY, f32::min),
                fine.fold(0.0, f32::max),
            );
        }
        let tensor = HostTensor::new(original.shape.clone(), quantized.values)?;
        self.state.insert(name, tensor);
        let grids = WeightGrids {
            layout: quantized.layout,
            params: grids,
        };
        self.grids.insert(layer.to_owned(), grids);
        self.note_weight(layer, words);
        Ok(())
    }

    /// A layer's bias as `policy` says.
    pub(crate) fn bias(
        &mut self,
        layer: &str,
        policy: BiasPolicy,
        scheme: Option<&Scheme>,
    ) -> Result<(), Error> {
        let name = format!("{layer}.bias");
        if !self.state.contains(&name) {
            return Ok(());
        }
        match (policy, scheme) {
            (BiasPolicy::Same, Some(scheme)) => {
                self.replace(&name, "bias", &Scheme::linear(scheme.bits()))?;
            }
            // Under int32, until `quantize_activations` has the scales.
            (policy, _) => {
                let decision = Decision::float(name, "bias", format!("bias = {policy}"));
                self.manifest.push(decision);
            }
        }
        Ok(())
    }

    /// Lists the BatchNorm tensors, where any are left.
    fn batch_norm(&mut self, bn: &str) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let name = format!("{bn}.{part}");
            if self.state.contains(&name) {
                self.manifest
                    .push(Decision::float(name, "batchnorm", "bn = kept"));
            }
        }
    }

    /// Quantizes a tensor in its place.
    fn replace(&mut self, name: &str, kind: &'static str, scheme: &Scheme) -> Result<(), Error> {
        let tensor = self.state.require(name)?;
        let values = Values::new(name, &tensor.data, &tensor.shape)?;
        let scheme = scheme.with_rounding(scheme.rounding().for_tensor(name));
        let quantized = quant_core::quantize(&values, &scheme);
        self.put(name, kind, &quantized, &scheme.to_string())
    }

    fn put(
        &mut self,
        name: &str,
        kind: &'static str,
        quantized: &Quantized,
        how: &str,
    ) -> Result<(), Error> {
        let shape = self.state.require(name)?.shape.clone();
        self.state
            .insert(name, HostTensor::new(shape, quantized.values.clone())?);
        let bits = if quantized.is_quantized() {
            quantized.scheme.bits().get()
        } else {
            32
        };
        self.manifest.push(Decision {
            tensor: name.to_owned(),
            kind,
            quantized: quantized.is_quantized(),
            bits,
            reason: match quantized.first_reason() {
                None => how.to_owned(),
                Some(reason) => format!(
                    "{} of {} groups stay in float: {reason}",
                    quantized.float_groups(),
                    quantized.params.len()
                ),
            },
        });
        Ok(())
    }
}

fn kind_of(name: &str, state: &StateDict) -> &'static str {
    let (layer, part) = name.rsplit_once('.').unwrap_or(("", name));
    if state.contains(&format!("{layer}.running_mean")) {
        "batchnorm"
    } else if part == "bias" {
        "bias"
    } else {
        "weight"
    }
}

/// The activation sites of a network whose activations stay in float.
pub fn float_sites(topology: &Topology) -> impl Iterator<Item = Decision> + use<> {
    let sites = Sites::new(topology).sites.into_iter();
    sites.map(|site| Decision::float(site.name, "activation", "activations.bits = 32"))
}

/// The scale of weights that are zeros alone. Any is exact; the layer's bias, which is all that comes out of it, is rounded
/// to multiples of this one times that of the input.
const SCALE_OF_ZEROS: f32 = 1.0 / 1024.0;

/// Quantized weights as integers, if every output channel has one scale. A channel left in float for want of anything but
/// zeros has codes 0; it takes another channel's scale, so that its bias has a fine enough unit ([`SCALE_OF_ZEROS`] where
/// no channel has one).
fn integers(quantized: &Quantized, channels: usize) -> Option<WeightCodes> {
    let params = &quantized.params;
    let per_channel = match params.len() {
        1 => false,
        n if n == channels => true,
        _ => return None,
    };
    let each = quantized.codes.len() / channels;
    let fine = params.iter().filter(|p| !p.is_float());
    let finest = fine.map(|p| p.scale).reduce(f32::min);
    let finest = finest.unwrap_or(SCALE_OF_ZEROS);
    let mut out = WeightCodes {
        codes: Vec::with_capacity(quantized.codes.len()),
        scale: Vec::with_capacity(channels),
    };
    let values = quantized.values.chunks_exact(each);
    for (c, (codes, values)) in quantized.codes.chunks_exact(each).zip(values).enumerate() {
        let params = params[if per_channel { c } else { 0 }];
        if !params.is_float() {
            out.codes
                .extend(codes.iter().map(|q| q - params.zero_point));
            out.scale.push(params.scale);
        } else if values.iter().all(|&v| v == 0.0) {
            out.codes.extend(codes.iter().map(|_| 0));
            out.scale.push(finest);
        } else {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::{CodeRange, Granularity, Mapping, RangeMethod, Rounding};
    use resnet::Arch;
    use resnet::{network, random_state};
    use std::collections::HashSet;

    fn linear(bits: u32, bias: BiasPolicy, bn: BnMode) -> WeightQuantization {
        WeightQuantization {
            scheme: Some(Scheme::linear(Bits::new(bits).unwrap())),
            first_bits: None,
            last_bits: None,
            bits_of: BTreeMap::new(),
            bias,
            bn,
        }
    }

    fn distinct(values: &[f32]) -> usize {
        values
            .iter()
            .map(|v| v.to_bits())
            .collect::<HashSet<_>>()
            .len()
    }

    #[test]
    fn every_weight_tensor_holds_at_most_as_many_numbers_as_there_are_codes() {
        let arch = Arch::parse("cifar-resnet20-b").unwrap();
        let network = network(&arch, random_state(&arch, 1)).unwrap();
        for bn in [BnMode::Kept, BnMode::Folded] {
            let net = quantize(&network, &linear(3, BiasPolicy::Same, bn)).unwrap();
            for layer in arch.layout().layers() {
                let weight = net.state.get(&format!("{layer}.weight")).unwrap();
                assert!(distinct(&weight.data) <= 8, "{layer}");
                if let Some(bias) = net.state.get(&format!("{layer}.bias")) {
                    assert!(distinct(&bias.data) <= 8, "{layer} bias");
                }
            }
        }
    }

    #[test]
    fn the_manifest_names_every_tensor_and_says_why() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let state = random_state(&arch, 2);
        let how = linear(4, BiasPolicy::Float, BnMode::Kept);
        let network = network(&arch, state.clone()).unwrap();
        let net = quantize(&network, &how).unwrap();
        let listed: HashSet<&str> = net
            .manifest
            .iter()
            .filter(|decision| decision.kind != "activation")
            .map(|decision| decision.tensor.as_str())
            .collect();
        assert_eq!(listed, state.names().map(String::as_str).collect());
        assert!(
            net.manifest
                .iter()
                .all(|decision| !decision.reason.is_empty())
        );
        let quantized = net.manifest.iter().filter(|d| d.quantized).count();
        assert_eq!(quantized, arch.layout().units().len() + 1);
        let float = float_manifest(&network);
        assert!(
            float
                .iter()
                .all(|decision| !decision.quantized && decision.bits == 32)
        );
        assert_eq!(float.len(), net.manifest.len());
    }

    #[test]
    fn biases_stay_in_float_or_get_codes_of_their_own() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let state = random_state(&arch, 3);
        let network = network(&arch, state.clone()).unwrap();
        let float = quantize(&network, &linear(2, BiasPolicy::Float, BnMode::Kept)).unwrap();
        assert_eq!(float.state.get("linear.bias"), state.get("linear.bias"));
        let same = quantize(&network, &linear(2, BiasPolicy::Same, BnMode::Kept)).unwrap();
        assert!(distinct(&same.state.get("linear.bias").unwrap().data) <= 4);
    }

    #[test]
    fn per_channel_folding_before_or_after_quantizing_is_the_same_network() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 4);
        // Powers of two pass through every rounding unchanged, so that equality is exact.
        for unit in arch.layout().units() {
            state
                .get_mut(&format!("{}.weight", unit.bn))
                .unwrap()
                .data
                .fill(0.5);
            let variance = state.get_mut(&format!("{}.running_var", unit.bn)).unwrap();
            variance.data.fill(4.0 - resnet::BN_EPSILON as f32);
        }
        let scheme = Scheme::new(
            Bits::new(4).unwrap(),
            Mapping::Symmetric,
            CodeRange::Narrow,
            Granularity::Channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        )
        .unwrap();
        let network = network(&arch, state).unwrap();
        let run = |bn| {
            let how = WeightQuantization {
                scheme: Some(scheme),
                first_bits: None,
                last_bits: None,
                bits_of: BTreeMap::new(),
                bias: BiasPolicy::Float,
                bn,
            };
            let net = quantize(&network, &how).unwrap();
            fold(&net.network().unwrap()).unwrap().tensors().sha256()
        };
        assert_eq!(run(BnMode::Kept), run(BnMode::Folded));
    }

    #[test]
    fn a_network_of_constants_is_refused_because_nothing_would_be_quantized() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 5);
        for (name, shape) in arch.expected() {
            let n = shape.iter().product();
            state.insert(name, HostTensor::new(shape, vec![1.0; n]).unwrap());
        }
        let how = linear(4, BiasPolicy::Same, BnMode::Kept);
        let network = network(&arch, state).unwrap();
        let error = quantize(&network, &how).unwrap_err().to_string();
        assert!(error.contains("nothing was quantized"), "{error}");
    }

    #[test]
    fn layers_of_one_size_draw_their_own_numbers_under_stochastic_rounding() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 6);
        let twin = state.get("layer1.0.conv1.weight").unwrap().clone();
        state.insert("layer1.0.conv2.weight", twin);
        let mut how = linear(4, BiasPolicy::Float, BnMode::Kept);
        how.scheme = how
            .scheme
            .map(|scheme| scheme.with_rounding(Rounding::Stochastic { seed: 1 }));
        let net = quantize(&network(&arch, state.clone()).unwrap(), &how).unwrap();
        assert_ne!(
            net.state.get("layer1.0.conv1.weight"),
            net.state.get("layer1.0.conv2.weight")
        );
    }
}
