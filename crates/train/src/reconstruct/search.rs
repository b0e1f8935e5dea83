//! The search for the codes of one piece: stochastic gradients of its error, with Adam.
//!
//! ```text
//! loss = E |f(x; w, b, s) - y|^2 / Var y                                                         (1)
//! ```
//!
//! y is what the float piece makes of what the float network hands it, x what the quantized network hands this one (with activations
//! rounded: in part, number by number, what the float network does, by the share that is dropped). Weights and their scales
//! ([`Latent`]), biases b and the steps s of the piece's sites move together, ever less (a cosine).

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use network::StateDict;
use quant_core::qat::SMALLEST_STEP;
use quant_core::uniform;
use quantize::names;

use super::adam::Adam;
use super::latent::Latent;
use super::pass::{Drop, Piece};
use super::run::Course;
use super::{At, Reconstruction};
use crate::error::Error;
use crate::tensors::{Tensors, add_part};
use crate::workers::{Workers, shards};

/// Parts of a batch whose gradients are added in their order.
pub(super) const SHARDS: usize = 4;

/// The smallest step, relative to the one at the start.
const LEAST: f32 = 0.05;

/// Images at a time where no gradient is wanted.
const GROUP: usize = 16;

/// What goes into a piece and should come out, of all images.
pub(super) struct Seen {
    /// Of one image.
    pub input: [usize; 3],
    /// What the quantized network hands it, and the float network.
    pub rounded: Vec<f32>,
    pub float: Vec<f32>,
    /// What the float piece makes.
    pub target: Vec<f32>,
    pub images: usize,
    /// The targets' squares about their channels' means, for one image.
    variance: f64,
}

impl Seen {
    /// `channels` of the target.
    pub fn new(
        input: [usize; 3],
        [rounded, float, target]: [Vec<f32>; 3],
        channels: usize,
    ) -> Self {
        let images = rounded.len() / input.iter().product::<usize>();
        let plane = target.len() / images / channels;
        let mut variance = 0.0;
        for c in 0..channels {
            let planes = || (0..images).map(move |n| (n * channels + c) * plane);
            let values = || planes().flat_map(|at| &target[at..at + plane]);
            let count = (images * plane) as f64;
            let mean = values().map(|&y| f64::from(y)).sum::<f64>() / count;
            let squares = values().map(|&y| (f64::from(y) - mean).powi(2));
            variance += squares.sum::<f64>();
        }
        Self {
            input,
            rounded,
            float,
            target,
            images,
            variance: (variance / images as f64).max(f64::MIN_POSITIVE),
        }
    }

    fn target(&self, image: usize) -> &[f32] {
        let each = self.target.len() / self.images;
        &self.target[image * each..][..each]
    }

    fn images(&self, values: Vec<f32>, device: &Device) -> Tensor<4> {
        let [c, h, w] = self.input;
        let n = values.len() / (c * h * w);
        Tensor::from_data(TensorData::new(values, [n, c, h, w]), device)
    }

    fn targets(&self, images: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = images
            .iter()
            .flat_map(|&i| self.target(i))
            .copied()
            .collect();
        let each = values.len() / images.len();
        Tensor::from_data(TensorData::new(values, [images.len(), each]), device)
    }
}

/// A piece while its codes are searched.
pub(super) struct Search<'a> {
    pub piece: &'a Piece,
    pub seen: &'a Seen,
    pub how: &'a Reconstruction,
    /// Of the layers whose weights are quantized.
    pub latent: BTreeMap<String, Latent>,
    /// Whether the scales of weights move.
    pub scales: bool,
    /// Weights and biases of all layers, and steps.
    pub state: StateDict,
    /// A plain device.
    pub device: &'a Device,
    pub workers: &'a Workers,
    /// Whether numbers stay as they are in part.
    pub drops: bool,
    pub name: &'a str,
}

/// A vector that moves: a bias or a step.
struct Moving {
    name: String,
    /// What it is measured in.
    unit: f32,
    start: Vec<f32>,
    /// Its distance from the start in units.
    offset: Vec<f32>,
    adam: Adam,
}

impl Search<'_> {
    /// The share of the targets' variance that is lost over all images with the state as it is.
    pub fn error(&self) -> Result<f64, Error> {
        let groups = self.seen.images.div_ceil(GROUP);
        let device = self.device;
        let one = |group: usize| {
            let images: Vec<usize> =
                (group * GROUP..self.seen.images.min((group + 1) * GROUP)).collect();
            let tensors = Tensors::new(&self.state, device);
            let each = self.seen.rounded.len() / self.seen.images;
            let x = &self.seen.rounded[images[0] * each..][..images.len() * each];
            let x = self.seen.images(x.to_vec(), device);
            let [y, _] = self.piece.forward(&tensors, x, None)?;
            let off = y - self.seen.targets(&images, device);
            number((off.clone() * off).sum())
        };
        let squares = self.workers.each(groups, one);
        let squares = squares.into_iter().map(|sum| sum.unwrap_or_else(died));
        let squares = squares.collect::<Result<Vec<f64>, Error>>()?;
        Ok(squares.iter().sum::<f64>() / (self.seen.variance * self.seen.images as f64))
    }

    /// Moves weights, scales, biases and steps.
    pub fn run(
        &mut self,
        (block, blocks): (usize, usize),
        course: &dyn Course,
    ) -> Result<(), Error> {
        let mut moving = self.moving();
        let iterations = self.how.iterations;
        for iteration in 0..iterations {
            if course.is_cancelled() {
                return Err(Error::Stopped);
            }
            let (gradients, loss) = self.gradients(iteration)?;
            course.iteration(&At {
                block: (block, blocks),
                iteration: (iteration, iterations),
                loss,
            });
            let share = iteration as f64 / iterations as f64;
            let falls = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
            let [rate, slower] = [self.how.rate, self.how.scale_rate].map(|r| (r * falls) as f32);
            for (layer, latent) in &mut self.latent {
                let name = format!("{layer}.weight");
                let gradient = &gradients.require(&name)?.data;
                latent.step(gradient, rate, self.scales.then_some(slower));
                if let Some(weight) = self.state.get_mut(&name) {
                    weight.data = latent.weights();
                }
            }
            for vector in &mut moving {
                let gradient = &gradients.require(&vector.name)?.data;
                vector.adam.step(&mut vector.offset, gradient, slower);
                vector.put(&mut self.state);
            }
        }
        Ok(())
    }

    fn moving(&self) -> Vec<Moving> {
        let vectors = self
            .state
            .iter()
            .filter(|(_, tensor)| tensor.shape.len() == 1);
        let moving = vectors.map(|(name, tensor)| {
            let squares: f32 = tensor.data.iter().map(|b| b * b).sum();
            let rms = (squares / tensor.len() as f32).sqrt();
            Moving {
                name: name.clone(),
                unit: if rms.is_normal() { rms } else { 1.0 },
                start: tensor.data.clone(),
                offset: vec![0.0; tensor.len()],
                adam: Adam::new(tensor.len()),
            }
        });
        moving.collect()
    }

    /// The gradient of (1) at a batch, and its value.
    fn gradients(&self, iteration: usize) -> Result<(StateDict, f64), Error> {
        let (seen, batch) = (self.seen, self.how.batch.min(self.seen.images));
        let seed = names::seed_of(self.how.seed, self.name);
        let first = (iteration * batch) as u64;
        let draw = |i: usize| {
            let at = uniform(seed, first + i as u64) * seen.images as f32;
            (at as usize).min(seen.images - 1)
        };
        let images: Vec<usize> = (0..batch).map(draw).collect();
        let device = self.device.clone().autodiff();
        let parts = shards(batch, SHARDS);
        let one = |part: usize| {
            let range = parts[part].clone();
            let drop = self.drops.then(|| Drop {
                share: self.how.drop,
                seed,
                first: first + range.start as u64,
            });
            let own = &images[range];
            let tensors = Tensors::new(&self.state, &device);
            let x = seen.images(self.inputs(own, drop), &device);
            let made = self.piece.forward(&tensors, x, drop)?;
            let target = seen.targets(own, &device);
            let [rounded, exact] = made.map(|y| {
                let off = y - target.clone();
                (off.clone() * off).sum() / (batch as f64 * seen.variance) as f32
            });
            let gradients = tensors.gradients(&(exact + rounded.clone()).backward())?;
            Ok((gradients, number(rounded)?))
        };
        let mut total: Option<(StateDict, f64)> = None;
        for result in self.workers.each(parts.len(), one) {
            let (gradients, loss) = result.unwrap_or_else(died)?;
            match &mut total {
                None => total = Some((gradients, loss)),
                Some((all, sum)) => {
                    *sum += loss;
                    // A part of the loss is divided by the images of the whole batch.
                    add_part(all, &gradients, 1.0);
                }
            }
        }
        total.ok_or_else(|| Error::Device {
            reason: "an empty batch".into(),
        })
    }

    /// What the piece reads of some images.
    fn inputs(&self, images: &[usize], drop: Option<Drop>) -> Vec<f32> {
        let each = self.seen.rounded.len() / self.seen.images;
        let mut values = Vec::with_capacity(images.len() * each);
        for &image in images {
            values.extend_from_slice(&self.seen.rounded[image * each..][..each]);
        }
        if let Some(drop) = drop {
            let float = |&image: &usize| &self.seen.float[image * each..][..each];
            let float: Vec<f32> = images.iter().flat_map(float).copied().collect();
            drop.of("\0input", each).each(0, values.len(), |i, stays| {
                values[i] = if stays { float[i] } else { values[i] };
            });
        }
        values
    }
}

impl Moving {
    fn put(&mut self, state: &mut StateDict) {
        let is_step = names::is_step(&self.name);
        if is_step {
            self.offset.iter_mut().for_each(|o| *o = o.max(LEAST - 1.0));
        }
        let Some(tensor) = state.get_mut(&self.name) else {
            return;
        };
        let values = tensor
            .data
            .iter_mut()
            .zip(self.start.iter().zip(&self.offset));
        for (value, (start, offset)) in values {
            *value = match is_step {
                true => (start * (1.0 + offset)).max(SMALLEST_STEP),
                false => start + self.unit * offset,
            };
        }
    }
}

fn died<T>() -> Result<T, Error> {
    Err(Error::Device {
        reason: "a worker thread panicked".into(),
    })
}

fn number(x: Tensor<1>) -> Result<f64, Error> {
    let data = x.inner().try_into_data();
    let device = |reason: String| Error::Device { reason };
    let data = data.map_err(|e| device(format!("{e:?}")))?;
    let values = data.try_to_vec::<f32>();
    let values = values.map_err(|e| device(format!("{e:?}")))?;
    let value = values.first().copied().unwrap_or(f32::NAN);
    Ok(f64::from(value))
}
