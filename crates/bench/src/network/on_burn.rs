//! A network on a burn device: a module with BatchNorm folded, its activations rounded between layers that run in float.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::{ThreadPool, ThreadPoolBuilder};
use resnet::{Arch, ResNet, SiteRounding, StateDict};

use super::all_finite;
use crate::evaluate::EvaluateError;

/// Images that the device takes at once.
pub(super) const BATCH: usize = 32;

/// The network, its device, and the codes of its sites in the order of execution; none where activations stay in float.
pub(super) struct Module {
    net: ResNet,
    device: Device,
    codes: Vec<Option<SiteRounding>>,
    /// Names of the layers, in execution order.
    layers: Vec<String>,
    size: [usize; 2],
}

/// One thread's way to run a [`Module`].
pub(super) struct Worker<'a> {
    // A burn module can be sent to a thread but not shared: each worker has a clone, which shares the weights.
    net: ResNet,
    of: &'a Module,
    pool: ThreadPool,
}

impl Module {
    /// The network of `arch` with the tensors of `state`, for images `[3, height, width]`.
    pub fn new(
        arch: &Arch,
        state: &StateDict,
        codes: Vec<Option<SiteRounding>>,
        size: [usize; 2],
        device: &Device,
    ) -> Result<Self, resnet::Error> {
        let folded = resnet::fold(arch, state)?;
        Ok(Self {
            net: ResNet::from_state(arch, &folded, device)?,
            device: device.clone(),
            codes,
            layers: arch.layout().layers().map(str::to_owned).collect(),
            size,
        })
    }

    /// `images`, `[n, 3, height, width]`, on the device.
    fn to_device(&self, images: &[f32]) -> Tensor<4> {
        let [height, width] = self.size;
        let shape = [images.len() / (3 * height * width), 3, height, width];
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
            let logits = self.net.forward_quantized(images, &self.of.codes);
            to_host(logits)
        });
        logits.copy_from_slice(&found?);
        Ok(())
    }

    /// As [`super::Worker::first_not_finite`].
    pub fn first_not_finite(&mut self, image: &[f32]) -> Result<Option<String>, EvaluateError> {
        let image = self.of.to_device(image);
        let mut first = Ok(None);
        let tap = &mut |layer: usize, _: &Tensor<4>, output: &Tensor<4>| {
            if let Ok(None) = first {
                let finite = to_host(output.clone()).map(|values| all_finite(&values));
                first = finite.map(|finite| (!finite).then_some(layer));
            }
        };
        self.pool
            .install(|| drop(self.net.forward_watched(image, &self.of.codes, tap)));
        Ok(first?.and_then(|layer| self.of.layers.get(layer).cloned()))
    }
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvaluateError> {
    let failed = |e: &dyn std::fmt::Debug| EvaluateError::Worker(format!("{e:?}"));
    let data = tensor.try_into_data().map_err(|e| failed(&e))?;
    data.convert::<f32>().try_to_vec().map_err(|e| failed(&e))
}
