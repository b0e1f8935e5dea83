//! A network on a burn device, and the threads that run it.

use burn::tensor::{Device, Tensor, TensorData};
use network::NodeId;
use rayon::{ThreadPool, ThreadPoolBuilder};
use train::OnDevice;

use super::all_finite;
use crate::evaluate::EvaluateError;

/// Images that the device takes at once.
pub(super) const BATCH: usize = 32;

/// The network, its device, and the extents of its images.
pub(super) struct Module {
    net: OnDevice,
    device: Device,
    size: [usize; 2],
}

/// One thread's way to run a [`Module`].
pub(super) struct Worker<'a> {
    // Tensors can be sent to a thread but not shared: each worker has a clone, which shares the weights.
    net: OnDevice,
    of: &'a Module,
    pool: ThreadPool,
}

impl Module {
    /// `net`, which lies on `device`, for images `[c, height, width]`.
    pub fn new(net: OnDevice, size: [usize; 2], device: &Device) -> Self {
        Self {
            net,
            device: device.clone(),
            size,
        }
    }

    /// `images`, `[n, c, height, width]`, on the device.
    fn to_device(&self, images: &[f32]) -> Tensor<4> {
        let [height, width] = self.size;
        let channels = self.net.topology().input().channels;
        let n = images.len() / (channels * height * width);
        let shape = [n, channels, height, width];
        Tensor::from_data(TensorData::new(images.to_vec(), shape), &self.device)
    }

    /// A worker, for a thread of its own.
    pub fn worker(&self) -> Result<Worker<'_>, EvaluateError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .map_err(|e| EvaluateError::Worker(e.to_string()))?;
        Ok(Worker {
            net: self.net.clone(),
            of: self,
            pool,
        })
    }
}

impl Worker<'_> {
    /// `images`, `[n, 3, height, width]`, to `logits`, `[n, classes]`.
    pub fn run(&mut self, images: &[f32], logits: &mut [f32]) -> Result<(), EvaluateError> {
        let images = self.of.to_device(images);
        let found = self.pool.install(|| {
            let logits = self.net.forward(images);
            to_host(logits.map_err(|e| EvaluateError::Worker(e.to_string()))?)
        });
        logits.copy_from_slice(&found?);
        Ok(())
    }

    /// As [`super::Worker::first_not_finite`].
    pub fn first_not_finite(&mut self, image: &[f32]) -> Result<Option<String>, EvaluateError> {
        let image = self.of.to_device(image);
        let mut first = Ok(None);
        let tap = &mut |layer: NodeId, _: &Tensor<4>, output: &Tensor<4>| {
            if let Ok(None) = first {
                let finite = to_host(output.clone()).map(|values| all_finite(&values));
                first = finite.map(|finite| (!finite).then_some(layer));
            }
        };
        self.pool
            .install(|| drop(self.net.forward_tapped(image, tap)));
        let name = |layer: NodeId| self.net.topology().node(layer).name.clone();
        Ok(first?.map(name))
    }
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvaluateError> {
    let failed = |e: &dyn std::fmt::Debug| EvaluateError::Worker(format!("{e:?}"));
    let data = tensor.try_into_data().map_err(|e| failed(&e))?;
    data.convert::<f32>().try_to_vec().map_err(|e| failed(&e))
}
