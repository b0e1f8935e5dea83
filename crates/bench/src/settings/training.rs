//! The settings of `method = "qat"`: `qat.*`, each checked, with the defaults that `sweep --help` lists.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use quant_core::qat::Method;
use quantize::{BiasPolicy, BnMode, WeightQuantization};
use resnet::Arch;
use train::qat::{QatBn, QatSpec, Start};

use super::applies::does_not_apply;
use super::reader::{Reader, shown};
use super::{Activations, Quantization};
use crate::experiment::Scalar;
use crate::train::Decay;
use crate::train::momentum::{MOMENTUM, is_momentum};

/// How a network is trained with its quantizers.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What is learned.
    pub method: Method,
    /// What BatchNorm does.
    pub bn: QatBn,
    /// Where quantizers come from.
    pub start: Start,
    /// Passes over the training images.
    pub epochs: usize,
    /// How many of them; 0 for all.
    pub images: u64,
    /// Images per step.
    pub batch: usize,
    /// Parts of a batch.
    pub shards: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// The same of steps, offsets and bounds.
    pub scale_lr: f64,
    /// Epochs of warm-up.
    pub warmup: f64,
    /// How the rate falls.
    pub schedule: Decay,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Pixels around an image before a random crop.
    pub padding: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// Share of the steps before activations are quantized.
    pub delay: f64,
    /// Share of the steps after which BatchNorm's statistics stay.
    pub freeze: f64,
    /// Share of the loss that is the distance to the float network.
    pub distillation: f64,
    /// What logits are divided by for that.
    pub temperature: f64,
    /// What a moving range keeps at a step.
    pub range_momentum: f64,
    /// Of shuffles and augmentation.
    pub seed: u64,
}

impl Training {
    /// Fails where what is asked for cannot be trained.
    pub(super) fn check(
        &self,
        weights: &WeightQuantization,
        activations: Option<&Activations>,
    ) -> Result<()> {
        if weights.bn == BnMode::Kept {
            does_not_apply!(
                "bn = kept: a training ends folded; what BatchNorm does meanwhile is qat.bn"
            );
        }
        let expected = match activations {
            Some(_) => BiasPolicy::Int32,
            None => BiasPolicy::Float,
        };
        if weights.bias != expected {
            does_not_apply!(
                "bias = {}: a trained network has bias = int32 with quantized activations, else float",
                weights.bias
            );
        }
        // Any architecture will do: what can be refused does not depend on it.
        let arch = Arch::parse("cifar-resnet20")?;
        match train::qat::Qat::new(&resnet::topology(&arch), self.spec(weights, activations)?) {
            Ok(_) => Ok(()),
            Err(error) => does_not_apply!("{error}"),
        }
    }

    fn spec(
        &self,
        weights: &WeightQuantization,
        activations: Option<&Activations>,
    ) -> Result<QatSpec> {
        let Some(scheme) = weights.scheme else {
            does_not_apply!("weights.bits = 32 with method = qat: give the weights 1 to 16 bits");
        };
        Ok(QatSpec {
            scheme,
            first_bits: weights.first_bits,
            last_bits: weights.last_bits,
            activations: activations.map(|activations| activations.how.clone()),
            method: self.method,
            bn: self.bn,
            range_momentum: self.range_momentum,
        })
    }

    /// What is trained in a cell that quantizes like this.
    pub fn of(&self, how: &Quantization) -> Result<QatSpec> {
        self.spec(&how.weights, how.activations.as_ref())
    }
}

impl Reader {
    /// How to train weights of so many bits, whether or not that is done; the settings are checked either way.
    pub fn training(&mut self, seed: u64, bits: u32) -> Result<Training> {
        // Measured on the CIFAR-10 ResNet-20 at 2 bits, 60,000 images in all: less decay is worth half a point (83.18 to 83.63 %),
        // statistics that stay later most of another (to 84.42 %; never: 83.74 %).
        let [freeze, weight_decay] = match bits {
            ..4 => [0.9, 3e-5],
            _ => [0.7, 1e-4],
        };
        let lr = self.positive("qat.lr")?.unwrap_or(0.01);
        let scale_lr = self.number_in("qat.scale_lr", 0.0..=f64::MAX)?;
        let schedule = self.text("qat.schedule")?;
        let schedule = schedule.map(|word| word.parse::<Decay>());
        let schedule = schedule.transpose().context("qat.schedule")?;
        let share = 0.0..=1.0;
        let training = Training {
            method: self.parsed("qat.method")?.unwrap_or(Method::Lsq),
            bn: self.parsed("qat.bn")?.unwrap_or(QatBn::Folded),
            start: self.parsed("qat.start")?.unwrap_or(Start::Ptq),
            epochs: self.count("qat.epochs")?.unwrap_or(4),
            images: self.integer("qat.images", 0..=100_000_000)?.unwrap_or(0),
            batch: self.count("qat.batch")?.unwrap_or(64),
            shards: self.count("qat.shards")?.unwrap_or(2),
            lr,
            scale_lr: scale_lr.unwrap_or(lr),
            warmup: self.number_in("qat.warmup", 0.0..=1e6)?.unwrap_or(0.0),
            schedule: schedule.unwrap_or_default(),
            momentum: self.momentum("qat.momentum")?.unwrap_or(0.9),
            weight_decay: self
                .number_in("qat.weight_decay", 0.0..=1.0)?
                .unwrap_or(weight_decay),
            padding: self.integer("qat.padding", 0..=64)?.unwrap_or(4) as usize,
            flip: self.yes_or_no("qat.flip")?.unwrap_or(true),
            delay: self.number_in("qat.delay", share.clone())?.unwrap_or(0.0),
            freeze: self
                .number_in("qat.freeze", share.clone())?
                .unwrap_or(freeze),
            distillation: self.number_in("qat.distillation", share)?.unwrap_or(0.0),
            temperature: self.positive("qat.temperature")?.unwrap_or(1.0),
            range_momentum: self.momentum("qat.range_momentum")?.unwrap_or(0.99),
            seed,
        };
        if training.shards > training.batch {
            does_not_apply!(
                "qat.shards = {}: at most qat.batch = {}",
                training.shards,
                training.batch
            );
        }
        Ok(training)
    }

    fn count(&mut self, key: &str) -> Result<Option<usize>> {
        Ok(self.integer(key, 1..=1_000_000)?.map(|n| n as usize))
    }

    pub(super) fn number_in(
        &mut self,
        key: &str,
        allowed: RangeInclusive<f64>,
    ) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(value) if !allowed.contains(&value) => bail!(
                "{key} = {value}: expected a number from {} to {}",
                allowed.start(),
                allowed.end()
            ),
            value => Ok(value),
        }
    }

    fn momentum(&mut self, key: &str) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(value) if !is_momentum(value) => {
                bail!("{key} = {value}: expected a number {MOMENTUM}")
            }
            value => Ok(value),
        }
    }

    pub(super) fn positive(&mut self, key: &str) -> Result<Option<f64>> {
        match self.number(key)? {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                bail!("{key} = {value}: expected a positive number")
            }
            value => Ok(value),
        }
    }

    pub(super) fn yes_or_no(&mut self, key: &str) -> Result<Option<bool>> {
        match self.settings.remove(key) {
            None => Ok(None),
            Some(Scalar::Bool(value)) => Ok(Some(value)),
            Some(other) => bail!("{key} = {}: expected true or false", shown(&other)),
        }
    }
}
