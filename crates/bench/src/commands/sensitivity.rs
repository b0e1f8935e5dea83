//! `sensitivity`: which layers and activation sites bear few bits.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use engine::Options;
use indicatif::{ProgressBar, ProgressStyle};
use quant_core::Bits;
use results::SensitivityRow;

use crate::cli::{Folders, ResultsFolder, decoding_bar, say, stop_at_ctrl_c};
use crate::experiment::Experiment;
use crate::measure::Gathered;
use crate::plan::{PlannedRun, plan};
use crate::registry::Registry;
use crate::sensitivity::{Map, Share, Tried, text};
use crate::single;
use crate::sources::Sources;

/// Try every layer's weights and every activation site at few bits, alone or as the only one left in float, and say what the network's
/// answers lose.
#[derive(clap::Args)]
#[command(after_help = crate::settings::help())]
pub struct Arguments {
    /// An experiment: a map for each of its networks, sets and ways to quantize.
    experiment: Option<PathBuf>,
    /// A setting, as in an experiment's file; without an experiment: the shipped model, 64 images, `method=ptq`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The numbers of bits to try.
    #[arg(long, value_delimiter = ',', default_value = "2,3,4,8", value_parser = clap::value_parser!(u32).range(1..=16))]
    bits: Vec<u32>,
    /// The other way around: everything at so few bits but one.
    #[arg(long)]
    all_but: bool,
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    results: ResultsFolder,
    /// Take share I of N of the images; the other shares can run at the same time.
    #[arg(long, value_name = "I/N", value_parser = crate::cli::shard, default_value = "1/1")]
    shard: Share,
    /// MiB of memory for values and weights that are tried.
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(16..))]
    memory: u32,
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
    let planned = open(&arguments)?;
    let cancelled = stop_at_ctrl_c("this round")?;
    let bits = arguments.bits.iter().map(|&bits| Bits::new(bits));
    let bits: Vec<Bits> = bits.collect::<Result<_, _>>()?;
    let tried = match arguments.all_but {
        true => Tried::AllBut,
        false => Tried::Alone,
    };
    let threads = crate::cli::threads(arguments.threads);
    let memory = (arguments.memory as usize) << 20;
    let gathered = Gathered::default();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for run in planned.iter().filter(|run| run.cell.quantization.is_some()) {
        let results = &arguments.results.path;
        let map = Map::new(run, (&bits, tried), results, (threads, memory))?;
        if !seen.insert(map.file()) {
            continue;
        }
        let (of, set) = (&run.model.name, &run.set);
        println!("{of} on {} images of {}", set.data.len(), set.name);
        let started = Instant::now();
        let rows = one(&map, run, &gathered, (arguments.shard, threads), &cancelled);
        if cancelled.load(Ordering::Relaxed) {
            eprintln!(
                "stopped; finished blocks of images are kept, the same command goes on from there"
            );
            return Ok(ExitCode::from(130));
        }
        let Some(rows) = rows? else {
            say("this share is done; the map is put together by whoever finishes the last one");
            continue;
        };
        print!("{}", text(&rows, float_hits(run, threads, &cancelled)?));
        if let Some(svg) = report::heat_map(&rows, &format!("{of}: logit SQNR in dB")) {
            let path = map.file().with_extension("svg");
            results::write_whole(&path, svg.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            say(&format!(
                "in {}: {} and the same as a picture, {:.1} s",
                map.folder().display(),
                map.file().file_name().unwrap_or_default().to_string_lossy(),
                started.elapsed().as_secs_f64()
            ));
        }
    }
    if seen.is_empty() {
        bail!("nothing is quantized; set weights.bits or activations.bits");
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures one map.
fn one(
    map: &Map<'_>,
    run: &PlannedRun,
    gathered: &Gathered,
    (share, threads): (Share, usize),
    cancelled: &AtomicBool,
) -> Result<Option<Vec<SensitivityRow>>> {
    let how = run.cell.quantization.as_ref();
    let how = how.filter(|how| how.activations.is_some());
    let statistics = match (how, &run.calibration) {
        (Some(how), Some(images)) => {
            let subject = (&run.model.checkpoint, how);
            Some(gathered.of(subject, images, threads, cancelled)?)
        }
        _ => None,
    };
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{wide_bar}  {percent} %, {eta} left")
            .map_err(|error| anyhow!("{error}"))?
            .progress_chars("=> "),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.inc(done);
    };
    let made = map.measure(statistics.as_deref(), share, &progress, cancelled);
    bar.finish_and_clear();
    made
}

/// Hits of the float network on the run's images.
fn float_hits(run: &PlannedRun, threads: usize, cancelled: &AtomicBool) -> Result<u64> {
    let data = &run.set.data;
    let target = crate::device::Target::Engine;
    let size = [data.height(), data.width()];
    let network = run.model.checkpoint.network.clone();
    let net = crate::executable::Executable::new(&target, network, size, Options::default())?;
    let outcomes = crate::evaluate::evaluate(&net, data, threads, &|_, _| (), cancelled)?;
    let hits = outcomes.iter().enumerate();
    Ok(hits
        .filter(|(i, outcome)| outcome.top1 == data.label(*i))
        .count() as u64)
}

/// The runs whose maps are asked for.
fn open(arguments: &Arguments) -> Result<Vec<PlannedRun>> {
    let folders = &arguments.folders;
    let Some(path) = &arguments.experiment else {
        let mut assignments = vec!["method=ptq".to_owned()];
        assignments.extend(arguments.set.iter().cloned());
        let settings = single::settings(&assignments)?;
        let what = ("sensitivity", crate::plan::Ranges::Images);
        let run = single::open(settings, what, folders, arguments.skip_unreadable)?;
        crate::assumptions::tell(std::slice::from_ref(&run));
        return Ok(vec![run]);
    };
    let mut experiment = Experiment::read(path)?;
    for assignment in &arguments.set {
        experiment.set(assignment)?;
    }
    let registry = Registry::open(&folders.data)?;
    let skip = arguments.skip_unreadable;
    let mut sources = Sources::new(registry, &folders.cache, skip, decoding_bar());
    let planned = plan(&experiment, &mut sources)?;
    crate::assumptions::tell(&planned);
    Ok(planned)
}
