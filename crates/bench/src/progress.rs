//! What a person sees on stderr while a sweep runs: which run of how many, images per second, top-1, time left. Where
//! stderr is no terminal, one line for each finished run.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use results::metric as names;
use results::{Run, Status};

use crate::plan::PlannedRun;
use crate::sweep::whole_network;

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
            "sweep {pos}/{len} runs  {wide_bar}  {elapsed_precise}, {eta} left",
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
                "{prefix}  {wide_bar}  {pos}/{len}  {msg}  {rate}, {eta} left",
            )),
        );
        bar.set_prefix(format!("{}/{} {}", index + 1, self.runs, run.label));
        RunBar {
            bar,
            hits: AtomicUsize::new(0),
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
    format!(
        "top-1 {:.2} % ({hits} of {n}), {:.0} images/s",
        100.0 * hits / n,
        n / run.row.seconds.max(1e-3)
    )
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants")
        .progress_chars("=> ")
        .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:.0} images/s", state.per_sec());
        })
}
