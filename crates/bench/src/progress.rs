//! What a person sees on stderr while a sweep runs: which run of how many, images per second, top-1, time left. Where
//! stderr is no terminal, one line for each finished run.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use results::metric as names;
use results::{Run, Status};

use crate::plan::PlannedRun;
use crate::sweep::whole_network;
use crate::train::{Observer, Row, StepReport};

/// The progress of a whole sweep.
pub struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    runs: usize,
    plain: bool,
}

/// The progress of one run.
pub struct RunBar {
    bar: ProgressBar,
    hits: AtomicUsize,
    images: u64,
    label: String,
    plain: bool,
}

impl RunBar {
    /// `images` more are done, `hits` of them right.
    pub fn add(&self, images: usize, hits: usize) {
        let hits = self.hits.fetch_add(hits, Ordering::Relaxed) + hits;
        self.bar.inc(images as u64);
        let share = 100.0 * hits as f64 / self.bar.position().max(1) as f64;
        self.bar.set_message(format!("top-1 {share:.1} %"));
    }
}

/// While a run trains, its bar is about training images; a line an epoch where there is no terminal.
impl Observer for RunBar {
    fn step(&self, report: &StepReport) {
        let n = report.steps * report.epochs;
        self.bar.set_length(n as u64);
        self.bar
            .set_position(((report.epoch - 1) * report.steps + report.step) as u64);
        self.bar.set_message(format!(
            "steps, epoch {}/{}, loss {:.3}, top-1 {:.1} %, {:.0} images/s",
            report.epoch,
            report.epochs,
            report.loss,
            100.0 * report.top1,
            report.images_per_second
        ));
        if report.epoch == report.epochs && report.step == report.steps {
            self.bar.set_length(self.images);
            self.bar.set_position(0);
            self.bar.reset_eta();
        }
    }

    fn tested(&self, _: usize, _: usize) {}

    fn epoch(&self, row: &Row, epochs: usize) {
        if self.plain {
            eprintln!(
                "    {}  epoch {}/{epochs}  loss {:.4}  top-1 {:.2} %  {:.0} images/s",
                self.label,
                row.epoch,
                row.train_loss,
                100.0 * row.train_top1,
                row.images_per_second
            );
        }
    }
}

impl Progress {
    /// A sweep of `runs` runs.
    pub fn new(runs: usize) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(8)
        };
        let bars = MultiProgress::with_draw_target(target);
        let total = bars.add(ProgressBar::new(runs as u64).with_style(style(
            "sweep {pos}/{len} runs  {wide_bar}  {elapsed_precise}{left}",
        )));
        total.enable_steady_tick(Duration::from_millis(500));
        Self {
            bars,
            total,
            runs,
            plain,
        }
    }

    /// A run is there already.
    pub fn skip(&self) {
        self.total.inc(1);
        // Time left is about the runs that still cost something.
        self.total.reset_eta();
    }

    /// Run `index` begins.
    pub fn start(&self, index: usize, run: &PlannedRun) -> RunBar {
        let bar = self.bars.insert_before(
            &self.total,
            ProgressBar::new(run.set.data.len() as u64).with_style(style(
                "{prefix}  {wide_bar}  {pos}/{len}  {msg}  {rate}{left}",
            )),
        );
        bar.set_prefix(format!("{}/{} {}", index + 1, self.runs, run.label));
        RunBar {
            bar,
            hits: AtomicUsize::new(0),
            images: run.set.data.len() as u64,
            label: run.label.clone(),
            plain: self.plain,
        }
    }

    /// Run `index` is written.
    pub fn finish(&self, index: usize, run: &PlannedRun, finished: &Run) {
        let line = format!(
            "{:>3}/{} {}  {}",
            index + 1,
            self.runs,
            run.label,
            outcome(finished)
        );
        if self.plain {
            eprintln!("{line}");
        } else {
            // A bar that cannot be drawn is no reason to stop measuring.
            let _ = self.bars.println(line);
        }
        self.total.inc(1);
    }

    /// The sweep is over.
    pub fn close(&self) {
        self.total.finish_and_clear();
    }
}

fn outcome(run: &Run) -> String {
    if run.row.status == Status::Failed {
        return format!("FAILED: {}", run.row.error.as_deref().unwrap_or_default());
    }
    let hits = whole_network(run, names::TOP1_CORRECT).unwrap_or_default();
    let n = run.predictions.len() as f64;
    let rate = run.row.images_per_second.unwrap_or_default();
    let seconds = run.row.seconds;
    let top1 = 100.0 * hits / n;
    format!("top-1 {top1:.2} % ({hits} of {n}), {rate:.0} images/s, {seconds:.0} s in all")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants")
        .progress_chars("=> ")
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:.0} images/s", state.per_sec());
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            // Before anything is done nobody can say; indicatif would say 0.
            if state.pos() > 0 {
                let _ = write!(out, ", {:#} left", HumanDuration(state.eta()));
            }
        })
}
