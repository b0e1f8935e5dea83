//! The order of rows and of words, the same for every reader.

use std::cmp::Ordering;

use results::RunRow;

use crate::axes::{AXES, About, Axis, varying};
use crate::bits::Bits;

/// Sorts runs: model and data, float first, then by the axes that vary, then bits from many to few.
pub(crate) fn sort(rows: &mut [RunRow]) {
    let varying = varying(rows);
    rows.sort_by(|a, b| compare(a, b, &varying));
}

fn compare(a: &RunRow, b: &RunRow, varying: &[&Axis]) -> Ordering {
    let on = |axis: &Axis| {
        let (a, b) = (axis.value(&a.config), axis.value(&b.config));
        compare_words(axis.words, &a, &b)
    };
    let images = |row: &RunRow| row.config.get::<u64>("images");
    let subject = AXES.iter().filter(|axis| axis.about == About::Subject);
    let scheme = varying.iter().filter(|axis| axis.is_scheme());
    subject
        .map(on)
        .fold(Ordering::Equal, Ordering::then)
        .then_with(|| images(b).cmp(&images(a)))
        .then_with(|| (&a.data_sha256, &a.weights_sha256).cmp(&(&b.data_sha256, &b.weights_sha256)))
        .then_with(|| b.config.is_float().cmp(&a.config.is_float()))
        .then_with(|| {
            scheme
                .map(|axis| on(axis))
                .fold(Ordering::Equal, Ordering::then)
        })
        .then_with(|| Bits::of(&b.config).cmp(&Bits::of(&a.config)))
        .then_with(|| a.run_id.cmp(&b.run_id))
}

/// Compares word by word: those of `vocabulary` by their place in it, others after them as text with the number they end
/// in by its size.
pub(crate) fn compare_words(vocabulary: &[&str], a: &str, b: &str) -> Ordering {
    type Key = (usize, String, f64);
    let key = |text: &str| -> Vec<Key> {
        let words = text
            .split([' ', '-', '='])
            .filter(|word| !word.is_empty())
            .map(|word| {
                let rank = vocabulary
                    .iter()
                    .position(|known| *known == word)
                    .unwrap_or(vocabulary.len());
                let stem = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                (
                    rank,
                    stem.to_string(),
                    word[stem.len()..].parse().unwrap_or(0.0),
                )
            });
        words.collect()
    };
    let order = |x: &Key, y: &Key| {
        x.0.cmp(&y.0)
            .then_with(|| x.1.cmp(&y.1))
            .then(x.2.total_cmp(&y.2))
    };
    let (a, b) = (key(a), key(b));
    let words = a
        .iter()
        .zip(&b)
        .map(|(x, y)| order(x, y))
        .fold(Ordering::Equal, Ordering::then);
    words.then(a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_order_of_the_design_and_numbers_their_own() {
        let vocabulary = ["tensor", "channel", "group", "percentile"];
        let sorted = [
            "",
            "tensor",
            "channel",
            "group 32",
            "group 128",
            "percentile 99.9",
            "percentile 99.99",
            "alpha",
            "cifar-resnet20",
            "cifar-resnet110",
            "resnet18",
            "resnet101",
        ];
        let mut words = sorted;
        words.reverse();
        words.sort_by(|a, b| compare_words(&vocabulary, a, b));
        assert_eq!(words, sorted);
    }

    #[test]
    fn every_axis_sorts_its_own_words_as_the_design_lists_them() {
        for axis in AXES.iter() {
            let mut words = axis.words.to_vec();
            words.reverse();
            words.sort_by(|a, b| compare_words(axis.words, a, b));
            assert_eq!(words, axis.words, "{}", axis.title);
        }
    }
}
