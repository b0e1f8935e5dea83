//! Columns of numbers and words, each kept once however many runs have it: the layers of a network, the errors of the same codes, a
//! manifest that differs in its bits alone.

use std::collections::HashMap;

use serde::{Serialize, Serializer};

/// The place of a column in the pool.
pub(super) type Place = usize;

/// A column as JSON: plain numbers, or words by their places among the different ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Stored {
    /// In order; `null` for none.
    Numbers(Vec<Option<Short>>),
    /// Different words, and for each row which of them.
    Words(Words),
}

/// Words that repeat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Words {
    d: Vec<String>,
    i: Vec<usize>,
}

impl Words {
    /// In the order in which they first come.
    pub fn new(words: impl IntoIterator<Item = String>) -> Words {
        Words::in_order(Vec::new(), words)
    }

    /// Those of `known` first, in their order.
    pub fn in_order(known: Vec<String>, words: impl IntoIterator<Item = String>) -> Words {
        let mut places: HashMap<String, usize> = known.iter().cloned().zip(0..).collect();
        let mut different = known;
        let mut place = |word: String| {
            *places.entry(word).or_insert_with_key(|word| {
                different.push(word.clone());
                different.len() - 1
            })
        };
        let i = words.into_iter().map(&mut place).collect();
        Words { d: different, i }
    }

    /// Whether no row says anything.
    pub fn is_silent(&self) -> bool {
        self.d.iter().all(String::is_empty)
    }
}

/// All columns.
#[derive(Default)]
pub(super) struct Pool {
    stored: Vec<Stored>,
    /// By their JSON.
    places: HashMap<String, Place>,
}

impl Pool {
    pub fn numbers(&mut self, numbers: impl IntoIterator<Item = Option<f64>>) -> Place {
        let short = numbers.into_iter().map(|number| number.map(Short));
        self.add(Stored::Numbers(short.collect()))
    }

    pub fn words(&mut self, words: impl IntoIterator<Item = String>) -> Place {
        self.add(Stored::Words(Words::new(words)))
    }

    fn add(&mut self, column: Stored) -> Place {
        // Numbers are finite where they are read, and words are words.
        let key = serde_json::to_string(&column).unwrap_or_default();
        let (stored, next) = (&mut self.stored, self.places.len());
        *self.places.entry(key).or_insert_with(|| {
            stored.push(column);
            next
        })
    }

    pub fn into_stored(self) -> Vec<Stored> {
        self.stored
    }
}

/// A number as the JSON has it: with five digits, which is more than a person reads or a picture shows. Whole numbers keep theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Short(pub f64);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = self.0;
        if number == number.trunc() && number.abs() < 1e15 {
            return serializer.serialize_i64(number as i64);
        }
        serializer.serialize_f64(format!("{number:.4e}").parse().unwrap_or(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_column_is_kept_once_and_counts_keep_their_digits() {
        let mut pool = Pool::default();
        let words = |last: &str| ["a", "b", last].map(str::to_owned);
        let first = pool.words(words("a"));
        assert_ne!(pool.words(words("b")), first);
        assert_eq!(pool.words(words("a")), first);
        let numbers = pool.numbers([Some(40.648_726), None, Some(270_896.0)]);
        let stored = serde_json::to_string(&pool.into_stored()).unwrap();
        assert_eq!(numbers, 2);
        assert_eq!(
            stored,
            r#"[{"d":["a","b"],"i":[0,1,0]},{"d":["a","b"],"i":[0,1,1]},[40.649,null,270896]]"#
        );
    }
}
