//! How activations become codes, and what that is for sums of two.

use super::MAPPINGS;
use crate::config::{Config, FLOAT_BITS};
use crate::setting::About::Network;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

/// On the axis, of runs whose activations are not quantized.
const FLOAT: &str = "float";

pub(in crate::setting) static ACTIVATIONS: &[Setting] = &[
    setting!(activations.bits, Takes::Width)
        .means("1 to 16, or 32 for float")
        .default("32")
        .always(),
    setting!(activations.mapping, MAPPINGS)
        .means("affine, symmetric, power_of_two")
        .default("affine")
        .axis(
            Axis::of("activations", Network)
                .prefix("activations ")
                .text(mapping)
                .moot(Some(FLOAT)),
        ),
    setting!(activations.narrow, Takes::Flag)
        .means("signed codes without the lowest one")
        .default("true")
        .if_true("activations", "narrow"),
];

pub(in crate::setting) static SHORTCUT: &[Setting] = &[setting!(
    shortcut,
    Takes::Words(&["shared", "rescale", "float", "identity_float"])
)
.means(
    "with quantized activations: rescale, shared, float (convolutions' results are added as they are) or identity_float (sums go on \
     in float, too)",
)
.default("rescale")
.axis(Axis::of("shortcut", Network).prefix("shortcut "))];

/// How many bits they have is said with those of the weights.
fn mapping(config: &Config) -> String {
    match config.activations_bits() {
        FLOAT_BITS => FLOAT.to_owned(),
        _ => config.text("activations_mapping").to_owned(),
    }
}
