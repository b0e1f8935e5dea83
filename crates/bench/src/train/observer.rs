//! Whoever watches a training.

use train::At;

use super::Row;

/// Told what happens, as it happens.
pub trait Observer: Sync {
    /// A step is done.
    fn step(&self, report: &StepReport);
    /// The test after the epoch has seen `images` more of its `of` images.
    fn tested(&self, images: usize, of: usize);
    /// A reconstruction is there.
    fn reconstructed(&self, at: &At) {
        let _ = at;
    }
    /// An epoch is done and its checkpoint is on disk.
    fn epoch(&self, row: &Row, epochs: usize);
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn step(&self, _: &StepReport) {}
    fn tested(&self, _: usize, _: usize) {}
    fn epoch(&self, _: &Row, _: usize) {}
}

/// Where a training is; loss and accuracy are means over the epoch so far.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// From 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// From 1, within the epoch.
    pub step: usize,
    /// Steps in an epoch.
    pub steps: usize,
    /// Images of this step.
    pub images: usize,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of correct predictions.
    pub top1: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}
