//! What a person sees on stderr while a sweep runs: which run of how many, images per second, top-1, time left. Where
//! stderr is no terminal, one line for each finished run.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use results::metric as names;
use results::{Run, Status};

use train::At;

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
    /// Test top-1 after the last epoch of its training.
    tested: Mutex<Option<f64>>,
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
        // The last step of an epoch may have fewer images than the others.
        if report.step < report.steps || report.steps == 1 {
            let done = (report.epoch - 1) * report.steps + report.step;
            let all = report.steps * report.epochs;
            self.bar.set_length((all * report.images) as u64);
            self.bar.set_position((done * report.images) as u64);
        }
        let tested = self.tested.lock().map_or(None, |tested| *tested);
        self.bar.set_message(format!(
            "epoch {}/{}, loss {:.3}, {}",
            report.epoch,
            report.epochs,
            report.loss,
            both_top1(report.top1, tested, 1)
        ));
        if report.epoch == report.epochs && report.step == report.steps {
            self.bar.set_length(self.images);
            self.bar.set_position(0);
            self.bar.reset_eta();
        }
    }

    fn tested(&self, _: usize, _: usize) {}

    fn reconstructed(&self, at: &At) {
        let ((block, blocks), (iteration, iterations)) = (at.block, at.iteration);
        if block == 0 && iteration == 0 {
            self.bar.set_length((blocks * iterations) as u64);
        }
        if iteration % 10 == 0 {
            self.bar
                .set_position((block * iterations + iteration) as u64);
            self.bar.set_message(format!(
                "piece {}/{blocks}, {:.2e} of the variance lost",
                block + 1,
                at.loss
            ));
        }
        if block + 1 == blocks && iteration + 1 == iterations {
            self.bar.set_length(self.images);
            self.bar.set_position(0);
            self.bar.reset_eta();
        }
    }

    fn epoch(&self, row: &Row, epochs: usize) {
        if let Ok(mut tested) = self.tested.lock() {
            *tested = row.test_top1;
        }
        if self.plain {
            eprintln!(
                "    {}  epoch {}/{epochs}  loss {:.4}  {}  {:.0} images/s",
                self.label,
                row.epoch,
                row.train_loss,
                both_top1(row.train_top1, row.test_top1, 2),
                row.images_per_second
            );
        }
    }
}

/// Top-1 of the training images as the steps saw them, and that of the test images where they were run, with so many digits.
pub fn both_top1(train: f64, test: Option<f64>, digits: usize) -> String {
    let mut text = format!("training top-1 {:.digits$} %", 100.0 * train);
    if let Some(test) = test {
        text += &format!(", test {:.digits$} %", 100.0 * test);
    }
    text
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
            tested: Mutex::new(None),
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
        self.say(&line);
        self.total.inc(1);
    }

    /// A line for people, above the bars.
    pub fn say(&self, line: &str) {
        if self.plain {
            eprintln!("{line}");
        } else {
            // A bar that cannot be drawn is no reason to stop measuring.
            let _ = self.bars.println(line);
        }
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
    let in_integers = match run.row.executed.as_deref() {
        Some("integer") => " in integers",
        _ => "",
    };
    format!(
        "top-1 {top1:.2} % ({hits} of {n}), {rate:.0} images/s{in_integers}, {seconds:.0} s in all"
    )
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
