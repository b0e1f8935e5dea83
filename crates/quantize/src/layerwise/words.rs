//! The settings that are words.

use std::fmt;
use std::str::FromStr;

use super::Choice;
use super::gram::{Order, Target};
use crate::error::{Error, quoted};

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::Feedback, Self::Descent];

    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Feedback => "feedback",
            Self::Descent => "descent",
        }
    }
}

impl Choice {
    /// What `weights.rounding` is called in experiments and results; the nearest code has several names there.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Gram(_) => "gram",
            Self::AdaRound(_) => "adaround",
        }
    }
}

impl Target {
    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Corrected => "corrected",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Order {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|order| order.name() == text);
        found.ok_or_else(|| Error::Setting {
            key: "gram.order",
            value: quoted(text),
            allowed: "nearest, feedback, descent",
        })
    }
}

impl FromStr for Target {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Float, Self::Corrected];
        let found = all.into_iter().find(|target| target.name() == text);
        found.ok_or_else(|| Error::Setting {
            key: "gram.target",
            value: quoted(text),
            allowed: "float, corrected",
        })
    }
}
