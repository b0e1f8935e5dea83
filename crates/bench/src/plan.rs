//! From an experiment's cells to the runs of a sweep: sources opened, image counts resolved, run ids known, each run
//! once, and in front of them the float runs that they are compared with.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use results::Config;

use crate::experiment::{Experiment, Scalar};
use crate::input::Preparation;
use crate::settings::{Cell, ModelFile, Settings, Source, does_not_apply, is_combination};
use crate::sources::{Model, Sources, TestSet};

/// What is done with BatchNorm; not a matter of choice for a network that comes without.
const BN: &str = "bn";

/// One run of a sweep.
pub struct PlannedRun {
    /// What to quantize.
    pub cell: Cell,
    /// The checkpoint.
    pub model: Arc<Model>,
    /// The test images.
    pub set: Arc<TestSet>,
    /// The images that activation ranges are taken from, where activations are quantized.
    pub calibration: Option<Arc<TestSet>>,
    /// The images that are trained on, where there is training.
    pub training: Option<Arc<TestSet>>,
    /// The result columns, complete.
    pub config: Config,
    /// Names the run.
    pub run_id: String,
    /// Run id of the float run of the same model and images; its own for a float run.
    pub baseline: String,
    /// The settings that vary, for people: `weights.bits=4 bn=kept`.
    pub label: String,
}

impl PlannedRun {
    /// Network and images as the user named them, for people: an entry's name, or a path.
    pub fn subject(&self) -> [String; 2] {
        let network = match &self.cell.model.file {
            ModelFile::Named(_) => self.model.name.clone(),
            ModelFile::File { .. } => self.model.file.display().to_string(),
        };
        let folder = self.set.given.as_ref();
        let images = folder.map(|folder| folder.display().to_string());
        [network, images.unwrap_or_else(|| self.set.name.clone())]
    }

    /// The columns, those about images and labels filled in where they are empty because all is usual: for a comparison with what
    /// somebody wrote.
    pub fn spelled_out(&self) -> Config {
        let crops = self.set.crops;
        let offset: Option<i64> = self.config.get("labels_offset");
        self.config
            .clone()
            .with(
                "input_normalization",
                self.set.data.normalization().to_string(),
            )
            .with("input_resize", crops.map(|crops| crops.resize))
            .with("input_size", crops.map(|crops| crops.size))
            .with("labels_offset", offset.unwrap_or(0))
    }

    /// How many images its training sees in all epochs; none where nothing is trained.
    pub fn training_images(&self) -> Option<u64> {
        let Source::Training(training) = &self.cell.quantization.as_ref()?.source else {
            return None;
        };
        let images = self.training.as_ref()?.data.len();
        Some((training.epochs * images) as u64)
    }

    /// Whether this is a float run.
    pub fn is_baseline(&self) -> bool {
        self.run_id == self.baseline
    }
}

/// Where a plan takes the ranges of activations from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Calibration images, which it opens.
    Images,
    /// Nowhere: the caller has a saved calibration.
    Saved,
}

/// All runs, float runs first, then in the experiment's order. What [`plan_telling`] has to tell goes to stderr.
pub fn plan(experiment: &Experiment, sources: &mut Sources) -> Result<Vec<PlannedRun>> {
    plan_telling(experiment, sources, &mut |line| eprintln!("{line}"))
}

/// [`plan`], telling in one line which cells were left out.
///
/// A product of lists has cells whose settings do not go together (`weights.bits=[1, 2]` beside
/// `weights.mapping=symmetric`: 1 bit would have the code 0 alone). Where others are left, such cells are left out, and
/// the line says how many and why the first of them; who asked for 1 and 2 bits gets the answer for 2. A word or a number
/// that is wrong whatever stands beside it, and cells that are all refused, end the plan.
pub fn plan_telling(
    experiment: &Experiment,
    sources: &mut Sources,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<PlannedRun>> {
    let mut baselines: Vec<PlannedRun> = Vec::new();
    let mut runs: Vec<PlannedRun> = Vec::new();
    let mut left_out: Vec<anyhow::Error> = Vec::new();
    let cells = experiment
        .cells()
        .with_context(|| experiment.name.clone())?;
    for settings in &cells {
        let label = label(experiment, settings, |_| true);
        let float = label_of_float(experiment, settings);
        let planned = plan_cell(settings, sources, &label, Ranges::Images);
        let refused = planned.as_ref().err().is_some_and(is_combination);
        let planned = planned.with_context(|| {
            if label.is_empty() {
                experiment.name.clone()
            } else {
                label.clone()
            }
        });
        let planned = match planned {
            Err(error) if refused => {
                left_out.push(error);
                continue;
            }
            planned => planned?,
        };
        for mut run in planned {
            let list = if run.is_baseline() {
                run.label.clone_from(&float);
                &mut baselines
            } else {
                &mut runs
            };
            if list.iter().all(|known| known.run_id != run.run_id) {
                list.push(run);
            }
        }
    }
    let n = left_out.len();
    if let Some(first) = left_out.into_iter().next() {
        if n == cells.len() {
            return Err(first);
        }
        tell(&match n {
            1 => format!("1 of {} cells left out: {first:#}", cells.len()),
            _ => format!(
                "{n} of {} cells left out, the first: {first:#}",
                cells.len()
            ),
        });
    }
    baselines.extend(runs);
    Ok(baselines)
}

/// Run `index` of the plan belongs to shard `i` of `n` (from 1). Float runs belong to every shard: each needs them,
/// and whoever comes first makes them.
pub fn in_shard(index: usize, run: &PlannedRun, shard: (usize, usize)) -> bool {
    run.is_baseline() || index % shard.1 == shard.0 - 1
}

/// The run of one cell, last, and before it the float run that it is compared with, unless it is that itself.
pub fn plan_cell(
    settings: &Settings,
    sources: &mut Sources,
    label: &str,
    ranges: Ranges,
) -> Result<Vec<PlannedRun>> {
    let mut cell = Cell::new(settings)?;
    let model = sources.model(&cell.model)?;
    if model.checkpoint.folded && cell.keeps_norms() && !settings.contains_key(BN) {
        let mut folded = settings.clone();
        folded.insert(BN.to_owned(), Scalar::Text("folded".to_owned()));
        cell = Cell::new(&folded)?;
    }
    let Some(dataset) = cell.dataset.clone().or_else(|| model.dataset.clone()) else {
        bail!("no test set: a model given as a file needs `dataset`");
    };
    let how = Preparation::new(&cell.input, &model)?;
    let set = sources.test_set(&dataset, cell.images, &how)?;
    let checkpoint = &model.checkpoint;
    let made_for = checkpoint.network.topology().input();
    if made_for.channels != 3 {
        does_not_apply!(
            "{} reads images of {} channels; there are images of 3 alone",
            model.name,
            made_for.channels
        );
    }
    let (classes, labels) = (checkpoint.classes(), set.data.classes().len());
    if classes != labels {
        does_not_apply!(
            "{} has {classes} classes, but the test set {} has {labels}{}",
            model.name,
            set.name,
            advice(classes, labels, set.crops.is_some())
        );
    }
    // Class folders are cut to what was asked for; whether the network takes it is seen when it is lowered.
    if made_for.height != set.data.height() && set.crops.is_none() {
        let network = match checkpoint.arch {
            Some(arch) => arch.name(),
            None => model.name.clone(),
        };
        does_not_apply!(
            "{network} is made for images of {} pixels, but those of {} have {}",
            made_for.height,
            set.name,
            set.data.height()
        );
    }
    if model.checkpoint.folded && cell.keeps_norms() {
        does_not_apply!(
            "{} comes without BatchNorm (it is folded already): set bn = folded",
            model.name
        );
    }
    let choice = cell.quantization.as_ref().and_then(|how| how.calibration());
    let calibration = match choice {
        Some(choice) if ranges == Ranges::Images => {
            let calibration = sources.calibration_set(&dataset, choice, &how)?;
            check_unseen(&calibration, &set, ["calibration", "calibrate"])?;
            Some(calibration)
        }
        _ => None,
    };
    let training = match cell.quantization.as_ref().map(|how| &how.source) {
        Some(Source::Training(training)) => {
            let images = sources.training_set(&dataset, training.images, &how)?;
            check_unseen(&images, &set, ["training", "train"])?;
            Some(images)
        }
        Some(Source::Stored) if model.checkpoint.quantizers.is_empty() => does_not_apply!(
            "method = stored, but the file of {} has no quantizers; train one with `train --qat`",
            model.name
        ),
        _ => None,
    };
    let (weights_sha256, data_sha256) = (&model.checkpoint.sha256, &set.sha256);
    let calibration_of = |cell: &Cell| calibration.as_ref().filter(|_| cell.quantization.is_some());
    let complete = |cell: &Cell| {
        let own = complete_source(cell, &model, training.as_deref());
        let config = set
            .columns
            .fill(own)
            .with("model_name", &model.name)
            .with("model_arch", &checkpoint.architecture)
            .with("dataset", &set.name)
            .with("images", set.data.len())
            .with(
                "calibration_dataset",
                calibration_of(cell).map(|set| &set.name),
            );
        let calibration_sha256 = calibration_of(cell).map(|set| set.sha256.as_str());
        let run_id = results::run_id(&config, weights_sha256, data_sha256, calibration_sha256);
        (config, run_id)
    };
    let float = cell.baseline();
    let (_, baseline) = complete(&float);
    let make = |cell: Cell, label: &str| {
        let (config, run_id) = complete(&cell);
        PlannedRun {
            calibration: calibration_of(&cell).cloned(),
            training: training.clone().filter(|_| cell.quantization.is_some()),
            cell,
            model: model.clone(),
            set: set.clone(),
            config,
            run_id,
            baseline: baseline.clone(),
            label: label.to_owned(),
        }
    };
    Ok(if cell.quantization.is_none() {
        vec![make(float, "float")]
    } else {
        vec![make(float, "float"), make(cell, label)]
    })
}

/// What to do about a number of classes that is not that of the network.
fn advice(classes: usize, labels: usize, class_folders: bool) -> &'static str {
    match (classes.checked_sub(labels), class_folders) {
        (Some(1), false) => {
            "; if the network's output 0 is no class (a background), set labels.offset = 1"
        }
        (Some(1), true) => {
            "; if the network's output 0 is no class (a background), set labels.offset = 1; else name all its classes, one a line \
             in the order of its outputs, in a file given as labels.class_list"
        }
        (_, true) => {
            "; name all classes of the network, one a line in the order of its outputs, in a file given as labels.class_list"
        }
        (_, false) => "",
    }
}

/// A cell's columns with what is known once its files are open.
fn complete_source(cell: &Cell, model: &Model, training: Option<&TestSet>) -> Config {
    let config = cell.config.clone();
    match cell.quantization.as_ref().map(|how| &how.source) {
        Some(Source::Training(_)) => config
            .with("qat_images", training.map(|set| set.data.len()))
            .with("qat_train_sha256", training.map(|set| &set.sha256)),
        Some(Source::Stored) => {
            let (weights, activations) = model.checkpoint.quantizers.bits();
            config
                .with("weights_bits", weights.unwrap_or(results::FLOAT_BITS))
                .with(
                    "activations_bits",
                    activations.unwrap_or(results::FLOAT_BITS),
                )
        }
        _ => config,
    }
}

/// Images of the network's size to calibrate or train on, none of them a test image.
fn check_unseen(images: &TestSet, tested: &TestSet, [noun, verb]: [&str; 2]) -> Result<()> {
    let size = |set: &TestSet| [set.data.height(), set.data.width()];
    if size(images) != size(tested) {
        let ([h, w], [height, width]) = (size(images), size(tested));
        bail!(
            "{noun} images of {} have {h}x{w} pixels, test images {height}x{width}",
            images.name
        );
    }
    if let Some((own, test)) = images.data.overlap(&tested.data) {
        bail!(
            "{noun} image {} of {} is test image {} of {}: {verb} on images that are not tested",
            images.data.id(own),
            images.name,
            tested.data.id(test),
            tested.name
        );
    }
    Ok(())
}

/// The settings that vary and are `wanted`.
fn label(experiment: &Experiment, settings: &Settings, wanted: impl Fn(&str) -> bool) -> String {
    let varying: Vec<String> = experiment
        .vary
        .iter()
        .flat_map(|variation| &variation.keys)
        .filter(|key| wanted(key))
        .map(|key| {
            let value = settings
                .get(key)
                .map_or_else(String::new, Scalar::to_string);
            format!("{}={value}", key.strip_prefix("weights.").unwrap_or(key))
        })
        .collect();
    varying.join(" ")
}

/// Of a float run: which network on which images, where that varies.
fn label_of_float(experiment: &Experiment, settings: &Settings) -> String {
    let subjects = ["model.", "input.", "labels."];
    let subject = label(experiment, settings, |key| {
        ["dataset", "images"].contains(&key) || subjects.iter().any(|of| key.starts_with(of))
    });
    format!("float {subject}").trim_end().to_owned()
}
