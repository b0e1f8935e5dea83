//! Where in a file a network could lie: wherever the names of a ResNet's tensors begin, or where names are others, in
//! every dictionary with convolutions enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::entries::{Entries, Stored};
use crate::arch::Arch;

/// The smallest network has a hundred tensors; a block of one, whose own names are a network's too, has five.
const FEWEST_NAMES: usize = 20;

/// And 19 convolutions.
pub(super) const FEWEST_CONVOLUTIONS: usize = 19;

/// Every tensor name of every architecture.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let tensors = |arch: &Arch| arch.expected().into_iter().chain(arch.expected_folded());
    Arch::all()
        .iter()
        .flat_map(tensors)
        .map(|(name, _)| name)
        .collect()
});

/// A part of the file that could be the network.
pub(super) struct Candidate {
    /// The keys that lead to it; empty for the file's root.
    pub key: String,
    /// PyTorch's name, as far as names are known, to what is stored.
    pub tensors: BTreeMap<String, Stored>,
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Places in the file.
    pub places: BTreeMap<String, usize>,
}

/// Container and the prefix inside it of one candidate.
pub(super) type Place = (String, String);

/// The places where a ResNet's names begin, most promising first.
pub(super) fn places(entries: &Entries) -> Vec<Place> {
    // The longest known name, `layer1.0.downsample.0.weight`, has five parts.
    let mut votes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (name, entry) in entries.iter() {
        let dots = name.rmatch_indices('.').take(5).map(|(at, _)| at + 1);
        for start in dots.chain([0]) {
            if KNOWN.contains(&name[start..]) {
                let (count, container) = votes.entry(&name[..start]).or_insert((0, start));
                *count += 1;
                *container = (*container).min(entry.holder);
            }
        }
    }
    let mut places: Vec<_> = votes
        .into_iter()
        .filter(|&(_, (count, _))| count >= FEWEST_NAMES)
        .collect();
    places.sort_by_key(|&(prefix, (count, _))| (std::cmp::Reverse(count), prefix));
    let place = |(prefix, (_, container)): (&str, (usize, usize))| {
        let (container, inner) = prefix.split_at(container);
        (container.to_owned(), inner.to_owned())
    };
    places.into_iter().map(place).collect()
}

/// The dictionaries that hold as many convolutions, where no names are known.
pub(super) fn dictionaries(entries: &Entries, fewest: usize) -> Vec<Place> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, entry) in entries.iter() {
        if entry.shape.len() == 4 {
            *counts.entry(&name[..entry.holder]).or_default() += 1;
        }
    }
    let enough = (counts.into_iter()).filter(|&(_, count)| count >= fewest);
    enough
        .map(|(container, _)| (container.to_owned(), String::new()))
        .collect()
}

/// Everything under a place's container that belongs to no other place, without the place's prefix. Other dictionaries
/// under it (optimizer state beside a state dict at the root) are no part of it but for tensors with a network's names.
pub(super) fn candidate(entries: &Entries, place: &Place, all: &[Place]) -> Candidate {
    let (container, inner) = place;
    let prefix = format!("{container}{inner}");
    let prefixes: Vec<String> = all.iter().map(|(c, i)| format!("{c}{i}")).collect();
    let belongs = |full: &str| {
        let owners = prefixes
            .iter()
            .filter(|other| full.starts_with(other.as_str()));
        owners
            .max_by_key(|owner| owner.len())
            .is_none_or(|owner| *owner == prefix)
    };
    let mut found = Candidate {
        key: prefix.trim_end_matches('.').to_owned(),
        tensors: BTreeMap::new(),
        shapes: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    let mine = entries.under(container).filter(|(full, _)| belongs(full));
    let (inside, beside): (Vec<_>, Vec<_>) = mine.partition(|(full, _)| full.starts_with(&prefix));
    for (full, entry) in inside.into_iter().chain(beside) {
        let name = &full[container.len()..];
        let name = name.strip_prefix(inner.as_str()).unwrap_or(name);
        if entry.holder > container.len() && !KNOWN.contains(name) {
            continue;
        }
        // A tensor beside the network may have the name of one of its own.
        let name = match found.tensors.contains_key(name) {
            true => format!("./{full}"),
            false => name.to_owned(),
        };
        found.tensors.insert(name.clone(), entry.stored.clone());
        found.shapes.insert(name.clone(), entry.shape.clone());
        found.places.insert(name, entry.position);
    }
    found
}
