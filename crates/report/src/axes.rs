//! The configuration as a reader sees it: axes, and which of them vary.
//!
//! Which settings are axes, and under which title, stands where they are written ([`results::setting`]). An axis is one or several
//! columns of `run.csv` that only make sense together (`granularity` with `group_size`, `range` with its parameter). Bits and number
//! of images have columns of their own in every table.

use std::sync::LazyLock;

use results::setting::{self, DEFAULT, NONE, Own, Part, Shown};
use results::{Config, RunRow};

use crate::order::compare_words;

pub(crate) use results::setting::About;

/// One way in which runs may differ.
pub(crate) struct Axis {
    /// Heading in tables, and with `_` for a blank the column in CSV.
    pub title: &'static str,
    /// Its vocabulary in the order of the design, from the plain to the elaborate.
    pub words: &'static [&'static str],
    pub about: About,
    column: &'static str,
    how: setting::Axis,
    /// What other columns say behind it.
    parts: Vec<(&'static str, Part)>,
}

/// Every axis, the coarse ones first, as the line below a table lists them.
pub(crate) static AXES: LazyLock<Vec<Axis>> = LazyLock::new(|| {
    let axis = |setting: &setting::Setting| match setting.shown {
        Shown::Axis(how) => Some(Axis {
            title: how.title,
            words: how.words.unwrap_or(setting.takes.words()),
            about: how.about,
            column: setting.column?,
            how,
            parts: parts(how.title),
        }),
        Shown::Not | Shown::Beside { .. } => None,
    };
    setting::shown().iter().copied().filter_map(axis).collect()
});

/// What is said beside the axis with this title.
fn parts(title: &str) -> Vec<(&'static str, Part)> {
    let part = |setting: &&setting::Setting| match setting.shown {
        Shown::Beside { axis, part } if axis == title => Some((setting.column?, part)),
        _ => None,
    };
    setting::shown().iter().filter_map(part).collect()
}

impl Axis {
    /// The value of a run; empty where the axis does not apply.
    pub fn value(&self, config: &Config) -> String {
        let own = match self.how.own {
            Own::Value => Some(config.text(self.column).to_owned()),
            Own::Text(text) => Some(text(config)),
            Own::Nothing => None,
        };
        let parts = self.parts.iter().map(|(column, part)| match part {
            Part::Value(words) => match config.text(column) {
                "" => String::new(),
                value => format!("{words}{value}"),
            },
            Part::IfTrue(words) if config.get(column) == Some(true) => (*words).to_owned(),
            Part::IfTrue(_) => String::new(),
        });
        let said: Vec<String> = match own {
            // A parameter says nothing without what it is a parameter of.
            Some(own) if own.is_empty() => Vec::new(),
            own => own.into_iter().chain(parts).collect(),
        };
        let said: Vec<String> = said.into_iter().filter(|word| !word.is_empty()).collect();
        match said.is_empty() {
            true if self.how.absent == NONE && config.is_float() => String::new(),
            true => self.how.absent.to_owned(),
            false => said.join(self.how.joint),
        }
    }

    /// Whether it is this column's.
    pub fn is_of(&self, column: &str) -> bool {
        self.column == column
    }

    /// Whether it says how the network is quantized, and not which network on which data.
    pub fn is_scheme(&self) -> bool {
        self.about != About::Subject
    }

    /// The values that occur, each once, in the order of the vocabulary.
    pub fn values<'a>(&self, configs: impl Iterator<Item = &'a Config>) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for value in configs.map(|config| self.value(config)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.sort_by(|a, b| compare_words(self.words, a, b));
        values
    }

    fn applies(&self, value: &str) -> bool {
        self.how.moot != Some(value)
    }

    /// The value where no heading says what it is, beside those of `others`: a word that could be another axis's, too,
    /// comes with the title.
    fn label(&self, config: &Config, others: &[&Axis]) -> String {
        let shares = |other: &&Axis| {
            let words = if other.how.prefix.is_empty() {
                other.words
            } else {
                &[]
            };
            other.title != self.title && words.iter().any(|word| self.words.contains(word))
        };
        match self.value(config) {
            value if value.is_empty() || !self.how.prefix.is_empty() => {
                let prefix = if value.is_empty() {
                    ""
                } else {
                    self.how.prefix
                };
                format!("{prefix}{value}")
            }
            value if others.iter().any(shares) => format!("{} {value}", self.title),
            value => value,
        }
    }
}

/// The axes on which runs differ, those of the arithmetic last. Float runs are compared among themselves: that they have
/// no mapping is not a difference worth a column, and neither is that simulated runs have no accumulator.
pub(crate) fn varying(rows: &[RunRow]) -> Vec<&'static Axis> {
    let differ = |axis: &Axis, float: bool| {
        let mut values = rows
            .iter()
            .map(|r| &r.config)
            .filter(|c| c.is_float() == float)
            .map(|c| axis.value(c))
            .filter(|value| axis.applies(value));
        values
            .next()
            .is_some_and(|first| values.any(|value| value != first))
    };
    let mut axes: Vec<_> = AXES
        .iter()
        .filter(|axis| differ(axis, false) || differ(axis, true))
        .collect();
    axes.sort_by_key(|axis| axis.about == About::Arithmetic);
    axes
}

/// Values of the axes that do not vary among the quantized runs, with what they are, for a line below the table.
pub(crate) fn fixed(rows: &[RunRow]) -> Vec<String> {
    let varying: Vec<_> = varying(rows).iter().map(|axis| axis.title).collect();
    let quantized = || rows.iter().filter(|row| !row.config.is_float());
    let Some(first) = quantized().next().or(rows.first()) else {
        return Vec::new();
    };
    let value = |axis: &Axis| {
        let mut values = quantized().map(|row| axis.value(&row.config));
        values
            .find(|value| axis.applies(value))
            .unwrap_or_else(|| axis.value(&first.config))
    };
    let fixed = AXES.iter().filter(|axis| !varying.contains(&axis.title));
    fixed
        .map(|axis| (axis, value(axis)))
        // What is usual is not said.
        .filter(|(axis, v)| ![axis.how.absent, "", DEFAULT, NONE].contains(&v.as_str()))
        .map(|(axis, v)| format!("{} {v}", axis.title))
        .collect()
}

/// The scheme of a run in words: its values on those of the axes that are about quantization, or its method.
pub(crate) fn scheme_label(config: &Config, axes: &[&Axis]) -> String {
    let parts = axes
        .iter()
        .filter(|axis| axis.is_scheme())
        .map(|axis| axis.label(config, axes));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        config.text("method").to_owned()
    } else {
        parts.join(", ")
    }
}

/// Network and images, as the title of a picture has them: what is usual is not said.
pub(crate) fn subject(config: &Config) -> String {
    let said = |axis: &Axis| match axis.value(config) {
        value if value == DEFAULT => None,
        value if axis.how.absent == DEFAULT => Some(format!("{} {value}", axis.title)),
        value => Some(value),
    };
    let axes = AXES.iter().filter(|axis| !axis.is_scheme());
    axes.filter_map(said).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, &str)]) -> RunRow {
        let plain = [
            ("weights_bits", "8"),
            ("activations_bits", "32"),
            ("method", "ptq"),
            ("weights_mapping", "affine"),
        ];
        let mut config = Config::default();
        for (column, value) in plain.iter().chain(columns) {
            config.set(column, *value);
        }
        RunRow::new("e", config, "w", "d", None)
    }

    fn titles(rows: &[RunRow]) -> Vec<&'static str> {
        varying(rows).iter().map(|axis| axis.title).collect()
    }

    #[test]
    fn a_float_run_does_not_make_an_axis_vary() {
        let float = row(&[
            ("weights_mapping", ""),
            ("method", "float"),
            ("weights_bits", "32"),
        ]);
        let four = row(&[("weights_bits", "4")]);
        assert!(titles(&[float.clone(), row(&[]), four]).is_empty());
        let symmetric = row(&[("weights_mapping", "symmetric")]);
        let rows = [float, row(&[]), symmetric.clone()];
        assert_eq!(titles(&rows), ["mapping"]);
        let label = |axes: &[&Axis]| scheme_label(&symmetric.config, axes);
        assert_eq!(label(&varying(&rows[1..])), "symmetric");
        assert_eq!(label(&[]), "ptq");
    }

    #[test]
    fn a_parameter_belongs_to_its_axis() {
        let percentile = |p| row(&[("weights_range", "percentile"), ("weights_percentile", p)]);
        let rows = [percentile("99.9"), percentile("99.99")];
        assert_eq!(varying(&rows)[0].value(&rows[1].config), "percentile 99.99");
        let group = row(&[
            ("weights_granularity", "group"),
            ("weights_group_size", "64"),
        ]);
        assert!(fixed(&[group]).contains(&"granularity group 64".to_string()));
    }

    #[test]
    fn a_calibration_method_is_shown_with_its_parameter() {
        let axis = AXES.iter().find(|axis| axis.title == "calibration");
        let value = |columns: &[(&str, &str)]| axis.unwrap().value(&row(columns).config);
        for (method, column, parameter, shown) in [
            ("percentile", "calibration_percentile", "99.99", " 99.99"),
            ("moving_average", "calibration_momentum", "0.9", " 0.9"),
            ("mse", "calibration_mse_exponent", "2", " p=2"),
        ] {
            let found = value(&[("calibration_method", method), (column, parameter)]);
            assert_eq!(found, format!("{method}{shown}"));
        }
        assert_eq!(value(&[("calibration_method", "entropy")]), "entropy");
        assert_eq!(value(&[]), "");
    }

    #[test]
    fn what_does_not_apply_to_some_runs_does_not_vary() {
        let integer = row(&[
            ("activations_bits", "8"),
            ("execution", "integer"),
            ("activations_mapping", "affine"),
            ("integer_accumulator", "int32"),
        ]);
        let rows = [row(&[("execution", "simulate")]), integer];
        assert_eq!(titles(&rows), ["execution"]);
        let fixed = fixed(&rows);
        for text in ["accumulator int32", "activations affine"] {
            assert!(fixed.contains(&text.to_string()), "{fixed:?}");
        }
    }

    #[test]
    fn what_training_varies_is_a_column_and_calibrated_runs_have_none_of_it() {
        let trained = |method: &str, freeze: &str| {
            row(&[
                ("method", "qat"),
                ("qat_method", method),
                ("qat_epochs", "4"),
                ("qat_freeze", freeze),
            ])
        };
        let rows = [row(&[]), trained("lsq", "0.5"), trained("pact", "0.5")];
        assert_eq!(titles(&rows), ["method", "training"]);
        assert_eq!(scheme_label(&rows[2].config, &varying(&rows)), "qat, pact");
        let fixed = fixed(&rows);
        for text in ["epochs 4", "training settings freeze 0.5"] {
            assert!(fixed.contains(&text.to_string()), "{fixed:?}");
        }
        let rows = [trained("lsq", "0.5"), trained("lsq", "1")];
        assert_eq!(titles(&rows), ["training settings"]);
    }

    #[test]
    fn how_images_are_read_is_a_column_where_it_varies_and_no_word_where_it_is_usual() {
        let half = || row(&[("input_normalization", "half")]);
        let rows = [row(&[]), half()];
        let axes = varying(&rows);
        assert_eq!(axes[0].title, "normalization");
        assert_eq!(axes[0].value(&rows[0].config), "default");
        assert_eq!(axes[0].value(&rows[1].config), "half");
        assert!(
            fixed(&rows[..1])
                .iter()
                .all(|text| !text.contains("normalization"))
        );
        assert!(fixed(&[half()]).contains(&"normalization half".to_string()));
        let rows = [
            row(&[]),
            row(&[("input_resize", "232"), ("input_size", "224")]),
            row(&[("labels_offset", "1")]),
        ];
        assert_eq!(titles(&rows), ["image size", "label offset"]);
        let axes = varying(&rows);
        assert_eq!(axes[0].value(&rows[1].config), "224 of 232");
        assert_eq!(axes[1].value(&rows[2].config), "1");
        let network = row(&[("model_arch", "resnet18"), ("dataset", "set")]);
        assert_eq!(subject(&network.config), "resnet18, set");
        let offset = network.config.with("labels_offset", 1);
        assert_eq!(subject(&offset), "resnet18, set, label offset 1");
    }

    #[test]
    fn first_bits_of_their_own_differ_from_none() {
        let rows = [row(&[]), row(&[("first_bits", "8")])];
        assert_eq!(titles(&rows), ["first bits"]);
        assert_eq!(scheme_label(&rows[1].config, &varying(&rows)), "first 8");
    }

    #[test]
    fn what_was_not_done_is_a_value_of_quantized_runs_alone() {
        let equalized = row(&[
            ("equalize", "cross_layer"),
            ("equalize_reach", "regions"),
            ("equalize_clip", "keep"),
            ("equalize_absorb", "true"),
        ]);
        let rows = [row(&[]), equalized, row(&[("method", "float")])];
        let axes = varying(&rows);
        let values: Vec<String> = rows.iter().map(|row| axes[0].value(&row.config)).collect();
        assert_eq!(values, ["none", "regions keep absorb", ""]);
    }

    #[test]
    fn a_word_that_two_axes_share_comes_with_its_title() {
        let ranges = |range, calibration| {
            row(&[
                ("weights_range", range),
                ("calibration_method", calibration),
            ])
        };
        let rows = [ranges("minmax", "mse"), ranges("mse", "minmax")];
        let label = |axes: &[&Axis]| scheme_label(&rows[0].config, axes);
        assert_eq!(label(&varying(&rows)), "range minmax, calibration mse");
        assert_eq!(label(&varying(&rows)[1..]), "mse");
    }

    #[test]
    fn arithmetic_varies_fastest() {
        let run = |execution, granularity| {
            row(&[
                ("execution", execution),
                ("weights_granularity", granularity),
            ])
        };
        let rows = [run("simulate", "tensor"), run("integer", "channel")];
        assert_eq!(titles(&rows), ["granularity", "execution"]);
    }
}
