//! Which of a file's tensors are the network, and which network.
//!
//! Checkpoints hold the weights at the root or under some key (`state_dict`, `model`, `net`, ...), beside optimizer
//! state and other networks, with parts in their names that wrappers leave. No list of keys is kept: wherever the names
//! of a ResNet's tensors begin, there is a candidate, and every candidate that is most of an architecture counts as a
//! network, whatever it has too much or too little. Of several networks none is taken unless one is asked for: an
//! average beside the weights it was made of must not be mixed up with them for a counter. Where no names are known,
//! shapes and order decide ([`structure`]).

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::{Candidate, FEWEST_CONVOLUTIONS, candidate, dictionaries, places};
use super::differences::{Differences, TRACKED, differences};
use super::entries::{Stored, entries};
use super::reading::{Extra, Reading};
use super::source::Listing;
use super::structure;
use crate::arch::Arch;
use crate::error::{Error, quoted};
use crate::families;

/// More networks than this are not compared with anything: no honest file has so many, and comparing takes its time.
const MOST_NETWORKS: usize = 32;

/// How many networks a message names; the others are counted.
const NAMED: usize = 6;

/// The network found in a file.
#[derive(Debug)]
pub(super) struct Selection {
    pub arch: Arch,
    pub folded: bool,
    /// PyTorch's name to what is read for it, for every tensor that is needed.
    pub tensors: BTreeMap<String, Stored>,
    /// Flat names of what stands beside the network and is left alone.
    pub ignored: Vec<String>,
    /// Where shapes and order decided: the layers' names in the file and PyTorch's, in order of execution.
    pub taken: Vec<(String, String)>,
    /// Whether that order was the file's; else it was that of the names.
    pub ordered: bool,
    /// Keys of other parts of the file with a ResNet's names, which are no network known here or not the one wanted.
    pub passed_over: Vec<String>,
}

/// Why nothing was selected.
#[derive(Debug)]
pub(super) enum Failure {
    /// These keys (with architectures) all lead to a network.
    Ambiguous(Vec<String>),
    /// Everything else.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a candidate is.
struct Fit {
    arch: Arch,
    folded: bool,
    differences: Differences,
    /// PyTorch's name to the candidate's, where shapes and order decided.
    found: Option<BTreeMap<String, String>>,
    /// What they left open, where they did not.
    open: Option<String>,
    /// Whether the order is the file's.
    ordered: bool,
}

/// Finds the network among the tensors of a file; `wanted` restricts it to one architecture, of any class count.
pub(super) fn select(
    listing: &Listing,
    wanted: Option<&Arch>,
    reading: &Reading,
) -> Result<Selection, Failure> {
    let entries = entries(&listing.infos, reading)?;
    let mut all = places(&entries);
    let named = !all.is_empty();
    if !named {
        all = dictionaries(&entries, FEWEST_CONVOLUTIONS);
    }
    let mut places = all.clone();
    if entries.is_root_chosen() {
        places.retain(|(container, inner)| container.is_empty() && inner.is_empty());
    }
    if all.len() > MOST_NETWORKS {
        let keys = all.iter().map(|(container, inner)| {
            let key = format!("{container}{inner}");
            quoted(key.trim_end_matches('.'))
        });
        return Err(Failure::Ambiguous(some_of(keys.collect())));
    }
    let mut networks = Vec::new();
    let mut passed_over = Vec::new();
    let mut reason = None;
    for place in &places {
        let candidate = candidate(&entries, place, &all);
        match fit(&candidate, listing.ordered) {
            Ok(fit) => networks.push((candidate, fit)),
            Err(why) => {
                reason = reason.or(Some(why));
                passed_over.push(candidate.key);
            }
        }
    }
    let is_wanted = |fit: &Fit| wanted.is_none_or(|arch| same(arch, &fit.arch));
    if networks.iter().any(|(_, fit)| is_wanted(fit)) {
        let (these, others) = networks.into_iter().partition(|(_, fit)| is_wanted(fit));
        networks = these;
        let others: Vec<(Candidate, Fit)> = others;
        passed_over.extend(others.into_iter().map(|(candidate, _)| candidate.key));
    }
    if networks.len() > 1 {
        let described = networks
            .iter()
            .map(|(candidate, fit)| described(candidate, fit));
        return Err(Failure::Ambiguous(some_of(described.collect())));
    }
    let Some((candidate, fit)) = networks.pop() else {
        let count = listing.infos.len();
        let names = match named {
            true => "their names are a ResNet's, their shapes are not".to_owned(),
            false => format!("of {count} tensors none has the name of a ResNet's"),
        };
        let names = format!("{names}, nor are they a network of {}", families::names());
        let reason = match reason {
            Some(why) if count > 0 => format!("{names}; by shapes and order: {why}"),
            _ => names,
        };
        return Err(Error::Unrecognised { reason }.into());
    };
    match wanted {
        Some(arch) if !is_wanted(&fit) => Err(unlike(arch, &candidate).into()),
        _ => Ok(Selection {
            passed_over,
            ..take(candidate, fit, wanted, reading.extra)?
        }),
    }
}

/// The first few of a list, and how many there are more.
fn some_of(mut list: Vec<String>) -> Vec<String> {
    let more = list.len().saturating_sub(NAMED);
    list.truncate(NAMED);
    if more > 0 {
        list.push(format!("{more} more"));
    }
    list
}

/// Whether two architectures differ in their classes at most.
fn same(a: &Arch, b: &Arch) -> bool {
    a.with_classes(1) == b.with_classes(1)
}

/// A candidate for the list of them.
fn described(candidate: &Candidate, fit: &Fit) -> String {
    let key = match candidate.key.as_str() {
        "" => ".",
        key => key,
    };
    let counted = fit.differences.counted();
    let counted = match counted.is_empty() {
        true => counted,
        false => format!(", {counted}"),
    };
    format!("{} ({}{counted})", quoted(key), fit.arch)
}

/// The network, if nothing is wrong with it.
fn take(
    candidate: Candidate,
    fit: Fit,
    wanted: Option<&Arch>,
    extra: Extra,
) -> Result<Selection, Error> {
    let Fit {
        arch,
        folded,
        differences,
        found,
        open,
        ordered,
    } = fit;
    let own = |name: &String| {
        let layer = name.strip_suffix(".bias");
        layer.is_some_and(|layer| {
            arch.layout().units().iter().any(|unit| {
                let stored = found
                    .as_ref()
                    .and_then(|f| f.get(&format!("{}.weight", unit.conv)));
                let conv = stored.and_then(|name| name.strip_suffix(".weight"));
                layer == conv.unwrap_or(&unit.conv)
            })
        })
    };
    let differ = |what: String| {
        let exact = wanted.is_some() || differences.is_complete();
        let note = if exact {
            ""
        } else {
            " (the nearest architecture)"
        };
        Error::TensorsDiffer {
            arch: format!("{arch}{note}"),
            differences: what,
        }
    };
    if !differences.is_complete() {
        // As many names too much as too little: they may be the same tensors.
        let other_names = !differences.missing.is_empty() && !differences.unused.is_empty();
        let open = open.filter(|_| other_names && differences.misshapen.is_empty());
        let open = open.map(|why| {
            format!("; by shapes and order: {why}; model.rename can say what names mean")
        });
        let open = open.unwrap_or_default();
        return Err(differ(format!("{differences}{open}")));
    }
    if !folded && differences.unused.iter().any(own) {
        return Err(differ(format!(
            "{differences} (biases of convolutions beside BatchNorm are not read; fold them into running_mean: mean - bias)"
        )));
    }
    if !differences.unused.is_empty() && extra == Extra::Refuse {
        return Err(differ(format!(
            "{differences}; the network is complete without: model.extra = \"ignore\" takes it"
        )));
    }
    let Candidate { mut tensors, .. } = candidate;
    let ignored = differences.unused.iter().flat_map(|name| &tensors[name]);
    let ignored = ignored.cloned().collect();
    let mut taken = Vec::new();
    if let Some(found) = &found {
        for layer in arch.layout().layers() {
            if let Some(theirs) = found.get(&format!("{layer}.weight")) {
                let theirs = theirs.strip_suffix(".weight").unwrap_or(theirs);
                taken.push((theirs.to_owned(), layer.to_owned()));
            }
        }
    }
    let expected = expected(&arch, folded);
    let tensors = expected.into_keys().filter_map(|name| {
        let stored = match &found {
            Some(found) => tensors.remove(found.get(&name)?),
            None => tensors.remove(&name),
        };
        Some((name, stored?))
    });
    Ok(Selection {
        arch,
        folded,
        tensors: tensors.collect(),
        ignored,
        taken,
        ordered,
        passed_over: Vec::new(),
    })
}

/// The error of a network that is not the one asked for.
fn unlike(arch: &Arch, candidate: &Candidate) -> Error {
    let shapes = &candidate.shapes;
    let arch = with_their_classes(*arch, shapes);
    Error::TensorsDiffer {
        arch: arch.to_string(),
        differences: differences(&expected(&arch, folded(shapes)), shapes).to_string(),
    }
}

/// The architecture that a candidate is, by its names or else by shapes and order; why none, otherwise.
fn fit(candidate: &Candidate, ordered: bool) -> Result<Fit, String> {
    let shapes = &candidate.shapes;
    let ordered = ordered && is_in_module_order(&candidate.places);
    let folded = folded(shapes);
    let named = match Arch::recognise(shapes) {
        Ok(arch) => Some(arch),
        Err(_) => nearest(shapes, folded),
    };
    let named = named.map(|arch| {
        let arch = with_their_classes(arch, shapes);
        let differences = differences(&expected(&arch, folded), shapes);
        Fit {
            arch,
            folded,
            differences,
            found: None,
            open: None,
            ordered,
        }
    });
    match named {
        Some(fit) if fit.differences.is_complete() => return Ok(fit),
        _ => {}
    }
    let tensors = shapes
        .iter()
        .map(|(name, shape)| (name.as_str(), (shape.as_slice(), candidate.places[name])));
    match (structure::recognise(&tensors.collect(), ordered), named) {
        (Ok(found), _) => {
            let used: BTreeSet<&String> = found.names.values().collect();
            let statistics = |name: &str| used.contains(&format!("{name}.running_mean"));
            let counter = |name: &str| name.strip_suffix(TRACKED).is_some_and(statistics);
            let unused = shapes
                .keys()
                .filter(|name| !used.contains(name) && !counter(name));
            Ok(Fit {
                arch: found.arch,
                folded: found.folded,
                differences: Differences {
                    unused: unused.cloned().collect(),
                    ..Differences::default()
                },
                found: Some(found.names),
                open: None,
                ordered,
            })
        }
        (Err(why), Some(fit)) => Ok(Fit {
            open: Some(why),
            ..fit
        }),
        (Err(why), None) => Err(why),
    }
}

/// Whether every module's weight stands before its bias, as PyTorch makes them: a state dict that somebody sorted by name
/// has lost the order of its modules.
fn is_in_module_order(places: &BTreeMap<String, usize>) -> bool {
    places.iter().all(|(name, weight)| {
        let owner = name.strip_suffix(".weight");
        let bias = owner.and_then(|owner| places.get(&format!("{owner}.bias")));
        bias.is_none_or(|bias| weight < bias)
    })
}

fn folded(shapes: &BTreeMap<String, Vec<usize>>) -> bool {
    shapes.contains_key("conv1.bias") && !shapes.contains_key("bn1.weight")
}

fn with_their_classes(arch: Arch, shapes: &BTreeMap<String, Vec<usize>>) -> Arch {
    arch.with_classes(classes(&arch, shapes).unwrap_or(arch.classes()))
}

fn expected(arch: &Arch, folded: bool) -> BTreeMap<String, Vec<usize>> {
    let tensors = if folded {
        arch.expected_folded()
    } else {
        arch.expected()
    };
    tensors.into_iter().collect()
}

/// The class count that the classifier's weight declares.
fn classes(arch: &Arch, shapes: &BTreeMap<String, Vec<usize>>) -> Option<usize> {
    match shapes
        .get(&format!("{}.weight", arch.layout().classifier))
        .map(Vec::as_slice)
    {
        Some(&[classes, _]) if classes > 0 => Some(classes),
        _ => None,
    }
}

/// The architecture with the fewest differences, when at least half of its tensors are there.
fn nearest(shapes: &BTreeMap<String, Vec<usize>>, folded: bool) -> Option<Arch> {
    let mut best: Option<(usize, Arch)> = None;
    for arch in Arch::all() {
        let expected = expected(&with_their_classes(arch, shapes), folded);
        let common = expected
            .iter()
            .filter(|(name, shape)| shapes.get(*name) == Some(shape))
            .count();
        let difference = expected.len() + shapes.len() - 2 * common;
        if 2 * common >= expected.len() && best.is_none_or(|(least, _)| difference < least) {
            best = Some((difference, arch));
        }
    }
    best.map(|(_, arch)| arch)
}

#[cfg(test)]
mod tests;
