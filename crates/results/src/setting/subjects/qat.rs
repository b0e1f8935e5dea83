//! Training with quantizers, with `method = "qat"`.

use crate::setting::About::Weights;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

/// The title of the axis of those that rarely differ.
const OTHERS: &str = "training settings";
/// What is counted one by one.
const COUNT: Takes = Takes::Whole(1, 1_000_000);
/// A part of a whole.
const SHARE: Takes = Takes::Between(0.0, 1.0);

pub(in crate::setting) static QAT: &[Setting] = &[
    setting!(
        qat.method,
        Takes::Words(&["minmax", "lsq", "lsq_plus", "pact"])
    )
    .means("lsq, lsq_plus, pact, minmax")
    .default("lsq")
    .axis(Axis::of("training", Weights))
    .later(),
    setting!(qat.bn, Takes::Words(&["folded", "static", "kept"]))
        .means("BatchNorm in training: folded, static, kept")
        .usually("folded, which is kept where each channel has a learned step")
        .axis(Axis::of("training BN", Weights).prefix("training BN "))
        .later(),
    setting!(qat.start, Takes::Words(&["ptq", "float"]))
        .means("first scales: ptq (as calibrated) or float (the method's own)")
        .default("ptq")
        .axis(Axis::of("training start", Weights).prefix("from "))
        .later(),
    setting!(qat.epochs, COUNT)
        .means("passes over the training images")
        .default("4")
        .axis(Axis::of("epochs", Weights).prefix("epochs "))
        .later(),
    setting!(qat.images, Takes::Whole(0, 100_000_000))
        .means("training images, 0 for all")
        .default("0")
        .axis(Axis::of("training images", Weights).prefix("training images "))
        .later(),
    setting!(qat.batch, COUNT)
        .means("images per step")
        .default("64")
        .beside(OTHERS, "batch ")
        .later(),
    setting!(qat.shards, COUNT)
        .means("parts of a batch, each with BatchNorm of its own")
        .default("2")
        .beside(OTHERS, "shards ")
        .later(),
    setting!(qat.lr, Takes::Positive)
        .means("peak learning rate")
        .default("0.01")
        .axis(Axis::of("learning rate", Weights).prefix("lr "))
        .later(),
    setting!(qat.scale_lr, Takes::Between(0.0, f64::MAX))
        .means("of steps, offsets and bounds")
        .usually("that of weights")
        .axis(Axis::of("scale learning rate", Weights).prefix("scale lr "))
        .later(),
    setting!(qat.warmup, Takes::Between(0.0, 1e6))
        .means("epochs of linear warm-up")
        .default("0")
        .beside(OTHERS, "warm-up ")
        .later(),
    setting!(qat.schedule, Takes::Words(&["cosine", "step"]))
        .means("cosine or step")
        .default("cosine")
        .beside(OTHERS, "schedule ")
        .before("qat_warmup")
        .later(),
    setting!(qat.momentum, Takes::BelowOne)
        .means("of SGD")
        .default("0.9")
        .beside(OTHERS, "momentum ")
        .later(),
    setting!(qat.weight_decay, SHARE)
        .means("of kernels and clipping bounds")
        .usually("0.0001, below 4 bits 0.00003")
        .beside(OTHERS, "weight decay ")
        .later(),
    setting!(qat.padding, Takes::Whole(0, 64))
        .means("pixels around an image before a random crop")
        .default("4")
        .beside(OTHERS, "padding ")
        .later(),
    setting!(qat.flip, Takes::Flag)
        .means("mirror half of the images")
        .default("true")
        .beside(OTHERS, "flip ")
        .later(),
    setting!(qat.delay, SHARE)
        .means("share of the steps before activations are quantized")
        .default("0")
        .beside(OTHERS, "delay ")
        .later(),
    setting!(qat.freeze, SHARE)
        .means("share of the steps after which BatchNorm's statistics stay")
        .usually("0.7, below 4 bits 0.9")
        .beside(OTHERS, "freeze ")
        .later(),
    setting!(qat.distillation, SHARE)
        .means("share of the loss that is the distance to the float network")
        .default("0")
        .axis(Axis::of("distillation", Weights).prefix("distillation "))
        .later(),
    setting!(qat.temperature, Takes::Positive)
        .means("what logits are divided by for that")
        .default("1")
        .beside(OTHERS, "temperature ")
        .later(),
    setting!(qat.range_momentum, Takes::BelowOne)
        .means("what a moving activation range keeps at a step, for minmax")
        .default("0.99")
        .beside(OTHERS, "range momentum ")
        .later(),
    // The hash of the training images says nothing to a reader; in its place stand the settings beside which nothing else does.
    Setting::filled("qat_train_sha256", Takes::Text)
        .axis(Axis::of(OTHERS, Weights).parts(", "))
        .later(),
    // Which of the trainings that the settings above have meant so far: counted up where a fault was mended that changed what comes
    // out of them; none is the first.
    Setting::filled("qat_revision", Takes::Whole(1, 1_000_000))
        .axis(Axis::of("training revision", Weights).prefix("training revision "))
        .later(),
];
