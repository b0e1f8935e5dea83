//! What a setting takes, and in words what that is.

use std::fmt;

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Takes {
    /// Any text.
    Text,
    /// The path of a file or folder, or a name.
    Path,
    /// One of these, from the plain to the elaborate, in which order tables sort them.
    Words(&'static [&'static str]),
    /// A whole number, both ends allowed.
    Whole(i64, i64),
    /// Bits of a code, or 32 for float.
    Width,
    /// Numbers of bits, ascending, each once.
    Widths,
    /// Any number.
    Number,
    /// A number, both ends allowed.
    Between(f64, f64),
    /// A momentum: something is left of the new at each step.
    BelowOne,
    /// A number above 0.
    Positive,
    /// `true` or `false`.
    Flag,
}

impl Takes {
    /// Whether a whole number is allowed.
    pub fn allows_whole(self, value: i64) -> bool {
        match self {
            Takes::Whole(least, most) => (least..=most).contains(&value),
            Takes::Width => matches!(value, 1..=16 | 32),
            _ => self.allows(value as f64),
        }
    }

    /// Whether a number is allowed.
    pub fn allows(self, value: f64) -> bool {
        match self {
            Takes::Number => true,
            Takes::Between(least, most) => (least..=most).contains(&value),
            // In float32, too, which trainings compute in.
            Takes::BelowOne => (0.0..1.0).contains(&value) && (value as f32) < 1.0,
            Takes::Positive => value.is_finite() && value > 0.0,
            _ => false,
        }
    }

    /// The text of a list of numbers of bits, in any order, as a column has it.
    pub fn widths(text: &str) -> Option<String> {
        let each = text.split([' ', ',']).filter(|word| !word.is_empty());
        let bits: Option<Vec<i64>> = each.map(|word| word.parse().ok()).collect();
        let mut bits = bits.filter(|bits| !bits.is_empty())?;
        bits.sort_unstable();
        bits.dedup();
        let is_allowed = bits.iter().all(|bits| (1..=16).contains(bits));
        let words: Vec<String> = bits.iter().map(i64::to_string).collect();
        is_allowed.then(|| words.join(" "))
    }

    /// The words, where it takes some of them alone.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Takes::Words(words) => words,
            _ => &[],
        }
    }

    /// Whether a column's text is of this kind and allowed.
    #[cfg(test)]
    pub(super) fn reads(self, text: &str) -> bool {
        match self {
            Takes::Text | Takes::Path => true,
            Takes::Widths => Takes::widths(text).as_deref() == Some(text),
            Takes::Words(words) => words.contains(&text),
            Takes::Whole(..) | Takes::Width => text.parse().is_ok_and(|n| self.allows_whole(n)),
            Takes::Flag => text.parse::<bool>().is_ok(),
            _ => text.parse().is_ok_and(|n| self.allows(n)),
        }
    }
}

/// Behind "expected".
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Takes::Text | Takes::Path | Takes::Words(_) => f.write_str("a word"),
            Takes::Whole(least, most) => write!(f, "a whole number from {least} to {most}"),
            Takes::Width => f.write_str("1 to 16, or 32 for float"),
            Takes::Widths => f.write_str("numbers of bits from 1 to 16, such as [2, 4, 8]"),
            Takes::Number => f.write_str("a number"),
            Takes::Between(least, f64::MAX) => write!(f, "a number, at least {least}"),
            Takes::Between(least, most) => write!(f, "a number from {least} to {most}"),
            Takes::BelowOne => f.write_str("a number from 0 to below 1"),
            Takes::Positive => f.write_str("a positive number"),
            Takes::Flag => f.write_str("true or false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_momentum_leaves_something_of_the_new_in_float32_too() {
        for momentum in [1.0, -0.1, f64::NAN, 1.0 - 1e-12] {
            assert!(!Takes::BelowOne.allows(momentum), "{momentum}");
        }
        assert!(Takes::BelowOne.allows(0.0) && Takes::BelowOne.allows(0.99999));
    }

    #[test]
    fn numbers_of_bits_are_sorted_and_each_there_once() {
        assert_eq!(Takes::widths("8, 2 4,2").as_deref(), Some("2 4 8"));
        for wrong in ["", "0 4", "4 17", "four", "2.5"] {
            assert_eq!(Takes::widths(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bounds_are_allowed_and_said() {
        let share = Takes::Between(0.0, 1.0);
        assert!(share.allows(0.0) && share.allows_whole(1) && !share.allows(f64::NAN));
        assert!(!share.allows(1.5) && share.to_string().ends_with("from 0 to 1"));
        let least = Takes::Between(0.0, f64::MAX);
        assert!(!least.allows(f64::INFINITY) && least.to_string().ends_with("at least 0"));
        assert!(Takes::Width.allows_whole(32) && !Takes::Width.allows_whole(17));
        assert!(!Takes::Whole(0, 9).allows(3.0) && Takes::Whole(-9, 9).allows_whole(-9));
    }
}
