//! `train --qat EXPERIMENT.toml`: trains one cell of an experiment and writes the network with its quantizers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use quantize::SiteStatistics;

use crate::calibration::collect;
use crate::cli::stop_at_ctrl_c;
use crate::experiment::Experiment;
use crate::plan::{PlannedRun, plan};
use crate::qat::Job;
use crate::registry::Registry;
use crate::settings::Source;
use crate::sources::Sources;

use super::progress::Progress;
use super::{Arguments, check_out, checkpoint_folder};

pub fn run(arguments: &Arguments, experiment: &Path) -> Result<ExitCode> {
    let mut experiment = Experiment::read(experiment)?;
    for assignment in &arguments.set {
        experiment.set(assignment)?;
    }
    check_out(&arguments.out, true)?;
    let registry = Registry::open(&arguments.data)?;
    let bar = crate::cli::decoding_bar();
    let skip = arguments.skip_unreadable;
    let mut sources = Sources::new(registry, &arguments.cache, skip, bar);
    let planned = plan(&experiment, &mut sources)?;
    crate::assumptions::tell(&planned);
    crate::hints::tell(&planned);
    let (run, training) = the_one(&planned, &experiment.name)?;
    let how = run.cell.quantization.as_ref().context("a float run")?;
    let images = run.training.as_ref().context("no training images")?;
    let threads = crate::cli::threads(arguments.threads);
    let stop = stop_at_ctrl_c("this step")?;
    let checkpoint = &run.model.checkpoint;
    let statistics = match &run.calibration {
        Some(seen) => collect(&checkpoint.network, &seen.data, threads, &stop)?,
        None => SiteStatistics::new(),
    };
    let job = Job {
        checkpoint,
        how,
        training,
        statistics: &statistics,
        images: (&images.data, &images.name),
        test: Some(&run.set.data),
        device: run.config.text("device"),
        threads,
    };
    let folder = checkpoint_folder(arguments);
    eprintln!(
        "{} on {} ({} images), {}; checkpoint in {}",
        run.model.name,
        images.name,
        images.data.len(),
        run.label,
        folder.display()
    );
    let progress = Progress::new(training.epochs * images.data.len());
    let trained = job.run(&folder, arguments.eval_every, &progress, &stop);
    progress.bar.finish_and_clear();
    let trained = match trained {
        Err(error) if stop.load(Ordering::Relaxed) => {
            eprintln!("{error:#}; the same command goes on from there");
            return Ok(ExitCode::from(130));
        }
        other => other?,
    };
    let mut more = BTreeMap::new();
    let top1 = trained.rows.last().and_then(|row| row.test_top1);
    if let Some(top1) = top1 {
        more.insert("test_top1".to_owned(), format!("{top1:.5}"));
        more.insert("test_images".to_owned(), run.set.data.len().to_string());
        more.insert("test_sha256".to_owned(), run.set.sha256.clone());
    }
    trained.save(&arguments.out, more)?;
    let accuracy = top1.map_or("not tested".into(), |top1| {
        format!("top-1 {:.2} % of {}", 100.0 * top1, run.set.data.len())
    });
    println!("{}: {}, {accuracy}", arguments.out.display(), run.label);
    Ok(ExitCode::SUCCESS)
}

/// The cell that is trained.
fn the_one<'p>(
    planned: &'p [PlannedRun],
    experiment: &str,
) -> Result<(&'p PlannedRun, &'p crate::settings::Training)> {
    let mut found = planned.iter().filter_map(|run| {
        let how = run.cell.quantization.as_ref()?;
        match &how.source {
            Source::Training(training) => Some((run, training.as_ref())),
            _ => None,
        }
    });
    match (found.next(), found.count()) {
        (Some(one), 0) => Ok(one),
        (None, _) => bail!("{experiment} has no cell with method = qat; add --set method=qat"),
        (Some(_), more) => bail!(
            "{experiment} has {} cells with method = qat; choose one with --set, as in --set weights.bits=4",
            more + 1
        ),
    }
}
