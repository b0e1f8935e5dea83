//! `fetch NAME ...`: gets test sets and checkpoints, verified by SHA-256; without names, lists them.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::cli::exit_code;
use crate::fetch::item::{Item, State, item, items};
use crate::fetch::transfer::Policy;
use crate::fetch::{Event, Outcome, fetch};
use crate::registry::Registry;

/// Download test sets and checkpoints into the data folder; what is there and verifies is left alone.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names from models.toml and datasets.toml; without any, what can be fetched is listed.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The data folder; made if it does not exist.
    #[arg(long, env = "QUANTLAB_DATA", default_value = crate::checkout::DATA.as_str(), value_parser = crate::cli::path())]
    data: PathBuf,
    /// List what can be fetched, what of it is there, and where it goes.
    #[arg(long)]
    list: bool,
    /// Replace files that are there and do not verify.
    #[arg(long)]
    force: bool,
    /// Tries in a row that may fail before a download is given up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    /// Seconds to wait for a connection, an answer or the next bytes.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Runs it.
///
/// # Errors
/// What a person is told in one line.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let registry = Registry::read(&arguments.data)?;
    if arguments.list || arguments.names.is_empty() {
        let wanted: Vec<Item> = if arguments.names.is_empty() {
            items(&registry)?
        } else {
            find(&registry, &arguments.names)?
        };
        print!("{}", table(&wanted));
        return Ok(ExitCode::SUCCESS);
    }
    // All names are known before the first byte is asked for.
    let wanted = find(&registry, &arguments.names)?;
    ctrlc::set_handler(|| {
        // Parts are written straight to the file, so there is nothing to finish.
        eprintln!("\nstopped; what arrived is kept, the same command goes on from there");
        std::process::exit(130);
    })
    .context("cannot listen for Ctrl-C")?;
    let policy = Policy {
        tries: arguments.tries,
        timeout: Duration::from_secs(arguments.timeout),
        ..Policy::default()
    };
    let mut failed = 0;
    for item in &wanted {
        let progress = Progress::new(&item.name);
        let outcome = fetch(item, &policy, arguments.force, &|event| {
            progress.show(event)
        });
        progress.clear();
        let place = item.goes_to().display();
        match outcome {
            Ok(Outcome::Present) => println!("{}: {place} is there and verified", item.name),
            Ok(Outcome::Fetched(sha256)) => {
                println!("{}: {place} is whole, sha256 {sha256}", item.name);
            }
            Ok(Outcome::Unpacked) => {
                println!("{}: {place} holds {}", item.name, item.members.join(", "))
            }
            Err(error) => {
                failed += 1;
                exit_code(Err(error.context(item.name.clone())));
            }
        }
    }
    if failed > 0 && wanted.len() > 1 {
        eprintln!("{failed} of {} could not be fetched", wanted.len());
    }
    Ok(if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The items with these names, each once.
fn find(registry: &Registry, names: &[String]) -> Result<Vec<Item>> {
    let mut found: Vec<Item> = Vec::new();
    for name in names {
        if !found.iter().any(|item| item.name == *name) {
            found.push(item(registry, name)?);
        }
    }
    Ok(found)
}

fn table(items: &[Item]) -> String {
    let rows: Vec<[String; 5]> = items
        .iter()
        .map(|item| {
            let state = match item.state() {
                State::Absent => "absent".to_owned(),
                State::Partial(bytes) => format!("{} so far", BinaryBytes(bytes)),
                State::Present => "present".to_owned(),
                State::Different => "other or partial files".to_owned(),
            };
            [
                item.name.clone(),
                item.size.map_or_else(
                    || "unknown".to_owned(),
                    |size| BinaryBytes(size).to_string(),
                ),
                state,
                item.goes_to().display().to_string(),
                item.licence.clone(),
            ]
        })
        .collect();
    let head = ["name", "size", "state", "goes to", "licence"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&head])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut text = String::new();
    for row in [&head].into_iter().chain(&rows) {
        for (cell, width) in row.iter().zip(widths) {
            text += &format!("{cell:<width$}  ");
        }
        text += &row[4];
        text.push('\n');
    }
    text
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    line: RefCell<Line>,
}

/// What the next line needs to know.
struct Line {
    said: Instant,
    began: Instant,
    from: u64,
    total: Option<u64>,
}

impl Progress {
    fn new(name: &str) -> Self {
        let now = Instant::now();
        Self {
            name: name.to_owned(),
            bar: std::io::stderr().is_terminal().then(ProgressBar::no_length),
            line: RefCell::new(Line {
                said: now,
                began: now,
                from: 0,
                total: None,
            }),
        }
    }

    fn show(&self, event: Event) {
        match event {
            Event::Started { url, from, total } => self.started(url, from, total),
            Event::Position(bytes) => self.position(bytes),
            Event::Waiting => self.say("another process fetches it; waiting for that"),
            Event::Retrying { reason, pause } => {
                self.say(&format!("{reason}; next try in {} s", pause.as_secs_f32()));
            }
            Event::StartingOver => {
                self.say("the resumed file does not verify; once more from its start")
            }
            Event::Unpacking => self.say("verified; unpacking"),
        }
    }

    fn started(&self, url: &str, from: u64, total: Option<u64>) {
        let size = total.map_or_else(|| "unknown size".to_owned(), |n| BinaryBytes(n).to_string());
        let resumed = if from > 0 {
            format!(", {} of it here already", BinaryBytes(from))
        } else {
            String::new()
        };
        self.say(&format!("{size} from {url}{resumed}"));
        let now = Instant::now();
        *self.line.borrow_mut() = Line {
            said: now,
            began: now,
            from,
            total,
        };
        let Some(bar) = &self.bar else { return };
        let template = match total {
            Some(total) => {
                bar.set_length(total);
                "{msg}  {wide_bar}  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}, {eta} left"
            }
            None => "{msg}  {spinner}  {binary_bytes}  {binary_bytes_per_sec}",
        };
        bar.set_style(
            ProgressStyle::with_template(template)
                .expect("the template is a constant")
                .progress_chars("=> "),
        );
        bar.set_message(self.name.clone());
        bar.set_position(from);
        // What was here already says nothing about the rate.
        bar.reset_eta();
    }

    fn position(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            return;
        }
        let mut line = self.line.borrow_mut();
        if line.said.elapsed() < Duration::from_secs(10) {
            return;
        }
        line.said = Instant::now();
        let rate = (bytes - line.from) as f64 / line.began.elapsed().as_secs_f64();
        let left = line
            .total
            .filter(|_| rate > 0.0)
            .map_or_else(String::new, |total| {
                let seconds = total.saturating_sub(bytes) as f64 / rate;
                format!(", {} left", HumanDuration(Duration::from_secs_f64(seconds)))
            });
        eprintln!(
            "{}: {} so far, {}/s{left}",
            self.name,
            BinaryBytes(bytes),
            BinaryBytes(rate as u64)
        );
    }

    fn say(&self, text: &str) {
        let line = format!("{}: {text}", self.name);
        match &self.bar {
            Some(bar) => bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{line}");
            }),
            None => eprintln!("{line}"),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
