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
