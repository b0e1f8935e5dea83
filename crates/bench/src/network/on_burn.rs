//! A network on a burn device: a module with BatchNorm folded, its activations rounded between layers that run in float.

use burn::tensor::{Device, Tensor, TensorData};
use quant_core::QParams;
use rayon::{ThreadPool, ThreadPoolBuilder};
use resnet::{Arch, ResNet, StateDict};

use crate::evaluate::EvaluateError;

/// Images that the device takes at once.
pub(super) const BATCH: usize = 32;

/// The network, its device, and the codes of its sites in the order of execution; none where activations stay in float.
pub(super) struct Module {
    net: ResNet,
    device: Device,
    codes: Vec<Option<QParams>>,
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
        codes: Vec<Option<QParams>>,
        size: [usize; 2],
        device: &Device,
    ) -> Result<Self, resnet::Error> {
        let folded = resnet::fold(arch, state)?;
        Ok(Self {
            net: ResNet::from_state(arch, &folded, device)?,
            device: device.clone(),
            codes,
            size,
        })
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
        let [height, width] = self.of.size;
        let shape = [images.len() / (3 * height * width), 3, height, width];
        let data = TensorData::new(images.to_vec(), shape);
        let found = self.pool.install(|| {
            let images = Tensor::from_data(data, &self.of.device);
            let found = self.net.forward_quantized(images, &self.of.codes);
            found.try_into_data()
        });
        let found = found
            .map_err(|e| EvaluateError::Worker(format!("{e:?}")))?
            .convert::<f32>()
            .try_to_vec::<f32>()
            .map_err(|e| EvaluateError::Worker(format!("{e:?}")))?;
        logits.copy_from_slice(&found);
        Ok(())
    }
}
