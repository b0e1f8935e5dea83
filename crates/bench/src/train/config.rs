//! What decides the bytes of a trained network: everything here, and nothing outside it (on one machine).

use engine::Algorithm;
use results::setting::setting;
use serde::{Deserialize, Serialize};

use super::schedule::Decay;
use super::{Augmentation, TrainError};

/// The version of this list; a checkpoint of another one is refused.
pub const FORMAT: u32 = 1;

/// The configuration of a training. Not in it: thread count, folders, how often to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`FORMAT`].
    pub format: u32,
    /// Architecture, as `Arch::parse` reads it.
    pub arch: String,
    /// Name of the image set.
    pub dataset: String,
    /// Content hash of the training images.
    pub train_sha256: String,
    /// How many there are.
    pub train_images: usize,
    /// `random`, or the hash of the weights that training started from.
    pub init: String,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Parts of a batch that BatchNorm sees apart; see the `step` module.
    pub shards: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Epochs of linear warm-up.
    pub warmup: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// Weight decay of convolution and linear weights.
    pub weight_decay: f64,
    /// Black pixels around an image before a random crop; 0 = no crop.
    pub padding: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// Seed of the initial weights, the shuffles and the augmentation.
    pub seed: u64,
    /// Device.
    pub device: String,
    /// How the rate falls; a training of before there was a choice fell as a cosine.
    #[serde(default, skip_serializing_if = "Decay::is_default")]
    pub decay: Decay,
    /// What the CPU computes convolutions by, in the setting's words; none for `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution: Option<String>,
    /// The quantizers; none in a float training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qat: Option<QatConfig>,
}

/// What a training with quantizers adds. The texts are those of settings and schemes; a training is resumed where they are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QatConfig {
    /// What is learned.
    pub method: String,
    /// What BatchNorm does.
    pub bn: String,
    /// Where quantizers came from.
    pub start: String,
    /// Hash of the state that the first step changes, quantizers included.
    pub begin_sha256: String,
    /// Scheme of the weights.
    pub weights: String,
    /// Bits of the first and the last layer, of weights, in their order; 0: as the others.
    pub ends: [u32; 2],
    /// Scheme of the activations; `float`.
    pub activations: String,
    /// The additions.
    pub shortcut: String,
    /// Peak learning rate of steps, offsets and bounds.
    pub scale_lr: f64,
    /// What is kept of a moving range at each step.
    pub range_momentum: f64,
    /// Share of the steps before activations are quantized.
    pub delay: f64,
    /// Share of the steps after which BatchNorm's statistics stay.
    pub freeze: f64,
    /// Share of the loss that is the distance to the float network's predictions.
    pub distillation: f64,
    /// What logits are divided by for that.
    pub temperature: f64,
}

impl QatConfig {
    fn check(&self) -> Result<(), TrainError> {
        for (key, value) in [
            ("qat.scale_lr", self.scale_lr),
            ("qat.range_momentum", self.range_momentum),
            ("qat.delay", self.delay),
            ("qat.freeze", self.freeze),
            ("qat.distillation", self.distillation),
            ("qat.temperature", self.temperature),
        ] {
            check(key, Number::Real(value))?;
        }
        Ok(())
    }
}

/// A value of a setting.
#[derive(Clone, Copy)]
enum Number {
    Whole(u64),
    Real(f64),
}

/// Fails for what the setting `key` of an experiment does not take: a training is one, whoever asked for it.
fn check(key: &'static str, value: Number) -> Result<(), TrainError> {
    let setting = setting(key).unwrap_or_else(|| panic!("{key} is no setting"));
    let takes = setting.takes;
    let (is_allowed, value) = match value {
        Number::Whole(n) => {
            let is_allowed = i64::try_from(n).is_ok_and(|n| takes.allows_whole(n));
            (is_allowed, n.to_string())
        }
        Number::Real(x) => (takes.allows(x), x.to_string()),
    };
    match is_allowed {
        true => Ok(()),
        false => Err(TrainError::Setting {
            key: option(key),
            value,
            allowed: takes.to_string(),
        }),
    }
}

/// What `train` calls a setting: `weight-decay` for `qat.weight_decay`.
fn option(key: &str) -> String {
    let name = key.strip_prefix("qat.").unwrap_or(key);
    name.replace('_', "-")
}

impl Config {
    /// Fails for a value that cannot be trained with, naming it and what is allowed: what the settings `qat.*` of an experiment take.
    pub fn check(&self) -> Result<(), TrainError> {
        let whole = |n: usize| Number::Whole(n as u64);
        for (key, value) in [
            ("qat.epochs", whole(self.epochs)),
            ("qat.batch", whole(self.batch)),
            ("qat.shards", whole(self.shards)),
            ("qat.padding", whole(self.padding)),
            ("qat.lr", Number::Real(self.lr)),
            ("qat.warmup", Number::Real(self.warmup)),
            ("qat.momentum", Number::Real(self.momentum)),
            ("qat.weight_decay", Number::Real(self.weight_decay)),
            ("seed", Number::Whole(self.seed)),
        ] {
            check(key, value)?;
        }
        let refuse = |key: &str, value: String, allowed: &str| {
            Err(TrainError::Setting {
                key: key.to_owned(),
                value,
                allowed: allowed.to_owned(),
            })
        };
        if self.train_images == 0 {
            return refuse("train-images", "0".into(), "at least 1");
        }
        if self.shards > self.batch {
            return refuse("shards", self.shards.to_string(), "at most --batch");
        }
        if self.nesterov && self.momentum == 0.0 {
            return refuse("nesterov", "true".into(), "false where momentum is 0");
        }
        self.qat.as_ref().map_or(Ok(()), QatConfig::check)
    }

    /// How the setting's word for `algorithm` stands in a configuration.
    pub fn of_algorithm(algorithm: Algorithm) -> Option<String> {
        (algorithm != Algorithm::Direct).then(|| algorithm.to_string())
    }

    /// Crop and flip.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            padding: self.padding,
            flip: self.flip,
        }
    }

    /// Steps in one epoch; the last one may see fewer images.
    pub fn steps_per_epoch(&self) -> usize {
        self.train_images.div_ceil(self.batch)
    }

    /// The settings in which `other` differs, as `key: this, not that`; empty where they are equal.
    pub fn differences(&self, other: &Config) -> Result<Vec<String>, TrainError> {
        let table = |config: &Config| toml::Table::try_from(config).map_err(TrainError::header);
        let (ours, theirs) = (table(self)?, table(other)?);
        Ok(ours
            .iter()
            .filter(|(key, value)| theirs.get(*key) != Some(value))
            .map(|(key, value)| match theirs.get(key) {
                Some(other) => format!("{key}: {value}, not {other}"),
                None => format!("{key}: {value}, not set"),
            })
            .collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn config(images: usize) -> Config {
        Config {
            format: FORMAT,
            arch: "cifar-resnet20".into(),
            dataset: "made up".into(),
            train_sha256: "00".into(),
            train_images: images,
            init: "random".into(),
            epochs: 2,
            batch: 16,
            shards: 2,
            lr: 0.05,
            warmup: 0.5,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            padding: 4,
            flip: true,
            seed: 1,
            device: "flex".into(),
            decay: Decay::Cosine,
            convolution: None,
            qat: None,
        }
    }

    #[test]
    fn differences_name_the_setting_and_both_values() {
        let ours = config(64);
        assert!(ours.differences(&ours.clone()).unwrap().is_empty());
        let theirs = Config {
            lr: 0.1,
            flip: false,
            ..ours.clone()
        };
        assert_eq!(
            ours.differences(&theirs).unwrap(),
            ["flip: true, not false", "lr: 0.05, not 0.1"]
        );
    }

    #[test]
    fn settings_that_cannot_be_trained_with_are_named() {
        let refused = |change: fn(&mut Config)| {
            let mut config = config(64);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(config(64).check().is_ok());
        let line = refused(|c| c.weight_decay = 2.0);
        assert_eq!(line, "--weight-decay is 2; allowed: a number from 0 to 1");
        let line = refused(|c| c.epochs = 0);
        assert_eq!(
            line,
            "--epochs is 0; allowed: a whole number from 1 to 1000000"
        );
        assert!(refused(|c| c.train_images = 0).contains("train-images"));
        assert!(refused(|c| c.padding = 65).contains("padding"));
        let freeze = |c: &mut Config| {
            let qat = QatConfig {
                temperature: 1.0,
                freeze: 1.5,
                ..QatConfig::default()
            };
            c.qat = Some(qat);
        };
        assert!(refused(freeze).contains("freeze"));
        assert!(refused(|c| c.batch = 0).contains("batch"));
        assert!(refused(|c| c.shards = 17).contains("shards"));
        assert!(refused(|c| c.lr = f64::NAN).contains("lr"));
        assert!(refused(|c| c.momentum = 1.0).contains("momentum"));
        assert!(refused(|c| c.weight_decay = -1.0).contains("weight-decay"));
        assert!(refused(|c| c.seed = u64::MAX).contains("seed"));
    }
}
