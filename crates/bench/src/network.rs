//! A network ready to run, wherever it runs: images in, logits out, by as many workers as one likes.
//!
//! Values do not depend on how many workers there are or which of them took which images. The engine computes every
//! image by itself. A burn device computes a batch as a whole, so there a batch has a fixed size, and on the CPU each
//! worker runs inside a rayon pool of its own with one thread: the flex device splits its work over the pool that it
//! finds itself in.
//!
//! Memory: the engine's weights once, activations of one group of images for each worker; on a burn device activations
//! of one batch for each worker.

use burn::tensor::{Device, Tensor, TensorData};
use engine::{Execution, Options, Program};
use quant_core::QParams;
use rayon::{ThreadPool, ThreadPoolBuilder};
use resnet::{Arch, Epilogue, QuantizedNet, ResNet, StateDict};

use crate::device::Target;
use crate::evaluate::EvaluateError;

/// Images that a burn device takes at once.
const BATCH: usize = 32;

/// A network on the device that it was built for.
pub struct Network {
    place: Place,
    classes: usize,
    size: [usize; 2],
}

enum Place {
    Engine(Box<Program>),
    Burn(Box<ResNet>, Device, Vec<Option<QParams>>),
}

/// One thread's way to run a [`Network`].
pub struct Worker<'a> {
    hands: Hands<'a>,
    classes: usize,
    size: [usize; 2],
}

enum Hands<'a> {
    Engine(&'a Program, engine::Workspace),
    // A burn module can be sent to a thread but not shared: each worker has a clone, which shares the weights.
    Burn(Box<ResNet>, &'a Device, &'a [Option<QParams>], ThreadPool),
}

impl Network {
    /// The network of `arch` with the tensors of `state`, for images `[3, height, width]`. The engine keeps a BatchNorm
    /// that is still there as scale and shift; on a burn device it is folded.
    ///
    /// # Errors
    /// As [`resnet::lower`] and [`ResNet::from_state`]: tensors missing or misshapen, images too small.
    pub fn new(
        target: &Target,
        arch: &Arch,
        state: StateDict,
        size: [usize; 2],
    ) -> Result<Self, resnet::Error> {
        let place = match target {
            Target::Engine => {
                let graph = resnet::lower(arch, state, size, Epilogue::Fused)?;
                Place::Engine(Box::new(Program::new(graph, Options::default())?))
            }
            Target::Burn(device) => {
                let folded = resnet::fold(arch, &state)?;
                let net = ResNet::from_state(arch, &folded, device)?;
                Place::Burn(Box::new(net), device.clone(), Vec::new())
            }
        };
        Ok(Self {
            place,
            classes: arch.classes(),
            size,
        })
    }

    /// A quantized network, its activations in `execution` where they are quantized. On a burn device they are rounded
    /// between layers that run in float.
    ///
    /// # Errors
    /// As [`Network::new`], and [`engine::Error::Code`] for what integers cannot do.
    pub fn quantized(
        target: &Target,
        arch: &Arch,
        net: QuantizedNet,
        size: [usize; 2],
        execution: Execution,
    ) -> Result<Self, resnet::Error> {
        let place = match target {
            Target::Engine => {
                let graph = resnet::lower_quantized(arch, net, size, Epilogue::Fused)?;
                let options = Options {
                    execution,
                    ..Options::default()
                };
                Place::Engine(Box::new(Program::new(graph, options)?))
            }
            Target::Burn(device) => {
                let folded = resnet::fold(arch, &net.state)?;
                let module = ResNet::from_state(arch, &folded, device)?;
                Place::Burn(Box::new(module), device.clone(), net.site_codes(arch))
            }
        };
        Ok(Self {
            place,
            classes: arch.classes(),
            size,
        })
    }

    /// Logits per image.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images that a worker takes at once.
    pub fn batch(&self) -> usize {
        match &self.place {
            Place::Engine(program) => program.group(),
            Place::Burn(..) => BATCH,
        }
    }

    /// A worker, for a thread of its own.
    ///
    /// # Errors
    /// [`EvaluateError::Worker`] if the operating system refuses a thread.
    pub fn worker(&self) -> Result<Worker<'_>, EvaluateError> {
        let hands = match &self.place {
            Place::Engine(program) => Hands::Engine(program, program.workspace()),
            Place::Burn(net, device, codes) => {
                let pool = ThreadPoolBuilder::new()
                    .num_threads(1)
                    .build()
                    .map_err(|e| EvaluateError::Worker(e.to_string()))?;
                Hands::Burn(net.clone(), device, codes, pool)
            }
        };
        Ok(Worker {
            hands,
            classes: self.classes,
            size: self.size,
        })
    }
}

impl Worker<'_> {
    /// `images`, `[n, 3, height, width]` with at most [`Network::batch`] images, to `logits`, `[n, classes]`.
    ///
    /// # Errors
    /// [`EvaluateError::Worker`] if the device fails.
    pub fn run(&mut self, images: &[f32], logits: &mut [f32]) -> Result<(), EvaluateError> {
        match &mut self.hands {
            Hands::Engine(program, workspace) => program
                .run(workspace, images, logits)
                .map_err(|e| EvaluateError::Worker(e.to_string())),
            Hands::Burn(net, device, codes, pool) => {
                let [height, width] = self.size;
                let data = TensorData::new(
                    images.to_vec(),
                    [logits.len() / self.classes, 3, height, width],
                );
                let found = pool.install(|| {
                    net.forward_quantized(Tensor::from_data(data, &**device), codes)
                        .try_into_data()
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
    }
}
