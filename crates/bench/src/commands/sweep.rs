//! `sweep EXPERIMENT.toml`: runs every cell of an experiment that has not been run yet, then prints its table.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use indicatif::HumanDuration;
use results::{Holder, PublishedRow, Store};

use crate::checkout;
use crate::cli::{Folders, ResultsFolder, Share, say, stop_at_ctrl_c};
use crate::cluster::{Job, Request, Task, standing};
use crate::experiment::Experiment;
use crate::export::ExportFolder;
use crate::page::Images;
use crate::plan::{PlannedRun, in_shard, plan};
use crate::reference::Reference;
use crate::registry::Registry;
use crate::sources::Sources;
use crate::sweep::Sweep;

/// Run an experiment's cells, skipping those already done, print the accuracy table, and compare the runs with the
/// committed ones.
#[derive(clap::Args)]
#[command(after_help = crate::settings::help())]
pub struct Arguments {
    /// The experiment: a file, or the name of one that comes with the project.
    #[arg(default_value = "experiments/weight-bits.toml")]
    experiment: PathBuf,
    /// Override a setting: a single value fixes it, a list such as `[8, 4]` varies it. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    results: ResultsFolder,
    /// Folder of committed results to compare with [default: results/reference].
    #[arg(long, env = "QUANTLAB_REFERENCE", value_name = "DIR")]
    reference: Option<PathBuf>,
    /// Fail when a run differs from the reference, or is not in it.
    #[arg(long)]
    verify: bool,
    /// Print the plan, and which of it is done, and stop.
    #[arg(long, conflicts_with = "verify")]
    list: bool,
    /// Take share I of N of the plan, while others take the other shares; or `auto`: whatever nobody else works on, ending when nothing
    /// is free. A task of a job array (Slurm, PBS, Grid Engine, LSF, HyperQueue, AWS Batch, Kubernetes) begins at a place of its own.
    #[arg(long, value_name = "I/N|auto", value_parser = crate::cli::share)]
    shard: Option<Share>,
    /// Tell what is done, who works on what, what failed and how long it may take, and stop.
    #[arg(long, conflicts_with_all = ["verify", "list", "slurm"])]
    status: bool,
    #[command(flatten)]
    cluster: Request,
    /// Seconds between signs of life for other machines, which take a run over after six without.
    #[arg(long, value_name = "SECONDS", default_value_t = results::INTERVAL.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    heartbeat: u64,
    /// Write the network of each finished run to this folder, as EXPERIMENT-RUN_ID.onnx in QDQ form.
    #[arg(long, value_name = "DIR", value_parser = crate::cli::path())]
    export: Option<PathBuf>,
    /// Write no page of the experiment.
    #[arg(long)]
    no_page: bool,
    /// Worker threads; default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Leave out images that cannot be decoded, instead of failing.
    #[arg(long)]
    skip_unreadable: bool,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    arguments.experiment = checkout::experiment(&arguments.experiment);
    let mut experiment = Experiment::read(&arguments.experiment)?;
    for assignment in &arguments.set {
        experiment.set(assignment)?;
    }
    let (folders, results) = (&arguments.folders, &arguments.results.path);
    let reference = Reference::find(arguments.reference.as_deref(), results)?;
    let registry = Registry::open(&folders.data)?;
    let mut sources = Sources::new(
        registry.clone(),
        &folders.cache,
        arguments.skip_unreadable,
        crate::cli::decoding_bar(),
    );
    let planned = plan(&experiment, &mut sources)?;
    crate::assumptions::tell(&planned);
    crate::hints::tell(&planned);
    let variable = |name: &str| std::env::var(name).ok();
    let task = crate::cluster::task(&variable);
    let runs = share_of(&planned, arguments.shard, task);
    if arguments.list {
        return list(&experiment, results, &reference, &runs);
    }
    if arguments.verify {
        reference.require(&experiment.name, &runs)?;
    }
    if arguments.status {
        return status(&experiment.name, results, &runs);
    }
    let interval = Duration::from_secs(arguments.heartbeat);
    let me = Holder::here(&crate::cluster::job(&variable), interval);
    let store = Store::open(results)?.as_holder(me);
    if arguments.cluster.slurm.is_some() {
        return slurm(&arguments, &experiment.name, &store, &runs);
    }
    let export = arguments.export.as_deref().map(ExportFolder::open);
    let export = export.transpose()?;
    let cancelled = stop_at_ctrl_c("the images in flight")?;
    let sweep = Sweep {
        experiment: &experiment.name,
        store: &store,
        trainings: &folders.trainings(),
        threads: crate::cli::threads(arguments.threads),
        leaves: arguments.shard == Some(Share::Free),
        cancelled,
        export: export.as_ref(),
    };
    say(&format!("{}: {}", experiment.name, experiment.question));
    if matches!(reference, Reference::Itself) {
        say("runs go to the reference itself: they are added to it and compared with nothing");
    }
    if let (Some(Share::Free), Some(task)) = (arguments.shard, task) {
        let of = task
            .count
            .map_or(String::new(), |count| format!(" of {count}"));
        say(&format!(
            "task {}{of} of an array of {}",
            task.place + 1,
            task.scheduler
        ));
    }
    let summary = sweep.run(&runs)?;
    let left = match summary.left {
        0 => String::new(),
        n => format!(", {n} left to others who work on them"),
    };
    eprintln!(
        "{} runs made, {} were there already, {} failed{left}",
        summary.made, summary.skipped, summary.failed
    );
    if summary.cancelled {
        eprintln!("stopped; what is finished is kept, the same command goes on from there");
        return Ok(ExitCode::from(130));
    }
    report(&store, &experiment, &runs)?;
    if !arguments.no_page {
        let images = Images {
            known: runs.iter().map(|run| run.set.clone()).collect(),
            sources: &mut sources,
            registry: &registry,
        };
        page(&store, &arguments.experiment, images);
    }
    for line in sweep.at_chance(&runs)? {
        eprintln!("warning: {line}");
    }
    let (compared, wrong) = sweep.check(&experiment, &runs)?;
    for line in &wrong {
        say(&format!("check failed: {line}"));
    }
    if compared > 0 {
        eprintln!("{} of {compared} checks hold", compared - wrong.len());
    }
    compare(
        &reference,
        &store,
        &experiment.name,
        &runs,
        arguments.verify,
    )?;
    Ok(if summary.failed > 0 || !wrong.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The runs of a share, in the order in which they are taken: float runs first.
fn share_of(planned: &[PlannedRun], share: Option<Share>, task: Option<Task>) -> Vec<&PlannedRun> {
    let mut runs: Vec<&PlannedRun> = planned.iter().collect();
    match share {
        None => {}
        Some(Share::Fixed(i, n)) => {
            let mut index = 0..;
            runs.retain(|run| in_shard(index.next().unwrap_or(0), run, (i, n)));
        }
        Some(Share::Free) => {
            let floats = runs.iter().take_while(|run| run.is_baseline()).count();
            let others = &mut runs[floats..];
            if let Some(task) = task {
                others.rotate_left(task.begins(others.len()));
            }
        }
    }
    runs
}

fn status(experiment: &str, results: &Path, runs: &[&PlannedRun]) -> Result<ExitCode> {
    let store = Store::existing(results)?;
    let found = standing(&store, experiment, runs)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let width = terminal_size::terminal_size().map_or(usize::MAX, |(width, _)| width.0.into());
    let now = now.map_or(0, |now| now.as_secs());
    print!("{}", found.text(experiment, now, width));
    Ok(ExitCode::SUCCESS)
}

fn slurm(
    arguments: &Arguments,
    experiment: &str,
    store: &Store,
    runs: &[&PlannedRun],
) -> Result<ExitCode> {
    let mut due = 0;
    for run in runs.iter().filter(|run| !run.is_baseline()) {
        due += usize::from(!store.is_complete(experiment, &run.run_id)?);
    }
    let mut own: Vec<OsString> = Vec::new();
    for assignment in &arguments.set {
        own.extend(["--set".into(), assignment.into()]);
    }
    for (key, folder) in [
        ("--reference", &arguments.reference),
        ("--export", &arguments.export),
    ] {
        if let Some(folder) = folder {
            own.extend([key.into(), std::path::absolute(folder)?.into_os_string()]);
        }
    }
    if arguments.skip_unreadable {
        own.push("--skip-unreadable".into());
    }
    own.extend(["--heartbeat".into(), arguments.heartbeat.to_string().into()]);
    let job = Job {
        name: experiment,
        experiment: &arguments.experiment,
        folders: &arguments.folders,
        results: store.root(),
        arguments: own,
        threads: crate::cli::threads(arguments.threads),
        request: &arguments.cluster,
    };
    for line in job.write(due)? {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn list(
    experiment: &Experiment,
    results: &Path,
    reference: &Reference,
    runs: &[&PlannedRun],
) -> Result<ExitCode> {
    let store = results.is_dir().then(|| Store::open(results)).transpose()?;
    let mut done = 0;
    let (mut trainings, mut images) = (0, 0);
    for (index, run) in runs.iter().enumerate() {
        let complete = match &store {
            Some(store) => store.is_complete(&experiment.name, &run.run_id)?,
            None => false,
        };
        done += usize::from(complete);
        if let Some(own) = run.training_images().filter(|_| !complete) {
            trainings += 1;
            images += own;
        }
        println!(
            "{:>4}  {}  {:<4}  {} on {} ({} images)  {}",
            index + 1,
            run.run_id,
            if complete { "done" } else { "due" },
            run.model.name,
            run.set.name,
            run.set.data.len(),
            run.label
        );
    }
    let in_reference = runs
        .iter()
        .filter(|run| reference.has(&experiment.name, &run.run_id))
        .count();
    let compared = match in_reference {
        0 => String::new(),
        n => format!("; {n} are in the reference"),
    };
    println!(
        "{} runs, {done} done, {} due{compared}",
        runs.len(),
        runs.len() - done
    );
    if trainings > 0 {
        let rate = reference.training_rate(&experiment.name);
        let time = rate.map_or(String::new(), |rate| {
            let time = Duration::from_secs((images as f64 / rate) as u64);
            format!(
                ": {} at the reference's {rate:.0} images/s",
                HumanDuration(time)
            )
        });
        println!("{trainings} of them are trainings, {images} images in all{time}");
    }
    Ok(ExitCode::SUCCESS)
}

fn report(store: &Store, experiment: &Experiment, runs: &[&PlannedRun]) -> Result<()> {
    let published = published(experiment, runs);
    let peers = &experiment.peers;
    let experiment = experiment.name.as_str();
    let lock = store.lock_tables(experiment)?;
    let ids: Vec<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
    store.publish(experiment, &ids, published)?;
    store.set_peers(experiment, peers)?;
    let (table, written) = report::write_all(store.root(), experiment)?;
    drop(lock);
    // A person sees aligned columns, a file or a pipe gets Markdown.
    match terminal_size::terminal_size_of(std::io::stdout()) {
        Some((width, _)) => println!("\n{}", table.text(usize::from(width.0))),
        None => println!("{}", table.markdown()),
    }
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let names: Vec<String> = written.iter().filter_map(name).collect();
    say(&format!(
        "in {}: {}",
        store.experiment_dir(experiment)?.display(),
        names.join(", ")
    ));
    Ok(())
}

/// The page of the experiment, and that of all. What is measured and printed does not hang on it.
fn page(store: &Store, file: &Path, images: Images<'_>) {
    let (results, files) = (store.root(), crate::cli::folder_of(file));
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let written = store
        .lock_tables(&name)
        .map_err(Into::into)
        .and_then(|_lock| {
            let path = crate::page::write(results, &name, files, &mut Ok(images))?;
            crate::page::write_index(results, files)?;
            Ok(path)
        });
    match written {
        Ok(path) => say(&format!("for a browser: {}", path.display())),
        Err(error) => {
            let error: anyhow::Error = error;
            say(&format!("no page: {error:#}"));
        }
    }
}

/// What the experiment tells of the literature, for the runs that it is about: of several, what stands first.
fn published(experiment: &Experiment, runs: &[&PlannedRun]) -> Vec<PublishedRow> {
    let one = |run: &&PlannedRun| {
        let config = run.spelled_out();
        let mut all = experiment.published.iter();
        let found = all.find(|published| published.condition.holds(&config))?;
        Some(found.row_of(&run.run_id))
    };
    runs.iter().filter_map(one).collect()
}

/// What the reference says of the runs, as the last line. A difference is an error only where one was asked to be.
fn compare(
    reference: &Reference,
    store: &Store,
    experiment: &str,
    runs: &[&PlannedRun],
    verify: bool,
) -> Result<()> {
    let comparison = match reference.compare(store, experiment, runs) {
        Ok(comparison) => comparison,
        Err(error) if !verify => {
            say(&format!("cannot compare with the reference: {error:#}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let Some(comparison) = comparison else {
        return Ok(());
    };
    for difference in &comparison.differing {
        say(&difference.to_string());
    }
    if verify && !comparison.is_same() {
        bail!("--verify: {}", comparison.summary());
    }
    say(&comparison.summary());
    Ok(())
}
