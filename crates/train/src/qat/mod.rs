//! Training with the quantizers in the network, from a float network to the [`QuantizedNet`] that every other run ends in.
//!
//! ```text
//! StateDict (float) --begin--> StateDict with quantizers --forward, backward, step--> ... --finish--> QuantizedNet
//! ```
//!
//! The state of a training is one [`StateDict`]: the network's own tensors under PyTorch's names and, under `quantizer.`, what
//! its quantizers need ([`names`]). A network is built from it at every step, on any device; gradients come back by name.
//!
//! Quantizers sit exactly where [`Sites`] has them and on every convolution's and the classifier's weights. Values at a site, and
//! weights, are those of the simulation: the forward pass without batch statistics is what [`QuantizedNet`] runs, up to the order of
//! float sums. Biases stay in float until [`Qat::finish`] rounds them to 32 bits, which no training would notice.
//!
//! What BatchNorm does meanwhile is [`QatBn`]; every training ends folded.

mod begin;
mod finish;
#[cfg(feature = "burn")]
mod forward;
mod lost;
mod spec;
mod step_unit;
#[cfg(all(test, feature = "burn"))]
mod step_unit_tests;
#[cfg(all(test, feature = "burn"))]
mod tests;
#[cfg(feature = "burn")]
mod unit;

pub use begin::Start;
#[cfg(feature = "burn")]
pub(crate) use begin::vector;
#[cfg(feature = "burn")]
pub use forward::Phase;
#[cfg(feature = "burn")]
pub(crate) use forward::constant;
pub use lost::{LostChannels, note_lost};
pub use spec::{QatBn, QatSpec};

use std::collections::BTreeMap;

use quant_core::Scheme;

use network::{NodeId, Op, StateDict, Topology};
use quantize::Error;
use quantize::Sites;
use quantize::{BiasPolicy, QuantizedNet, WeightQuantization, own_bits};

/// A network to be trained with its quantizers.
#[derive(Clone, Debug)]
pub struct Qat {
    /// BatchNorms as the float network has them.
    topology: Topology,
    sites: Sites,
    spec: QatSpec,
    /// For each site that is quantized, the site whose quantizer it uses: its own, or the first of those that share a scale.
    owners: BTreeMap<String, String>,
}

impl Qat {
    /// The training of the network `topology` that `spec` describes.
    ///
    /// # Errors
    /// [`Error::Setting`] for what cannot be trained so.
    pub fn new(topology: &Topology, spec: QatSpec) -> Result<Self, Error> {
        spec.check()?;
        check_norms(topology, spec.bn)?;
        let sites = Sites::new(topology);
        let mut owners = BTreeMap::new();
        if let Some(how) = &spec.activations {
            for site in sites.names() {
                if sites.is_unrounded(site, how.shortcut) {
                    continue;
                }
                let partners = sites.partners(site, how.shortcut);
                let shares = |name: &&str| *name == site || partners.iter().any(|p| p == name);
                let owner = sites
                    .names()
                    .filter(shares)
                    .find(|name| *name == site || owners.contains_key(*name))
                    .unwrap_or(site);
                owners.insert(site.to_owned(), owner.to_owned());
            }
        }
        Ok(Self {
            topology: topology.clone(),
            sites,
            spec,
            owners,
        })
    }

    /// The names of the layers, in execution order.
    fn layers(&self) -> impl Iterator<Item = &str> {
        let layers = self.topology.layers();
        layers.map(|layer| self.topology.node(layer).name.as_str())
    }

    /// What is trained.
    pub fn spec(&self) -> &QatSpec {
        &self.spec
    }

    /// Whether a site is rounded for layers alone.
    #[cfg(feature = "burn")]
    fn is_forked(&self, site: &str) -> bool {
        let policy = self.shortcut();
        policy.is_some_and(|policy| self.sites.is_forked(site, policy))
    }

    /// A layer's scheme: bits of its own for the first and the last.
    fn scheme(&self, layer: &str) -> Result<Scheme, Error> {
        let QatSpec {
            scheme,
            first_bits,
            last_bits,
            ref bits_of,
            ..
        } = self.spec;
        let ends = [first_bits, last_bits];
        let id = self.topology.find(layer);
        let bits = id.and_then(|id| own_bits(&self.topology, id, ends, bits_of));
        Ok(match bits {
            Some(bits) => scheme.with_bits(bits)?,
            None => scheme,
        })
    }

    /// How the finished network is quantized, in the words of one that was not trained.
    pub fn as_weights(&self) -> WeightQuantization {
        WeightQuantization {
            scheme: Some(self.spec.scheme),
            first_bits: self.spec.first_bits,
            last_bits: self.spec.last_bits,
            bits_of: self.spec.bits_of.clone(),
            bias: match self.spec.activations {
                Some(_) => BiasPolicy::Int32,
                None => BiasPolicy::Float,
            },
            bn: quantize::BnMode::Folded,
        }
    }

    /// The network of `state` as the engine runs it.
    ///
    /// # Errors
    /// A tensor or a site that cannot be quantized, by name.
    pub fn finish(&self, state: &StateDict) -> Result<QuantizedNet, Error> {
        finish::finish(self, state)
    }
}

/// Fails where BatchNorm is to be trained in a network that has none, or has one where it is not trained.
fn check_norms(topology: &Topology, bn: QatBn) -> Result<(), Error> {
    let normalized = |layer: &NodeId| topology.norm(*layer).is_some();
    let is_linear = |layer: NodeId| matches!(topology.node(layer).op, Op::Linear { .. });
    let allowed = if bn == QatBn::Static {
        return Ok(());
    } else if !topology.has_norms() {
        "static: the network has no BatchNorm"
    } else if topology.layers().filter(normalized).any(is_linear) {
        "static: a fully connected layer has a BatchNorm"
    } else {
        return Ok(());
    };
    Err(Error::Setting {
        key: "qat.bn",
        value: bn.to_string(),
        allowed,
    })
}
