//! One setting.

use super::axis::{Axis, Part, Shown};
use super::takes::Takes;

/// One setting, and all that is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// In an experiment, with dots; a column that runs fill by themselves has none.
    pub key: Option<&'static str>,
    /// In `run.csv`, with underscores; what a run's hashes stand for has none.
    pub column: Option<&'static str>,
    /// What it takes.
    pub takes: Takes,
    /// In the help, the default behind it.
    pub meaning: &'static str,
    /// Where it is not given.
    pub usual: Usual,
    /// In tables.
    pub shown: Shown,
    /// The column in front of which it shows, where that is not its place.
    pub before: Option<&'static str>,
    /// Whether files of this schema may lack the column, because they were written before there was anything to fill it with.
    pub later: bool,
    /// Whether the column has a value in every run.
    pub always: bool,
}

/// What a setting is where it is not given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Usual {
    /// There is none, or the setting's meaning says it.
    Unsaid,
    /// This, as a column has it.
    Value(&'static str),
    /// What the reader makes of other settings, in words.
    Words(&'static str),
}

/// A setting by its key, whose column has the same name: `setting!(weights.bits, Takes::Width)`.
macro_rules! setting {
    ($first:ident, $takes:expr) => {
        $crate::setting::Setting::named(stringify!($first), stringify!($first), $takes)
    };
    ($first:ident . $second:ident, $takes:expr) => {
        $crate::setting::Setting::named(
            concat!(stringify!($first), ".", stringify!($second)),
            concat!(stringify!($first), "_", stringify!($second)),
            $takes,
        )
    };
}
pub(super) use setting;

impl Setting {
    pub(super) const fn named(key: &'static str, column: &'static str, takes: Takes) -> Setting {
        Setting {
            key: Some(key),
            column: Some(column),
            takes,
            meaning: "",
            usual: Usual::Unsaid,
            shown: Shown::Not,
            before: None,
            later: false,
            always: false,
        }
    }

    /// A column that runs fill by themselves.
    pub(super) const fn filled(column: &'static str, takes: Takes) -> Setting {
        let mut setting = Setting::named("", column, takes);
        setting.key = None;
        setting
    }

    /// What a run's hashes stand for.
    pub(super) const fn without_column(mut self) -> Setting {
        self.column = None;
        self
    }

    pub(super) const fn means(mut self, meaning: &'static str) -> Setting {
        self.meaning = meaning;
        self
    }

    pub(super) const fn default(mut self, value: &'static str) -> Setting {
        self.usual = Usual::Value(value);
        self
    }

    /// A default that depends on other settings, in words.
    pub(super) const fn usually(mut self, words: &'static str) -> Setting {
        self.usual = Usual::Words(words);
        self
    }

    pub(super) const fn axis(mut self, axis: Axis) -> Setting {
        self.shown = Shown::Axis(axis);
        self
    }

    /// Its value on the axis with this title, behind these words.
    pub(super) const fn beside(mut self, axis: &'static str, words: &'static str) -> Setting {
        let part = Part::Value(words);
        self.shown = Shown::Beside { axis, part };
        self
    }

    /// These words on the axis with this title, where it is true.
    pub(super) const fn if_true(mut self, axis: &'static str, words: &'static str) -> Setting {
        let part = Part::IfTrue(words);
        self.shown = Shown::Beside { axis, part };
        self
    }

    /// Tables show it in front of another setting, by its column.
    pub(super) const fn before(mut self, column: &'static str) -> Setting {
        self.before = Some(column);
        self
    }

    pub(super) const fn later(mut self) -> Setting {
        self.later = true;
        self
    }

    pub(super) const fn always(mut self) -> Setting {
        self.always = true;
        self
    }

    /// The first part of its key: what it is about.
    pub fn subject(&self) -> &'static str {
        let key = self.key.unwrap_or_default();
        key.split_once('.').map_or(key, |(first, _)| first)
    }

    /// Its meaning and its default.
    pub fn help(&self) -> String {
        let meaning = self.meaning;
        match self.usual {
            Usual::Unsaid => meaning.to_owned(),
            Usual::Value(value) => format!("{meaning}; default {value}"),
            Usual::Words(words) => format!("{meaning}; default: {words}"),
        }
    }
}
