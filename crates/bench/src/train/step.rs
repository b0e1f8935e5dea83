//! Loss and gradients of one batch, on several threads, with the same bits for every number of threads.
//!
//! A batch of n images is cut into K shards of (nearly) equal size n_k. Each shard runs forward and backward by itself,
//! with a network and an autodiff graph of its own; then, always in the order k = 0 .. K-1,
//!
//! ```text
//! gradient = sum_k (n_k / n) gradient_k                      mean over the batch, as one backward would give
//! running  = sum_k (n_k / n) running_k                       mean of the shards' running statistics
//! range    = [min_k lo_k, max_k hi_k]                        that of the batch: every shard moved the same old range
//! ```
//!
//! K belongs to the configuration and the number of threads does not. BatchNorm normalises each shard with the shard's
//! own statistics: "ghost batch normalization" (Hoffer et al. 2017, arXiv 1705.08741), as data-parallel training
//! without synchronised BatchNorm does everywhere. So K changes the result a little, and 1 is the textbook batch.
//!
//! Why shards: many of the flex device's loops run on one thread whatever the machine has, and a small shard's
//! activations stay in the cache ([`Workers`]).

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use network::StateDict;
use quantize::names;
use train::{Measured, Probe, Tensors, Workers, add_part, shards};

use super::TrainError;
use super::learner::{Batch, Learner};
use crate::evaluate::outcome;

/// What a batch had to say about the weights.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Gradient of the mean loss, under PyTorch's names, shaped as the weights.
    pub gradients: StateDict,
    /// BatchNorm's running statistics after the batch.
    pub running: StateDict,
    /// Cross-entropy summed over the batch, in nats.
    pub loss_sum: f64,
    /// Images whose largest logit is the label's.
    pub correct: usize,
}

/// Computes gradients of one network on one device.
pub struct Engine {
    learner: Box<dyn Learner>,
    device: Device,
    shards: usize,
    workers: Workers,
}

impl Engine {
    /// Of the network that `learner` is. `device` is a plain device.
    ///
    /// # Errors
    /// [`TrainError::Threads`] where the operating system refuses a thread.
    pub fn new(
        learner: Box<dyn Learner>,
        device: &Device,
        shards: usize,
        threads: usize,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            learner,
            device: device.clone().autodiff(),
            shards: shards.max(1),
            workers: Workers::new(shards, threads)?,
        })
    }

    /// The network.
    pub fn learner(&self) -> &dyn Learner {
        self.learner.as_ref()
    }

    /// Loss, gradients and running statistics of a batch: `images` is `[n, 3, side[0], side[1]]`, normalised, and
    /// `labels` `[n]`, n at least 1.
    ///
    /// # Errors
    /// [`TrainError::Network`] where `weights` is not a state of the architecture, [`TrainError::Worker`] where a
    /// shard failed.
    pub fn gradients(
        &self,
        weights: &StateDict,
        images: &[f32],
        labels: &[u16],
        side: [usize; 2],
    ) -> Result<Gradients, TrainError> {
        let batch = Batch {
            images,
            labels,
            side,
            step: 0,
        };
        self.gradients_of(weights, &batch)
    }

    /// The same of a batch that knows its step.
    ///
    /// # Errors
    /// As [`Engine::gradients`].
    pub fn gradients_of(
        &self,
        weights: &StateDict,
        batch: &Batch<'_>,
    ) -> Result<Gradients, TrainError> {
        let labels = batch.labels;
        let ranges = shards(labels.len(), self.shards);
        let one = |range: &Range<usize>| {
            let part = batch.part(range.clone());
            self.learner.shard(weights, &part, &self.device)
        };
        let results = self.workers.each(ranges.len(), |k| one(&ranges[k]));
        let mut total: Option<Gradients> = None;
        for (result, range) in results.into_iter().zip(&ranges) {
            let died = || Err(TrainError::Worker("a worker thread panicked".into()));
            let part = result.unwrap_or_else(died)?;
            let share = range.len() as f32 / labels.len() as f32;
            match &mut total {
                None => {
                    let mut part = part;
                    for tensors in [&mut part.gradients, &mut part.running] {
                        scale(tensors, share);
                    }
                    total = Some(part);
                }
                Some(total) => {
                    add_part(&mut total.gradients, &part.gradients, share);
                    add_part(&mut total.running, &part.running, share);
                    total.loss_sum += part.loss_sum;
                    total.correct += part.correct;
                }
            }
        }
        total.ok_or_else(|| TrainError::Worker("the batch is empty".into()))
    }
}

impl Gradients {
    /// Of `loss`, which came of `logits`; `measured` is what the pass saw on the way.
    pub(super) fn of(
        loss: Tensor<1>,
        (logits, measured): (Tensor<2>, Measured),
        tensors: &Tensors,
        labels: &[u16],
    ) -> Result<Self, TrainError> {
        let gradients = tensors.gradients(&loss.backward())?;
        let (loss_sum, correct) = judge(logits, labels)?;
        Ok(Self {
            gradients,
            running: measured.into_state()?,
            loss_sum,
            correct,
        })
    }
}

/// The first name that `pass` shows with a value that is NaN or infinite.
pub(super) fn first_not_finite(pass: impl FnOnce(Probe<'_>)) -> Option<String> {
    let mut first = None;
    pass(&mut |name: &str, x: &Tensor<4>| {
        if first.is_none() && has_not_finite(x) {
            first = Some(name.to_owned());
        }
    });
    first
}

/// Whether a value is NaN or infinite.
fn has_not_finite(x: &Tensor<4>) -> bool {
    let data = x.clone().inner().try_into_data().ok();
    let data = data.and_then(|data| data.try_to_vec::<f32>().ok());
    data.is_none_or(|values| values.iter().any(|v| !v.is_finite()))
}

/// Cross-entropy summed over a batch, in nats, and how many of its images were recognised.
fn judge(logits: Tensor<2>, labels: &[u16]) -> Result<(f64, usize), TrainError> {
    let worker = |e: &dyn std::fmt::Debug| TrainError::Worker(format!("{e:?}"));
    let [_, classes] = logits.dims();
    let logits = logits
        .try_into_data()
        .map_err(|e| worker(&e))?
        .try_to_vec::<f32>()
        .map_err(|e| worker(&e))?;
    let (mut loss_sum, mut correct) = (0.0, 0);
    for (logits, &label) in logits.chunks_exact(classes).zip(labels) {
        let outcome = outcome(logits, label).ok_or(TrainError::Label { label, classes })?;
        loss_sum += outcome.loss;
        correct += usize::from(outcome.top1 == label);
    }
    Ok((loss_sum, correct))
}

/// Begins a sum with the first shard's tensors.
fn scale(tensors: &mut StateDict, share: f32) {
    let names: Vec<String> = tensors.names().cloned().collect();
    for name in names.into_iter().filter(|name| !names::is_range(name)) {
        if let Some(tensor) = tensors.get_mut(&name) {
            tensor.data.iter_mut().for_each(|v| *v *= share);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Algorithm;
    use network::HostTensor;
    use resnet::Arch;

    use super::super::float::FloatNet;
    use super::*;

    fn arch(name: &str) -> Arch {
        Arch::parse(name).unwrap()
    }

    fn engine(arch: &Arch, shards: usize, threads: usize) -> Engine {
        let learner = Box::new(FloatNet::new(resnet::topology(arch), Algorithm::Direct));
        Engine::new(learner, &Device::flex(), shards, threads).unwrap()
    }

    fn batch(n: usize, side: usize) -> (Vec<f32>, Vec<u16>) {
        let values = (0..n * 3 * side * side)
            .map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * if i % 3 == 0 { 1.0 } else { 0.5 })
            .collect();
        (values, (0..n).map(|i| (i * 3 % 10) as u16).collect())
    }

    fn start(arch: &Arch) -> StateDict {
        let device = Device::flex();
        device.seed(3);
        train::initial(&resnet::topology(arch), &device).unwrap()
    }

    #[test]
    fn every_weight_of_every_kind_of_network_gets_a_gradient_of_its_shape() {
        for (name, side) in [
            ("cifar-resnet20", 8),
            ("cifar-resnet20-b", 8),
            ("resnet18", 32),
            ("resnet50", 32),
        ] {
            let arch = arch(name).with_classes(10);
            let weights = start(&arch);
            let engine = engine(&arch, 1, 1);
            let (images, labels) = batch(2, side);
            let found = engine
                .gradients(&weights, &images, &labels, [side, side])
                .unwrap();
            let mut all = found.gradients.shapes();
            all.extend(found.running.shapes());
            assert_eq!(all, weights.shapes(), "{name}");
            for (key, gradient) in &found.gradients {
                assert!(gradient.data.iter().any(|&g| g != 0.0), "{name}: {key}");
            }
        }
    }

    #[test]
    fn the_range_of_a_batch_is_that_of_all_its_shards() {
        let range = names::site("conv1", "range");
        let part = |low: f32, high: f32, mean: f32| -> StateDict {
            let tensor = |data: Vec<f32>| HostTensor::new(vec![data.len()], data).unwrap();
            let running = ("bn1.running_mean".to_owned(), tensor(vec![mean]));
            [(range.clone(), tensor(vec![low, high])), running]
                .into_iter()
                .collect()
        };
        let mut total = part(-1.0, 4.0, 2.0);
        scale(&mut total, 0.25);
        add_part(&mut total, &part(-2.0, 3.0, 4.0), 0.75);
        assert_eq!(total.get(&range).unwrap().data, [-2.0, 4.0]);
        assert_eq!(total.get("bn1.running_mean").unwrap().data, [3.5]);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let arch = arch("cifar-resnet20");
        let weights = start(&arch);
        let (images, labels) = batch(7, 32);
        for shards in [1, 3] {
            let run = |threads| {
                engine(&arch, shards, threads)
                    .gradients(&weights, &images, &labels, [32, 32])
                    .unwrap()
            };
            let one = run(1);
            for threads in [2, 3, 8] {
                let other = run(threads);
                assert_eq!(one.gradients.sha256(), other.gradients.sha256());
                assert_eq!(one.running.sha256(), other.running.sha256());
                assert_eq!(one.loss_sum.to_bits(), other.loss_sum.to_bits());
            }
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_mean_loss() {
        let arch = arch("cifar-resnet20");
        let weights = start(&arch);
        let (images, labels) = batch(6, 16);
        let engine = engine(&arch, 2, 2);
        let loss = |weights: &StateDict| {
            engine
                .gradients(weights, &images, &labels, [16, 16])
                .unwrap()
                .loss_sum
                / 6.0
        };
        let found = engine
            .gradients(&weights, &images, &labels, [16, 16])
            .unwrap();
        for (name, index) in [
            ("linear.weight", 11),
            ("linear.weight", 600),
            ("linear.bias", 4),
        ] {
            let h = 1e-2;
            let moved = |by: f32| {
                let mut weights = weights.clone();
                weights.get_mut(name).unwrap().data[index] += by;
                loss(&weights)
            };
            let slope = (moved(h) - moved(-h)) / f64::from(2.0 * h);
            let gradient = f64::from(found.gradients.get(name).unwrap().data[index]);
            assert!(
                (slope - gradient).abs() < 1e-3 + 0.01 * slope.abs(),
                "{name}[{index}]: {slope} {gradient}"
            );
        }
    }

    #[test]
    fn running_statistics_move_a_tenth_of_the_way_to_the_mean_of_the_shards() {
        let arch = arch("cifar-resnet20");
        let mut weights = start(&arch);
        // A stem that copies the red channel's centre pixel, so that the statistics are known.
        let kernel = &mut weights.get_mut("conv1.weight").unwrap().data;
        kernel[..27].fill(0.0);
        kernel[4] = 1.0;
        let (images, labels) = batch(4, 8);
        let engine = engine(&arch, 2, 2);
        let found = engine
            .gradients(&weights, &images, &labels, [8, 8])
            .unwrap();
        let red: Vec<f64> = (0..4)
            .flat_map(|i| &images[i * 192..i * 192 + 64])
            .map(|&v| f64::from(v))
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let variance = |values: &[f64]| {
            let m = mean(values);
            values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64
        };
        let (a, b) = red.split_at(128);
        let value = |name: &str| f64::from(found.running.get(name).unwrap().data[0]);
        assert!((value("bn1.running_mean") - 0.1 * mean(&red)).abs() < 1e-6);
        let expected = 0.9 + 0.1 * (variance(a) + variance(b)) / 2.0;
        assert!((value("bn1.running_var") - expected).abs() < 1e-6);
    }

    #[test]
    fn shards_cover_the_batch_and_are_never_empty() {
        assert_eq!(shards(7, 3), [0..2, 2..4, 4..7]);
        assert_eq!(shards(2, 4).len(), 2);
        assert_eq!(
            shards(128, 4).iter().map(Range::len).collect::<Vec<_>>(),
            [32; 4]
        );
    }
}
