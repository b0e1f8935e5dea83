//! What a person sees of a training on stderr: a bar on a terminal, elsewhere a line for each epoch.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::both_top1;
use crate::train::{Observer, Row, StepReport};

/// A bar on a terminal; elsewhere a line for each epoch.
pub struct Progress {
    /// The bar, to be cleared in the end.
    pub bar: ProgressBar,
    tested: AtomicUsize,
}

impl Progress {
    /// A training of `images` images in all.
    pub fn new(images: usize) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(images as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{msg}  {wide_bar}  {elapsed}, {eta} left")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Self {
            bar,
            tested: AtomicUsize::new(0),
        }
    }
}

impl Observer for Progress {
    fn step(&self, report: &StepReport) {
        self.tested.store(0, Ordering::Relaxed);
        self.bar.set_message(format!(
            "epoch {}/{}  step {}/{}  loss {:.3}  {}  {:.0} images/s",
            report.epoch,
            report.epochs,
            report.step,
            report.steps,
            report.loss,
            both_top1(report.top1, None, 1),
            report.images_per_second
        ));
        self.bar.inc(report.images as u64);
    }

    fn tested(&self, images: usize, of: usize) {
        let done = self.tested.fetch_add(images, Ordering::Relaxed) + images;
        self.bar.set_message(format!("testing {done}/{of}"));
    }

    fn epoch(&self, row: &Row, epochs: usize) {
        let line = format!(
            "epoch {:>3}/{epochs}  lr {:.4}  loss {:.4}  {}  {:.0} images/s  {:.0} s",
            row.epoch,
            row.lr,
            row.train_loss,
            both_top1(row.train_top1, row.test_top1, 2),
            row.images_per_second,
            row.seconds
        );
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
