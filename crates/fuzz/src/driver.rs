//! Rounds: inputs by number, and what every one of them is held to.
//!
//! Input n of a reader is a function of the reader's name, a seed, n and the inputs before it: one of a pool is changed, and one whose
//! verdict was never heard before joins the pool (words in quotes and digits do not count). No clock and no thread enters. What is
//! held: no panic, also none that was caught further down; memory within [`memory`], by an allocator that refuses more; and
//! [`LONGEST_TIME`] on the best of three tries, for the machine has other work; and a refusal of one line.

use std::alloc::System;
use std::collections::HashSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cap::Cap;

use crate::mutate::mutate;
use crate::random::Random;
use crate::readers::{Reader, Verdict};
use crate::seeds;

/// The allocator of a program that fuzzes, its `#[global_allocator]`.
pub type Allocator = Cap<System>;

/// The most that an input may take; an honest one takes a thousandth.
pub const LONGEST_TIME: Duration = Duration::from_secs(2);

/// One that takes so long has no end: the program stops.
const ENDLESS: Duration = Duration::from_secs(120);

/// Bytes of a refusal.
const LONGEST_REFUSAL: usize = 2000;

/// Inputs of a pool.
const POOL: usize = 4096;

/// Bytes that reading an input may allocate: a constant of the reader, and 64 for each byte.
pub fn memory(reader: &Reader, input: &[u8]) -> usize {
    reader.memory + 64 * input.len()
}

static PANICS: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();
/// When the input at hand began, in milliseconds since the start and 1 more; 0 without one.
static BEGAN: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Counts panics from here on, of all threads, caught or not, and looks for an input that does not end.
pub fn watch() {
    if START.set(Instant::now()).is_err() {
        return;
    }
    panic::set_hook(Box::new(|info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        eprintln!("{info}");
    }));
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let began = BEGAN.load(Ordering::SeqCst);
            if began > 0 && now().saturating_sub(began) > ENDLESS.as_millis() as u64 {
                eprintln!("an input that does not end");
                std::process::abort();
            }
        }
    });
}

/// Reads `input`, holds the reader to its bounds, and gives its verdict with the time that it took.
///
/// # Errors
/// What was not kept. Where memory is not kept, the allocator ends the program; the input lies in `place/input`.
pub fn hold(
    reader: &Reader,
    allocator: Option<&Allocator>,
    place: &Path,
    input: &[u8],
) -> Result<(Verdict, Duration)> {
    fs::write(place.join("input"), input)?;
    let folder = place.join("files");
    fs::create_dir_all(&folder)?;
    let mut least = Duration::MAX;
    let mut verdict = Verdict::Taken;
    for _ in 0..3 {
        let before = PANICS.load(Ordering::SeqCst);
        if let Some(allocator) = allocator {
            let limit = allocator.allocated() + memory(reader, input);
            ensure!(allocator.set_limit(limit).is_ok(), "no limit can be set");
        }
        BEGAN.store(now(), Ordering::SeqCst);
        let start = Instant::now();
        let found = panic::catch_unwind(AssertUnwindSafe(|| (reader.read)(&folder, input)));
        let time = start.elapsed();
        BEGAN.store(0, Ordering::SeqCst);
        if let Some(allocator) = allocator {
            ensure!(
                allocator.set_limit(usize::MAX).is_ok(),
                "the limit cannot be lifted"
            );
        }
        let Ok(found) = found else { bail!("a panic") };
        ensure!(
            PANICS.load(Ordering::SeqCst) == before,
            "a panic that was caught"
        );
        verdict = found;
        least = least.min(time);
        if least < LONGEST_TIME {
            break;
        }
    }
    ensure!(
        least < LONGEST_TIME,
        "{least:?} for an input of {} bytes",
        input.len()
    );
    if let Verdict::Refused(words) = &verdict {
        let is_line = !words.is_empty() && !words.contains(|c: char| c.is_control());
        ensure!(is_line, "a refusal that is no line: {words:?}");
        ensure!(
            words.len() <= LONGEST_REFUSAL,
            "a refusal of {} bytes: {words}",
            words.len()
        );
    }
    Ok((verdict, least))
}

/// Inputs of one reader, one after the other.
pub struct Round<'a> {
    reader: &'a Reader,
    allocator: Option<&'static Allocator>,
    place: tempfile::TempDir,
    pool: Vec<Vec<u8>>,
    /// How many of the pool were there at first.
    given: u64,
    heard: HashSet<String>,
    seed: u64,
    /// Inputs so far.
    pub inputs: u64,
    /// Of them those that were read.
    pub taken: u64,
    /// The longest time of one.
    pub longest: Duration,
}

impl<'a> Round<'a> {
    /// A round from the reader's seeds and the files of `more`.
    ///
    /// # Errors
    /// No folder to write inputs to, or a seed that cannot be read.
    pub fn new(
        reader: &'a Reader,
        allocator: Option<&'static Allocator>,
        seed: u64,
        more: Option<&Path>,
    ) -> Result<Self> {
        watch();
        let mut pool = seeds::of(reader)?;
        if let Some(folder) = more {
            pool.extend(seeds::files(folder)?);
        }
        ensure!(!pool.is_empty(), "{} has no seeds", reader.name);
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Ok(Self {
            reader,
            allocator,
            place: scratch(reader.name)?,
            given: pool.len() as u64,
            pool,
            heard: HashSet::new(),
            seed: reader.name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix),
            inputs: 0,
            taken: 0,
            longest: Duration::ZERO,
        })
    }

    /// How many different verdicts there were.
    pub fn verdicts(&self) -> usize {
        self.heard.len()
    }

    /// The next input: first every seed as it is, then changed ones.
    ///
    /// # Errors
    /// As [`hold`]; the message names the input's number and a file that it was put into.
    pub fn step(&mut self) -> Result<()> {
        let number = self.inputs;
        self.inputs += 1;
        let input = match number < self.given {
            true => self.pool[number as usize].clone(),
            false => {
                let mut random =
                    Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut input = random.pick(&self.pool).clone();
                let other = random.pick(&self.pool);
                mutate(&mut input, other, self.reader.grammar, &mut random);
                input
            }
        };
        let held = hold(self.reader, self.allocator, self.place.path(), &input);
        let (verdict, time) = match held {
            Ok(held) => held,
            Err(error) => {
                let kept = std::env::temp_dir()
                    .join(format!("quantlab-fuzz-{}-{number}", self.reader.name));
                fs::write(&kept, &input)?;
                return Err(error).with_context(|| {
                    format!(
                        "{}, input {number}, kept as {}",
                        self.reader.name,
                        kept.display()
                    )
                });
            }
        };
        self.longest = self.longest.max(time);
        self.taken += u64::from(verdict == Verdict::Taken);
        if self.heard.len() < POOL && self.heard.insert(shape(&verdict)) && number >= self.given {
            self.pool.push(input);
        }
        Ok(())
    }

    /// The inputs whose verdicts were heard of no other before.
    pub fn pool(&self) -> &[Vec<u8>] {
        &self.pool
    }
}

/// The words of a verdict without what is the input's own: quoted words and digits.
fn shape(verdict: &Verdict) -> String {
    let Verdict::Refused(words) = verdict else {
        return String::new();
    };
    let mut shape = String::new();
    let mut quote = None;
    for c in words.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '`' | '"') => quote = Some(c),
            None if c.is_ascii_alphabetic() || c == ' ' => shape.push(c),
            None => {}
        }
    }
    shape.chars().take(160).collect()
}

/// A folder in memory where there is one: some file systems wait for the disk when a file is replaced.
fn scratch(name: &str) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("quantlab-fuzz-");
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => builder.tempdir_in(memory).or_else(|_| builder.tempdir()),
        false => builder.tempdir(),
    };
    made.with_context(|| format!("no folder for the inputs of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_input_says_itself_makes_no_other_verdict() {
        let said = |words: &str| shape(&Verdict::Refused(words.to_owned()));
        assert_eq!(
            said("line 3: unknown key `a`"),
            said("line 71: unknown key `b.c`")
        );
        assert_ne!(
            said("line 3: unknown key `a`"),
            said("line 3: unknown table `a`")
        );
        assert_ne!(shape(&Verdict::Taken), said("line 1"));
    }
}
