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
    Burn(Box<OnDevice>, Device),
}

/// A burn module with what it is run with.
#[derive(Clone)]
struct OnDevice {
    net: ResNet,
    /// What activation sites are rounded to; empty where they stay in float.
    codes: Vec<Option<QParams>>,
    /// Names of the layers, in execution order.
    layers: Vec<String>,
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
    Burn(Box<OnDevice>, &'a Device, ThreadPool),
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
            Target::Burn(device) => Place::Burn(
                OnDevice::new(arch, &state, Vec::new(), device)?,
                device.clone(),
            ),
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
                let codes = net.site_codes(arch);
                Place::Burn(
                    OnDevice::new(arch, &net.state, codes, device)?,
                    device.clone(),
                )
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
            Place::Burn(on, device) => {
                let pool = ThreadPoolBuilder::new()
                    .num_threads(1)
                    .build()
                    .map_err(|e| EvaluateError::Worker(e.to_string()))?;
                Hands::Burn(on.clone(), device, pool)
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
            Hands::Engine(program, workspace) => {
                program.run(workspace, images, logits).map_err(failed)
            }
            Hands::Burn(on, device, pool) => {
                let images = to_device(images, self.size, device);
                let found = pool.install(|| {
                    let logits = on.net.forward_quantized(images, &on.codes);
                    to_host(logits)
                });
                logits.copy_from_slice(&found?);
                Ok(())
            }
        }
    }

    /// The first layer in execution order whose output for `image`, `[3, height, width]`, holds a value that is not finite.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub fn first_not_finite(&mut self, image: &[f32]) -> Result<Option<String>, EvaluateError> {
        match &mut self.hands {
            Hands::Engine(program, workspace) => {
                let mut first = None;
                let mut logits = vec![0.0; self.classes];
                let observe = &mut |seen: engine::Observation<'_>| {
                    if first.is_none() && !all_finite(&seen.to_planar()) {
                        first = Some(seen.node);
                    }
                };
                program
                    .run_observed(workspace, image, &mut logits, observe)
                    .map_err(failed)?;
                let name = |node| program.nodes().nth(node).map(|node| node.name.to_owned());
                Ok(first.and_then(name))
            }
            Hands::Burn(on, device, pool) => {
                let image = to_device(image, self.size, device);
                let mut first = Ok(None);
                let tap = &mut |layer: usize, _: &Tensor<4>, output: &Tensor<4>| {
                    if let Ok(None) = first {
                        let finite = to_host(output.clone()).map(|values| all_finite(&values));
                        first = finite.map(|finite| (!finite).then_some(layer));
                    }
                };
                pool.install(|| drop(on.net.forward_watched(image, &on.codes, tap)));
                Ok(first?.and_then(|layer| on.layers.get(layer).cloned()))
            }
        }
    }
}

impl OnDevice {
    fn new(
        arch: &Arch,
        state: &StateDict,
        codes: Vec<Option<QParams>>,
        device: &Device,
    ) -> Result<Box<Self>, resnet::Error> {
        let folded = resnet::fold(arch, state)?;
        Ok(Box::new(Self {
            net: ResNet::from_state(arch, &folded, device)?,
            codes,
            layers: arch.layout().layers().map(str::to_owned).collect(),
        }))
    }
}

fn to_device(images: &[f32], [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let n = images.len() / (3 * height * width);
    let data = TensorData::new(images.to_vec(), [n, 3, height, width]);
    Tensor::from_data(data, device)
}

fn to_host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EvaluateError> {
    let failed = |e: &dyn std::fmt::Debug| EvaluateError::Worker(format!("{e:?}"));
    let data = tensor.try_into_data().map_err(|e| failed(&e))?;
    data.convert::<f32>().try_to_vec().map_err(|e| failed(&e))
}

fn failed(error: engine::Error) -> EvaluateError {
    EvaluateError::Worker(error.to_string())
}

pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}
