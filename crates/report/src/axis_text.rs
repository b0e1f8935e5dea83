//! What a configuration has on an axis, in words; empty where the axis does not apply.

use results::{Config, FLOAT_BITS};

pub(crate) fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

pub(crate) fn number<T: ToString>(value: Option<T>) -> String {
    value.map(|n| n.to_string()).unwrap_or_default()
}

pub(crate) fn model(c: &Config) -> String {
    match &c.model_name {
        Some(name) if !name.is_empty() => name.clone(),
        _ => c.model_arch.clone(),
    }
}

/// The value where nothing was done.
pub(crate) const NONE: &str = "none";

/// The value where images are read in the usual way.
pub(crate) const DEFAULT: &str = "default";

pub(crate) fn normalization(c: &Config) -> String {
    usual(text(&c.input_normalization))
}

/// Side of the crop, and what the shorter side was resized to before.
pub(crate) fn image_size(c: &Config) -> String {
    usual(match (c.input_size, c.input_resize) {
        (Some(size), Some(resize)) => format!("{size} of {resize}"),
        (size, resize) => number(size.or(resize)),
    })
}

/// How layers were equalized: how far, what happened to clippings, and whether biases went along.
pub(crate) fn equalization(c: &Config) -> String {
    if c.is_float() {
        return String::new();
    }
    let Some(_) = c.equalize.as_ref().filter(|word| !word.is_empty()) else {
        return NONE.into();
    };
    let absorbs = c.equalize_absorb == Some(true);
    let parts = [text(&c.equalize_reach), text(&c.equalize_clip)];
    let absorb = absorbs.then(|| "absorb".to_owned());
    parts
        .into_iter()
        .chain(absorb)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What biases make up for.
pub(crate) fn correction(c: &Config) -> String {
    match text(&c.bias_correction) {
        _ if c.is_float() => String::new(),
        word if word.is_empty() => NONE.into(),
        word => word,
    }
}

pub(crate) fn label_offset(c: &Config) -> String {
    usual(number(c.labels_offset))
}

fn usual(value: String) -> String {
    match value.is_empty() {
        true => DEFAULT.into(),
        false => value,
    }
}

/// Network and images, as the title of a picture has them: what is usual is not said.
pub(crate) fn subject(c: &Config) -> String {
    let mut parts = vec![model(c), c.dataset.clone()];
    for (title, value) in [
        ("normalization", normalization(c)),
        ("image size", image_size(c)),
        ("label offset", label_offset(c)),
    ] {
        if value != DEFAULT {
            parts.push(format!("{title} {value}"));
        }
    }
    parts.join(", ")
}

pub(crate) fn mapping(c: &Config) -> String {
    codes(&c.weights_mapping, c.weights_narrow)
}

/// `float` where activations are not quantized; how many bits they have else is said with those of the weights.
pub(crate) fn activations(c: &Config) -> String {
    if c.activations_bits == FLOAT_BITS {
        "float".into()
    } else {
        codes(&c.activations_mapping, c.activations_narrow)
    }
}

fn codes(mapping: &Option<String>, narrow: Option<bool>) -> String {
    let narrow = if narrow == Some(true) { " narrow" } else { "" };
    mapping
        .as_ref()
        .map(|mapping| format!("{mapping}{narrow}"))
        .unwrap_or_default()
}

pub(crate) fn granularity(c: &Config) -> String {
    match (&c.weights_granularity, c.weights_group_size) {
        (Some(granularity), Some(size)) => format!("{granularity} {size}"),
        (granularity, _) => text(granularity),
    }
}

pub(crate) fn range(c: &Config) -> String {
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

/// The method that calibration finds ranges with, and its parameter.
pub(crate) fn calibration(c: &Config) -> String {
    let method = text(&c.calibration_method);
    let exponent = c.calibration_mse_exponent.map(|p| format!("p={p}"));
    let momentum = c.calibration_momentum.map(|m| m.to_string());
    let percentile = c.calibration_percentile.map(|p| p.to_string());
    match percentile.or(momentum).or(exponent) {
        Some(parameter) => format!("{method} {parameter}"),
        None => method,
    }
}

/// The settings of a training that rarely differ, in one line; empty without a training.
pub(crate) fn training(c: &Config) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, value: String| {
        if !value.is_empty() {
            parts.push(format!("{name} {value}"));
        }
    };
    part("batch", number(c.qat_batch));
    part("shards", number(c.qat_shards));
    part("schedule", text(&c.qat_schedule));
    part("warm-up", number(c.qat_warmup));
    part("momentum", number(c.qat_momentum));
    part("weight decay", number(c.qat_weight_decay));
    part("padding", number(c.qat_padding));
    part("flip", number(c.qat_flip));
    part("delay", number(c.qat_delay));
    part("freeze", number(c.qat_freeze));
    part("temperature", number(c.qat_temperature));
    part("range momentum", number(c.qat_range_momentum));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_method_is_shown_with_its_parameter() {
        let config = |method: &str| Config {
            calibration_method: Some(method.into()),
            ..Config::default()
        };
        let mut c = config("percentile");
        c.calibration_percentile = Some(99.99);
        assert_eq!(calibration(&c), "percentile 99.99");
        let mut c = config("moving_average");
        c.calibration_momentum = Some(0.9);
        assert_eq!(calibration(&c), "moving_average 0.9");
        let mut c = config("mse");
        c.calibration_mse_exponent = Some(2.0);
        assert_eq!(calibration(&c), "mse p=2");
        assert_eq!(calibration(&config("entropy")), "entropy");
        assert_eq!(calibration(&Config::default()), "");
    }
}
