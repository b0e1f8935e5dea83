//! The configuration as a reader sees it: axes, which of them vary, and the order of schemes.
//!
//! An axis is one or two columns of `run.csv` that only make sense together (`granularity` with `group_size`, `range` with
//! its parameter). Bit width and number of images have columns of their own in every table.

use std::cmp::Ordering;

use results::{Config, FLOAT_BITS, RunRow};

/// One way in which runs may differ.
pub(crate) struct Axis {
    /// Heading in tables, and with `_` for a blank the column in CSV.
    pub title: &'static str,
    /// Put before the value where no heading says what it is.
    prefix: &'static str,
    text: fn(&Config) -> String,
    /// Whether it says how the network is quantized, and not which network on which data.
    pub scheme: bool,
}

impl Axis {
    /// The value of a run; empty where the axis does not apply.
    pub fn value(&self, config: &Config) -> String {
        (self.text)(config)
    }

    fn label(&self, config: &Config) -> String {
        match self.value(config) {
            value if value.is_empty() => value,
            value => format!("{}{value}", self.prefix),
        }
    }
}

const fn axis(
    title: &'static str,
    prefix: &'static str,
    text: fn(&Config) -> String,
    scheme: bool,
) -> Axis {
    Axis {
        title,
        prefix,
        text,
        scheme,
    }
}

/// Every axis, the coarse ones first: rows are sorted in this order.
pub(crate) static AXES: [Axis; 18] = [
    axis("model", "", model, false),
    axis("dataset", "", |c| c.dataset.clone(), false),
    axis("device", "", |c| c.device.clone(), true),
    axis("execution", "", |c| c.execution.clone(), true),
    axis("integers", "", integers, true),
    axis("method", "", |c| c.method.clone(), true),
    axis("mapping", "", mapping, true),
    axis("granularity", "", granularity, true),
    axis("range", "", range, true),
    axis("rounding", "", |c| text(&c.weights_rounding), true),
    axis("first bits", "first ", |c| number(c.first_bits), true),
    axis("last bits", "last ", |c| number(c.last_bits), true),
    axis("activations", "activations ", activations, true),
    axis("calibration", "calibration ", calibration, true),
    axis("bias", "bias ", |c| text(&c.bias), true),
    axis("BN", "BN ", |c| text(&c.bn), true),
    axis("shortcut", "shortcut ", |c| text(&c.shortcut), true),
    axis("seed", "seed ", |c| c.seed.to_string(), true),
];

/// The axes on which runs differ. Float runs are compared among themselves: that they have no mapping is not a difference
/// worth a column.
pub(crate) fn varying(rows: &[RunRow]) -> Vec<&'static Axis> {
    let differ = |axis: &Axis, float: bool| {
        let mut values = rows
            .iter()
            .map(|r| &r.config)
            .filter(|c| c.is_float() == float)
            .map(|c| axis.value(c));
        values
            .next()
            .is_some_and(|first| values.any(|value| value != first))
    };
    AXES.iter()
        .filter(|axis| differ(axis, false) || differ(axis, true))
        .collect()
}

/// Values of the axes that do not vary among the quantized runs, with what they are, for a line below the table.
pub(crate) fn fixed(rows: &[RunRow]) -> Vec<String> {
    let varying: Vec<_> = varying(rows).iter().map(|axis| axis.title).collect();
    let Some(row) = rows
        .iter()
        .find(|row| !row.config.is_float())
        .or(rows.first())
    else {
        return Vec::new();
    };
    let fixed = AXES.iter().filter(|axis| !varying.contains(&axis.title));
    fixed
        .map(|axis| (axis.title, axis.value(&row.config)))
        .filter(|(_, v)| !v.is_empty())
        .map(|(t, v)| format!("{t} {v}"))
        .collect()
}

/// The scheme of a run in words: its values on the varying axes that are about quantization, or its method.
pub(crate) fn scheme_label(config: &Config, varying: &[&Axis]) -> String {
    let parts = varying
        .iter()
        .filter(|axis| axis.scheme)
        .map(|axis| axis.label(config));
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        config.method.clone()
    } else {
        parts.join(", ")
    }
}

/// Bits as tables show them.
pub(crate) fn bits_text(bits: u32) -> String {
    if bits == FLOAT_BITS {
        "float".into()
    } else {
        bits.to_string()
    }
}

/// The order of rows: model and data, float first, then schemes, then bits from many to few.
pub(crate) fn order(a: &RunRow, b: &RunRow) -> Ordering {
    let part = |scheme: bool| {
        let axes = AXES.iter().filter(move |axis| axis.scheme == scheme);
        axes.map(|axis| compare_words(&axis.value(&a.config), &axis.value(&b.config)))
            .fold(Ordering::Equal, Ordering::then)
    };
    part(false)
        .then_with(|| b.config.images.cmp(&a.config.images))
        .then_with(|| (&a.data_sha256, &a.weights_sha256).cmp(&(&b.data_sha256, &b.weights_sha256)))
        .then_with(|| b.config.is_float().cmp(&a.config.is_float()))
        .then_with(|| part(true))
        .then_with(|| b.config.weights_bits.cmp(&a.config.weights_bits))
        .then_with(|| a.run_id.cmp(&b.run_id))
}

/// Words of the vocabulary in the order of the design, from the plain to the elaborate; others follow alphabetically.
const WORDS: [&str; 31] = [
    "float",
    "linear",
    "ptq",
    "affine",
    "symmetric",
    "power_of_two",
    "tensor",
    "channel",
    "group",
    "minmax",
    "percentile",
    "mse",
    "entropy",
    "gaussian",
    "laplacian",
    "moving_average",
    "simulate",
    "integer",
    "fixed",
    "half_even",
    "half_away",
    "floor",
    "stochastic",
    "gemmlowp",
    "saturating16",
    "same",
    "int32",
    "kept",
    "folded",
    "shared",
    "rescale",
];

/// Compares word by word: known words by rank, others as text with the number they end in by its size.
fn compare_words(a: &str, b: &str) -> Ordering {
    type Key = (usize, String, f64);
    let key = |text: &str| -> Vec<Key> {
        let words = text
            .split([' ', '-', '='])
            .filter(|word| !word.is_empty())
            .map(|word| {
                let rank = WORDS
                    .iter()
                    .position(|known| *known == word)
                    .unwrap_or(WORDS.len());
                let stem = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                (
                    rank,
                    stem.to_string(),
                    word[stem.len()..].parse().unwrap_or(0.0),
                )
            });
        words.collect()
    };
    let order = |x: &Key, y: &Key| {
        x.0.cmp(&y.0)
            .then_with(|| x.1.cmp(&y.1))
            .then(x.2.total_cmp(&y.2))
    };
    let (a, b) = (key(a), key(b));
    let words = a
        .iter()
        .zip(&b)
        .map(|(x, y)| order(x, y))
        .fold(Ordering::Equal, Ordering::then);
    words.then(a.len().cmp(&b.len()))
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn number(value: Option<u32>) -> String {
    value.map(|n| n.to_string()).unwrap_or_default()
}

/// Multiplier, rounding and accumulator of integer execution.
fn integers(c: &Config) -> String {
    let parts = [
        &c.integer_multiplier,
        &c.integer_rounding,
        &c.integer_accumulator,
    ];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    parts.join(" ")
}

fn model(c: &Config) -> String {
    match &c.model_name {
        Some(name) if !name.is_empty() => name.clone(),
        _ => c.model_arch.clone(),
    }
}

fn mapping(c: &Config) -> String {
    let narrow = if c.weights_narrow == Some(true) {
        " narrow"
    } else {
        ""
    };
    c.weights_mapping
        .as_ref()
        .map(|mapping| format!("{mapping}{narrow}"))
        .unwrap_or_default()
}

fn granularity(c: &Config) -> String {
    match (&c.weights_granularity, c.weights_group_size) {
        (Some(granularity), Some(size)) => format!("{granularity} {size}"),
        (granularity, _) => text(granularity),
    }
}

fn range(c: &Config) -> String {
    match (
        &c.weights_range,
        c.weights_percentile,
        c.weights_mse_exponent,
    ) {
        (Some(range), Some(percentile), None) => format!("{range} {percentile}"),
        (Some(range), None, Some(exponent)) => format!("{range} p={exponent}"),
        (range, _, _) => text(range),
    }
}

fn activations(c: &Config) -> String {
    if c.activations_bits == FLOAT_BITS {
        "float".into()
    } else {
        format!("{} bit", c.activations_bits)
    }
}

fn calibration(c: &Config) -> String {
    let images = c.calibration_images.map(|n| format!("{n} images"));
    [c.calibration_method.clone(), images]
        .into_iter()
        .flatten()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
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
    fn words_have_the_order_of_the_design_and_numbers_their_own() {
        let sorted = [
            "",
            "tensor",
            "channel",
            "group 32",
            "group 128",
            "percentile 99.9",
            "percentile 99.99",
            "alpha",
            "cifar-resnet20",
            "cifar-resnet110",
            "resnet18",
            "resnet101",
        ];
        let mut words = sorted;
        words.reverse();
        words.sort_by(|a, b| compare_words(a, b));
        assert_eq!(words, sorted);
    }
}
