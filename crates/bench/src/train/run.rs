//! The loop: epochs of steps, a test after each, a checkpoint after each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use dataset::Dataset;
use network::{HostTensor, StateDict};

use super::augment::{Loader, order};
use super::checkpoint::{Checkpoint, Folder};
use super::schedule::Schedule;
use super::sgd::{Sgd, at_rest, is_trained};
use super::step::Engine;
use super::{Batch, Config, Learner, Observer, Row, StepReport, TrainError};
use crate::device::Target;
use crate::evaluate::{EvaluateError, evaluate};

/// How [`Trainer::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Every epoch is done.
    Done,
    /// The caller's flag was raised; this many epochs are kept.
    Stopped {
        /// Finished epochs.
        epochs: usize,
    },
}

/// A training in progress.
pub struct Trainer<'a> {
    state: Checkpoint,
    folder: Folder,
    train: &'a Dataset,
    test: Option<&'a Dataset>,
    device: Device,
    threads: usize,
    engine: Engine,
    schedule: Schedule,
    sgd: Sgd,
}

impl<'a> Trainer<'a> {
    /// A training of `learner` as `config` says, in `folder`: from the checkpoint there if `resume`, else from the tensors of
    /// `begin`. `test` may be absent; `device` is a plain one.
    ///
    /// # Errors
    /// Settings out of range, images that are not the configuration's, a folder with nothing to resume or with
    /// something not to overwrite, a checkpoint of another configuration.
    pub fn new(
        config: Config,
        (learner, begin): (Box<dyn Learner>, StateDict),
        folder: Folder,
        resume: bool,
        data: (&'a Dataset, Option<&'a Dataset>),
        (device, threads): (&Device, usize),
    ) -> Result<Self, TrainError> {
        config.check()?;
        let engine = Engine::new(learner, device, config.shards, threads)?;
        let shapes = begin.shapes();
        let state = Self::open(&config, &folder, resume, begin)?;
        if state.weights.shapes() != shapes {
            return Err(TrainError::Checkpoint {
                path: folder.path().to_path_buf(),
                reason: "its tensors are not those of this training".into(),
            });
        }
        Self::of(state, folder, data, engine, (device, threads))
    }

    /// The state to go on from: that of the folder if `resume`, else that of `begin`.
    fn open(
        config: &Config,
        folder: &Folder,
        resume: bool,
        weights: StateDict,
    ) -> Result<Checkpoint, TrainError> {
        if resume {
            let found = folder.load()?;
            let differences = found.config.differences(config)?;
            if !differences.is_empty() {
                return Err(TrainError::OtherConfig {
                    folder: folder.path().to_path_buf(),
                    differences: differences.join("; "),
                });
            }
            return Ok(found);
        }
        if folder.has_checkpoint() {
            return Err(TrainError::Begun {
                folder: folder.path().to_path_buf(),
                epochs: folder.load().map_or(0, |found| found.rows.len()),
            });
        }
        Ok(Checkpoint {
            velocity: at_rest(&weights, is_trained),
            rows: Vec::new(),
            weights,
            config: config.clone(),
        })
    }

    fn of(
        state: Checkpoint,
        folder: Folder,
        (train, test): (&'a Dataset, Option<&'a Dataset>),
        engine: Engine,
        (device, threads): (&Device, usize),
    ) -> Result<Self, TrainError> {
        let config = &state.config;
        if train.len() != config.train_images {
            return Err(TrainError::Images {
                found: train.len(),
                expected: config.train_images,
            });
        }
        let per_epoch = config.steps_per_epoch();
        let warmup = (config.warmup * per_epoch as f64).round() as usize;
        let step_rate = match &config.qat {
            Some(qat) => qat.scale_lr / config.lr,
            None => 1.0,
        };
        Ok(Self {
            schedule: Schedule::new(config.lr, warmup, config.epochs * per_epoch)
                .with_decay(config.decay),
            sgd: Sgd {
                momentum: config.momentum as f32,
                nesterov: config.nesterov,
                weight_decay: config.weight_decay as f32,
                step_rate: step_rate as f32,
            },
            state,
            folder,
            train,
            test,
            device: device.clone(),
            threads: threads.max(1),
            engine,
        })
    }

    /// The rows of the finished epochs.
    pub fn rows(&self) -> &[Row] {
        &self.state.rows
    }

    /// Weights and running statistics after the last finished epoch, under PyTorch's names.
    pub fn weights(&self) -> &StateDict {
        &self.state.weights
    }

    /// Trains to the end, testing after every `eval_every`-th epoch and after the last (0: never). Raising `stop` ends
    /// it after the step in flight; the epoch that was begun is lost, the ones before it are on disk.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] naming epoch and step; [`TrainError::Io`] where a checkpoint cannot be written.
    pub fn run(
        &mut self,
        eval_every: usize,
        observer: &dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Finish, TrainError> {
        let epochs = self.state.config.epochs;
        while self.state.rows.len() < epochs {
            let epoch = self.state.rows.len() + 1;
            let stopped = Finish::Stopped { epochs: epoch - 1 };
            let Some(mut row) = self.epoch(epoch, observer, stop)? else {
                return Ok(stopped);
            };
            let due = eval_every > 0 && (epoch.is_multiple_of(eval_every) || epoch == epochs);
            if let Some(test) = self.test.filter(|test| due && !test.is_empty()) {
                row.test_top1 = match self.top1(test, observer, stop) {
                    Ok(top1) => Some(top1),
                    // Running statistics can be behind the weights for an epoch; the training's own loss is finite.
                    Err(TrainError::Evaluate(EvaluateError::NotFinite { .. })) => None,
                    Err(TrainError::Evaluate(EvaluateError::Cancelled)) => return Ok(stopped),
                    Err(e) => return Err(e),
                };
            }
            self.state.rows.push(row.clone());
            self.folder.save(&self.state)?;
            observer.epoch(&row, epochs);
        }
        Ok(Finish::Done)
    }

    /// One pass over the training images; `None` where it was stopped.
    fn epoch(
        &mut self,
        epoch: usize,
        observer: &dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Row>, TrainError> {
        let config = &self.state.config;
        let (epochs, seed, steps) = (config.epochs, config.seed, config.steps_per_epoch());
        let loader = Loader::new(self.train, seed, config.augmentation());
        let order = order(seed, epoch, self.train.len());
        let batch = config.batch;
        let side = [self.train.height(), self.train.width()];
        let (mut seen, mut loss_sum, mut correct, mut rate) = (0, 0.0, 0, 0.0);
        let start = Instant::now();
        for (step, indices) in order.chunks(batch).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let (images, labels) = loader.batch(epoch, indices);
            let batch = Batch {
                images: &images,
                labels: &labels,
                side,
                step: (epoch - 1) * steps + step,
            };
            let found = self.engine.gradients_of(&self.state.weights, &batch)?;
            if !found.loss_sum.is_finite() {
                return Err(self.not_finite(&batch, found.loss_sum, epoch, step + 1));
            }
            rate = self.schedule.rate((epoch - 1) * steps + step);
            let state = &mut self.state;
            self.sgd.step(
                &mut state.weights,
                &mut state.velocity,
                &found.gradients,
                rate,
            )?;
            for (name, tensor) in found.running {
                state.weights.insert(name, tensor);
            }
            self.engine.learner().constrain(&mut state.weights);
            // A gradient that is finite can still throw a weight out of float32's range.
            check_finite(state.weights.iter(), epoch, step + 1)?;
            seen += labels.len();
            loss_sum += found.loss_sum;
            correct += found.correct;
            observer.step(&StepReport {
                epoch,
                epochs,
                step: step + 1,
                steps,
                images: labels.len(),
                loss: loss_sum / seen as f64,
                top1: correct as f64 / seen as f64,
                images_per_second: seen as f64 / start.elapsed().as_secs_f64().max(1e-9),
            });
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Some(Row {
            epoch,
            lr: rate,
            train_loss: loss_sum / seen as f64,
            train_top1: correct as f64 / seen as f64,
            test_top1: None,
            images_per_second: seen as f64 / seconds.max(1e-9),
            seconds,
        }))
    }

    fn top1(
        &self,
        test: &Dataset,
        observer: &dyn Observer,
        stop: &AtomicBool,
    ) -> Result<f64, TrainError> {
        let target = Target::beside(&self.state.config.device, &self.device);
        let size = [test.height(), test.width()];
        let learner = self.engine.learner();
        let net = learner.network(&self.state.weights, &target, size)?;
        let tested = |images, _| observer.tested(images, test.len());
        let outcomes = evaluate(&net, test, self.threads, &tested, stop)?;
        let correct = outcomes
            .iter()
            .enumerate()
            .filter(|(i, outcome)| outcome.top1 == test.label(*i))
            .count();
        Ok(correct as f64 / test.len() as f64)
    }

    /// The error of a loss that is no number, with the layer that it came from.
    fn not_finite(&self, batch: &Batch<'_>, loss: f64, epoch: usize, step: usize) -> TrainError {
        let learner = self.engine.learner();
        let layer = learner.not_finite(&self.state.weights, batch, &self.device);
        TrainError::NotFinite {
            what: layer.map_or("the loss".into(), |layer| {
                format!("the output of {layer} is not finite and the loss")
            }),
            value: loss,
            epoch,
            step,
        }
    }
}

fn check_finite<'s>(
    tensors: impl Iterator<Item = (&'s String, &'s HostTensor)>,
    epoch: usize,
    step: usize,
) -> Result<(), TrainError> {
    for (name, tensor) in tensors {
        if let Some(&value) = tensor.data.iter().find(|v| !v.is_finite()) {
            return Err(TrainError::NotFinite {
                what: name.clone(),
                value: f64::from(value),
                epoch,
                step,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::Algorithm;
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use resnet::Arch;

    use super::super::config::tests::config;
    use super::super::float::FloatNet;
    use super::*;
    use crate::testing::small_images;

    /// Stripes of a class's own direction and colour, so that there is something to learn.
    fn images(n: usize) -> Dataset {
        let pixels: Vec<u8> = (0..n * 3072)
            .map(|i| {
                let (image, y, x, c) = (i / 3072, i / 96 % 32, i / 3 % 32, i % 3);
                let class = image % 4;
                let along = if class % 2 == 0 { x } else { y };
                let stripe = (along + image) % 8 < 4;
                let colour = if class / 2 == 0 { c == 0 } else { c == 2 };
                if stripe && colour {
                    220
                } else {
                    40 + (i * 31 % 23) as u8
                }
            })
            .collect();
        small_images(pixels, 4)
    }

    /// Raises `stop` after a number of steps.
    #[derive(Default)]
    struct Watch {
        steps: AtomicUsize,
        stop_after: usize,
        stop: AtomicBool,
        epochs: AtomicUsize,
    }

    impl Observer for Watch {
        fn step(&self, _: &StepReport) {
            if self.steps.fetch_add(1, Ordering::Relaxed) + 1 == self.stop_after {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        fn tested(&self, _: usize, _: usize) {}
        fn epoch(&self, _: &Row, _: usize) {
            self.epochs.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Run {
        finish: Finish,
        weights: StateDict,
        velocity: StateDict,
        rows: Vec<Row>,
    }

    fn train(
        config: &Config,
        dir: &Path,
        resume: bool,
        threads: usize,
        stop_after: usize,
    ) -> Result<Run, TrainError> {
        let data = images(config.train_images);
        let watch = Watch {
            stop_after,
            ..Watch::default()
        };
        let arch = Arch::parse(&config.arch)
            .unwrap()
            .with_classes(data.classes().len());
        let topology = resnet::topology(&arch);
        let device = Device::flex();
        device.seed(config.seed);
        let begin = train::initial(&topology, &device)?;
        let mut trainer = Trainer::new(
            config.clone(),
            (Box::new(FloatNet::new(topology, Algorithm::Direct)), begin),
            Folder::open(dir)?,
            resume,
            (&data, Some(&data)),
            (&device, threads),
        )?;
        let finish = trainer.run(1, &watch, &watch.stop)?;
        Ok(Run {
            finish,
            weights: trainer.weights().clone(),
            velocity: trainer.state.velocity.clone(),
            rows: trainer.rows().to_vec(),
        })
    }

    #[test]
    fn stopping_and_resuming_gives_the_bytes_of_never_having_stopped() {
        let config = config(64);
        let whole = tempfile::tempdir().unwrap();
        let whole = train(&config, whole.path(), false, 1, 0).unwrap();
        assert_eq!(whole.finish, Finish::Done);
        assert_eq!(whole.rows.len(), 2);

        let dir = tempfile::tempdir().unwrap();
        // Four steps an epoch: this stops in the middle of the second.
        let first = train(&config, dir.path(), false, 2, 6).unwrap();
        assert_eq!(first.finish, Finish::Stopped { epochs: 1 });
        let second = train(&config, dir.path(), true, 2, 0).unwrap();
        assert_eq!(second.finish, Finish::Done);
        assert_eq!(second.weights.sha256(), whole.weights.sha256());
        assert_eq!(second.velocity.sha256(), whole.velocity.sha256());
        for (a, b) in second.rows.iter().zip(&whole.rows) {
            assert_eq!(
                (a.epoch, a.lr, a.train_loss, a.train_top1, a.test_top1),
                (b.epoch, b.lr, b.train_loss, b.train_top1, b.test_top1)
            );
        }
        // Resuming what is finished changes nothing.
        let third = train(&config, dir.path(), true, 1, 0).unwrap();
        assert_eq!(third.weights.sha256(), whole.weights.sha256());
    }

    #[test]
    fn a_checkpoint_is_not_resumed_with_other_settings_nor_overwritten() {
        let mut config = config(16);
        config.epochs = 1;
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            train(&config, dir.path(), true, 1, 0),
            Err(TrainError::NoCheckpoint { .. })
        ));
        train(&config, dir.path(), false, 1, 0).unwrap();
        assert!(matches!(
            train(&config, dir.path(), false, 1, 0),
            Err(TrainError::Begun { epochs: 1, .. })
        ));
        let other = Config {
            momentum: 0.8,
            ..config
        };
        match train(&other, dir.path(), true, 1, 0) {
            Err(TrainError::OtherConfig { differences, .. }) => {
                assert_eq!(differences, "momentum: 0.9, not 0.8");
            }
            Err(e) => panic!("{e}"),
            Ok(_) => panic!("resumed"),
        }
    }

    #[test]
    fn training_learns() {
        let mut config = config(64);
        config.epochs = 6;
        config.flip = false;
        let dir = tempfile::tempdir().unwrap();
        let run = train(&config, dir.path(), false, 2, 0).unwrap();
        let (first, last) = (&run.rows[0], &run.rows[5]);
        assert!(last.train_loss < first.train_loss / 2.0, "{:?}", run.rows);
        assert!(last.train_top1 > 0.8, "{:?}", run.rows);
    }

    #[test]
    fn a_loss_that_is_not_finite_stops_with_epoch_and_step() {
        let mut config = config(32);
        config.lr = 1e30;
        config.warmup = 0.0;
        let dir = tempfile::tempdir().unwrap();
        let error = match train(&config, dir.path(), false, 1, 0) {
            Err(e) => e,
            Ok(run) => panic!("{:?}", run.rows),
        };
        let text = error.to_string();
        assert!(
            matches!(
                error,
                TrainError::NotFinite {
                    epoch: 1,
                    step: 2,
                    ..
                }
            ),
            "{text}"
        );
        assert!(text.contains("epoch 1, step 2"), "{text}");
    }
}
