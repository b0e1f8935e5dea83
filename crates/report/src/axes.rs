//! The configuration as a reader sees it: axes, and which of them vary.
//!
//! An axis is one or two columns of `run.csv` that only make sense together (`granularity` with `group_size`, `range` with
//! its parameter). Bits and number of images have columns of their own in every table.

use results::{Config, RunRow};

use crate::axis_text::{
    DEFAULT, NONE, activations, calibration, correction, equalization, granularity, image_size,
    label_offset, mapping, model, normalization, number, range, text, training,
};
use crate::order::compare_words;

/// What an axis says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Which network on which data.
    Subject,
    /// How weights become codes: their error depends on it.
    Weights,
    /// How the rest of the network is quantized.
    Network,
    /// What the quantized network is computed in. Runs that differ in it alone stand side by side.
    Arithmetic,
}

/// One way in which runs may differ.
pub(crate) struct Axis {
    /// Heading in tables, and with `_` for a blank the column in CSV.
    pub title: &'static str,
    /// Put before the value where no heading says what it is.
    prefix: &'static str,
    text: fn(&Config) -> String,
    /// Its vocabulary in the order of the design, from the plain to the elaborate.
    pub words: &'static [&'static str],
    pub about: About,
    /// The value of runs to which it does not apply; those do not make it vary.
    moot: Option<&'static str>,
}

impl Axis {
    /// The value of a run; empty where the axis does not apply.
    pub fn value(&self, config: &Config) -> String {
        (self.text)(config)
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
        self.moot != Some(value)
    }

    /// The value where no heading says what it is, beside those of `others`: a word that could be another axis's, too,
    /// comes with the title.
    fn label(&self, config: &Config, others: &[&Axis]) -> String {
        let shares = |other: &&Axis| {
            let words = if other.prefix.is_empty() {
                other.words
            } else {
                &[]
            };
            other.title != self.title && words.iter().any(|word| self.words.contains(word))
        };
        match self.value(config) {
            value if value.is_empty() || !self.prefix.is_empty() => {
                let prefix = if value.is_empty() { "" } else { self.prefix };
                format!("{prefix}{value}")
            }
            value if others.iter().any(shares) => format!("{} {value}", self.title),
            value => value,
        }
    }
}

const fn axis(
    title: &'static str,
    about: About,
    text: fn(&Config) -> String,
    words: &'static [&'static str],
) -> Axis {
    Axis {
        title,
        prefix: "",
        text,
        words,
        about,
        moot: Some(""),
    }
}

impl Axis {
    const fn prefix(mut self, prefix: &'static str) -> Axis {
        self.prefix = prefix;
        self
    }

    const fn moot(mut self, moot: Option<&'static str>) -> Axis {
        self.moot = moot;
        self
    }
}

const MAPPINGS: &[&str] = &["affine", "symmetric", "power_of_two"];
const RANGES: &[&str] = &[
    "minmax",
    "moving_average",
    "percentile",
    "mse",
    "entropy",
    "gaussian",
    "laplacian",
    "output_mse",
];
const ROUNDINGS: &[&str] = &[
    "half_even",
    "half_away",
    "floor",
    "stochastic",
    "gram",
    "adaround",
    "gemmlowp",
    "ort",
];

/// Every axis, the coarse ones first, as the line below a table lists them.
pub(crate) static AXES: [Axis; 53] = {
    use About::{Arithmetic, Network, Subject, Weights};
    [
        axis("model", Subject, model, &[]),
        axis("dataset", Subject, |c| c.dataset.clone(), &[]),
        // That nothing was said is a value, too.
        axis("normalization", Subject, normalization, &[]).moot(None),
        axis("image size", Subject, image_size, &[]).moot(None),
        axis("label offset", Subject, label_offset, &[]).moot(None),
        axis("device", Network, |c| c.device.clone(), &[]),
        axis(
            "execution",
            Arithmetic,
            |c| c.execution.clone(),
            &["simulate", "integer"],
        ),
        axis(
            "multiplier",
            Arithmetic,
            |c| text(&c.integer_multiplier),
            &["fixed", "power_of_two", "float"],
        )
        .prefix("multiplier "),
        axis(
            "integer rounding",
            Arithmetic,
            |c| text(&c.integer_rounding),
            ROUNDINGS,
        ),
        axis(
            "accumulator",
            Arithmetic,
            |c| text(&c.integer_accumulator),
            &["int32", "saturating16"],
        ),
        axis(
            "method",
            Weights,
            |c| c.method.clone(),
            &["float", "linear", "ptq", "qat", "stored"],
        ),
        axis(
            "training",
            Weights,
            |c| text(&c.qat_method),
            &["minmax", "lsq", "lsq_plus", "pact"],
        ),
        axis(
            "training BN",
            Weights,
            |c| text(&c.qat_bn),
            &["folded", "static", "kept"],
        )
        .prefix("training BN "),
        axis(
            "training start",
            Weights,
            |c| text(&c.qat_start),
            &["ptq", "float"],
        )
        .prefix("from "),
        axis("epochs", Weights, |c| number(c.qat_epochs), &[]).prefix("epochs "),
        axis("training images", Weights, |c| number(c.qat_images), &[]).prefix("training images "),
        axis("learning rate", Weights, |c| number(c.qat_lr), &[]).prefix("lr "),
        axis(
            "scale learning rate",
            Weights,
            |c| number(c.qat_scale_lr),
            &[],
        )
        .prefix("scale lr "),
        axis("distillation", Weights, |c| number(c.qat_distillation), &[]).prefix("distillation "),
        axis("training settings", Weights, training, &[]),
        axis(
            "training revision",
            Weights,
            |c| number(c.qat_revision),
            &[],
        )
        .prefix("training revision "),
        axis("mapping", Weights, mapping, MAPPINGS),
        axis(
            "granularity",
            Weights,
            granularity,
            &["tensor", "channel", "group"],
        ),
        axis("range", Weights, range, RANGES),
        axis(
            "rounding",
            Weights,
            |c| text(&c.weights_rounding),
            ROUNDINGS,
        ),
        axis(
            "gram order",
            Weights,
            |c| text(&c.gram_order),
            &["nearest", "feedback", "descent"],
        ),
        // That it was not asked for is a value, too.
        axis(
            "gram activation order",
            Weights,
            |c| number(c.gram_activation_order),
            &[],
        )
        .prefix("activation order ")
        .moot(None),
        axis(
            "gram target",
            Weights,
            |c| text(&c.gram_target),
            &["float", "corrected"],
        )
        .prefix("target "),
        axis("gram refit", Weights, |c| number(c.gram_refit), &[]).prefix("refit "),
        axis("gram positions", Weights, |c| number(c.gram_positions), &[]).prefix("positions "),
        axis("gram damping", Weights, |c| number(c.gram_damping), &[]).prefix("damping "),
        axis(
            "adaround iterations",
            Weights,
            |c| number(c.adaround_iterations),
            &[],
        )
        .prefix("iterations "),
        axis("adaround rate", Weights, |c| number(c.adaround_rate), &[]).prefix("rate "),
        axis("adaround batch", Weights, |c| number(c.adaround_batch), &[]).prefix("batch "),
        axis(
            "adaround penalty",
            Weights,
            |c| number(c.adaround_penalty),
            &[],
        )
        .prefix("penalty "),
        // None of their own is a value, too: these layers then have the bits of the others.
        axis("first bits", Weights, |c| number(c.first_bits), &[])
            .prefix("first ")
            .moot(None),
        axis("last bits", Weights, |c| number(c.last_bits), &[])
            .prefix("last ")
            .moot(None),
        axis("activations", Network, activations, MAPPINGS)
            .prefix("activations ")
            .moot(Some("float")),
        axis("calibration", Network, calibration, RANGES),
        axis(
            "calibration set",
            Network,
            |c| text(&c.calibration_dataset),
            &[],
        )
        .prefix("calibrated on "),
        axis(
            "calibration images",
            Network,
            |c| number(c.calibration_images),
            &[],
        )
        .prefix("calibration images "),
        axis(
            "bias",
            Network,
            |c| text(&c.bias),
            &["same", "int32", "float"],
        )
        .prefix("bias "),
        axis("BN", Weights, |c| text(&c.bn), &["kept", "folded"]).prefix("BN "),
        // That nothing was done is a value, too.
        axis("equalization", Weights, equalization, &[NONE]).prefix("equalized "),
        axis(
            "bias correction",
            Network,
            correction,
            &[NONE, "analytic", "empirical"],
        )
        .prefix("bias correction "),
        axis(
            "reconstruction",
            Network,
            |c| c.reconstruct.clone().unwrap_or_else(|| NONE.to_owned()),
            &[NONE, "layer", "block", "network"],
        )
        .prefix("reconstructed by "),
        axis(
            "iterations",
            Network,
            |c| number(c.reconstruct_iterations),
            &[],
        )
        .prefix("iterations "),
        axis(
            "reconstruction batch",
            Network,
            |c| number(c.reconstruct_batch),
            &[],
        )
        .prefix("reconstruction batch "),
        axis(
            "reconstruction rate",
            Network,
            |c| number(c.reconstruct_rate),
            &[],
        )
        .prefix("reconstruction rate "),
        axis(
            "reconstruction scale rate",
            Network,
            |c| number(c.reconstruct_scale_rate),
            &[],
        )
        .prefix("reconstruction scale rate "),
        axis("drop", Network, |c| number(c.reconstruct_drop), &[]).prefix("drop "),
        axis(
            "shortcut",
            Network,
            |c| text(&c.shortcut),
            &["shared", "rescale", "float", "identity_float"],
        )
        .prefix("shortcut "),
        axis("seed", Weights, |c| c.seed.to_string(), &[]).prefix("seed "),
    ]
};

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
        .map(|axis| (axis.title, value(axis)))
        .filter(|(_, v)| !v.is_empty() && v != DEFAULT && v != NONE)
        .map(|(t, v)| format!("{t} {v}"))
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
        config.method.clone()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl Fn(&mut Config)) -> RunRow {
        let mut config = Config {
            weights_bits: 8,
            activations_bits: 32,
            method: "ptq".into(),
            ..Config::default()
        };
        config.weights_mapping = Some("affine".into());
        change(&mut config);
        RunRow::new("e", config, "w", "d", None)
    }

    #[test]
    fn a_float_run_does_not_make_an_axis_vary() {
        let float =
            row(|c| (c.weights_mapping, c.method, c.weights_bits) = (None, "float".into(), 32));
        let titles = |rows: &[RunRow]| varying(rows).iter().map(|a| a.title).collect::<Vec<_>>();
        assert!(titles(&[float.clone(), row(|_| ()), row(|c| c.weights_bits = 4)]).is_empty());
        let symmetric = row(|c| c.weights_mapping = Some("symmetric".into()));
        assert_eq!(
            titles(&[float, row(|_| ()), symmetric.clone()]),
            ["mapping"]
        );
        assert_eq!(
            scheme_label(
                &symmetric.config,
                &varying(&[row(|_| ()), symmetric.clone()])
            ),
            "symmetric"
        );
        assert_eq!(scheme_label(&symmetric.config, &[]), "ptq");
    }

    #[test]
    fn a_parameter_belongs_to_its_axis() {
        let percentile = |p| {
            row(move |c| {
                (c.weights_range, c.weights_percentile) = (Some("percentile".into()), Some(p))
            })
        };
        let rows = [percentile(99.9), percentile(99.99)];
        assert_eq!(varying(&rows)[0].value(&rows[1].config), "percentile 99.99");
        let group = row(|c| {
            (c.weights_granularity, c.weights_group_size) = (Some("group".into()), Some(64))
        });
        assert!(fixed(&[group]).contains(&"granularity group 64".to_string()));
    }

    #[test]
    fn what_does_not_apply_to_some_runs_does_not_vary() {
        let integer = row(|c| {
            (c.activations_bits, c.execution) = (8, "integer".into());
            c.activations_mapping = Some("affine".into());
            c.integer_accumulator = Some("int32".into());
        });
        let rows = [row(|c| c.execution = "simulate".into()), integer];
        let titles: Vec<_> = varying(&rows).iter().map(|a| a.title).collect();
        assert_eq!(titles, ["execution"]);
        let fixed = fixed(&rows);
        for text in ["accumulator int32", "activations affine"] {
            assert!(fixed.contains(&text.to_string()), "{fixed:?}");
        }
    }

    #[test]
    fn what_training_varies_is_a_column_and_calibrated_runs_have_none_of_it() {
        let trained = |method: &str, freeze: f64| {
            let method = method.to_string();
            row(move |c| {
                (c.method, c.qat_method) = ("qat".into(), Some(method.clone()));
                (c.qat_epochs, c.qat_freeze) = (Some(4), Some(freeze));
            })
        };
        let rows = [row(|_| ()), trained("lsq", 0.5), trained("pact", 0.5)];
        let titles = |rows: &[RunRow]| varying(rows).iter().map(|a| a.title).collect::<Vec<_>>();
        assert_eq!(titles(&rows), ["method", "training"]);
        assert_eq!(scheme_label(&rows[2].config, &varying(&rows)), "qat, pact");
        let fixed = fixed(&rows);
        for text in ["epochs 4", "training settings freeze 0.5"] {
            assert!(fixed.contains(&text.to_string()), "{fixed:?}");
        }
        let rows = [trained("lsq", 0.5), trained("lsq", 1.0)];
        assert_eq!(titles(&rows), ["training settings"]);
    }

    #[test]
    fn how_images_are_read_is_a_column_where_it_varies_and_no_word_where_it_is_usual() {
        let half = || row(|c| c.input_normalization = Some("half".into()));
        let rows = [row(|_| ()), half()];
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
            row(|_| ()),
            row(|c| (c.input_resize, c.input_size) = (Some(232), Some(224))),
            row(|c| c.labels_offset = Some(1)),
        ];
        let axes = varying(&rows);
        let titles: Vec<_> = axes.iter().map(|axis| axis.title).collect();
        assert_eq!(titles, ["image size", "label offset"]);
        assert_eq!(axes[0].value(&rows[1].config), "224 of 232");
        assert_eq!(axes[1].value(&rows[2].config), "1");
    }

    #[test]
    fn first_bits_of_their_own_differ_from_none() {
        let rows = [row(|_| ()), row(|c| c.first_bits = Some(8))];
        assert_eq!(varying(&rows)[0].title, "first bits");
        assert_eq!(scheme_label(&rows[1].config, &varying(&rows)), "first 8");
    }

    #[test]
    fn a_word_that_two_axes_share_comes_with_its_title() {
        let ranges = |range: &str, calibration: &str| {
            let (range, calibration) = (Some(range.into()), Some(calibration.into()));
            row(move |c| {
                (c.weights_range, c.calibration_method) = (range.clone(), calibration.clone());
            })
        };
        let rows = [ranges("minmax", "mse"), ranges("mse", "minmax")];
        let label = |axes: &[&Axis]| scheme_label(&rows[0].config, axes);
        assert_eq!(label(&varying(&rows)), "range minmax, calibration mse");
        assert_eq!(label(&varying(&rows)[1..]), "mse");
    }

    #[test]
    fn arithmetic_varies_fastest() {
        let run = |execution: &str, granularity: &str| {
            let (execution, granularity) = (execution.to_string(), granularity.to_string());
            row(move |c| {
                (c.execution, c.weights_granularity) =
                    (execution.clone(), Some(granularity.clone()));
            })
        };
        let titles = varying(&[run("simulate", "tensor"), run("integer", "channel")]);
        let titles: Vec<_> = titles.iter().map(|a| a.title).collect();
        assert_eq!(titles, ["granularity", "execution"]);
    }
}
