//! Which of a file's tensors are the network, and which network.
//!
//! Checkpoints hold the weights at the root or under some key (`state_dict`, `model`, `net`, ...), beside optimizer
//! state, and with prefixes that wrappers leave (`module.` of DataParallel, `_orig_mod.` of torch.compile). No list of
//! keys is kept: wherever the names of a ResNet's tensors begin, there is a candidate. The candidate that fits an
//! architecture completely is taken; two that fit are an error, and so is none, with every difference named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::differences::{TRACKED, differences};
use super::source::Info;
use crate::arch::Arch;
use crate::error::{Error, quoted};

/// Prefixes that PyTorch's wrappers put in front of every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Every tensor name of every architecture.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let tensors = |arch: &Arch| arch.expected().into_iter().chain(arch.expected_folded());
    Arch::all()
        .iter()
        .flat_map(tensors)
        .map(|(name, _)| name)
        .collect()
});

/// The network found in a file.
#[derive(Debug)]
pub(super) struct Selection {
    pub arch: Arch,
    pub folded: bool,
    /// PyTorch's name to the flat name in the file, for every tensor that is needed.
    pub names: BTreeMap<String, String>,
}

/// Why nothing was selected.
#[derive(Debug)]
pub(super) enum Failure {
    /// These keys (with architectures) all lead to a network.
    Ambiguous(Vec<String>),
    /// Everything else.
    Error(Error),
}

/// A part of the file that could be the network.
struct Candidate {
    /// The keys that lead to it, for messages.
    key: String,
    /// PyTorch's name to the flat name.
    names: BTreeMap<String, String>,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// Finds the network among the tensors of a file; `wanted` restricts it to one architecture, of any class count.
pub(super) fn select(
    infos: &BTreeMap<String, Info>,
    wanted: Option<&Arch>,
) -> Result<Selection, Failure> {
    let candidates = candidates(infos).map_err(Failure::Error)?;
    let mut fitting = Vec::new();
    let mut first_failure = None;
    for candidate in candidates {
        match fit(&candidate, wanted) {
            Ok((arch, folded)) => fitting.push((candidate, arch, folded)),
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    if fitting.len() > 1 {
        let described = fitting
            .iter()
            .map(|(candidate, arch, _)| format!("{} ({arch})", quoted(&candidate.key)));
        return Err(Failure::Ambiguous(described.collect()));
    }
    let Some((candidate, arch, folded)) = fitting.pop() else {
        return Err(Failure::Error(first_failure.unwrap_or_else(|| {
            Error::Unrecognised {
                reason: format!("of {} tensors none has the name of a ResNet's", infos.len()),
            }
        })));
    };
    let mut names = candidate.names;
    names.retain(|name, _| !name.ends_with(TRACKED));
    Ok(Selection {
        arch,
        folded,
        names,
    })
}

/// The places where a ResNet's names begin, most promising first.
fn candidates(infos: &BTreeMap<String, Info>) -> Result<Vec<Candidate>, Error> {
    // The longest known name, `layer1.0.downsample.0.weight`, has five parts.
    let mut votes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (name, info) in infos {
        let dots = name.rmatch_indices('.').take(5).map(|(at, _)| at + 1);
        for start in dots.chain([0]) {
            if KNOWN.contains(&name[start..]) {
                let (count, container) = votes.entry(&name[..start]).or_insert((0, start));
                *count += 1;
                *container = (*container).min(info.holder);
            }
        }
    }
    let most = votes.values().map(|&(count, _)| count).max().unwrap_or(0);
    // A block's own names (`conv1.weight`) make it a weak candidate too; half of the best rules those out.
    let mut places: Vec<_> = votes
        .into_iter()
        .filter(|&(_, (count, _))| 2 * count > most)
        .collect();
    places.sort_by_key(|&(prefix, (count, _))| (std::cmp::Reverse(count), prefix));

    let mut candidates: Vec<Candidate> = Vec::new();
    let mut taken = BTreeSet::new();
    for (prefix, (_, container)) in places {
        let mut root = prefix;
        while let Some(shorter) = WRAPPERS
            .iter()
            .find_map(|wrapper| strip_last(root, wrapper))
        {
            root = shorter;
        }
        let container = &prefix[..container.min(root.len())];
        let inner = &root[container.len()..];
        if taken.insert((container, inner)) {
            candidates.push(candidate(infos, container, inner)?);
        }
    }
    Ok(candidates)
}

/// Everything under `container`, without the prefixes `inner` and those of the wrappers.
fn candidate(
    infos: &BTreeMap<String, Info>,
    container: &str,
    inner: &str,
) -> Result<Candidate, Error> {
    let key = format!("{container}{inner}")
        .trim_end_matches('.')
        .to_owned();
    let mut found = Candidate {
        key,
        names: BTreeMap::new(),
        shapes: BTreeMap::new(),
    };
    for (flat, info) in infos
        .range(container.to_owned()..)
        .take_while(|(name, _)| name.starts_with(container))
    {
        let mut name = &flat[container.len()..];
        name = name.strip_prefix(inner).unwrap_or(name);
        while let Some(shorter) = WRAPPERS
            .iter()
            .find_map(|wrapper| name.strip_prefix(wrapper))
        {
            name = shorter;
        }
        if let Some(other) = found.names.insert(name.to_owned(), flat.clone()) {
            return Err(Error::TensorsDiffer {
                arch: "checkpoint".to_owned(),
                differences: format!(
                    "{} and {} are both {}",
                    quoted(&other),
                    quoted(flat),
                    quoted(name)
                ),
            });
        }
        found.shapes.insert(name.to_owned(), info.shape.clone());
    }
    Ok(found)
}

/// `prefix` without `wrapper` at its end, where that is a whole key.
fn strip_last<'a>(prefix: &'a str, wrapper: &str) -> Option<&'a str> {
    prefix
        .strip_suffix(wrapper)
        .filter(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The architecture that `candidate` is, completely, and whether its BatchNorm is folded.
fn fit(candidate: &Candidate, wanted: Option<&Arch>) -> Result<(Arch, bool), Error> {
    let shapes = &candidate.shapes;
    let folded = shapes.contains_key("conv1.bias") && !shapes.contains_key("bn1.weight");
    let (arch, note) = match wanted {
        Some(&arch) => (arch, ""),
        None => match Arch::recognise(shapes) {
            Ok(arch) => (arch, ""),
            Err(error) => (
                nearest(shapes, folded).ok_or(error)?,
                " (the nearest architecture)",
            ),
        },
    };
    let arch = arch.with_classes(classes(&arch, shapes).unwrap_or(arch.classes()));
    let expected = expected(&arch, folded);
    match differences(&expected, shapes) {
        None => Ok((arch, folded)),
        Some(differences) => Err(Error::TensorsDiffer {
            arch: format!("{arch}{note}"),
            differences,
        }),
    }
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
        let expected = expected(
            &arch.with_classes(classes(&arch, shapes).unwrap_or(arch.classes())),
            folded,
        );
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
mod tests {
    use super::*;
    use crate::checkpoint::values::Element;

    type Tensors = Vec<(String, Vec<usize>)>;

    /// A file of these groups: dictionary path, prefix inside the dictionary's keys, tensors.
    fn file(groups: &[(&str, &str, Tensors)]) -> BTreeMap<String, Info> {
        let mut infos = BTreeMap::new();
        for (path, prefix, tensors) in groups {
            for (name, shape) in tensors {
                let info = Info {
                    shape: shape.clone(),
                    element: Element::F32,
                    holder: path.len(),
                    position: 0,
                };
                infos.insert(format!("{path}{prefix}{name}"), info);
            }
        }
        infos
    }

    fn arch(name: &str) -> Arch {
        Arch::parse(name).unwrap()
    }

    fn reason(infos: &BTreeMap<String, Info>, wanted: Option<&Arch>) -> String {
        match select(infos, wanted).unwrap_err() {
            Failure::Ambiguous(keys) => keys.join(", "),
            Failure::Error(error) => error.to_string(),
        }
    }

    #[test]
    fn every_architecture_is_found_wherever_its_tensors_lie() {
        for arch in Arch::all() {
            for (path, prefix) in [
                ("", ""),
                ("", "module."),
                ("state_dict.", ""),
                ("a.b.", "module._orig_mod."),
                ("", "net."),
            ] {
                for (folded, tensors) in [(false, arch.expected()), (true, arch.expected_folded())]
                {
                    let count = tensors.len();
                    let found = select(&file(&[(path, prefix, tensors)]), None).unwrap();
                    assert_eq!(
                        (found.arch, found.folded, found.names.len()),
                        (arch, folded, count)
                    );
                }
            }
        }
    }

    #[test]
    fn optimizer_state_and_counters_are_left_alone() {
        let tensors = arch("resnet18").expected();
        let counters: Vec<_> = tensors
            .iter()
            .filter_map(|(name, _)| {
                Some((
                    name.strip_suffix(".running_mean")?.to_owned() + TRACKED,
                    vec![],
                ))
            })
            .collect();
        assert_eq!(counters.len(), 20);
        let momentum = vec![
            ("0.momentum_buffer".to_owned(), vec![64, 3, 7, 7]),
            ("step".to_owned(), vec![]),
        ];
        let infos = file(&[
            ("model.", "", tensors),
            ("model.", "", counters),
            ("optimizer.state.", "", momentum),
        ]);
        let found = select(&infos, None).unwrap();
        assert_eq!(found.names.len(), arch("resnet18").expected().len());
        assert_eq!(found.names["fc.bias"], "model.fc.bias");
    }

    #[test]
    fn the_class_count_is_read_off_the_classifier() {
        let infos = file(&[("", "", arch("resnet18").with_classes(37).expected())]);
        assert_eq!(select(&infos, None).unwrap().arch.classes(), 37);
        assert_eq!(
            select(&infos, Some(&arch("resnet18")))
                .unwrap()
                .arch
                .classes(),
            37
        );
    }

    #[test]
    fn two_networks_in_one_file_are_ambiguous_unless_one_is_asked_for() {
        let (small, large) = (arch("resnet18"), arch("resnet34"));
        let infos = file(&[
            ("student.", "", small.expected()),
            ("teacher.", "", large.expected()),
        ]);
        let reason = reason(&infos, None);
        assert!(
            reason.contains("'student' (resnet18)") && reason.contains("'teacher' (resnet34)"),
            "{reason}"
        );
        assert_eq!(
            select(&infos, Some(&large)).unwrap().names["conv1.weight"],
            "teacher.conv1.weight"
        );
    }

    #[test]
    fn missing_unused_and_misshapen_tensors_are_named() {
        for wanted in [None, Some(arch("resnet18"))] {
            let mut tensors = arch("resnet18").expected();
            tensors.retain(|(name, _)| name != "layer3.0.conv2.weight" && name != "bn1.bias");
            tensors.push(("layer9.weight".to_owned(), vec![3]));
            tensors
                .iter_mut()
                .filter(|(name, _)| name == "fc.bias")
                .for_each(|(_, shape)| shape[0] = 999);
            let reason = reason(&file(&[("", "module.", tensors)]), wanted.as_ref());
            assert!(reason.starts_with("resnet18"), "{reason}");
            assert!(
                reason.contains("2 tensors missing: 'bn1.bias', 'layer3.0.conv2.weight'"),
                "{reason}"
            );
            assert!(
                reason.contains("1 tensor unused: 'layer9.weight'"),
                "{reason}"
            );
            assert!(
                reason.contains("1 tensor misshapen: 'fc.bias' is [999], not [1000]"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_tensor_beside_the_network_in_the_same_dictionary_is_unused() {
        let head = vec![("head.weight".to_owned(), vec![10, 512])];
        let infos = file(&[
            ("state_dict.", "net.", arch("resnet18").expected()),
            ("state_dict.", "", head),
        ]);
        assert!(reason(&infos, None).contains("1 tensor unused: 'head.weight'"));
    }

    #[test]
    fn another_architecture_than_the_one_asked_for_is_refused_in_a_bounded_line() {
        let infos = file(&[("", "", arch("resnet34").expected())]);
        let reason = reason(&infos, Some(&arch("resnet18")));
        assert!(
            reason.contains("and ") && reason.contains(" more") && reason.len() < 1000,
            "{reason}"
        );
        assert!(select(&infos, Some(&arch("cifar-resnet20"))).is_err());
    }

    #[test]
    fn names_that_meet_without_their_prefix_are_refused() {
        let tensors = arch("cifar-resnet20").expected();
        let twice = vec![("module.conv1.weight".to_owned(), vec![16, 3, 3, 3])];
        let reason = reason(&file(&[("", "", tensors), ("", "", twice)]), None);
        assert!(
            reason.contains("'conv1.weight'") && reason.contains("'module.conv1.weight'"),
            "{reason}"
        );
    }

    #[test]
    fn tensors_of_something_else_are_not_recognised() {
        let infos = file(&[("", "", vec![("encoder.weight".to_owned(), vec![8, 8])])]);
        assert!(reason(&infos, None).contains("of 1 tensors none"));
        assert!(reason(&BTreeMap::new(), None).contains("of 0 tensors none"));
    }
}
