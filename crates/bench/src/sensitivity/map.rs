//! The measurement, block by block.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use dataset::Dataset;
use network::Network;
use quant_core::{Bits, words};
use quantize::{Kind, LogitError, Probe, SiteCodes, SiteStatistics, Subject, Widths};
use results::{FileLock, SensitivityRow, Wait, read_rows, rows_text, write_whole};

use crate::allocated::tried;
use crate::plan::PlannedRun;
use crate::quantized::{Around, float};
use crate::settings::Quantization;

/// What is tried with each layer and site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It has few bits, all else is in float.
    Alone,
    /// It is in float, all else has few bits.
    AllBut,
}

words!(Tried, "tried": Alone = "alone", AllBut = "all_but");

/// Share number `.0`, from 1, of `.1`.
pub type Share = (usize, usize);

/// The most images of a block.
const BLOCK: usize = 1024;
/// The most bytes of a block's pixels.
const PIXELS: usize = 1 << 28;
/// A part of the folder that holds finished blocks.
const PARTS: &str = "parts";

/// A map that is measured into a folder.
pub struct Map<'a> {
    run: &'a PlannedRun,
    how: &'a Quantization,
    widths: Vec<Bits>,
    tried: Tried,
    folder: PathBuf,
    threads: usize,
    memory: usize,
}

/// What a round changes at once.
struct Round {
    /// What everything else has; none: float.
    base: Option<u32>,
    changes: Vec<(Kind, String, u32)>,
}

impl<'a> Map<'a> {
    /// The map of `run` at `widths`, in a folder of its own below `results`, on so many threads with about so many bytes of memory.
    ///
    /// # Errors
    /// A run that quantizes nothing or is trained.
    pub fn new(
        run: &'a PlannedRun,
        (widths, tried): (&[Bits], Tried),
        results: &Path,
        (threads, memory): (usize, usize),
    ) -> Result<Self> {
        let how = (run.cell.quantization.as_ref())
            .context("nothing is quantized; set weights.bits or activations.bits")?;
        if !matches!(how.source, crate::settings::Source::PostTraining) {
            bail!(
                "method = qat or stored: a network's own widths cannot be tried; set method = ptq"
            );
        }
        let mut widths = widths.to_vec();
        widths.sort_unstable_by_key(|bits| bits.get());
        widths.dedup();
        let words: Vec<String> = widths.iter().map(|bits| bits.get().to_string()).collect();
        // What it is a map of does not depend on the bits that the cell happens to have.
        let nominal = |has: bool| if has { 8 } else { results::FLOAT_BITS };
        let config = (run.config.clone())
            .with("weights_bits", nominal(how.weights.scheme.is_some()))
            .with("activations_bits", nominal(how.activations.is_some()))
            .with("allocate_bits", words.join(" "));
        let calibration = run.calibration.as_ref().map(|set| set.sha256.as_str());
        let weights = &run.model.checkpoint.sha256;
        let id = results::run_id(&config, weights, &run.set.sha256, calibration);
        let file = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        };
        let name: String = run.model.name.chars().map(file).collect();
        let folder = results.join("sensitivity").join(format!("{name}-{id}"));
        Ok(Self {
            run,
            how,
            widths,
            tried,
            folder,
            threads,
            memory,
        })
    }

    /// Where it is written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of the finished map.
    pub fn file(&self) -> PathBuf {
        let name = match self.tried {
            Tried::Alone => "sensitivity.csv",
            Tried::AllBut => "all_but.csv",
        };
        self.folder.join(name)
    }

    /// Measures the blocks of `share` that are not there, and adds all blocks up if all are; none where others still work on some.
    /// `progress` is told images times changes, and how many those are in all.
    ///
    /// # Errors
    /// Files that cannot be written; images that do not fit; `cancelled`.
    pub fn measure(
        &self,
        statistics: Option<&SiteStatistics>,
        share: Share,
        progress: &(dyn Fn(u64, u64) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Option<Vec<SensitivityRow>>> {
        if self.file().is_file() {
            return Ok(Some(read_rows(&self.file())?));
        }
        let data = &self.run.set.data;
        let parts = self.folder.join(PARTS);
        std::fs::create_dir_all(&parts)
            .with_context(|| format!("cannot make {}", parts.display()))?;
        let around = Around::of(self.run, self.threads);
        let checkpoint = &self.run.model.checkpoint;
        let network = float(checkpoint, self.how)?;
        let size = [data.height(), data.width()];
        let widths = (&self.widths[..], statistics);
        let (rounded, tried) = tried(checkpoint, &network, self.how, widths, &around, size)?;
        let subject = Subject {
            float: &network,
            rounded: &rounded,
            statistics,
            tried,
        };
        let pool = around.pool()?;
        let blocks: Vec<usize> = (0..data.len()).step_by(block(data)).collect();
        let part = |number: usize| parts.join(format!("{}-{number:05}.csv", self.tried));
        let own = |number: &usize| number % share.1 + 1 == share.0;
        let due: Vec<usize> = (0..blocks.len())
            .filter(|number| own(number) && !part(*number).is_file())
            .collect();
        let images = |number: usize| blocks[number]..data.len().min(blocks[number] + block(data));
        let changes = subject.tried.iter().map(|(.., bits)| bits.len() as u64);
        let changes = changes.sum::<u64>();
        let total: u64 = due
            .iter()
            .map(|&number| images(number).len() as u64 * changes)
            .sum();
        for number in due {
            let lock = FileLock::acquire(
                &parts.join(format!("{}-{number:05}.lock", self.tried)),
                Wait::No,
            )?;
            let Some(_lock) = lock else { continue };
            if part(number).is_file() {
                continue;
            }
            let told = |images: u64| progress(images, total);
            let made = pool.install(|| self.block(&subject, images(number), &told, cancelled))?;
            write_whole(&part(number), rows_text(&made).as_bytes())
                .with_context(|| format!("cannot write {}", part(number).display()))?;
        }
        if (0..blocks.len()).any(|number| !part(number).is_file()) {
            return Ok(None);
        }
        let mut all: Vec<SensitivityRow> = Vec::new();
        for number in 0..blocks.len() {
            let rows: Vec<SensitivityRow> = read_rows(&part(number))?;
            match all.is_empty() {
                true => all = rows,
                false if all.len() == rows.len() => {
                    for (all, own) in all.iter_mut().zip(&rows) {
                        add(all, own);
                    }
                }
                false => bail!(
                    "{} is of another measurement; remove {}",
                    part(number).display(),
                    parts.display()
                ),
            }
        }
        write_whole(&self.file(), rows_text(&all).as_bytes())
            .with_context(|| format!("cannot write {}", self.file().display()))?;
        Ok(Some(all))
    }

    /// One block: a row for each change.
    fn block(
        &self,
        subject: &Subject<'_>,
        images: std::ops::Range<usize>,
        progress: &(dyn Fn(u64) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<Vec<SensitivityRow>> {
        let data = &self.run.set.data;
        let size = [data.height(), data.width()];
        let mut pixels = vec![0.0; images.len() * data.image_len()];
        data.write_batch(images.clone(), &mut pixels);
        let labels: Vec<u16> = images.map(|i| data.label(i)).collect();
        let float = Probe::new(subject.float.clone(), size, &SiteCodes::new())?;
        let reference = float.logits(&pixels)?;
        let mut rows = Vec::new();
        for round in self.rounds(subject, float.bytes_of_image())? {
            if cancelled.load(Ordering::Relaxed) {
                bail!("stopped; finished blocks are kept");
            }
            let mut probe = self.probe(subject, &round, size)?;
            let numbers = changes(&mut probe, subject, &round)?;
            let (errors, _) = probe.errors((&pixels, &labels), &reference)?;
            for ((kind, name, bits), number) in round.changes.iter().zip(numbers) {
                rows.push(row((*kind, name, *bits), self.tried, &errors[number]));
            }
            progress((labels.len() * round.changes.len()) as u64);
        }
        Ok(rows)
    }

    /// What is tried together: as much as the memory allows, where one image's values take so many bytes.
    fn rounds(&self, subject: &Subject<'_>, image: usize) -> Result<Vec<Round>> {
        // Two sets of values of eight images for each thread.
        let values = 16 * self.threads * image;
        let most = self.memory / 2;
        if values > most {
            bail!(
                "--memory {} MiB: the values of {} threads take about {} MiB; give at least twice that, or fewer --threads",
                self.memory >> 20,
                self.threads,
                values >> 20
            );
        }
        let bytes = |kind: Kind, name: &str| -> usize {
            let tensor = subject.float.tensors().get(&format!("{name}.weight"));
            let weights = tensor.filter(|_| kind == Kind::Weights);
            weights.map_or(0, |tensor| 4 * tensor.data.len())
        };
        Ok(rounds(&subject.tried, self.tried, &bytes, most))
    }

    /// The network that a round changes.
    fn probe(&self, subject: &Subject<'_>, round: &Round, size: [usize; 2]) -> Result<Probe> {
        let Some(base) = round.base else {
            return Ok(Probe::new(subject.float.clone(), size, &SiteCodes::new())?);
        };
        let network = subject.rounded.network(base).unwrap_or(subject.float);
        let codes = subject.rounded.codes.iter().find(|(bits, _)| *bits == base);
        let codes = codes.map_or_else(SiteCodes::new, |(_, codes)| codes.clone());
        Ok(Probe::new(network.clone(), size, &codes)?)
    }
}

/// Changes in rounds, each of which takes no more than `most` bytes if one change alone does not; with all else at a width, those of
/// that width.
fn rounds(
    tries: &[Widths],
    tried: Tried,
    bytes: &dyn Fn(Kind, &str) -> usize,
    most: usize,
) -> Vec<Round> {
    let mut all: Vec<(Kind, String, u32)> = Vec::new();
    for (kind, name, bits) in tries {
        all.extend(bits.iter().map(|bits| (*kind, name.clone(), *bits)));
    }
    // By width, since that is what a base has.
    all.sort_by_key(|(.., bits)| *bits);
    let mut rounds: Vec<Round> = Vec::new();
    let mut held = 0;
    for change in all {
        let base = (tried == Tried::AllBut).then_some(change.2);
        let own = bytes(change.0, &change.1);
        match rounds.last_mut() {
            Some(round) if (own == 0 || held + own <= most) && round.base == base => {
                round.changes.push(change);
                held += own;
            }
            _ => {
                rounds.push(Round {
                    base,
                    changes: vec![change],
                });
                held = own;
            }
        }
    }
    rounds
}

/// Images at once.
fn block(data: &Dataset) -> usize {
    (PIXELS / (4 * data.image_len())).clamp(1, BLOCK)
}

/// Adds a round's changes to `probe`; their numbers there.
fn changes(probe: &mut Probe, subject: &Subject<'_>, round: &Round) -> Result<Vec<usize>> {
    let mut numbers = vec![0; round.changes.len()];
    // All layers of a width at once: each time, the whole network is lowered.
    let mut widths: Vec<u32> = round.changes.iter().map(|(.., bits)| *bits).collect();
    widths.dedup();
    for width in widths {
        let is_own = |number: &usize| {
            let (kind, _, bits) = &round.changes[*number];
            *kind == Kind::Weights && *bits == width
        };
        let own: Vec<usize> = (0..round.changes.len()).filter(is_own).collect();
        let other: &Network = match round.base {
            Some(_) => subject.float,
            None => subject.rounded.network(width).unwrap_or(subject.float),
        };
        let wanted = |layer: &str| own.iter().any(|&number| round.changes[number].1 == layer);
        let first = probe.changes();
        for (place, layer) in probe.weights(other, &wanted)?.iter().enumerate() {
            let number = own
                .iter()
                .find(|&&number| round.changes[number].1 == *layer);
            if let Some(&number) = number {
                numbers[number] = first + place;
            }
        }
    }
    for (number, (kind, site, bits)) in round.changes.iter().enumerate() {
        if *kind == Kind::Activations {
            let code = subject.rounded.code(site, *bits);
            numbers[number] = probe.changes();
            probe.site(site, code.filter(|_| round.base.is_none()))?;
        }
    }
    Ok(numbers)
}

fn row((kind, name, bits): (Kind, &str, u32), tried: Tried, error: &LogitError) -> SensitivityRow {
    SensitivityRow {
        layer: name.to_owned(),
        kind: kind.name().to_owned(),
        tried: tried.to_string(),
        bits,
        images: error.images as u64,
        signal: error.signal,
        noise: error.noise,
        kl_sum: error.kl,
        loss_sum: error.loss,
        flips: error.flips as u64,
        top1_correct: error.hits as u64,
    }
}

fn add(all: &mut SensitivityRow, own: &SensitivityRow) {
    all.images += own.images;
    all.signal += own.signal;
    all.noise += own.noise;
    all.kl_sum += own.kl_sum;
    all.loss_sum += own.loss_sum;
    all.flips += own.flips;
    all.top1_correct += own.top1_correct;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries() -> Vec<Widths> {
        let layer = |name: &str| (Kind::Weights, name.to_owned(), vec![2, 8]);
        let site = (Kind::Activations, "input".to_owned(), vec![8]);
        vec![layer("conv1"), layer("conv2"), layer("fc"), site]
    }

    /// The numbers of changes of each round, and the bits of all else.
    fn sizes(tried: Tried, most: usize) -> Vec<(usize, Option<u32>)> {
        let bytes = |kind: Kind, name: &str| match (kind, name) {
            (Kind::Activations, _) => 0,
            (_, "fc") => 100,
            _ => 10,
        };
        let rounds = rounds(&tries(), tried, &bytes, most);
        let mut seen: Vec<_> = rounds
            .iter()
            .flat_map(|round| round.changes.clone())
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7);
        rounds
            .iter()
            .map(|round| (round.changes.len(), round.base))
            .collect()
    }

    #[test]
    fn rounds_hold_as_much_as_the_memory_allows_and_one_layer_at_least() {
        assert_eq!(sizes(Tried::Alone, 1000), [(7, None)]);
        assert_eq!(sizes(Tried::Alone, 150), [(5, None), (2, None)]);
        assert_eq!(
            sizes(Tried::Alone, 20),
            [(2, None), (1, None), (2, None), (2, None)]
        );
        assert_eq!(sizes(Tried::AllBut, 1000), [(3, Some(2)), (4, Some(8))]);
    }
}
