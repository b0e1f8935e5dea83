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
//! with the same number of bits, affine, range as found.

use std::fmt;
use std::str::FromStr;

use quant_core::{Comparison, Quantized, Scheme, Values, bits_per_value, compare};

use crate::arch::{Arch, Shortcut};
use crate::error::{Error, quoted};
use crate::fold::fold;
use crate::state_dict::{HostTensor, StateDict};

/// Whether BatchNorm is folded before the weights are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BnMode {
    /// The convolution's own weights are quantized; BatchNorm stays in float.
    Kept,
    /// BatchNorm is folded into weights and biases, then those are quantized.
    Folded,
}

/// What happens to biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BiasPolicy {
    /// Quantized with the weights' number of bits, each vector with its own scale and zero point.
    Same,
    /// Left in float32.
    Float,
}

/// What to quantize, and how.
#[derive(Clone, Debug)]
pub struct WeightQuantization {
    /// Applied to each weight tensor.
    pub scheme: Scheme,
    /// Applied to each bias vector.
    pub bias: BiasPolicy,
    /// Applied before everything else.
    pub bn: BnMode,
}

/// One line of the quantization manifest: a parameter tensor or an activation site, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The tensor's PyTorch name, or the activation site's.
    pub tensor: String,
    /// `weight`, `bias`, `batchnorm` or `activation`.
    pub kind: &'static str,
    /// Whether it holds representable values alone.
    pub quantized: bool,
    /// Bits of a code; 32 where it stays in float.
    pub bits: u32,
    /// Why; never empty.
    pub reason: String,
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
}

/// A network after quantization.
#[derive(Clone, Debug)]
pub struct QuantizedNet {
    /// Weights that hold representable values alone, in float32; BatchNorm as [`BnMode`] says.
    pub state: StateDict,
    /// One line for each parameter tensor and activation site.
    pub manifest: Vec<Decision>,
    /// One entry for each quantized weight tensor, in execution order.
    pub layers: Vec<LayerReport>,
}

/// Quantizes the weights of `state`. Fails where a tensor is missing, cannot be quantized (NaN, infinity), or where
/// not one tensor ended up quantized.
pub fn quantize(
    arch: &Arch,
    state: &StateDict,
    how: &WeightQuantization,
) -> Result<QuantizedNet, Error> {
    let mut net = QuantizedNet {
        state: match how.bn {
            BnMode::Kept => state.clone(),
            BnMode::Folded => fold(arch, state)?,
        },
        manifest: Vec::new(),
        layers: Vec::new(),
    };
    let layout = arch.layout();
    for unit in layout.units() {
        net.weight(&unit.conv, &how.scheme)?;
        net.bias(&unit.conv, how)?;
        net.batch_norm(&unit.bn);
    }
    net.weight(&layout.classifier, &how.scheme)?;
    net.bias(&layout.classifier, how)?;
    net.manifest.extend(activation_sites(arch));
    if net.manifest.iter().any(|decision| decision.quantized) {
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

/// The manifest of a network that stays in float.
pub fn float_manifest(arch: &Arch, state: &StateDict) -> Vec<Decision> {
    let decisions = state.names().map(|name| Decision {
        tensor: name.clone(),
        kind: kind_of(name, state),
        quantized: false,
        bits: 32,
        reason: "weights.bits = 32".to_owned(),
    });
    decisions.chain(activation_sites(arch)).collect()
}

impl QuantizedNet {
    fn weight(&mut self, layer: &str, scheme: &Scheme) -> Result<(), Error> {
        let name = format!("{layer}.weight");
        let original = self.state.require(&name)?.clone();
        let quantized = self.replace(&name, "weight", scheme)?;
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
            bits_stored: bits_per_value(&quantized) * original.len() as f64,
        });
        Ok(())
    }

    fn bias(&mut self, layer: &str, how: &WeightQuantization) -> Result<(), Error> {
        let name = format!("{layer}.bias");
        if !self.state.contains(&name) {
            return Ok(());
        }
        match how.bias {
            BiasPolicy::Same => {
                let scheme = Scheme::linear(how.scheme.bits());
                self.replace(&name, "bias", &scheme)?;
            }
            BiasPolicy::Float => self.manifest.push(Decision {
                tensor: name,
                kind: "bias",
                quantized: false,
                bits: 32,
                reason: "bias = float".to_owned(),
            }),
        }
        Ok(())
    }

    /// Lists the BatchNorm tensors, where any are left.
    fn batch_norm(&mut self, bn: &str) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let name = format!("{bn}.{part}");
            if self.state.contains(&name) {
                self.manifest.push(Decision {
                    tensor: name,
                    kind: "batchnorm",
                    quantized: false,
                    bits: 32,
                    reason: "bn = kept".to_owned(),
                });
            }
        }
    }

    fn replace(
        &mut self,
        name: &str,
        kind: &'static str,
        scheme: &Scheme,
    ) -> Result<Quantized, Error> {
        let tensor = self.state.require(name)?;
        let values = Values::new(name, &tensor.data, &tensor.shape)?;
        let quantized = quant_core::quantize(
            &values,
            &scheme.with_rounding(scheme.rounding().for_tensor(name)),
        );
        let shape = tensor.shape.clone();
        self.state
            .insert(name, HostTensor::new(shape, quantized.values.clone())?);
        let bits = if quantized.is_quantized() {
            scheme.bits().get()
        } else {
            32
        };
        self.manifest.push(Decision {
            tensor: name.to_owned(),
            kind,
            quantized: quantized.is_quantized(),
            bits,
            reason: match quantized.first_reason() {
                None => scheme.to_string(),
                Some(reason) => format!(
                    "{} of {} groups stay in float: {reason}",
                    quantized.float_groups(),
                    quantized.params.len()
                ),
            },
        });
        Ok(quantized)
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

/// Where activations could be quantized: the input, every fused convolution, both inputs and the output of every
/// addition, the pools, the logits.
fn activation_sites(arch: &Arch) -> Vec<Decision> {
    let layout = arch.layout();
    let mut sites = vec!["input".to_owned(), layout.stem.conv.clone()];
    if layout.max_pool {
        sites.push("maxpool".to_owned());
    }
    for block in &layout.blocks {
        sites.extend(block.units.iter().map(|unit| unit.conv.clone()));
        if let Shortcut::Project(unit) = &block.shortcut {
            sites.push(unit.conv.clone());
        }
        let prefix = block.units[0].conv.rsplit_once('.').map_or("", |(p, _)| p);
        sites.push(format!("{prefix}.add"));
    }
    sites.extend(["avgpool".to_owned(), layout.classifier]);
    sites
        .into_iter()
        .map(|site| Decision {
            tensor: site,
            kind: "activation",
            quantized: false,
            bits: 32,
            reason: "activations.bits = 32".to_owned(),
        })
        .collect()
}

impl fmt::Display for BnMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Folded => "folded",
        })
    }
}

impl FromStr for BnMode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "kept" => Ok(Self::Kept),
            "folded" => Ok(Self::Folded),
            _ => Err(Error::Setting {
                key: "bn",
                value: quoted(text),
                allowed: "kept, folded",
            }),
        }
    }
}

impl fmt::Display for BiasPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "same",
            Self::Float => "float",
        })
    }
}

impl FromStr for BiasPolicy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "same" => Ok(Self::Same),
            "float" => Ok(Self::Float),
            _ => Err(Error::Setting {
                key: "bias",
                value: quoted(text),
                allowed: "same, float (int32 needs quantized activations)",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_state;
    use quant_core::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding};
    use std::collections::HashSet;

    fn linear(bits: u32, bias: BiasPolicy, bn: BnMode) -> WeightQuantization {
        WeightQuantization {
            scheme: Scheme::linear(Bits::new(bits).unwrap()),
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
        let state = random_state(&arch, 1);
        for bn in [BnMode::Kept, BnMode::Folded] {
            let net = quantize(&arch, &state, &linear(3, BiasPolicy::Same, bn)).unwrap();
            let layout = arch.layout();
            let names = layout.units().into_iter().map(|unit| unit.conv.clone());
            for layer in names.chain([layout.classifier.clone()]) {
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
        let net = quantize(&arch, &state, &how).unwrap();
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
        let float = float_manifest(&arch, &state);
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
        let float = quantize(&arch, &state, &linear(2, BiasPolicy::Float, BnMode::Kept)).unwrap();
        assert_eq!(float.state.get("linear.bias"), state.get("linear.bias"));
        let same = quantize(&arch, &state, &linear(2, BiasPolicy::Same, BnMode::Kept)).unwrap();
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
            variance.data.fill(4.0 - crate::arch::BN_EPSILON as f32);
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
        let run = |bn| {
            let how = WeightQuantization {
                scheme,
                bias: BiasPolicy::Float,
                bn,
            };
            fold(&arch, &quantize(&arch, &state, &how).unwrap().state).unwrap()
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
        let error = quantize(&arch, &state, &how).unwrap_err().to_string();
        assert!(error.contains("nothing was quantized"), "{error}");
    }

    #[test]
    fn layers_of_one_size_draw_their_own_numbers_under_stochastic_rounding() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 6);
        let twin = state.get("layer1.0.conv1.weight").unwrap().clone();
        state.insert("layer1.0.conv2.weight", twin);
        let mut how = linear(4, BiasPolicy::Float, BnMode::Kept);
        how.scheme = how.scheme.with_rounding(Rounding::Stochastic { seed: 1 });
        let net = quantize(&arch, &state, &how).unwrap();
        assert_ne!(
            net.state.get("layer1.0.conv1.weight"),
            net.state.get("layer1.0.conv2.weight")
        );
    }
}
