//! What names say of the order of modules: numbers and single letters count, words do not.

use std::cmp::Ordering;

/// Numbers in names by their value.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    runs(a).cmp(&runs(b))
}

/// What two names say of their order: where they differ first, the one has a smaller number, or its part ends in an
/// earlier letter. Nothing where they differ in words.
pub(super) fn ordinals(a: &str, b: &str) -> Option<Ordering> {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    let (a, b) = loop {
        let (a, b) = (left.next()?, right.next()?);
        if a != b {
            break (a, b);
        }
    };
    let (left, right) = (runs(a), runs(b));
    let (left, right) = left.iter().zip(&right).find(|(a, b)| a != b)?;
    match (left, right) {
        (Run::Number(a), Run::Number(b)) => Some(a.cmp(b)),
        (Run::Text(_), Run::Text(_)) => {
            let letter = |text: &str| text.chars().next_back().filter(char::is_ascii_alphabetic);
            let (x, y) = (letter(a)?, letter(b)?);
            let stem = a.strip_suffix(x)?;
            let apart = stem.is_empty() || stem.ends_with(['_', '-']);
            (apart && Some(stem) == b.strip_suffix(y)).then(|| x.cmp(&y))
        }
        _ => None,
    }
}

/// A piece of a name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    Number(u64),
    Text(&'a str),
}

/// A name as numbers and what stands between them.
fn runs(name: &str) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let len = rest
            .find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        let (run, behind) = rest.split_at(len);
        runs.push(match (digits, run.parse()) {
            (true, Ok(number)) => Run::Number(number),
            _ => Run::Text(run),
        });
        rest = behind;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_numbers_and_single_letters() {
        for (a, b, order) in [
            ("layer1.0.conv1", "layer1.0.conv2", Some(Ordering::Less)),
            ("layer1.9.conv2", "layer1.10.conv1", Some(Ordering::Less)),
            ("s.conv_b", "s.conv_a", Some(Ordering::Greater)),
            ("s.a.conv", "s.b.conv", Some(Ordering::Less)),
            ("s.left", "s.right", None),
            ("s.squeeze", "s.expand", None),
            ("a", "a", None),
        ] {
            assert_eq!(ordinals(a, b), order, "{a} {b}");
        }
    }
}
