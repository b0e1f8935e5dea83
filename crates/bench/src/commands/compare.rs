//! `compare`: what papers and other tools say beside what came out, over all experiments.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use report::{Output, splice};

use super::pages::{check, read_pages};
use crate::papers::{Runs, compare, csv, experiments, markdown, text};
use crate::reference::DEFAULT;
use crate::registry::Registry;
use crate::{checkout, cli};

/// Between these of a page the table is put.
const MARKER: &str = "compare";

/// Print what is published beside what came out, with a verdict for each value: columns on a terminal, else Markdown.
#[derive(clap::Args)]
pub struct Arguments {
    /// Experiments: names of files; all that have published values when none is given.
    experiments: Vec<String>,
    /// Where the experiments' files are, those of papers in a folder `papers` of it.
    #[arg(long, default_value = checkout::EXPERIMENTS.as_str(), value_name = "DIR", value_parser = cli::path())]
    files: PathBuf,
    /// Results folders; may be repeated [default: results and results/reference, for pages results/reference alone].
    #[arg(long, value_name = "DIR", value_parser = cli::path())]
    results: Vec<PathBuf>,
    /// The data folder, for registries of its own if it has any.
    #[arg(long, env = "QUANTLAB_DATA", default_value = checkout::DATA.as_str(), value_parser = cli::path())]
    data: PathBuf,
    /// Print CSV.
    #[arg(long, conflicts_with_all = ["pages", "check"])]
    csv: bool,
    /// Put the table between `<!-- compare:begin -->` and `<!-- compare:end -->` of these pages; a folder stands for its `.md` files.
    #[arg(long, value_name = "FILE", num_args = 1.., value_parser = cli::path())]
    pages: Vec<PathBuf>,
    /// Write nothing; fail when a page is not up to date.
    #[arg(long, requires = "pages")]
    check: bool,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut all = experiments(&arguments.files)?;
    let named = &arguments.experiments;
    for name in named {
        if all
            .iter()
            .all(|(file, one)| !is_called(name, file, &one.name))
        {
            let known: Vec<&str> = all.iter().map(|(file, _)| file.as_str()).collect();
            bail!(
                "no experiment `{name}` with published values in {}; there are {}",
                arguments.files.display(),
                known.join(", ")
            );
        }
    }
    if !named.is_empty() {
        all.retain(|(file, one)| named.iter().any(|name| is_called(name, file, &one.name)));
    }
    let registry = Registry::read(&arguments.data)?;
    let runs = Runs::read(&folders(&arguments))?;
    let mut lines = Vec::new();
    for (file, experiment) in &all {
        lines.extend(compare(file, experiment, &registry, &runs)?);
    }
    if arguments.csv {
        print!("{}", csv(&lines));
        return Ok(ExitCode::SUCCESS);
    }
    let table = markdown(&lines);
    if !arguments.check {
        match terminal_size::terminal_size_of(std::io::stdout()) {
            Some((width, _)) => print!("{}", text(&lines, usize::from(width.0))),
            None => print!("{table}"),
        }
    }
    if arguments.pages.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut pages = read_pages(&arguments.pages)?;
    pages.retain(|page| page.has(MARKER));
    if pages.is_empty() {
        bail!("no page has the markers `<!-- {MARKER}:begin -->` and `<!-- {MARKER}:end -->`");
    }
    let mut files = Vec::new();
    for page in pages {
        files.push(Output {
            text: Some(splice(&page.text, MARKER, &table)?),
            path: page.path,
        });
    }
    match arguments.check {
        true => check(&files, "compare")?,
        false => files.iter().try_for_each(Output::write)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a person's word is the file, with or without the folder of papers.
fn is_called(said: &str, file: &str, name: &str) -> bool {
    let said = said.strip_suffix(".toml").unwrap_or(said);
    said == file || said == name
}

/// What was said, or what is there of a person's own results and the committed ones. Pages show the committed ones.
fn folders(arguments: &Arguments) -> Vec<PathBuf> {
    if !arguments.results.is_empty() {
        return arguments.results.clone();
    }
    let mut folders = vec![checkout::find(DEFAULT)];
    if arguments.pages.is_empty() {
        let own = std::env::var_os("QUANTLAB_RESULTS").filter(|folder| !folder.is_empty());
        folders.insert(0, own.map_or_else(|| "results".into(), PathBuf::from));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}
