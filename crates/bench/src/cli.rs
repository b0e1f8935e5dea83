//! What the commands have in common on the command line.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::{PathBufValueParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};

/// Where networks and images come from.
#[derive(Clone, Debug, clap::Args)]
pub struct Folders {
    /// The data folder: test sets, checkpoints, and registries of its own if it has any.
    #[arg(long, env = "QUANTLAB_DATA", default_value = crate::checkout::DATA.as_str(), value_parser = path())]
    pub data: PathBuf,
    /// Where decoded images are kept.
    #[arg(long, env = "QUANTLAB_CACHE", default_value = crate::checkout::CACHE.as_str(), value_parser = path())]
    pub cache: PathBuf,
}

impl Folders {
    /// Where trainings keep their checkpoints, each in a folder named after its run.
    pub fn trainings(&self) -> PathBuf {
        self.cache.join("training")
    }
}

/// Where results go to and come from.
#[derive(Clone, Debug, clap::Args)]
pub struct ResultsFolder {
    /// Where runs are kept.
    #[arg(
        long = "results",
        value_name = "RESULTS",
        env = "QUANTLAB_RESULTS",
        default_value = "results",
        value_parser = path()
    )]
    pub path: PathBuf,
}

/// Reads a path of the command line; a leading `~` is the home folder ([`crate::home`]).
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new()
        .try_map(|path| crate::home::expand(&path).map_err(|error| error.to_string()))
}

/// What Ctrl-C raises; `after` is what is still finished then. The second one ends the process at once, which loses nothing that is
/// finished: files are only ever renamed when whole.
///
/// # Errors
/// A system that does not tell of Ctrl-C.
pub fn stop_at_ctrl_c(after: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after {after}; once more stops at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// What of a plan a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The I-th of N shares.
    Fixed(usize, usize),
    /// Whatever is free.
    Free,
}

/// Reads `I/N` or `auto`.
///
/// # Errors
/// A text that is neither.
pub fn share(text: &str) -> Result<Share> {
    match text {
        "auto" => Ok(Share::Free),
        _ if text.contains('/') => shard(text).map(|(i, n)| Share::Fixed(i, n)),
        _ => bail!("write I/N, for example 1/2, or auto"),
    }
}

/// Reads `I/N`: share I, counted from 1, of N.
///
/// # Errors
/// A text that is none.
pub fn shard(text: &str) -> Result<(usize, usize)> {
    let (i, n) = text
        .split_once('/')
        .ok_or_else(|| anyhow!("write I/N, for example 1/2"))?;
    let (i, n): (usize, usize) = (i.parse()?, n.parse()?);
    if n == 0 || i == 0 || i > n {
        bail!("I counts from 1 to N");
    }
    Ok((i, n))
}

/// One line on stderr for an error, and exit status 1.
pub fn exit_code(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", line(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes as the one line that is shown, whatever words of files it repeats.
pub fn line(error: &anyhow::Error) -> String {
    const LONGEST: usize = 1500;
    message::one_line(format!("{error:#}").replace('\n', " "), LONGEST)
}

/// A line on stderr; on a terminal it is broken at spaces where the terminal ends.
pub fn say(line: &str) {
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((width, _)) => eprint!("{}", report::wrapped(line, usize::from(width.0))),
        None => eprintln!("{line}"),
    }
}

/// Whether a text that may name a network is a path: it leads into a folder, or ends in a dot and letters.
pub fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    path.extension().is_some() || path.components().count() > 1
}

/// The folder that a file is to be written to.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The number of worker threads: as asked, else one for each processor.
pub fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    )
}

/// A progress bar for decoding images: images done, of how many. Silent where stderr is no terminal.
pub fn decoding_bar() -> Box<dyn Fn(usize, usize) + Sync> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::no_length()
    } else {
        ProgressBar::hidden()
    };
    bar.set_style(
        ProgressStyle::with_template(
            "decoding images  {wide_bar}  {pos}/{len}  {per_sec}, {eta} left",
        )
        .expect("the template is a constant")
        .progress_chars("=> "),
    );
    Box::new(move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.finish_and_clear();
        }
    })
}
