//! The settings that are words.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, quoted};

/// What happens to a clipping at an end other than 0, which does not scale: min(x, 6) / s is not min(x / s, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClipPolicy {
    /// Its ends are scaled for each channel, which changes nothing.
    Scale,
    /// A clipping between 0 and an end becomes a ReLU: another function (Nagel et al. 2019, section 5.1.1).
    Replace,
    /// Nothing is equalized through it.
    Keep,
}

/// Which layers are equalized together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Two convolutions with nothing but clipping and borders between them, the first read by nobody else, as in Nagel et al. 2019.
    Pairs,
    /// All whose channels meet, through pools, concatenations and whatever else scales, fully connected layers too; not through
    /// additions.
    Regions,
    /// Through additions as well: one scale of a channel for all that is added up and for all who read the sum.
    Sums,
}

impl ClipPolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Scale, Self::Replace, Self::Keep];

    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }
}

impl Reach {
    /// Every reach.
    pub const ALL: [Self; 3] = [Self::Pairs, Self::Regions, Self::Sums];

    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Regions => "regions",
            Self::Sums => "sums",
        }
    }
}

impl fmt::Display for ClipPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ClipPolicy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|policy| policy.name() == text);
        found.ok_or_else(|| Error::Setting {
            key: "equalize.clip",
            value: quoted(text),
            allowed: "scale, replace, keep",
        })
    }
}

impl FromStr for Reach {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|reach| reach.name() == text);
        found.ok_or_else(|| Error::Setting {
            key: "equalize.reach",
            value: quoted(text),
            allowed: "pairs, regions, sums",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written_and_others_are_refused_with_those_allowed() {
        for policy in ClipPolicy::ALL {
            assert_eq!(policy.to_string().parse::<ClipPolicy>().unwrap(), policy);
        }
        for reach in Reach::ALL {
            assert_eq!(reach.to_string().parse::<Reach>().unwrap(), reach);
        }
        let refused = "relu".parse::<ClipPolicy>().unwrap_err().to_string();
        assert!(refused.contains("equalize.clip") && refused.contains("replace"));
        assert!("all".parse::<Reach>().is_err());
    }
}
