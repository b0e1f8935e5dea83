//! The lines below a table: what its numbers are, and what they rest on.

use std::collections::BTreeSet;

use crate::accuracy::AccuracyTable;
use crate::axes::fixed;
use crate::columns::{count, number};

impl AccuracyTable {
    /// What the numbers are: images, baselines, methods, revisions, hashes, settings that all runs share, failures.
    pub(crate) fn notes(&self) -> Vec<String> {
        let list = |items: BTreeSet<String>| items.into_iter().collect::<Vec<_>>().join(", ");
        let n: BTreeSet<u64> = self.rows.iter().filter_map(|row| row.n).collect();
        let n = n.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let used: BTreeSet<&str> = self
            .rows
            .iter()
            .filter_map(|row| row.float_run.as_deref())
            .collect();
        let baselines = self
            .rows
            .iter()
            .filter(|row| used.contains(row.run_id.as_str()))
            .map(|row| {
                format!(
                    "`{}` ({} hits, {} %)",
                    row.run_id,
                    count(row.top1),
                    number(row.top1_percent(), 2)
                )
            });
        let baselines = baselines.collect::<Vec<_>>().join(", ");
        let baselines = if baselines.is_empty() {
            "none".to_string()
        } else {
            baselines
        };
        let revisions = list(
            self.runs
                .iter()
                .map(|run| revision(&run.git_revision))
                .collect(),
        );
        let network = |run: &results::RunRow| {
            format!("{} `{}`", run.config.model(), short(&run.weights_sha256))
        };
        let models = list(self.runs.iter().map(network).collect());
        let data = list(
            self.runs
                .iter()
                .map(|run| {
                    format!(
                        "{} `{}`",
                        run.config.text("dataset"),
                        short(&run.data_sha256)
                    )
                })
                .collect(),
        );
        let uncorrected = match self.rows.iter().filter(|row| row.p.is_some()).count() {
            0 | 1 => String::new(),
            n => format!(", not corrected for the {n} comparisons"),
        };
        let mut notes = vec![format!(
            "n = {n} images. Float run: {baselines}; Δ is the difference to it in points, flips are predictions that \
                 differ from it. 95 % interval: Wilson score. p: McNemar's exact test against it, two-sided{uncorrected}. \
                 Revision: {revisions}. Weights: {models}. Data: {data}."
        )];
        let sources = self.rows.iter().filter_map(|row| row.published.as_ref());
        let sources: BTreeSet<String> = sources.map(|row| row.source.clone()).collect();
        if !sources.is_empty() {
            notes.extend([String::new(), format!("Published: {}.", list(sources))]);
        }
        notes.extend(self.note_on_peers());
        notes.extend(self.notes_on_codes());
        let fixed = fixed(&self.runs);
        if !fixed.is_empty() {
            notes.extend([
                String::new(),
                format!("The same in all runs: {}.", fixed.join(", ")),
            ]);
        }
        let failed = self
            .rows
            .iter()
            .filter_map(|row| row.failed.as_ref().map(|error| (row, error)));
        for (row, error) in failed {
            notes.extend([
                String::new(),
                format!(
                    "Failed: run `{}` ({}{}): {error}",
                    row.run_id,
                    row.bits().label(self.activations),
                    if self.activations { "" } else { " bits" }
                ),
            ]);
        }
        notes
    }

    /// What `cost.svg` shows: which tools beside the runs, where their figures come from, and whose seconds are whose.
    fn note_on_peers(&self) -> Vec<String> {
        let mut sources: Vec<(&str, Vec<&str>)> = Vec::new();
        for peer in &self.peers {
            let (name, source) = (peer.peer.as_str(), peer.source.as_str());
            match sources.iter_mut().find(|(known, _)| *known == source) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => sources.push((source, vec![name])),
            }
        }
        if sources.is_empty() {
            return Vec::new();
        }
        let said = sources
            .iter()
            .map(|(source, names)| format!("{} ({source})", names.join("; ")));
        let said: Vec<String> = said.collect();
        let threads: BTreeSet<u32> = self.runs.iter().map(|run| run.threads).collect();
        let threads: Vec<String> = threads.iter().map(u32::to_string).collect();
        let note = format!(
            "Beside the runs in cost.svg: {}. Seconds there are those of quantizing without evaluation, of the runs with threads {}.",
            said.join("; "),
            threads.join(", ")
        );
        vec![String::new(), note]
    }

    /// What the pairs of bits are, and the columns of integer runs; nothing where there are none.
    fn notes_on_codes(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.activations {
            sentences.push("W8A4: weights have 8 bits, activations 4 (32: float).".to_string());
        }
        if self.trained {
            sentences.push(
                "Latent SQNR: of a training's own weights against their codes, the median of the layers; how settled they \
                 are, not what was lost."
                    .to_string(),
            );
        }
        let lost = self.rows.iter().any(|row| row.lost_channels > Some(0));
        if lost {
            sentences.push(
                "Lost channels: without variance, or with more than 90 % of their weights clipped."
                    .to_string(),
            );
        }
        let all: BTreeSet<u64> = self.rows.iter().filter_map(|row| row.codes).collect();
        if !all.is_empty() {
            let all: Vec<String> = all.iter().map(u64::to_string).collect();
            sentences.push(format!(
                "Codes differ: of the {} codes of all values and images, those that integers and simulation give \
                 differently; max: the largest difference of two.",
                all.join(", ")
            ));
        }
        let timed = self
            .runs
            .iter()
            .filter(|run| run.images_per_second.is_some());
        let threads: BTreeSet<u32> = timed.map(|run| run.threads).collect();
        if self.integers && !threads.is_empty() {
            let threads: Vec<String> = threads.iter().map(u32::to_string).collect();
            sentences.push(format!(
                "Images/s: through the network, threads {}; the comparison of codes is not in it.",
                threads.join(", ")
            ));
        }
        match sentences.is_empty() {
            true => Vec::new(),
            false => vec![String::new(), sentences.join(" ")],
        }
    }
}

/// The first eight characters of a hash.
fn short(hash: &str) -> String {
    hash.chars().take(8).collect()
}

/// A revision with its hash cut to ten characters, `-dirty` kept.
fn revision(text: &str) -> String {
    let (hash, rest) = text.split_at(text.find('-').unwrap_or(text.len()));
    let hash: String = hash.chars().take(10).collect();
    if text.is_empty() {
        "unknown".into()
    } else {
        format!("`{hash}{rest}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dirty_revision_stays_dirty() {
        assert_eq!(revision("0123456789abcdef0123-dirty"), "`0123456789-dirty`");
        assert_eq!(revision("0123456789abcdef0123"), "`0123456789`");
        assert_eq!(revision(""), "unknown");
    }
}
