//! A network in float as a [`Learner`].

use burn::tensor::Device;
use engine::{Algorithm, Options};
use network::StateDict;
use network::{Network, Topology};
use train::{Tensors, forward_float};

use super::TrainError;
use super::learner::{Batch, Learner};
use super::step::{Gradients, first_not_finite};
use crate::device::Target;
use crate::executable::Executable;

/// A network in float.
#[derive(Clone, Debug)]
pub struct FloatNet(Topology, Algorithm);

impl FloatNet {
    /// The network of `topology`, its BatchNorms not folded, convolved by `algorithm` on the CPU.
    pub fn new(topology: Topology, algorithm: Algorithm) -> Self {
        Self(topology, algorithm)
    }
}

impl Learner for FloatNet {
    fn shard(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Result<Gradients, TrainError> {
        let tensors = Tensors::new(weights, device);
        let images = batch.images(device);
        let (logits, measured) =
            forward_float((&self.0, self.1), &tensors, images, &mut |_, _| {})?;
        let loss = batch.cross_entropy(logits.clone());
        Gradients::of(loss, (logits, measured), &tensors, batch.labels)
    }

    fn network(
        &self,
        weights: &StateDict,
        target: &Target,
        size: [usize; 2],
    ) -> Result<Executable, TrainError> {
        let network = Network::new(self.0.clone(), weights.clone())?;
        Ok(Executable::new(target, network, size, Options::default())?)
    }

    fn not_finite(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Option<String> {
        let tensors = Tensors::new(weights, device);
        // Whether the pass succeeds does not matter: what it saw on the way does.
        first_not_finite(|probe| {
            let _ = forward_float((&self.0, self.1), &tensors, batch.images(device), probe);
        })
    }
}
