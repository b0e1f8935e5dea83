//! What a run is: its configuration, the canonical text of it, and the run id.
//!
//! ```text
//! canonical = sorted lines `key=value\n`, one per column that is not empty
//! run_id    = first 12 hex digits of sha256(canonical || "weights_sha256=..\n" || "data_sha256=..\n"
//!                                           || "calibration_sha256=..\n", where there is calibration)
//! ```
//!
//! Nothing else enters the id: no path, no time, no host, no thread count. Empty columns are left out, so that a later
//! version may add a column without renaming the runs that do not use it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::setting::{Takes, settings};

/// `weights_bits` and `activations_bits` of a part of the network that stays in float.
pub const FLOAT_BITS: u32 = 32;

/// `method` of the float run that every other run is compared with.
pub const METHOD_FLOAT: &str = "float";

/// One cell of an experiment: the columns of `run.csv` that are about it, each the text that the file shows. An empty one means
/// that the setting does not apply.
///
/// # Panics
/// All that take a column's name do, where there is no such column: a name that does not stand in [`crate::setting`] is a mistake of
/// the program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(BTreeMap<&'static str, String>);

/// A value that a column can have.
pub trait Field {
    /// As the file shows it: numbers as the shortest decimal without an exponent that reads back as the same, nothing for none.
    fn into_field(self) -> String;
}

macro_rules! fields {
    ($($value:ty),*) => {
        $(impl Field for $value {
            fn into_field(self) -> String {
                self.to_string()
            }
        })*
    };
}
fields!(&str, &String, i32, i64, u32, u64, usize, f64, bool);

impl Field for String {
    fn into_field(self) -> String {
        self
    }
}

impl<T: Field> Field for Option<T> {
    fn into_field(self) -> String {
        self.map(Field::into_field).unwrap_or_default()
    }
}

/// Nothing but the zeros of columns that are never empty.
impl Default for Config {
    fn default() -> Config {
        let always = settings().filter(|setting| setting.always);
        let columns = always.filter_map(|setting| setting.column);
        Config(columns.map(|column| (column, "0".to_owned())).collect())
    }
}

impl Config {
    /// No column at all: what is not a run yet.
    pub fn empty() -> Config {
        Config(BTreeMap::new())
    }

    /// The names of the columns in file order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        settings().filter_map(|setting| setting.column)
    }

    /// Columns that files of this schema may lack, because they were written before there was anything to fill them with.
    pub(crate) fn later() -> impl Iterator<Item = &'static str> {
        let later = settings().filter(|setting| setting.later);
        later.filter_map(|setting| setting.column)
    }

    /// The text of a column; empty where it does not apply.
    pub fn text(&self, column: &str) -> &str {
        match self.0.get(column) {
            Some(text) => text,
            None => {
                known(column);
                ""
            }
        }
    }

    /// What a column's text is of another type, if it is.
    pub fn get<T: FromStr>(&self, column: &str) -> Option<T> {
        self.text(column).parse().ok()
    }

    /// Fills a column; with nothing, it is empty then.
    pub fn set(&mut self, column: &str, value: impl Field) {
        let (column, text) = (known(column), value.into_field());
        match text.is_empty() {
            true => self.0.remove(column),
            false => self.0.insert(column, text),
        };
    }

    /// The same on the way.
    pub fn with(mut self, column: &str, value: impl Field) -> Config {
        self.set(column, value);
        self
    }

    /// Takes over what `other` has in the columns of a subject, the first part of their settings' keys.
    pub fn take(&mut self, subject: &str, other: &Config) {
        let own = settings().filter(|setting| setting.subject() == subject);
        for column in own.filter_map(|setting| setting.column) {
            if let Some(text) = other.0.get(column) {
                self.0.insert(column, text.clone());
            }
        }
    }

    /// Bits of the weights, [`FLOAT_BITS`] for float.
    pub fn weights_bits(&self) -> u32 {
        self.get("weights_bits").unwrap_or(0)
    }

    /// Bits of the activations, [`FLOAT_BITS`] for float.
    pub fn activations_bits(&self) -> u32 {
        self.get("activations_bits").unwrap_or(0)
    }

    /// The network: an entry's name, else the architecture.
    pub fn model(&self) -> &str {
        match self.text("model_name") {
            "" => self.text("model_arch"),
            name => name,
        }
    }

    /// Column names and their text as the file shows it, in file order, empty ones included.
    pub fn columns(&self) -> Vec<(&'static str, String)> {
        let column = |name| (name, self.text(name).to_owned());
        Config::names().map(column).collect()
    }

    /// Sorted `key=value` lines, each ended by a newline, empty ones left out. A backslash, newline or carriage return
    /// in a value is escaped, so that two configurations never share a text.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.0 {
            let value = value
                .replace('\\', "\\\\")
                .replace('\n', "\\n")
                .replace('\r', "\\r");
            text.push_str(&format!("{key}={value}\n"));
        }
        text
    }

    /// Whether this is the float run that others are compared with.
    pub fn is_float(&self) -> bool {
        self.text("method") == METHOD_FLOAT
    }
}

/// The name as the settings have it.
fn known(column: &str) -> &'static str {
    let found = Config::names().find(|name| *name == column);
    found.unwrap_or_else(|| panic!("no column `{column}`"))
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_tuple(Config::names().count())?;
        for name in Config::names() {
            fields.serialize_element(self.text(name))?;
        }
        fields.end()
    }
}

/// A field for each column, each of the type that its setting takes; numbers are spelled anew.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Config, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Config;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} columns", Config::names().count())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Config, A::Error> {
                let mut config = Config::empty();
                for (setting, name) in settings().filter_map(|s| Some((s, s.column?))) {
                    let text = match setting.takes {
                        Takes::Width => field::<u32, A>(&mut fields)?,
                        Takes::Whole(..) if setting.always => field::<u64, A>(&mut fields)?,
                        Takes::Whole(0.., _) => field::<Option<u64>, A>(&mut fields)?,
                        Takes::Whole(..) => field::<Option<i64>, A>(&mut fields)?,
                        Takes::Flag => field::<Option<bool>, A>(&mut fields)?,
                        Takes::Number | Takes::Between(..) => field::<Option<f64>, A>(&mut fields)?,
                        Takes::BelowOne | Takes::Positive => field::<Option<f64>, A>(&mut fields)?,
                        Takes::Text | Takes::Path | Takes::Words(_) | Takes::Widths => {
                            field::<String, A>(&mut fields)?
                        }
                    };
                    config.set(name, text);
                }
                Ok(config)
            }
        }
        deserializer.deserialize_tuple(Config::names().count(), Fields)
    }
}

/// The next field, of a type, as text.
fn field<'de, T, A>(fields: &mut A) -> Result<String, A::Error>
where
    T: Field + Deserialize<'de>,
    A: SeqAccess<'de>,
{
    let next = fields.next_element::<T>()?;
    let next = next.ok_or_else(|| de::Error::custom("there are fewer columns"))?;
    Ok(next.into_field())
}

/// 12 hex digits that name a run: equal exactly when configuration, weights and data, those of calibration included, are
/// equal.
pub fn run_id(
    config: &Config,
    weights_sha256: &str,
    data_sha256: &str,
    calibration_sha256: Option<&str>,
) -> String {
    let mut hash = Sha256::new();
    hash.update(config.canonical());
    hash.update(format!(
        "weights_sha256={weights_sha256}\ndata_sha256={data_sha256}\n"
    ));
    if let Some(calibration) = calibration_sha256 {
        hash.update(format!("calibration_sha256={calibration}\n"));
    }
    hash.finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::default()
            .with("model_arch", "cifar-resnet20")
            .with("dataset", "synthetic")
            .with("images", 2000)
            .with("weights_bits", 4)
            .with("weights_mapping", "affine")
            .with("weights_percentile", 99.99)
            .with("weights_mse_exponent", 1e-7)
            .with("activations_bits", FLOAT_BITS)
            .with("execution", "simulate")
            .with("method", "linear")
            .with("device", "cpu")
    }

    #[test]
    fn canonical_text_is_sorted_and_leaves_out_what_is_empty() {
        let expected = "activations_bits=32\ndataset=synthetic\ndevice=cpu\nexecution=simulate\nimages=2000\n\
                        method=linear\nmodel_arch=cifar-resnet20\nseed=0\nweights_bits=4\nweights_mapping=affine\n\
                        weights_mse_exponent=0.0000001\nweights_percentile=99.99\n";
        assert_eq!(config().canonical(), expected);
    }

    #[test]
    fn an_empty_text_and_none_are_the_same_run() {
        let other = config().with("bn", Some(String::new()));
        assert_eq!(
            run_id(&other, "w", "d", None),
            run_id(&config(), "w", "d", None)
        );
    }

    #[test]
    fn the_run_id_is_that_of_the_documented_text() {
        // printf '<canonical>weights_sha256=w\ndata_sha256=d\n' | sha256sum | cut -c1-12
        assert_eq!(run_id(&config(), "w", "d", None), "3d33f05c5981");
    }

    #[test]
    fn every_part_of_the_identity_changes_the_id() {
        let id = run_id(&config(), "w", "d", None);
        assert_ne!(run_id(&config(), "v", "d", None), id);
        assert_ne!(run_id(&config(), "w", "e", None), id);
        assert_ne!(run_id(&config(), "w", "d", Some("c")), id);
        for (column, value) in [
            ("weights_bits", "5"),
            ("seed", "1"),
            ("weights_narrow", "false"),
            ("device", "cuda"),
            ("calibration_images", "0"),
        ] {
            let other = config().with(column, value);
            assert_ne!(run_id(&other, "w", "d", None), id);
        }
    }

    #[test]
    fn a_newline_in_a_value_cannot_imitate_another_key() {
        let one = config().with("dataset", "a\ndevice=b");
        let two = config().with("dataset", "a\\ndevice=b");
        assert_ne!(one.canonical(), two.canonical());
        assert_eq!(
            one.canonical().lines().count(),
            config().canonical().lines().count()
        );
    }

    #[test]
    fn a_subject_is_taken_over_whole_and_alone() {
        let other = config()
            .with("gram_order", "descent")
            .with("gram_refit", true)
            .with("bn", "kept");
        let mut taken = Config::empty();
        taken.take("gram", &other);
        let expected = Config::empty()
            .with("gram_order", "descent")
            .with("gram_refit", true);
        assert_eq!(taken, expected);
    }

    #[test]
    #[should_panic(expected = "no column `gram_ordre`")]
    fn a_column_that_is_none_is_not_taken_for_an_empty_one() {
        config().text("gram_ordre");
    }
}
