//! `throughput`: how fast the engine is, beside the processor's peak and beside what one would use instead.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use bench::cli::exit_code;
use bench::python::Hold;
use bench::throughput::{Peers, Place, Request, Settings, measure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

/// Measure images per second of the engine, layer by layer and, with --peers, in turn with PyTorch and ONNX Runtime.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    request: Request,
    /// Write throughput.csv, layers.csv, throughput.md and a picture of each network's layers into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Put the table between `<!-- throughput:begin -->` and `<!-- throughput:end -->` of this file.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
}

fn main() -> ExitCode {
    let stopped = Arc::new(AtomicBool::new(false));
    let result = run(&stopped);
    match result {
        // What fails because it was stopped is no error.
        Err(_) if stopped.load(Ordering::SeqCst) => ExitCode::from(130),
        result => exit_code(result),
    }
}

fn run(stopped: &Arc<AtomicBool>) -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let settings = Settings::new(&arguments.request)?;
    let place = Place::open(arguments.out, arguments.readme)?;
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
    let python = settings.peers.as_deref();
    let peers = python.map(|python| Peers::start(python, settings.threads, &hold));
    let measured = measure(&settings, peers.transpose()?, &bar)?;
    let written = place.write(&measured)?;
    // A reader that has seen enough, such as `head`, is no error.
    let _ = std::io::stdout().write_all(measured.text().as_bytes());
    for path in written {
        eprintln!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
