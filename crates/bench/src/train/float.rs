//! A network in float as a [`Learner`].

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Tensor};
use network::StateDict;
use network::{Network, Topology};
use train::{Tensors, forward_float};

use super::TrainError;
use super::learner::{Batch, Learner};
use super::step::{Gradients, has_not_finite, judge};
use crate::device::Target;
use crate::executable::Executable;

/// A network in float.
#[derive(Clone, Debug)]
pub struct FloatNet(Topology);

impl FloatNet {
    /// The network of `topology`, its BatchNorms not folded.
    pub fn new(topology: Topology) -> Self {
        Self(topology)
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
        let (logits, measured) = forward_float(&self.0, &tensors, images, &mut |_, _| {})?;
        let loss = CrossEntropyLossConfig::new()
            .init(device)
            .forward(logits.clone(), batch.labels(device));
        let gradients = tensors.gradients(&loss.backward())?;
        let (loss_sum, correct) = judge(logits, batch.labels)?;
        Ok(Gradients {
            gradients,
            running: measured.into_state()?,
            loss_sum,
            correct,
        })
    }

    fn network(
        &self,
        weights: &StateDict,
        target: &Target,
        size: [usize; 2],
    ) -> Result<Executable, TrainError> {
        let network = Network::new(self.0.clone(), weights.clone())?;
        Ok(Executable::new(target, network, size)?)
    }

    fn not_finite(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Option<String> {
        let tensors = Tensors::new(weights, device);
        let mut first = None;
        let mut probe = |name: &str, x: &Tensor<4>| {
            if first.is_none() && has_not_finite(x) {
                first = Some(name.to_owned());
            }
        };
        // Whether the pass succeeds does not matter: what it saw on the way does.
        let _ = forward_float(&self.0, &tensors, batch.images(device), &mut probe);
        first
    }
}
