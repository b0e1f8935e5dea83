//! What separates the tensors of a file from those of an architecture, in one bounded line.

use std::collections::BTreeMap;

use crate::error::quoted;

/// BatchNorm's batch counter: an integer that training with `momentum=None` reads, nothing else.
pub(super) const TRACKED: &str = ".num_batches_tracked";

/// How many tensors of a kind a message names; the others are counted.
const NAMED: usize = 6;

/// What is missing, unused and misshapen, in one line; `None` when nothing is.
pub(super) fn differences(
    expected: &BTreeMap<String, Vec<usize>>,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Option<String> {
    let counter = |name: &str| {
        let owner = name.strip_suffix(TRACKED);
        owner.is_some_and(|owner| expected.contains_key(&format!("{owner}.running_mean")))
    };
    let missing = expected
        .keys()
        .filter(|name| !shapes.contains_key(*name))
        .map(|name| quoted(name))
        .collect();
    let unused = shapes
        .keys()
        .filter(|name| !expected.contains_key(*name) && !counter(name))
        .map(|name| quoted(name))
        .collect();
    let misshapen = expected
        .iter()
        .filter_map(|(name, wanted)| {
            let found = shapes.get(name).filter(|found| *found != wanted)?;
            Some(format!(
                "{} is {}, not {wanted:?}",
                quoted(name),
                bounded(found)
            ))
        })
        .collect();
    let parts: Vec<String> = [
        ("missing", missing),
        ("unused", unused),
        ("misshapen", misshapen),
    ]
    .into_iter()
    .filter_map(|(what, names)| listed(what, names))
    .collect();
    if parts.is_empty() {
        None
    } else {
        Some(parts.join("; "))
    }
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
    let tensors = if count == 1 { "tensor" } else { "tensors" };
    Some(format!(
        "{count} {tensors} {what}: {}{more}",
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
        assert_eq!(differences(&expected, &found), None);
        found.insert("bn9.num_batches_tracked".to_owned(), vec![]);
        let line = differences(&expected, &found).unwrap();
        assert_eq!(line, "1 tensor unused: 'bn9.num_batches_tracked'");
    }

    #[test]
    fn many_differences_are_counted_and_some_named() {
        let names: Vec<String> = (0..1000).map(|n| format!("t{n:04}")).collect();
        let expected = names.iter().map(|name| (name.clone(), vec![1])).collect();
        let line = differences(&expected, &BTreeMap::new()).unwrap();
        assert!(
            line.starts_with("1000 tensors missing: 't0000', ") && line.ends_with(" and 994 more"),
            "{line}"
        );
        let found = names
            .iter()
            .map(|name| (name.clone(), vec![1; 5000]))
            .collect();
        assert!(differences(&expected, &found).unwrap().len() < 600);
    }
}
