//! What decides the bytes of a trained network: everything here, and nothing outside it (on one machine).

use serde::{Deserialize, Serialize};

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
        if !(0.0..1.0).contains(&self.momentum) {
            return refuse("momentum", self.momentum.to_string(), "from 0 to below 1");
        }
        if self.nesterov && self.momentum == 0.0 {
            return refuse("nesterov", "true".into(), "false where momentum is 0");
        }
        if i64::try_from(self.seed).is_err() {
            return refuse("seed", self.seed.to_string(), "at most 2^63 - 1");
        }
        Ok(())
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
