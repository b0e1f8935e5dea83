//! What varies: one key with its values, or several keys that take their values together.
//!
//! ```toml
//! [vary]
//! weights.granularity = ["tensor", "channel"]                             # one key
//! "weights.bits, activations.bits" = [[8, 8], [8, 4], [4, 8], [4, 4]]     # two keys, a list for each combination
//! ```
//!
//! The plan is the product of the variations; a combination counts as one value of it.

use super::Scalar;
use crate::settings::Settings;

/// Keys and the combinations of values they take.
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    /// One key, or those that vary together.
    pub keys: Vec<String>,
    /// A value for each key; never empty.
    pub rows: Vec<Vec<Scalar>>,
}

impl Variation {
    /// One key with its values.
    pub fn single(key: &str, values: Vec<Scalar>) -> Self {
        Self {
            keys: vec![key.to_owned()],
            rows: values.into_iter().map(|value| vec![value]).collect(),
        }
    }

    /// Overrides one of the keys: the combinations with a wanted value stay, and a value that none of them has takes the
    /// key's place in all of them. So `weights.bits = 8` keeps `[8, 8]` and `[8, 4]` of the four above, and
    /// `weights.bits = 5` makes `[5, 8]` and `[5, 4]`. Keys that are not here change nothing.
    pub fn set(&mut self, key: &str, values: &[Scalar]) {
        let Some(column) = self.keys.iter().position(|known| known == key) else {
            return;
        };
        let mut rows: Vec<Vec<Scalar>> = Vec::new();
        for value in values {
            let known = self.rows.iter().any(|row| row[column] == *value);
            for row in self
                .rows
                .iter()
                .filter(|row| !known || row[column] == *value)
            {
                let mut row = row.clone();
                row[column] = value.clone();
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        self.rows = rows;
    }

    /// What is left without a key, each combination once; nothing when it was the only one.
    pub fn without(mut self, key: &str) -> Option<Self> {
        let Some(column) = self.keys.iter().position(|known| known == key) else {
            return Some(self);
        };
        self.keys.remove(column);
        let mut rows: Vec<Vec<Scalar>> = Vec::new();
        for mut row in self.rows {
            row.remove(column);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        (!self.keys.is_empty()).then_some(Self {
            keys: self.keys,
            rows,
        })
    }

    /// The value, where there is one key with one value: then nothing varies.
    pub fn only(&self) -> Option<&Scalar> {
        match (self.keys.len(), self.rows.as_slice()) {
            (1, [row]) => row.first(),
            _ => None,
        }
    }

    /// Each cell once with each combination.
    pub fn spread(&self, cells: &[Settings]) -> Vec<Settings> {
        let mut spread = Vec::with_capacity(cells.len() * self.rows.len());
        for cell in cells {
            for row in &self.rows {
                let mut cell = cell.clone();
                cell.extend(self.keys.iter().cloned().zip(row.iter().cloned()));
                spread.push(cell);
            }
        }
        spread
    }
}

/// The keys that a name in [vary] joins by commas.
pub(super) fn joined(name: &str) -> impl Iterator<Item = &str> {
    name.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Variation {
        let rows = [[8, 8], [8, 4], [4, 8], [4, 4]];
        Variation {
            keys: ["weights.bits", "activations.bits"]
                .map(String::from)
                .to_vec(),
            rows: rows.map(|row| row.map(Scalar::Integer).to_vec()).to_vec(),
        }
    }

    fn after(set: &[(&str, &[i64])]) -> Vec<String> {
        let mut pairs = pairs();
        for (key, values) in set {
            let values: Vec<Scalar> = values.iter().copied().map(Scalar::Integer).collect();
            pairs.set(key, &values);
        }
        let show = |row: &Vec<Scalar>| format!("{}/{}", row[0], row[1]);
        pairs.rows.iter().map(show).collect()
    }

    #[test]
    fn an_override_keeps_the_combinations_that_have_the_value() {
        assert_eq!(after(&[("weights.bits", &[8])]), ["8/8", "8/4"]);
        assert_eq!(
            after(&[("weights.bits", &[4, 8])]),
            ["4/8", "4/4", "8/8", "8/4"]
        );
        let both = [("weights.bits", &[4][..]), ("activations.bits", &[4][..])];
        assert_eq!(after(&both), ["4/4"]);
    }

    #[test]
    fn a_value_that_no_combination_has_takes_the_keys_place_in_all() {
        assert_eq!(after(&[("weights.bits", &[5])]), ["5/8", "5/4"]);
        assert_eq!(
            after(&[("activations.bits", &[6, 8])]),
            ["8/6", "4/6", "8/8", "4/8"]
        );
        assert_eq!(after(&[("bn", &[1])]).len(), 4);
    }

    #[test]
    fn without_a_key_each_combination_is_left_once() {
        let left = pairs().without("weights.bits").unwrap();
        assert_eq!(left.keys, ["activations.bits"]);
        assert_eq!(left.rows.len(), 2);
        assert_eq!(left.without("activations.bits"), None);
        assert_eq!(pairs().without("bn"), Some(pairs()));
    }
}
