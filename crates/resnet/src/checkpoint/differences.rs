//! What separates the tensors of a file from those of an architecture, in one bounded line.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::quoted;

/// BatchNorm's batch counter: an integer that training with `momentum=None` reads, nothing else.
pub(super) const TRACKED: &str = ".num_batches_tracked";

/// How many tensors of a kind a message names; the others are counted.
const NAMED: usize = 6;

/// What separates a file's tensors from an architecture's.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// Expected and not there.
    pub missing: Vec<String>,
    /// There and not expected.
    pub unused: Vec<String>,
    /// Name, shape found, shape expected.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// What is missing, unused and misshapen.
pub(super) fn differences(
    expected: &BTreeMap<String, Vec<usize>>,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Differences {
    let counter = |name: &str| {
        let owner = name.strip_suffix(TRACKED);
        owner.is_some_and(|owner| expected.contains_key(&format!("{owner}.running_mean")))
    };
    let missing = expected.keys().filter(|name| !shapes.contains_key(*name));
    let unused = shapes
        .keys()
        .filter(|name| !expected.contains_key(*name) && !counter(name));
    let misshapen = expected.iter().filter_map(|(name, wanted)| {
        let found = shapes.get(name).filter(|found| *found != wanted)?;
        Some((name.clone(), found.clone(), wanted.clone()))
    });
    Differences {
        missing: missing.cloned().collect(),
        unused: unused.cloned().collect(),
        misshapen: misshapen.collect(),
    }
}

impl Differences {
    /// Whether the network is all there, perhaps with something beside it.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }

    /// How many there are of each kind, for a list of networks; empty where there are none.
    pub fn counted(&self) -> String {
        let kinds = [
            (self.missing.len(), "missing"),
            (self.unused.len(), "more"),
            (self.misshapen.len(), "misshapen"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = kinds
            .map(|(count, what)| format!("{count} {} {what}", tensors(*count)))
            .collect();
        words.join(", ")
    }
}

/// All of them in one line; empty where there are none.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| names.iter().map(|name| quoted(name)).collect();
        let misshapen = self.misshapen.iter().map(|(name, found, wanted)| {
            format!("{} is {}, not {wanted:?}", quoted(name), bounded(found))
        });
        let parts: Vec<String> = [
            ("missing", names(&self.missing)),
            ("unused", names(&self.unused)),
            ("misshapen", misshapen.collect()),
        ]
        .into_iter()
        .filter_map(|(what, names)| listed(what, names))
        .collect();
        f.write_str(&parts.join("; "))?;
        let statistic =
            |name: &String| name.ends_with(".running_mean") || name.ends_with(".running_var");
        if !self.missing.is_empty() && self.missing.iter().all(statistic) {
            f.write_str(" (BatchNorm without running statistics, track_running_stats=False: inference needs them)")?;
        }
        Ok(())
    }
}

/// The word for so many.
fn tensors(count: usize) -> &'static str {
    if count == 1 { "tensor" } else { "tensors" }
}

fn listed(what: &str, names: Vec<String>) -> Option<String> {
    let count = names.len();
    if count == 0 {
        return None;
    }
    let more = if count > NAMED {
        format!(" and {} more", count - NAMED)
    } else {
        String::new()
    };
    Some(format!(
        "{count} {} {what}: {}{more}",
        tensors(count),
        names[..count.min(NAMED)].join(", ")
    ))
}

/// A shape from a file, which may be of any rank.
fn bounded(shape: &[usize]) -> String {
    if shape.len() <= 8 {
        format!("{shape:?}")
    } else {
        format!("of rank {}", shape.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(tensors: &[(&str, &[usize])]) -> BTreeMap<String, Vec<usize>> {
        tensors
            .iter()
            .map(|(name, shape)| (name.to_string(), shape.to_vec()))
            .collect()
    }

    #[test]
    fn a_batch_counter_is_expected_only_beside_its_batch_norm() {
        let expected = shapes(&[("bn1.running_mean", &[4])]);
        let mut found = expected.clone();
        found.insert("bn1.num_batches_tracked".to_owned(), vec![]);
        assert_eq!(differences(&expected, &found).to_string(), "");
        found.insert("bn9.num_batches_tracked".to_owned(), vec![]);
        let line = differences(&expected, &found).to_string();
        assert_eq!(line, "1 tensor unused: 'bn9.num_batches_tracked'");
    }

    #[test]
    fn many_differences_are_counted_and_some_named() {
        let names: Vec<String> = (0..1000).map(|n| format!("t{n:04}")).collect();
        let expected = names.iter().map(|name| (name.clone(), vec![1])).collect();
        let line = differences(&expected, &BTreeMap::new()).to_string();
        assert!(
            line.starts_with("1000 tensors missing: 't0000', ") && line.ends_with(" and 994 more"),
            "{line}"
        );
        let found = names
            .iter()
            .map(|name| (name.clone(), vec![1; 5000]))
            .collect();
        assert!(differences(&expected, &found).to_string().len() < 600);
    }

    #[test]
    fn batch_norm_without_statistics_is_called_so() {
        let expected = shapes(&[("bn1.running_mean", &[4]), ("bn1.weight", &[4])]);
        let found = shapes(&[("bn1.weight", &[4])]);
        let line = differences(&expected, &found).to_string();
        assert!(line.contains("track_running_stats=False"), "{line}");
        assert_eq!(differences(&expected, &found).counted(), "1 tensor missing");
        let line = differences(&expected, &BTreeMap::new()).to_string();
        assert!(!line.contains("track_running_stats"), "{line}");
    }
}
