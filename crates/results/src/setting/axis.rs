//! How a setting shows in tables.

use crate::config::Config;

/// The value of an axis where nothing was done.
pub const NONE: &str = "none";

/// The value of an axis where images are read in the usual way.
pub const DEFAULT: &str = "default";

/// What an axis says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Which network on which data.
    Subject,
    /// How weights become codes: their error depends on it.
    Weights,
    /// How the rest of the network is quantized.
    Network,
    /// What the quantized network is computed in. Runs that differ in it alone stand side by side.
    Arithmetic,
}

/// How tables show a setting.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// Not at all, or in a column that every table has.
    Not,
    /// As an axis.
    Axis(Axis),
    /// As a part of the axis with this title.
    Beside {
        /// The title.
        axis: &'static str,
        /// What is said there.
        part: Part,
    },
}

/// What a setting says on another one's axis.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Its value behind these words.
    Value(&'static str),
    /// These words where it is true.
    IfTrue(&'static str),
}

/// One way in which runs may differ: one setting, or several that only make sense together.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Heading in tables, and with `_` for a blank the column in CSV.
    pub title: &'static str,
    /// What it is about.
    pub about: About,
    /// Put before the value where no heading says what it is.
    pub prefix: &'static str,
    /// What stands in front of the parts.
    pub own: Own,
    /// Between own value and parts.
    pub joint: &'static str,
    /// The value where there is none; [`NONE`] for quantized runs alone.
    pub absent: &'static str,
    /// The value of runs to which it does not apply; those do not make it vary.
    pub moot: Option<&'static str>,
    /// Its words, where those of the setting are none of it.
    pub words: Option<&'static [&'static str]>,
}

/// What an axis says before the parts beside it.
#[derive(Clone, Copy, Debug)]
pub enum Own {
    /// The setting's value; without one no parts either.
    Value,
    /// Nothing.
    Nothing,
    /// What this makes of a configuration.
    Text(fn(&Config) -> String),
}

impl Axis {
    /// The setting's value under this title; empty where the setting does not apply, which does not make it vary.
    pub(super) const fn of(title: &'static str, about: About) -> Axis {
        Axis {
            title,
            about,
            prefix: "",
            own: Own::Value,
            joint: " ",
            absent: "",
            moot: Some(""),
            words: None,
        }
    }

    pub(super) const fn prefix(mut self, prefix: &'static str) -> Axis {
        self.prefix = prefix;
        self
    }

    /// None is a value, too, and called so.
    pub(super) const fn or(mut self, absent: &'static str) -> Axis {
        self.absent = absent;
        self
    }

    /// What runs to which it does not apply have, where that is not nothing.
    pub(super) const fn moot(mut self, moot: Option<&'static str>) -> Axis {
        self.moot = moot;
        self
    }

    pub(super) const fn text(mut self, text: fn(&Config) -> String) -> Axis {
        self.own = Own::Text(text);
        self
    }

    /// The parts alone, with this between them.
    pub(super) const fn parts(mut self, joint: &'static str) -> Axis {
        (self.own, self.joint) = (Own::Nothing, joint);
        self
    }

    pub(super) const fn words(mut self, words: &'static [&'static str]) -> Axis {
        self.words = Some(words);
        self
    }
}
