//! What each layer's quantized weights cost at the logits: a run of all images for each layer, in a network in which this
//! layer has its quantized weights and bias and everything else is float. It is what decides: a layer whose weights are
//! close to the float ones by the decibel can still ruin the network, where one channel is a thousand times the others.

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use dataset::Dataset;
use engine::Options;
use network::{Network, StateDict};
use quant_core::compare;

use super::activations::SiteInspection;
use super::{Error, Inspection};
use crate::device::Target;
use crate::evaluate::logits;
use crate::executable::Executable;

/// Nobody interrupts an inspection but by ending the process.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Where and how logits are computed.
pub struct Blame<'a> {
    /// The float network, its BatchNorm kept or folded as in `quantized`.
    pub float: &'a Network,
    /// The network with all layers quantized.
    pub quantized: &'a StateDict,
    /// Where it runs.
    pub target: &'a Target,
    /// Worker threads.
    pub threads: usize,
}

impl Blame<'_> {
    /// Fills in the errors at the logits of every layer of `inspection`; `progress` is told of images.
    ///
    /// # Errors
    /// As [`Executable::new`] and [`logits`].
    pub fn layers(
        &self,
        inspection: &mut Inspection,
        data: &Dataset,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<()> {
        let expected = self.logits(self.float.tensors().clone(), data, progress)?;
        for errors in &mut inspection.layers {
            let mut one = self.float.tensors().clone();
            for part in ["weight", "bias"] {
                let name = format!("{}.{part}", errors.layer);
                if let Some(tensor) = self.quantized.get(&name) {
                    one.insert(&name, tensor.clone());
                }
            }
            let mut sum = Error::default();
            sum.add(&compare(&expected, &self.logits(one, data, progress)?));
            errors.logits = Some(sum);
        }
        Ok(())
    }

    fn logits(
        &self,
        state: StateDict,
        data: &Dataset,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<f32>> {
        let size = [data.height(), data.width()];
        let network = Network::new(self.float.topology().clone(), state)?;
        let net = Executable::new(self.target, network, size, Options::default())?;
        Ok(logits(&net, data, self.threads, progress, &RUNNING)?)
    }
}

/// The same where activation sites were inspected, which measured it already.
pub fn take_over(inspection: &mut Inspection, sites: &SiteInspection) {
    for errors in &mut inspection.layers {
        let site = sites.sites.iter().find(|site| site.site == errors.layer);
        errors.logits = site.and_then(|site| site.weights);
    }
}
