//! Writes a quantized network as a file that other tools execute: of settings, or of a finished run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use crate::cli::{Folders, ResultsFolder, folder_of};
use crate::export::{Hits, Way, facts, network_of, peers, stored};
use crate::measure::Gathered;
use crate::plan::{PlannedRun, Ranges};
use crate::registry::Registry;
use crate::settings::{Settings, parse_single};
use crate::single;

/// Quantize a network as the settings or a finished run say and write it as a file
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write, such as net-w8a8.onnx.
    output: PathBuf,
    /// A setting, as in an experiment. May be repeated. With --run: one that the run does not keep.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The finished run to take all settings from.
    #[arg(long, value_name = "RUN_ID")]
    run: Option<String>,
    /// How quantization stands in the file.
    #[arg(long, value_enum, default_value_t = Way::Qdq)]
    form: Way,
    /// Run the file through the ONNX Runtime of this Python, too (it needs onnx and onnxruntime), and compare: predictions of
    /// the test images, and the codes of every value.
    #[arg(long, value_name = "PYTHON")]
    peers: Option<PathBuf>,
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    results: ResultsFolder,
    /// Leave out images that cannot be decoded, instead of failing.
    #[arg(long)]
    skip_unreadable: bool,
    /// Worker threads; default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    check(&arguments.output)?;
    if arguments.peers.is_some() {
        arguments.form.check_peers()?;
    }
    let (planned, settings, measured) = planned(&arguments)?;
    crate::assumptions::tell(std::slice::from_ref(&planned));
    let threads = crate::cli::threads(arguments.threads);
    let net = network_of(
        &planned,
        &arguments.folders.trainings(),
        &Gathered::default(),
        threads,
        &AtomicBool::new(false),
    )?;
    let metadata = facts(&planned, &settings, measured);
    let file = (arguments.form).write(&net, &metadata, &arguments.output)?;
    let path = arguments.output.display();
    let (layers, biases) = (net.codes.len(), net.bias_codes.len());
    let sites = net.activations.as_ref().map_or(0, |(codes, _)| codes.len());
    println!(
        "{path}: {layers} layers of quantized weights, {biases} int32 biases, {sites} quantized values, {} bytes",
        file.len()
    );
    if let Some(python) = &arguments.peers {
        let images = &planned.set.data;
        let bar = ProgressBar::new(images.len() as u64);
        let done = |n: usize| bar.inc(n as u64);
        let compared = peers::compare(&net, &file, images, (python, threads), &done)?;
        bar.finish_and_clear();
        print!("\n{}", compared.text());
    }
    Ok(ExitCode::SUCCESS)
}

/// The run, its settings, and what it counted if it is finished.
fn planned(arguments: &Arguments) -> Result<(PlannedRun, Settings, Option<Hits>)> {
    let (folders, results) = (&arguments.folders, &arguments.results.path);
    let open = |settings: &Settings| {
        let said = ("export", Ranges::Images);
        single::open(settings.clone(), said, folders, arguments.skip_unreadable)
    };
    let Some(run_id) = &arguments.run else {
        let settings = single::settings(&arguments.set)?;
        let planned = open(&settings)?;
        let run = stored::if_finished(results, &planned.run_id)?;
        return Ok((planned, settings, run.as_ref().and_then(Hits::of)));
    };
    let run = stored::finished(results, run_id)?;
    let given = arguments.set.iter().map(|said| parse_single(said));
    let given = given.collect::<Result<Settings>>()?;
    let registry = Registry::open(&folders.data)?;
    let settings = stored::settings(&run.row, &registry, &given)?;
    let planned = open(&settings).with_context(|| format!("run {run_id}"))?;
    stored::check(&planned, &run.row)?;
    Ok((planned, settings, Hits::of(&run)))
}

/// Fails for a file that cannot be written, before the work.
fn check(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if path.is_dir() || path.file_name().is_none() {
        bail!("{} is no file to write", path.display());
    }
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    Ok(())
}
