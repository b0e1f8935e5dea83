//! One training with quantizers, from a cell of an experiment to a finished network: for `sweep`, which measures it, and for `train`,
//! which saves it.
//!
//! The training has a folder of its own with checkpoint and log (see [`crate::train::checkpoint`]). Asked again, it goes on from the
//! last finished epoch there, and where all are finished it makes no step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use dataset::Dataset;
use network::StateDict;
use quantize::StoredQuantizers;
use quantize::{QuantizedNet, SiteStatistics, Sites};
use resnet::Checkpoint;
use results::write_whole;
use train::qat::{LostChannels, Qat, note_lost};

use crate::device::{open_burn, with_gradients};
use crate::settings::{Quantization, Training};
use crate::train::config::FORMAT;
use crate::train::qat::QatNet;
use crate::train::{Config, Finish, Folder, Observer, QatConfig, Row, Trainer};

/// What is trained, on what.
pub struct Job<'a> {
    /// The float network.
    pub checkpoint: &'a Checkpoint,
    /// Schemes.
    pub how: &'a Quantization,
    /// The rest of the settings.
    pub training: &'a Training,
    /// What the sites of the float network saw in calibration; empty where activations stay in float.
    pub statistics: &'a SiteStatistics,
    /// Training images, and what they are called.
    pub images: (&'a Dataset, &'a str),
    /// Images to test on after each epoch.
    pub test: Option<&'a Dataset>,
    /// `engine` (training on `flex`), or a burn device.
    pub device: &'a str,
    /// Worker threads.
    pub threads: usize,
}

/// A finished training.
pub struct Trained {
    /// The network, ready to run.
    pub net: QuantizedNet,
    /// Its weights and biases as they are stored.
    pub state: StateDict,
    /// One row an epoch.
    pub rows: Vec<Row>,
    /// What it has lost on the way, layer by layer; the manifest of `net` says so, too.
    pub lost: Vec<LostChannels>,
    /// What decided its bytes.
    pub config: Config,
}

impl Job<'_> {
    /// Trains in `folder`, or goes on there. `eval_every` as in [`Trainer::run`].
    ///
    /// # Errors
    /// As the trainer; `cancelled` where `stop` was raised.
    pub fn run(
        &self,
        folder: &Path,
        eval_every: usize,
        observer: &dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Trained> {
        let (checkpoint, training) = (self.checkpoint, self.training);
        let qat = Qat::new(checkpoint.network.topology(), training.of(self.how)?)?;
        let begin = qat.begin(&checkpoint.network, self.statistics, training.start)?;
        let name = with_gradients(self.device);
        let device = open_burn(name)?;
        let config = self.config(&begin, name);
        let parts = config.qat.clone();
        let parts = parts.context("a configuration of a training with quantizers")?;
        let steps = config.epochs * config.steps_per_epoch();
        let learner = QatNet::new(qat.clone(), &parts, steps, &checkpoint.network)?;
        let folder = Folder::open(folder)?;
        let resume = folder.has_checkpoint();
        let mut trainer = Trainer::new(
            config.clone(),
            (Box::new(learner), begin),
            folder,
            resume,
            (self.images.0, self.test),
            (&device, self.threads),
        )?;
        match trainer.run(eval_every, observer, stop)? {
            Finish::Done => {}
            Finish::Stopped { epochs } => bail!("stopped; {epochs} epochs are kept"),
        }
        let mut net = qat.finish(trainer.weights())?;
        if let Some(shortcut) = qat.shortcut() {
            let sites = Sites::new(&net.topology);
            net.note_dead(&sites.dead(self.statistics, shortcut));
        }
        let lost = qat.lost_channels(&checkpoint.network, trainer.weights())?;
        note_lost(&mut net, &lost);
        Ok(Trained {
            lost,
            state: qat.folded(trainer.weights(), &net)?,
            rows: trainer.rows().to_vec(),
            net,
            config,
        })
    }

    fn config(&self, begin: &StateDict, device: &str) -> Config {
        let (t, how) = (self.training, self.how);
        let bits = |bits: Option<quant_core::Bits>| bits.map_or(0, quant_core::Bits::get);
        let weights = how
            .weights
            .scheme
            .map_or_else(String::new, |s| s.to_string());
        let activations = how.activations.as_ref().map(|a| &a.how);
        Config {
            format: FORMAT,
            arch: self.checkpoint.architecture.clone(),
            dataset: self.images.1.to_owned(),
            train_sha256: self.images.0.sha256(),
            train_images: self.images.0.len(),
            init: self.checkpoint.sha256.clone(),
            epochs: t.epochs,
            batch: t.batch,
            shards: t.shards,
            lr: t.lr,
            warmup: t.warmup,
            momentum: t.momentum,
            nesterov: false,
            weight_decay: t.weight_decay,
            padding: t.padding,
            flip: t.flip,
            seed: t.seed,
            device: device.to_owned(),
            decay: t.schedule,
            convolution: Config::of_algorithm(t.convolution),
            qat: Some(QatConfig {
                method: t.method.to_string(),
                bn: t.bn.to_string(),
                start: t.start.to_string(),
                begin_sha256: begin.sha256(),
                weights,
                ends: [bits(how.weights.first_bits), bits(how.weights.last_bits)],
                activations: activations.map_or("float".into(), |a| a.scheme.to_string()),
                shortcut: activations.map_or(String::new(), |a| a.shortcut.to_string()),
                scale_lr: t.scale_lr,
                range_momentum: t.range_momentum,
                delay: t.delay,
                freeze: t.freeze,
                distillation: t.distillation,
                temperature: t.temperature,
            }),
        }
    }
}

impl Trained {
    /// Writes the network as one file: PyTorch's names, and beside them its quantizers.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, path: &Path, more: BTreeMap<String, String>) -> Result<()> {
        let stored = StoredQuantizers::of(&self.net);
        let all = self.state.iter().chain(stored.tensors());
        let all: StateDict = all.map(|(n, t)| (n.clone(), t.clone())).collect();
        let mut metadata = BTreeMap::from([
            ("arch".to_owned(), self.config.arch.clone()),
            ("dataset".to_owned(), self.config.dataset.clone()),
            ("training".to_owned(), toml::to_string(&self.config)?),
        ]);
        metadata.extend(more);
        let file = resnet::to_safetensors(&all, &metadata)?;
        write_whole(path, &file).with_context(|| format!("cannot write {}", path.display()))
    }
}
