//! What decides the bytes of a trained network: everything here, and nothing outside it (on one machine).

use results::setting::Takes;
use serde::{Deserialize, Serialize};

use super::schedule::Decay;
use super::{Augmentation, TrainError};

/// What a momentum may be, in words.
const MOMENTUM: &str = "from 0 to below 1";

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
        let refuse = |key: &'static str, value: f64, allowed: &'static str| {
            Err(TrainError::Setting {
                key,
                value: value.to_string(),
                allowed,
            })
        };
        if !(self.scale_lr.is_finite() && self.scale_lr >= 0.0) {
            return refuse("scale-lr", self.scale_lr, "0 or a positive number");
        }
        for (key, share) in [
            ("delay", self.delay),
            ("freeze", self.freeze),
            ("distillation", self.distillation),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(key, share, "from 0 to 1");
            }
        }
        if !Takes::BelowOne.allows(self.range_momentum) {
            return refuse("range-momentum", self.range_momentum, MOMENTUM);
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refuse("temperature", self.temperature, "a positive number");
        }
        Ok(())
    }
}

impl Config {
    /// Fails for a value that cannot be trained with, naming it and what is allowed.
    pub fn check(&self) -> Result<(), TrainError> {
        let refuse = |key: &'static str, value: String, allowed: &'static str| {
            Err(TrainError::Setting {
                key,
                value,
                allowed,
            })
        };
        for (key, count) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("shards", self.shards),
            ("train-images", self.train_images),
        ] {
            if count == 0 {
                return refuse(key, count.to_string(), "at least 1");
            }
        }
        if self.shards > self.batch {
            return refuse("shards", self.shards.to_string(), "at most --batch");
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return refuse("lr", self.lr.to_string(), "a positive number");
        }
        for (key, value) in [("warmup", self.warmup), ("weight-decay", self.weight_decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "0 or a positive number");
            }
        }
        if !Takes::BelowOne.allows(self.momentum) {
            return refuse("momentum", self.momentum.to_string(), MOMENTUM);
        }
        if self.nesterov && self.momentum == 0.0 {
            return refuse("nesterov", "true".into(), "false where momentum is 0");
        }
        if i64::try_from(self.seed).is_err() {
            return refuse("seed", self.seed.to_string(), "at most 2^63 - 1");
        }
        self.qat.as_ref().map_or(Ok(()), QatConfig::check)
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
        assert!(refused(|c| c.batch = 0).contains("batch"));
        assert!(refused(|c| c.shards = 17).contains("shards"));
        assert!(refused(|c| c.lr = f64::NAN).contains("lr"));
        assert!(refused(|c| c.momentum = 1.0).contains("momentum"));
        assert!(refused(|c| c.weight_decay = -1.0).contains("weight-decay"));
        assert!(refused(|c| c.seed = u64::MAX).contains("seed"));
    }
}
