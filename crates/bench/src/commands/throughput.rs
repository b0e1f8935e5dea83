//! `throughput`: how fast the engine is, beside the processor's peak and beside what one would use instead.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Folders;
use crate::python::Hold;
use crate::throughput::{Peers, Place, Request, Settings, measure, measure_sweeps};

/// Measure images per second of the engine, layer by layer and, with --peers, in turn with PyTorch and ONNX Runtime; or, with
/// --sweeps, whole experiments.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    request: Request,
    #[command(flatten)]
    folders: Folders,
    /// Write throughput.csv, layers.csv, throughput.md and a picture of each network's layers into this folder; of sweeps sweeps.csv
    /// and sweeps.md.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Put the table between `<!-- throughput:begin -->` and `<!-- throughput:end -->` of this file, that of sweeps between
    /// `<!-- sweeps:begin -->` and `<!-- sweeps:end -->`.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let stopped = Arc::new(AtomicBool::new(false));
    match time(arguments, &stopped) {
        // What fails because it was stopped is no error.
        Err(_) if stopped.load(Ordering::SeqCst) => Ok(ExitCode::from(130)),
        result => result,
    }
}

fn time(arguments: Arguments, stopped: &Arc<AtomicBool>) -> Result<ExitCode> {
    let settings = Settings::new(&arguments.request)?;
    let is_sweeps = !settings.sweeps.is_empty();
    let place = Place::open(arguments.out, arguments.readme, is_sweeps)?;
    let hold = Hold::default();
    let (flag, held) = (stopped.clone(), hold.clone());
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::SeqCst);
        held.stop();
        std::process::exit(130);
    })
    .context("cannot listen for Ctrl-C")?;
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{msg}  {wide_bar}  round {pos}/{len}, {elapsed_precise}")
            .expect("the template is a constant")
            .progress_chars("=> "),
    );
    if is_sweeps {
        let times = measure_sweeps(&settings, &arguments.folders, &bar, &hold)?;
        let written = place.write_sweeps(&times)?;
        told(&times.text(), &written);
        return Ok(ExitCode::SUCCESS);
    }
    let python = settings.peers.as_deref();
    let peers = python.map(|python| Peers::start(python, settings.threads, &hold));
    let measured = measure(&settings, peers.transpose()?, &bar)?;
    let written = place.write(&measured)?;
    told(&measured.text(), &written);
    Ok(ExitCode::SUCCESS)
}

fn told(text: &str, written: &[PathBuf]) {
    // A reader that has seen enough, such as `head`, is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for path in written {
        eprintln!("wrote {}", path.display());
    }
}
