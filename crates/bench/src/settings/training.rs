//! The settings of `method = "qat"`: `qat.*`, each checked, with the defaults that `sweep --help` lists.

use anyhow::Result;
use engine::Algorithm;
use quant_core::ActivationRange;
use quant_core::qat::Method;
use quantize::{BiasPolicy, BnMode, WeightQuantization};
use resnet::Arch;
use train::qat::{QatBn, QatSpec, Start};

use super::applies::does_not_apply;
use super::reader::Reader;
use super::{Activations, Quantization};
use crate::train::Decay;

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
    /// What the CPU computes convolutions by.
    pub convolution: Algorithm,
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
        let range = activations.map(|activations| activations.how.scheme.range());
        if range == Some(ActivationRange::OutputMse) {
            does_not_apply!(
                "calibration.method = output_mse does not go with method = qat; set method = ptq"
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
            bits_of: weights.bits_of.clone(),
            activations: activations.map(|activations| activations.how.clone()),
            method: self.method,
            bn: self.bn,
            range_momentum: self.range_momentum,
            convolution: self.convolution,
        })
    }

    /// What is trained in a cell that quantizes like this.
    pub fn of(&self, how: &Quantization) -> Result<QatSpec> {
        self.spec(&how.weights, how.activations.as_ref())
    }
}

impl Reader {
    /// How to train weights of so many bits, whether or not that is done; the settings are checked either way.
    pub fn training(&mut self, seed: u64, bits: u32, convolution: Algorithm) -> Result<Training> {
        // Measured on the CIFAR-10 ResNet-20 at 2 bits, 60,000 images in all: less decay is worth half a point (83.18 to 83.63 %),
        // statistics that stay later most of another (to 84.42 %; never: 83.74 %).
        let [freeze, weight_decay] = match bits {
            ..4 => [0.9, 3e-5],
            _ => [0.7, 1e-4],
        };
        let lr = self.value("qat.lr")?;
        let training = Training {
            method: self.value("qat.method")?,
            bn: self.or("qat.bn", QatBn::Folded)?,
            start: self.value("qat.start")?,
            epochs: self.value("qat.epochs")?,
            images: self.value("qat.images")?,
            batch: self.value("qat.batch")?,
            shards: self.value("qat.shards")?,
            lr,
            scale_lr: self.or("qat.scale_lr", lr)?,
            warmup: self.value("qat.warmup")?,
            schedule: self.value("qat.schedule")?,
            momentum: self.value("qat.momentum")?,
            weight_decay: self.or("qat.weight_decay", weight_decay)?,
            padding: self.value("qat.padding")?,
            flip: self.value("qat.flip")?,
            delay: self.value("qat.delay")?,
            freeze: self.or("qat.freeze", freeze)?,
            distillation: self.value("qat.distillation")?,
            temperature: self.value("qat.temperature")?,
            range_momentum: self.value("qat.range_momentum")?,
            seed,
            convolution,
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
}
