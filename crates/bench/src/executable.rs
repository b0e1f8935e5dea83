//! A network ready to run, wherever it runs: images in, logits out, by as many workers as one likes.
//!
//! Values do not depend on how many workers there are or which of them took which images. The engine computes every
//! image by itself. A burn device computes a batch as a whole, so there its size depends on the network alone, and on the CPU each
//! worker runs inside a rayon pool of its own with one thread: the flex device splits its work over the pool that it
//! finds itself in.
//!
//! Memory: the engine's weights once, activations of one group of images for each worker; on a burn device activations
//! of one batch for each worker.

#[cfg(feature = "burn")]
mod on_burn;

use engine::{Executed, Options, Program};
use network::Network;
use quantize::{Epilogue, QuantizedNet};
#[cfg(feature = "burn")]
use train::OnDevice;

use crate::device::Target;
use crate::evaluate::EvaluateError;

/// A network on the device that it was built for.
pub struct Executable {
    place: Place,
    classes: usize,
}

enum Place {
    Engine(Box<Program>),
    #[cfg(feature = "burn")]
    Burn(Box<on_burn::Module>),
}

/// Why a network cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be lowered.
    #[error(transparent)]
    Quantize(#[from] quantize::Error),
    /// Its graph cannot be compiled.
    #[error(transparent)]
    Graph(#[from] engine::Error),
    /// It does not fit on a device.
    #[cfg(feature = "burn")]
    #[error(transparent)]
    Pass(#[from] train::Error),
}

/// One thread's way to run an [`Executable`].
pub struct Worker<'a>(Hands<'a>);

enum Hands<'a> {
    Engine(&'a Program, engine::Workspace),
    #[cfg(feature = "burn")]
    Burn(Box<on_burn::Worker<'a>>),
}

impl Executable {
    /// `network` for images `[c, height, width]`, compiled as `options` say where it runs on the engine. That keeps a BatchNorm that
    /// is still there as scale and shift; on a burn device it is folded.
    ///
    /// # Errors
    /// As [`quantize::lower`]: images too small.
    pub fn new(
        target: &Target,
        network: Network,
        size: [usize; 2],
        options: Options,
    ) -> Result<Self, Error> {
        let classes = network.topology().classes();
        let place = match target {
            Target::Engine => {
                let graph = quantize::lower(network, size, Epilogue::Fused)?;
                Place::Engine(Box::new(Program::new(graph, options)?))
            }
            #[cfg(feature = "burn")]
            Target::Burn(device) => {
                let net = OnDevice::new(&network, device)?;
                let module = on_burn::Module::new(net, size, device);
                Place::Burn(Box::new(module))
            }
        };
        Ok(Self { place, classes })
    }

    /// A quantized network, likewise. On a burn device activations are rounded between layers that run in float.
    ///
    /// # Errors
    /// As [`Executable::new`], and [`engine::Error::Code`] for what integers cannot do.
    pub fn quantized(
        target: &Target,
        net: QuantizedNet,
        size: [usize; 2],
        options: impl Into<Options>,
    ) -> Result<Self, Error> {
        let classes = net.topology.classes();
        let place = match target {
            Target::Engine => {
                let graph = quantize::lower_quantized(net, size, Epilogue::Fused)?;
                Place::Engine(Box::new(Program::new(graph, options.into())?))
            }
            #[cfg(feature = "burn")]
            Target::Burn(device) => {
                let net = OnDevice::quantized(&net, device)?;
                let module = on_burn::Module::new(net, size, device);
                Place::Burn(Box::new(module))
            }
        };
        Ok(Self { place, classes })
    }

    /// The numbers that it computes in.
    pub fn executed(&self) -> Executed {
        match &self.place {
            Place::Engine(program) => program.executed(),
            #[cfg(feature = "burn")]
            Place::Burn(_) => Executed::Float,
        }
    }

    /// Logits per image.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images that a worker takes at once.
    pub fn batch(&self) -> usize {
        match &self.place {
            Place::Engine(program) => program.group(),
            #[cfg(feature = "burn")]
            Place::Burn(module) => module.batch(),
        }
    }

    /// A worker, for a thread of its own.
    ///
    /// # Errors
    /// [`EvaluateError::Worker`] if the operating system refuses a thread.
    pub fn worker(&self) -> Result<Worker<'_>, EvaluateError> {
        let hands = match &self.place {
            Place::Engine(program) => Hands::Engine(program, program.workspace()),
            #[cfg(feature = "burn")]
            Place::Burn(module) => Hands::Burn(Box::new(module.worker()?)),
        };
        Ok(Worker(hands))
    }
}

impl Worker<'_> {
    /// `images`, `[n, 3, height, width]` with at most [`Executable::batch`] images, to `logits`, `[n, classes]`.
    ///
    /// # Errors
    /// [`EvaluateError::Worker`] if the device fails.
    pub fn run(&mut self, images: &[f32], logits: &mut [f32]) -> Result<(), EvaluateError> {
        match &mut self.0 {
            Hands::Engine(program, workspace) => {
                program.run(workspace, images, logits).map_err(failed)
            }
            #[cfg(feature = "burn")]
            Hands::Burn(worker) => worker.run(images, logits),
        }
    }

    /// The first layer in execution order whose output for `image`, `[3, height, width]`, holds a value that is not finite.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub fn first_not_finite(&mut self, image: &[f32]) -> Result<Option<String>, EvaluateError> {
        match &mut self.0 {
            Hands::Engine(program, workspace) => {
                let mut first = None;
                let mut logits = vec![0.0; program.output().len()];
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
            #[cfg(feature = "burn")]
            Hands::Burn(worker) => worker.first_not_finite(image),
        }
    }
}

fn failed(error: engine::Error) -> EvaluateError {
    EvaluateError::Worker(error.to_string())
}

pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}
