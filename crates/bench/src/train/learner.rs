//! What a training needs to know of the network that it trains: gradients of a part of a batch, what must hold after a step, and
//! how it is tested. The loop, the optimizer, the checkpoints and the threads know nothing else of it.

use std::ops::Range;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};
use network::StateDict;

use super::TrainError;
use super::step::Gradients;
use crate::device::Target;
use crate::executable::Executable;

/// A batch, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[n, 3, side[0], side[1]]`, normalised.
    pub images: &'a [f32],
    /// `[n]`.
    pub labels: &'a [u16],
    /// Height and width.
    pub side: [usize; 2],
    /// Steps made before this one, over the whole training.
    pub step: usize,
}

impl<'a> Batch<'a> {
    /// Some of its images.
    pub fn part(&self, range: Range<usize>) -> Batch<'a> {
        let pixels = 3 * self.side[0] * self.side[1];
        Batch {
            images: &self.images[range.start * pixels..range.end * pixels],
            labels: &self.labels[range],
            ..*self
        }
    }

    /// The images on a device.
    pub fn images(&self, device: &Device) -> Tensor<4> {
        let shape = [self.labels.len(), 3, self.side[0], self.side[1]];
        Tensor::from_data(TensorData::new(self.images.to_vec(), shape), device)
    }

    /// The labels on a device.
    pub fn labels(&self, device: &Device) -> Tensor<1, Int> {
        let labels = self.labels.iter().map(|&y| i64::from(y)).collect();
        let data = TensorData::new(labels, [self.labels.len()]);
        Tensor::from_data(data, device)
    }

    /// The mean cross-entropy of `logits`, `[n, classes]`, on their device.
    pub fn cross_entropy(&self, logits: Tensor<2>) -> Tensor<1> {
        let device = logits.device();
        let loss = CrossEntropyLossConfig::new().init(&device);
        loss.forward(logits, self.labels(&device))
    }
}

/// A network that is trained.
pub trait Learner: Send + Sync {
    /// Loss, gradients of the mean loss, and measured values of a part of a batch, on an autodiff device.
    ///
    /// # Errors
    /// A state that is not the network's, a device that fails.
    fn shard(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
        device: &Device,
    ) -> Result<Gradients, TrainError>;

    /// The network as it is tested.
    ///
    /// # Errors
    /// A network that cannot be run.
    fn network(
        &self,
        weights: &StateDict,
        target: &Target,
        size: [usize; 2],
    ) -> Result<Executable, TrainError>;

    /// Puts back what a step threw out of its bounds.
    fn constrain(&self, _weights: &mut StateDict) {}

    /// The first layer, in the order of execution, whose output is NaN or infinite.
    fn not_finite(&self, weights: &StateDict, batch: &Batch<'_>, device: &Device)
    -> Option<String>;
}
