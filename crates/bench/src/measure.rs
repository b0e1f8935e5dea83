//! One run: quantize, execute, count.

mod metrics;

#[cfg(feature = "burn")]
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

#[cfg(feature = "burn")]
use anyhow::Context;
use anyhow::{Result, anyhow};
use engine::{Execution, Options};
use quantize::{Decision, Margins, QuantizedNet, SiteStatistics};
use resnet::Checkpoint;
use results::{EpochRow, ManifestRow, PredictionRow, Run, RunRow, Status};
use train::qat::LostChannels;

use crate::agreement::compare;
use crate::allocated::{self, Known, allocated};
use crate::calibration::collect;
use crate::device::Target;
use crate::environment::Environment;
use crate::evaluate::{evaluate, evaluate_beside, logits};
use crate::executable::Executable;
use crate::plan::PlannedRun;
#[cfg(feature = "burn")]
use crate::qat::Job;
use crate::quantized::{Around, float, quantized};
use crate::settings::{ModelFile, Quantization, Source, Training};
use crate::sources::TestSet;
use crate::train::Observer;
#[cfg(feature = "burn")]
use crate::train::Row;
use metrics::Metrics;

/// What a run needs beside its plan.
pub struct Bench<'a> {
    /// The experiment's name.
    pub experiment: &'a str,
    /// Where to run.
    pub target: &'a Target,
    /// Worker threads.
    pub threads: usize,
    /// Recorded with the run.
    pub environment: &'a Environment,
    /// Raised by Ctrl-C.
    pub cancelled: &'a AtomicBool,
    /// What calibration has gathered so far.
    pub gathered: &'a Gathered,
    /// Where trainings keep their checkpoints, each in a folder named after its run.
    pub trainings: &'a Path,
    /// Told how a training goes.
    pub observer: &'a dyn Observer,
}

/// What there is to say of a run beside the network that came out.
#[derive(Default)]
struct Course {
    epochs: Vec<EpochRow>,
    lost: Vec<LostChannels>,
    allocation: Option<allocated::Outcome>,
}

/// What runs of a sweep have in common, each gathered once.
#[derive(Default)]
pub struct Gathered {
    /// Statistics of activation sites by weights (their hash, and how they are equalized) and calibration images.
    statistics: Mutex<HashMap<(String, String), Arc<SiteStatistics>>>,
    /// What layers harm, for allocations.
    known: Known,
    /// A float network's margins, by its weights and the images.
    margins: Mutex<HashMap<(String, String), Arc<Margins>>>,
}

/// The trained network in the folder of its training.
pub const TRAINED: &str = "trained.safetensors";

impl Gathered {
    /// Those of the network of `checkpoint` that `how` quantizes on `images`, gathered on `threads` threads unless they are known.
    pub fn of(
        &self,
        (checkpoint, how): (&Checkpoint, &Quantization),
        images: &TestSet,
        threads: usize,
        cancelled: &AtomicBool,
    ) -> Result<Arc<SiteStatistics>> {
        let weights = format!("{} {:?}", checkpoint.sha256, how.equalization);
        let key = (weights, images.sha256.clone());
        let known = || self.statistics.lock().map_err(|_| anyhow!("a worker died"));
        if let Some(statistics) = known()?.get(&key) {
            return Ok(statistics.clone());
        }
        let network = float(checkpoint, how)?;
        let statistics = Arc::new(collect(&network, &images.data, threads, cancelled)?);
        known()?.insert(key, statistics.clone());
        Ok(statistics)
    }
}

impl Bench<'_> {
    /// Quantizes and evaluates. `baseline` holds the float run's predictions by image, and is absent for the float run
    /// itself. `progress` is told, for each finished batch, how many images and how many hits it brought.
    pub fn measure(
        &self,
        run: &PlannedRun,
        baseline: Option<&HashMap<String, u16>>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Run> {
        let mut row = self.row(run);
        let started = Instant::now();
        let checkpoint = &run.model.checkpoint;
        let mut metrics = Metrics::new(&row.run_id);
        let data = &run.set.data;
        let size = [data.height(), data.width()];
        let mut course = Course::default();
        let options = Options {
            convolution: run.cell.convolution,
            ..Options::default()
        };
        let (net, manifest) = match &run.cell.quantization {
            None => {
                let network = &checkpoint.network;
                metrics.float(network.tensors());
                let manifest = quantize::float_manifest(network);
                let net = Executable::new(self.target, network.clone(), size, options)?;
                (net, manifest)
            }
            Some(how) => {
                let mut quantized = self.quantize(run, how, &mut course)?;
                let manifest = std::mem::take(&mut quantized.manifest);
                match &how.source {
                    Source::Training(_) => metrics.trained(&quantized.layers, &course.lost),
                    Source::PostTraining | Source::Stored => metrics.layers(&quantized.layers),
                }
                metrics.activations(&quantized);
                if let Execution::Integer(_) = how.execution {
                    let agreement = compare(
                        &quantized,
                        how.execution,
                        data,
                        self.threads,
                        self.cancelled,
                    )?;
                    metrics.agreement(&agreement);
                }
                let net = Executable::quantized(
                    self.target,
                    quantized,
                    size,
                    Options {
                        execution: how.execution,
                        ..options
                    },
                )?;
                (net, manifest)
            }
        };
        let margins = course.allocation.as_ref().map(|_| self.margins(run));
        let margins = margins.transpose()?;
        let running = Instant::now();
        let outcomes = match &margins {
            None => evaluate(&net, data, self.threads, progress, self.cancelled)?,
            Some(margins) => {
                let (float, threads) = (margins.logits(), self.threads);
                let found = evaluate_beside(&net, data, float, threads, progress, self.cancelled)?;
                metrics.logits(&found.1);
                found.0
            }
        };
        let rate = data.len() as f64 / running.elapsed().as_secs_f64();
        row.executed = Some(net.executed().to_string());
        row.images_per_second = Some((rate * 1e2).round() / 1e2);
        let predictions: Vec<PredictionRow> = outcomes
            .iter()
            .enumerate()
            .map(|(i, outcome)| PredictionRow {
                image: data.id(i),
                label: data.label(i),
                top1: outcome.top1,
            })
            .collect();
        metrics.outcomes(&outcomes, &predictions);
        metrics.flips(&predictions, baseline)?;
        if let (Some(allocation), Some(margins)) = (&course.allocation, &margins) {
            metrics.allocation(allocation, margins);
        }
        let manifest = manifest.into_iter().chain(checkpoint.notes()).collect();
        row.seconds = (started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        Ok(Run {
            metrics: metrics.rows,
            predictions,
            manifest: manifest_rows(&row.run_id, manifest),
            epochs: course.epochs,
            row,
        })
    }

    /// Weights, and activations where they are asked for; a training tells its course.
    fn quantize(
        &self,
        run: &PlannedRun,
        how: &Quantization,
        course: &mut Course,
    ) -> Result<QuantizedNet> {
        let images = run.calibration.as_ref();
        let seen = images.filter(|_| how.activations.is_some());
        let statistics = seen.map(|images| self.statistics(run, how, images));
        let folder = self.trainings.join(&run.run_id);
        let around = Around {
            folder: Some(&folder),
            observer: self.observer,
            cancelled: self.cancelled,
            known: Some(&self.gathered.known),
            ..Around::of(run, self.threads)
        };
        let statistics = statistics.transpose()?;
        let checkpoint = &run.model.checkpoint;
        let (how, allocation) = allocated(checkpoint, how, statistics.as_deref(), &around)?;
        course.allocation = allocation;
        match &how.source {
            Source::Training(training) => self.train(run, &how, training, course),
            _ => quantized(checkpoint, &how, statistics.as_deref(), &around),
        }
    }

    /// Those of the run's float network on its test images.
    fn margins(&self, run: &PlannedRun) -> Result<Arc<Margins>> {
        let checkpoint = &run.model.checkpoint;
        let key = (checkpoint.sha256.clone(), run.set.sha256.clone());
        let known = || {
            self.gathered
                .margins
                .lock()
                .map_err(|_| anyhow!("a worker died"))
        };
        if let Some(margins) = known()?.get(&key) {
            return Ok(margins.clone());
        }
        let data = &run.set.data;
        let size = [data.height(), data.width()];
        let net = Executable::new(
            self.target,
            checkpoint.network.clone(),
            size,
            Options::default(),
        )?;
        let logits = logits(&net, data, self.threads, &|_| (), self.cancelled)?;
        let labels = (0..data.len()).map(|i| data.label(i)).collect();
        let margins = Arc::new(Margins::new(logits, labels));
        known()?.insert(key, margins.clone());
        Ok(margins)
    }

    /// Trains the network, or goes on where an earlier process stopped, and leaves the trained file beside the checkpoint.
    #[cfg(feature = "burn")]
    fn train(
        &self,
        run: &PlannedRun,
        how: &Quantization,
        training: &Training,
        course: &mut Course,
    ) -> Result<QuantizedNet> {
        let images = run
            .training
            .as_ref()
            .context("there are no training images")?;
        let statistics = match &run.calibration {
            Some(images) => self.statistics(run, how, images)?,
            None => Arc::new(SiteStatistics::new()),
        };
        let folder = self.trainings.join(&run.run_id);
        let job = Job {
            checkpoint: &run.model.checkpoint,
            how,
            training,
            statistics: &statistics,
            images: (&images.data, &images.name),
            test: Some(&run.set.data),
            device: run.config.text("device"),
            threads: self.threads,
        };
        let trained = job.run(&folder, 1, self.observer, self.cancelled)?;
        trained.save(&folder.join(TRAINED), BTreeMap::new())?;
        course.epochs = epoch_rows(&run.run_id, &trained.rows).collect();
        course.lost = trained.lost;
        Ok(trained.net)
    }

    #[cfg(not(feature = "burn"))]
    fn train(
        &self,
        _: &PlannedRun,
        _: &Quantization,
        _: &Training,
        _: &mut Course,
    ) -> Result<QuantizedNet> {
        anyhow::bail!("method = qat: {}", crate::device::WITHOUT_BURN)
    }

    fn statistics(
        &self,
        run: &PlannedRun,
        how: &Quantization,
        images: &TestSet,
    ) -> Result<Arc<SiteStatistics>> {
        let checkpoint = (&run.model.checkpoint, how);
        self.gathered
            .of(checkpoint, images, self.threads, self.cancelled)
    }

    /// The row of a run that gave an error.
    pub fn failed(&self, run: &PlannedRun, error: &anyhow::Error) -> Run {
        let mut row = self.row(run);
        row.status = Status::Failed;
        row.error = Some(format!("{error:#}"));
        Run {
            row,
            metrics: Vec::new(),
            predictions: Vec::new(),
            manifest: Vec::new(),
            epochs: Vec::new(),
        }
    }

    fn row(&self, run: &PlannedRun) -> RunRow {
        let checkpoint = &run.model.checkpoint;
        let now = SystemTime::now();
        // As it was given, where a path was given: many files have the same name.
        let weights_file = match &run.cell.model.file {
            ModelFile::File { path, .. } => Some(path.clone()),
            ModelFile::Named(_) => run
                .model
                .file
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        };
        let data_folder = run.set.given.as_ref();
        RunRow {
            weights_file,
            data_folder: data_folder.map(|folder| folder.to_string_lossy().into_owned()),
            git_revision: self.environment.git_revision.clone(),
            rustc: self.environment.rustc.to_owned(),
            burn: self.environment.burn.to_owned(),
            cpu_features: self.environment.cpu_features.clone(),
            threads: self.threads as u32,
            host: self.environment.host.clone(),
            started_at: crate::environment::stamp(now),
            ..RunRow::new(
                self.experiment,
                run.config.clone(),
                &checkpoint.sha256,
                &run.set.sha256,
                run.calibration.as_ref().map(|set| set.sha256.as_str()),
            )
        }
    }
}

/// Predictions by image, for counting flips.
pub fn by_image(run: &Run) -> HashMap<String, u16> {
    run.predictions
        .iter()
        .map(|row| (row.image.clone(), row.top1))
        .collect()
}

/// As `log.csv` has them, with as many digits.
#[cfg(feature = "burn")]
fn epoch_rows<'a>(run_id: &'a str, rows: &'a [Row]) -> impl Iterator<Item = EpochRow> + 'a {
    let round = |value: f64, digits: i32| {
        let factor = 10f64.powi(digits);
        (value * factor).round() / factor
    };
    rows.iter().map(move |row| EpochRow {
        run_id: run_id.to_owned(),
        epoch: row.epoch as u64,
        lr: round(row.lr, 6),
        train_loss: round(row.train_loss, 5),
        train_top1: round(row.train_top1, 5),
        test_top1: row.test_top1.map(|share| round(share, 5)),
        images_per_second: round(row.images_per_second, 1),
        seconds: round(row.seconds, 1),
    })
}

fn manifest_rows(run_id: &str, manifest: Vec<Decision>) -> Vec<ManifestRow> {
    manifest
        .into_iter()
        .map(|decision| ManifestRow {
            run_id: run_id.to_owned(),
            tensor: decision.tensor,
            kind: decision.kind.to_owned(),
            quantized: decision.quantized,
            bits: decision.bits,
            reason: decision.reason,
        })
        .collect()
}
