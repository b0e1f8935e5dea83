//! `fuzz READER|all --inputs N`: a round of any length, with the bounds of the tests.

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use fuzz::{Allocator, READERS, Round, driver};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new(System, usize::MAX);

/// Hostile files for every reader.
#[derive(Parser)]
struct Arguments {
    /// A reader's name, or `all`
    reader: String,
    /// Inputs for each reader
    #[arg(long, default_value_t = 10_000)]
    inputs: u64,
    /// Another number, other inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A folder of more seeds
    #[arg(long)]
    seeds: Option<PathBuf>,
    /// Read this file instead, once
    #[arg(long)]
    file: Option<PathBuf>,
    /// Put the inputs with new verdicts into this folder
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen = READERS
        .iter()
        .filter(|reader| ["all", reader.name].contains(&arguments.reader.as_str()));
    let chosen: Vec<_> = chosen.collect();
    let names: Vec<&str> = READERS.iter().map(|reader| reader.name).collect();
    ensure!(
        !chosen.is_empty(),
        "`{}` is no reader; these are: {}, all",
        arguments.reader,
        names.join(", ")
    );
    if let Some(path) = &arguments.file {
        driver::watch();
        let input = std::fs::read(path).with_context(|| path.display().to_string())?;
        let place = tempfile::tempdir()?;
        for reader in chosen {
            let (verdict, time) = driver::hold(reader, Some(&ALLOCATOR), place.path(), &input)?;
            println!("{}: {verdict:?} in {time:.1?}", reader.name);
        }
        return Ok(());
    }
    for reader in chosen {
        let start = Instant::now();
        let mut round = Round::new(
            reader,
            Some(&ALLOCATOR),
            arguments.seed,
            arguments.seeds.as_deref(),
        )?;
        while round.inputs < arguments.inputs {
            round.step()?;
        }
        println!(
            "{}: {} inputs, {} taken, {} verdicts, longest {:.1?}, {:.1?} in all",
            reader.name,
            round.inputs,
            round.taken,
            round.verdicts(),
            round.longest,
            start.elapsed()
        );
        if let Some(folder) = &arguments.keep {
            let folder = folder.join(reader.name);
            std::fs::create_dir_all(&folder)?;
            for (at, input) in round.pool().iter().enumerate() {
                std::fs::write(folder.join(format!("{at:04}")), input)?;
            }
        }
    }
    Ok(())
}
