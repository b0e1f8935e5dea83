//! A network with quantizers as a [`Learner`]: the loss of its predictions and, if asked, of its distance to the float network.
//!
//! ```text
//! loss = (1 - d) CE(z, y) + d T^2 CE(z / T, softmax(t / T))        z: its logits, t: those of the float network
//! ```
//!
//! (Hinton et al. 2015, arXiv 1503.02531; for quantized networks Mishra and Marr 2018, arXiv 1711.05852.) T^2 keeps the size of the
//! gradients. The loss that rows report is CE(z, y) alone, so that runs with and without it can be compared.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor};
use engine::{Algorithm, Execution};
use network::Network;
use network::StateDict;
use train::qat::{Phase, Qat};
use train::{OnDevice, Tensors};

use super::learner::{Batch, Learner};
use super::step::{Gradients, first_not_finite};
use super::{QatConfig, TrainError};
use crate::device::Target;
use crate::executable::Executable;

/// The float network that is learned from.
#[derive(Clone, Debug)]
pub struct Teacher {
    network: Network,
    algorithm: Algorithm,
    share: f32,
    temperature: f32,
}

/// A network with quantizers.
#[derive(Debug)]
pub struct QatNet {
    qat: Qat,
    teacher: Option<Teacher>,
    /// Steps before activations are quantized.
    delay: usize,
    /// Steps after which BatchNorm's statistics stay.
    freeze: usize,
}

impl QatNet {
    /// The network that `qat` is, trained for `steps` steps as `config` says; `float` is the network to learn from where
    /// there is distillation.
    ///
    /// # Errors
    /// [`TrainError::Network`] where `float` lacks a tensor.
    pub fn new(
        qat: Qat,
        config: &QatConfig,
        steps: usize,
        float: &Network,
    ) -> Result<Self, TrainError> {
        let teacher = if config.distillation > 0.0 {
            Some(Teacher {
                network: quantize::fold(float)?,
                algorithm: qat.spec().convolution,
                share: config.distillation as f32,
                temperature: config.temperature as f32,
            })
        } else {
            None
        };
        let of_steps = |share: f64| (share * steps as f64).round() as usize;
        Ok(Self {
            qat,
            teacher,
            delay: of_steps(config.delay),
            freeze: of_steps(config.freeze),
        })
    }

    fn phase(&self, step: usize) -> Phase {
        Phase {
            batch_statistics: step < self.freeze,
            activations: step >= self.delay,
            ranges: true,
        }
    }
}

impl Teacher {
    /// The mean distance of `logits` to the float network's, which runs on their device (there its convolutions are those of
    /// training, the fastest that the device has) but gets no gradients.
    fn distance(&self, batch: &Batch<'_>, logits: Tensor<2>) -> Result<Tensor<1>, TrainError> {
        let device = logits.device();
        let net = OnDevice::new(&self.network, &device)?.by(self.algorithm);
        let wanted = net.forward(batch.images(&device))?.inner();
        let wanted = softmax(wanted / self.temperature, 1);
        let found = log_softmax(logits / self.temperature, 1);
        let squared = self.temperature * self.temperature;
        Ok(-(found * wanted).sum_dim(1).mean() * squared)
    }
}

impl Learner for QatNet {
    fn shard(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Result<Gradients, TrainError> {
        let tensors = Tensors::new(weights, device);
        let phase = self.phase(batch.step);
        let images = batch.images(device);
        let (logits, measured) = self.qat.forward(weights, &tensors, images, phase)?;
        let loss = batch.cross_entropy(logits.clone());
        let loss = match &self.teacher {
            Some(teacher) => {
                let distance = teacher.distance(batch, logits.clone())?;
                loss * (1.0 - teacher.share) + distance * teacher.share
            }
            None => loss,
        };
        Gradients::of(loss, (logits, measured), &tensors, batch.labels)
    }

    fn network(
        &self,
        weights: &StateDict,
        target: &Target,
        size: [usize; 2],
    ) -> Result<Executable, TrainError> {
        let net = self.qat.finish(weights)?;
        Ok(Executable::quantized(target, net, size, Execution::Auto)?)
    }

    fn constrain(&self, weights: &mut StateDict) {
        self.qat.constrain(weights);
    }

    fn not_finite(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Option<String> {
        let tensors = Tensors::new(weights, device);
        let (images, phase) = (batch.images(device), self.phase(batch.step));
        // Whether the pass succeeds does not matter: what it saw on the way does.
        first_not_finite(|probe| {
            let _ = self
                .qat
                .forward_probed(weights, &tensors, images, phase, probe);
        })
    }
}
