//! A network on a burn device, and the threads that run it.

use burn::tensor::{Device, Tensor, TensorData};
use network::{NodeId, Topology, Value};
use rayon::{ThreadPool, ThreadPoolBuilder};
use train::OnDevice;

use super::all_finite;
use crate::evaluate::EvaluateError;

/// Images that the CPU takes at once.
const ON_CPU: usize = 32;
/// Images that a GPU takes at once, at the most.
const ON_GPU: usize = 1024;
/// Bytes that a batch's values may take on a GPU.
const MEMORY: usize = 2 << 30;
/// What is there at a time of one image, in units of its largest value: a convolution's input and output, the taps of a 3x3 kernel side
/// by side, a shortcut.
const VALUES: usize = 12;

/// The network, its device, and the extents of its images.
pub(super) struct Module {
    net: OnDevice,
    device: Device,
    size: [usize; 2],
    batch: usize,
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
        let batch = match *device == Device::flex() {
            true => ON_CPU,
            false => fitting(net.topology(), size),
        };
        Self {
            net,
            device: device.clone(),
            size,
            batch,
        }
    }

    /// Images at once. It depends on the network and the kind of device alone, not on how much memory happens to be free, so that a run
    /// computes the same batches anywhere.
    pub fn batch(&self) -> usize {
        self.batch
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

/// As many images of `size` as [`MEMORY`] has room for.
fn fitting(topology: &Topology, size: [usize; 2]) -> usize {
    // A size that does not fit is refused by whoever runs the network.
    let topology = topology.clone().at(size).ok();
    let largest = topology.map_or(1, |topology| {
        let values = (0..topology.nodes().len()).map(Value::Node);
        let sizes = values.map(|value| topology.shape(value).len());
        sizes.max().unwrap_or(1).max(topology.input().len())
    });
    let image = largest.saturating_mul(VALUES * size_of::<f32>());
    (MEMORY / image.max(1)).clamp(1, ON_GPU)
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvaluateError> {
    let failed = |e: &dyn std::fmt::Debug| EvaluateError::Worker(format!("{e:?}"));
    let data = tensor.try_into_data().map_err(|e| failed(&e))?;
    data.convert::<f32>().try_to_vec().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use resnet::Arch;

    use super::*;

    #[test]
    fn a_batch_has_the_images_that_memory_has_room_for() {
        let fitting = |name, size| fitting(&resnet::topology(&Arch::parse(name).unwrap()), size);
        // 64 channels of 112 x 112 are 3.2 MB, 12 of them 38.5 MB.
        assert_eq!(fitting("resnet50", [224, 224]), 55);
        assert_eq!(fitting("resnet50", [448, 448]), 13);
        assert_eq!(fitting("cifar-resnet20", [32, 32]), ON_GPU);
        assert_eq!(fitting("resnet50", [20_000, 20_000]), 1);
    }
}
