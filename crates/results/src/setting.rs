//! The settings of an experiment, each written once.
//!
//! A [`Setting`] is an entry of its subject's file and says all there is to say of it: the key in an experiment, the column of
//! `run.csv` and of the run id, what it takes, its default, its meaning in the help, and how tables show it. From here follow the
//! reader's checks and error texts, `--help`, the columns of [`crate::Config`], the axes of `report`, and the way back from a run's
//! row to settings.
//!
//! # A new setting
//!
//! 1. An entry in the file of its subject, marked as `later`, since the files of older runs lack its column:
//!
//!    ```text
//!    setting!(gram.damping, Takes::Between(0.0, 1e3))
//!        .means("added to the diagonal, in units of its mean")
//!        .default("0.01")
//!        .axis(Axis::of("gram damping", Weights).prefix("damping "))
//!        .later(),
//!    ```
//! 2. A field in the struct that the method reads, and in `bench::settings` the line that reads it:
//!    `damping: self.value("gram.damping")?`, or `self.or(key, usual)?` where the default depends on other settings, which the entry
//!    then says in words (`usually`). Its column is filled wherever those of its subject are.
//!
//! A column that is empty where its setting does not apply leaves every older run its id; one that is filled in older runs, too,
//! does not. A new subject is a file, a place in each of the three orders below, and a line in `bench::settings`' `columns.rs` that
//! says to which cells it applies.

mod axis;
mod entry;
mod subjects;
mod takes;

use std::sync::LazyLock;

pub use axis::{About, Axis, DEFAULT, NONE, Own, Part, Shown};
pub use entry::{Setting, Usual};
pub use takes::Takes;

use subjects::{
    ACTIVATIONS, ADAROUND, ALLOCATION, BIASES, CALIBRATION, EQUALIZATION, GRAM, IMAGES, INTEGERS,
    METHOD, MODEL, QAT, RECONSTRUCTION, RUN, SHORTCUT, WEIGHTS, WIDTHS,
};

/// Settings that belong together.
type Subject = &'static [Setting];

/// In the order of the columns of `run.csv`.
const COLUMNS: [Subject; 17] = [
    MODEL,
    IMAGES,
    WEIGHTS,
    GRAM,
    ADAROUND,
    WIDTHS,
    ALLOCATION,
    ACTIVATIONS,
    BIASES,
    EQUALIZATION,
    RECONSTRUCTION,
    SHORTCUT,
    INTEGERS,
    METHOD,
    CALIBRATION,
    QAT,
    RUN,
];

/// In the order of the help, under titles.
const HELP: [(&str, &[Subject]); 10] = [
    ("Model", &[MODEL]),
    ("Images", &[IMAGES]),
    ("Method", &[METHOD, BIASES, EQUALIZATION, RECONSTRUCTION]),
    ("Weights", &[WEIGHTS, GRAM, ADAROUND, WIDTHS]),
    ("Activations", &[ACTIVATIONS, SHORTCUT]),
    ("Allocation", &[ALLOCATION]),
    ("Calibration", &[CALIBRATION]),
    ("Integers", &[INTEGERS]),
    ("Training (method = qat)", &[QAT]),
    ("Run", &[RUN]),
];

/// In the order of the axes, the coarse ones first, as the line below a table lists them.
const AXES: [Subject; 17] = [
    MODEL,
    IMAGES,
    INTEGERS,
    METHOD,
    QAT,
    WEIGHTS,
    GRAM,
    ADAROUND,
    WIDTHS,
    ALLOCATION,
    ACTIVATIONS,
    CALIBRATION,
    BIASES,
    EQUALIZATION,
    RECONSTRUCTION,
    SHORTCUT,
    RUN,
];

/// Every setting, in the order of the columns.
pub fn settings() -> impl Iterator<Item = &'static Setting> + Clone {
    COLUMNS.into_iter().flatten()
}

/// The setting of a key.
pub fn setting(key: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.key == Some(key))
}

/// The settings that have keys, under the titles of the help.
pub fn by_title() -> impl Iterator<Item = (&'static str, Vec<&'static Setting>)> {
    let keyed = |subject: &Subject| subject.iter().filter(|setting| setting.key.is_some());
    HELP.into_iter()
        .map(move |(title, subjects)| (title, subjects.iter().flat_map(keyed).collect()))
}

/// The settings in the order in which tables show them.
pub fn shown() -> &'static [&'static Setting] {
    static SHOWN: LazyLock<Vec<&'static Setting>> = LazyLock::new(|| {
        let all = AXES.into_iter().flatten();
        let (early, mut order): (Vec<&Setting>, Vec<&Setting>) =
            all.partition(|setting| setting.before.is_some());
        for setting in early {
            let place = order
                .iter()
                .position(|other| other.column == setting.before);
            order.insert(place.unwrap_or(order.len()), setting);
        }
        order
    });
    &SHOWN
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_order_has_every_subject() {
        let of = |order: &[Subject]| -> HashSet<*const Setting> {
            order.iter().map(|subject| subject.as_ptr()).collect()
        };
        let help: Vec<Subject> = HELP.iter().flat_map(|(_, of)| of.to_vec()).collect();
        assert_eq!(of(&COLUMNS).len(), COLUMNS.len());
        assert_eq!(of(&help), of(&COLUMNS));
        assert_eq!(of(&AXES), of(&COLUMNS));
    }

    #[test]
    fn keys_and_columns_are_there_once_and_have_the_same_name() {
        let mut names = HashSet::new();
        for setting in settings() {
            for name in [setting.key, setting.column].into_iter().flatten() {
                assert!(
                    names.insert(name) || setting.key == setting.column,
                    "{name}"
                );
            }
            if let (Some(key), Some(column)) = (setting.key, setting.column) {
                assert_eq!(key.replace('.', "_"), column);
            }
        }
    }

    #[test]
    fn what_a_setting_takes_stands_in_its_help_and_its_default_is_of_that() {
        for setting in settings() {
            if let (Takes::Words(words), Some(_)) = (setting.takes, setting.key) {
                for word in words {
                    assert!(setting.meaning.contains(word), "{:?}: {word}", setting.key);
                }
                if let Usual::Value(default) = setting.usual {
                    assert!(words.contains(&default), "{:?}", setting.key);
                }
            }
            if let Usual::Value(default) = setting.usual {
                assert!(setting.takes.reads(default), "{:?}: {default}", setting.key);
                // As a given one would stand in the column.
                let number = default.parse::<f64>().map(|number| number.to_string());
                assert_eq!(number.as_deref().unwrap_or(default), default);
            }
        }
    }

    #[test]
    fn what_shows_beside_an_axis_or_before_a_setting_finds_it() {
        let titles: Vec<&str> = shown()
            .iter()
            .filter_map(|setting| match &setting.shown {
                Shown::Axis(axis) => Some(axis.title),
                _ => None,
            })
            .collect();
        for setting in settings() {
            if let Shown::Beside { axis, .. } = setting.shown {
                assert!(titles.contains(&axis), "{axis}");
            }
            if let Some(column) = setting.before {
                assert!(settings().any(|other| other.column == Some(column)));
            }
        }
        assert_eq!(shown().len(), settings().count());
    }
}
