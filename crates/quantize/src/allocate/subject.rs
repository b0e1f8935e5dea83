//! A network at all the widths that are tried with it.

use network::Network;
use quant_core::QParams;

use super::knobs::{Assignment, Kind};
use crate::error::Error;
use crate::sites::{SiteCodes, SiteStatistics};

/// A layer or a site, and the bits that it may have.
pub type Widths = (Kind, String, Vec<u32>);

/// A network at several widths.
#[derive(Clone, Debug, Default)]
pub struct Rounded {
    /// By number of bits: the network with all its weights in so many, without BatchNorms; for each number that a layer may have.
    pub weights: Vec<(u32, Network)>,
    /// By number of bits: the codes of sites; for each number that a site may have.
    pub codes: Vec<(u32, SiteCodes)>,
}

impl Rounded {
    /// The network with its weights in so many bits.
    pub fn network(&self, bits: u32) -> Option<&Network> {
        let mut all = self.weights.iter();
        all.find(|(own, _)| *own == bits)
            .map(|(_, network)| network)
    }

    /// The code of a site at so many bits.
    pub fn code(&self, site: &str, bits: u32) -> Option<QParams> {
        let (_, codes) = self.codes.iter().find(|(own, _)| *own == bits)?;
        codes.get(site).copied()
    }
}

/// A network and what is tried with it.
pub struct Subject<'a> {
    /// In float, as weights are quantized from it.
    pub float: &'a Network,
    /// The same at the widths that are tried.
    pub rounded: &'a Rounded,
    /// What was seen at sites.
    pub statistics: Option<&'a SiteStatistics>,
    /// What may have which bits.
    pub tried: Vec<Widths>,
}

impl Subject<'_> {
    /// The network and the codes of its sites with bits as in `all`.
    ///
    /// # Errors
    /// None for checked networks.
    pub(super) fn at(&self, all: &Assignment) -> Result<(Network, SiteCodes), Error> {
        let (topology, mut tensors) = crate::fold(self.float)?.into_parts();
        let mut codes = SiteCodes::new();
        for ((kind, name), &bits) in all {
            match kind {
                Kind::Weights => {
                    for part in ["weight", "bias"] {
                        let tensor = format!("{name}.{part}");
                        let rounded = self.rounded.network(bits);
                        if let Some(own) = rounded.and_then(|own| own.tensors().get(&tensor)) {
                            tensors.insert(tensor, own.clone());
                        }
                    }
                }
                Kind::Activations => {
                    let code = self.rounded.code(name, bits);
                    codes.extend(code.map(|code| (name.clone(), code)));
                }
            }
        }
        Ok((Network::new(topology, tensors)?, codes))
    }
}
