//! `train --out FILE`: trains a network, in float32 or with quantizers, and writes it.

mod progress;
mod qat;
mod subject;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use dataset::Dataset;
use dataset::cifar::{self, Kind};
use dataset::synthetic::{self, Split};
use engine::Algorithm;
use progress::Progress;
use subject::Subject;

use crate::cli::{folder_of, stop_at_ctrl_c};
use crate::registry::{Format, Registry};
use crate::train::config::FORMAT;
use crate::train::float::FloatNet;
use crate::train::{Config, Decay, Finish, Folder, Trainer};

/// Train a network with SGD, momentum and a cosine schedule; keep a checkpoint of every epoch.
///
/// The same settings give the same bytes on the same machine, with any number of threads, stopped and resumed or not.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where the network goes, .safetensors (its tensors) or .onnx (what it computes, too); the folder must exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Train with quantizers: the cell of this experiment that has `method = "qat"`; its settings take the place of all those
    /// below that are about training. A training that was stopped goes on.
    #[arg(long, value_name = "EXPERIMENT.toml", conflicts_with_all = FLOAT_ONLY)]
    qat: Option<PathBuf>,
    /// With --qat: override a setting of the experiment. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "qat")]
    set: Vec<String>,
    /// With --qat: where decoded images are kept.
    #[arg(long, env = "QUANTLAB_CACHE", default_value = crate::checkout::CACHE.as_str(), value_parser = crate::cli::path())]
    cache: PathBuf,
    /// With --qat: leave out images that cannot be decoded, instead of failing.
    #[arg(long, requires = "qat")]
    skip_unreadable: bool,
    /// An entry of datasets.toml: `synthetic`, or a set in CIFAR-10's binary format.
    #[arg(long, default_value = "synthetic")]
    dataset: String,
    /// The network: cifar-resnet20 ... cifar-resnet110 (`-b`: option B shortcuts), resnet18 ... resnet152, cifar-mobilenet, or a
    /// file whose network is meant, not its numbers, such as net.onnx.
    #[arg(long, default_value = "cifar-resnet20")]
    arch: String,
    /// Passes over the training images.
    #[arg(long, default_value_t = 16)]
    epochs: usize,
    /// Images per step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Parts of a batch that run apart, at most as many at a time as there are threads; BatchNorm sees each alone.
    #[arg(long, default_value_t = 4)]
    shards: usize,
    /// Peak learning rate.
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.1)]
    lr: f64,
    /// Epochs of linear warm-up to the peak; a cosine leads from there to 0.
    #[arg(long, allow_negative_numbers = true, default_value_t = 1.0)]
    warmup: f64,
    /// How the rate falls: cosine, or step (a tenth at the half, a hundredth at three quarters).
    #[arg(long, default_value = "cosine")]
    schedule: Decay,
    /// Momentum.
    #[arg(long, allow_negative_numbers = true, default_value_t = 0.9)]
    momentum: f64,
    /// Nesterov's momentum.
    #[arg(long)]
    nesterov: bool,
    /// Weight decay of convolution and linear weights (not of BatchNorm and biases).
    #[arg(long, allow_negative_numbers = true, default_value_t = 5e-4)]
    weight_decay: f64,
    /// Black pixels around an image before a random crop of the original size; 0: no crop.
    #[arg(long, default_value_t = 4)]
    padding: usize,
    /// Do not mirror images.
    #[arg(long)]
    no_flip: bool,
    /// Seed of initial weights, shuffles and augmentation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Train on the first N images; default: all.
    #[arg(long, value_name = "N")]
    train_images: Option<usize>,
    /// Test on the first N images; default: all; 0: no test.
    #[arg(long, value_name = "N")]
    test_images: Option<usize>,
    /// Test after every N-th epoch, and after the last; 0: never.
    #[arg(long, value_name = "N", default_value_t = 1)]
    eval_every: usize,
    /// Start from these weights instead of random ones.
    #[arg(long, value_name = "CHECKPOINT")]
    init: Option<PathBuf>,
    /// Folder of the training's own checkpoint and its log.csv; default: FILE.training.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Go on from the last finished epoch.
    #[arg(long)]
    resume: bool,
    /// How 3x3 kernels are convolved on the CPU: direct, or winograd (a quarter of the products, larger rounding errors).
    #[arg(long, default_value_t = Algorithm::Direct)]
    convolution: Algorithm,
    /// Device: flex (the CPU), or cuda or vulkan in a build with that feature.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Worker threads; default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The data folder.
    #[arg(long, env = "QUANTLAB_DATA", default_value = crate::checkout::DATA.as_str(), value_parser = crate::cli::path())]
    data: PathBuf,
}

/// Options that a training with quantizers takes from its experiment.
const FLOAT_ONLY: [&str; 19] = [
    "dataset",
    "arch",
    "epochs",
    "batch",
    "shards",
    "lr",
    "warmup",
    "schedule",
    "momentum",
    "nesterov",
    "weight_decay",
    "padding",
    "no_flip",
    "seed",
    "train_images",
    "test_images",
    "init",
    "convolution",
    "device",
];

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let arguments = &arguments;
    if let Some(experiment) = &arguments.qat {
        return qat::run(arguments, experiment);
    }
    check_out(&arguments.out, arguments.resume)?;
    let device = crate::device::open_burn(&arguments.device)?;
    let threads = crate::cli::threads(arguments.threads);
    let (train, test) = open(arguments)?;
    let subject = Subject::new(&arguments.arch, &train)?;
    let (init, begin) = match &arguments.init {
        Some(path) => {
            let weights = subject.of(path)?;
            (weights.sha256(), weights)
        }
        None => (
            "random".to_owned(),
            subject.random(&device, arguments.seed)?,
        ),
    };
    subject.check_out(&arguments.out, &begin)?;
    let config = config(arguments, &subject, &train, init);
    config.check()?;
    let folder = Folder::open(&checkpoint_folder(arguments))?;
    let kept = folder.path().to_path_buf();
    let mut trainer = Trainer::new(
        config.clone(),
        (
            Box::new(FloatNet::new(
                subject.topology.clone(),
                arguments.convolution,
            )),
            begin,
        ),
        folder,
        arguments.resume,
        (&train, test.as_ref()),
        (&device, threads),
    )?;
    let stop = stop_at_ctrl_c("this step")?;
    eprintln!(
        "{} on {} ({} images), {} epochs, {} steps each, {threads} threads; checkpoint in {}",
        config.arch,
        train.name(),
        config.train_images,
        config.epochs,
        config.steps_per_epoch(),
        kept.display()
    );
    let left = config.epochs.saturating_sub(trainer.rows().len());
    let progress = Progress::new(left * config.train_images);
    let finish = trainer.run(arguments.eval_every, &progress, &stop);
    progress.bar.finish_and_clear();
    match finish? {
        Finish::Stopped { epochs: 0 } => {
            eprintln!("stopped before the first epoch was done; nothing is kept");
            Ok(ExitCode::from(130))
        }
        Finish::Stopped { epochs } => {
            let mut command: Vec<String> = std::env::args().collect();
            if !arguments.resume {
                command.push("--resume".into());
            }
            let kept = kept.display();
            eprintln!("stopped; {epochs} epochs are kept in {kept}; go on with");
            eprintln!("  {}", command.join(" "));
            Ok(ExitCode::from(130))
        }
        Finish::Done => {
            save(&trainer, &subject, &config, test.as_ref(), &arguments.out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Finds out before the work, not after it, whether the result can be written.
fn check_out(out: &Path, resume: bool) -> Result<()> {
    let folder = folder_of(out);
    if !folder.is_dir() {
        bail!(
            "--out {}: there is no folder {}",
            out.display(),
            folder.display()
        );
    }
    if out.is_dir() {
        bail!("--out {} is a folder; name a file", out.display());
    }
    if out.exists() && !resume {
        bail!(
            "--out {} exists already; remove it or name another file",
            out.display()
        );
    }
    tempfile::tempfile_in(folder).with_context(|| {
        format!(
            "--out {}: cannot write into {}",
            out.display(),
            folder.display()
        )
    })?;
    Ok(())
}

fn open(arguments: &Arguments) -> Result<(Dataset, Option<Dataset>)> {
    let registry = Registry::open(&arguments.data)?;
    let name = &arguments.dataset;
    let Some(entry) = registry.datasets.get(name) else {
        let known: Vec<_> = registry.datasets.keys().map(String::as_str).collect();
        bail!(
            "--dataset {name}: not in datasets.toml; there are {}",
            known.join(", ")
        );
    };
    let (train, test) = match entry.format {
        Format::Synthetic => {
            let n = arguments.train_images.unwrap_or(synthetic::TRAIN_IMAGES);
            let m = arguments.test_images.unwrap_or(synthetic::TEST_IMAGES);
            (
                synthetic::generate(entry.seed, Split::Train, n),
                synthetic::generate(entry.seed, Split::Test, m),
            )
        }
        Format::Cifar10 | Format::Cifar100 => {
            let folder = registry.find(&entry.path, name, name)?;
            let kind = match entry.format {
                Format::Cifar100 => Kind::Hundred,
                _ => Kind::Ten,
            };
            let test = match arguments.test_images {
                Some(0) => None,
                _ => Some(cifar::open_test(kind, &folder)?),
            };
            let train = cifar::open_train(kind, &folder)?;
            let test = test.unwrap_or_else(|| train.subset(0));
            (train, test)
        }
        Format::ImageFolder => {
            bail!("--dataset {name}: only synthetic and CIFAR sets can be trained on")
        }
    };
    if let Some(n) = arguments.train_images.filter(|&n| n > train.len()) {
        bail!(
            "--train-images {n}: {name} has {} training images",
            train.len()
        );
    }
    let take = |set: Dataset, n: Option<usize>| n.map_or(set.clone(), |n| set.subset(n));
    let test = take(test, arguments.test_images);
    Ok((
        take(train, arguments.train_images),
        (!test.is_empty()).then_some(test),
    ))
}

fn config(arguments: &Arguments, subject: &Subject, train: &Dataset, init: String) -> Config {
    Config {
        format: FORMAT,
        arch: subject.name.clone(),
        dataset: arguments.dataset.clone(),
        train_sha256: train.sha256(),
        train_images: train.len(),
        init,
        epochs: arguments.epochs,
        batch: arguments.batch,
        shards: arguments.shards,
        lr: arguments.lr,
        warmup: arguments.warmup,
        momentum: arguments.momentum,
        nesterov: arguments.nesterov,
        weight_decay: arguments.weight_decay,
        padding: arguments.padding,
        flip: !arguments.no_flip,
        seed: arguments.seed,
        device: arguments.device.clone(),
        decay: arguments.schedule,
        convolution: Config::of_algorithm(arguments.convolution),
        qat: None,
    }
}

fn checkpoint_folder(arguments: &Arguments) -> PathBuf {
    arguments
        .checkpoint
        .clone()
        .unwrap_or_else(|| arguments.out.with_extension("training"))
}

fn save(
    trainer: &Trainer,
    subject: &Subject,
    config: &Config,
    test: Option<&Dataset>,
    out: &Path,
) -> Result<()> {
    let weights = trainer.weights();
    let mut metadata = BTreeMap::from([
        ("arch".to_string(), config.arch.clone()),
        ("dataset".to_string(), config.dataset.clone()),
        ("training".to_string(), toml::to_string(config)?),
    ]);
    let top1 = trainer.rows().last().and_then(|row| row.test_top1);
    if let (Some(top1), Some(test)) = (top1, test) {
        metadata.insert("test_top1".into(), format!("{top1:.5}"));
        metadata.insert("test_images".into(), test.len().to_string());
        metadata.insert("test_sha256".into(), test.sha256());
    }
    subject.save(weights, out, &metadata)?;
    let accuracy = match (top1, test) {
        (Some(top1), Some(test)) => format!("top-1 {:.2} % of {}", 100.0 * top1, test.len()),
        _ => "not tested".into(),
    };
    println!(
        "{}: {} on {}, {accuracy}, weights {}",
        out.display(),
        config.arch,
        config.dataset,
        weights.sha256()
    );
    Ok(())
}
