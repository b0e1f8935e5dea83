//! How weights become codes.

use super::MAPPINGS;
use crate::setting::About::Weights;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static WEIGHTS: &[Setting] = &[
    setting!(weights.bits, Takes::Width)
        .means("1 to 16, or 32 for float")
        .default("8")
        .always(),
    setting!(weights.mapping, MAPPINGS)
        .means("affine, symmetric, power_of_two")
        .default("affine")
        .axis(Axis::of("mapping", Weights)),
    setting!(weights.narrow, Takes::Flag)
        .means("symmetric codes without the lowest one")
        .default("true")
        .if_true("mapping", "narrow"),
    setting!(weights.granularity, Takes::Words(&["tensor", "channel", "group"]))
        .means("tensor, channel, group")
        .default("tensor")
        .axis(Axis::of("granularity", Weights)),
    setting!(weights.group_size, Takes::Whole(1, 1 << 30))
        .means("weights per group, for group")
        .default("64")
        .beside("granularity", ""),
    setting!(
        weights.range,
        Takes::Words(&["minmax", "percentile", "mse", "entropy", "gaussian", "laplacian", "output_mse"])
    )
    .means("minmax, percentile, mse, entropy, gaussian, laplacian, or output_mse (of what calibration images make of a layer)")
    .usually("minmax, mse where training learns steps")
    .axis(Axis::of("range", Weights)),
    setting!(weights.percentile, Takes::Number)
        .means("for percentile: what is kept")
        .default("99.99")
        .beside("range", ""),
    setting!(weights.mse_exponent, Takes::Number)
        .means("for mse: p in |x - y|^p")
        .default("2")
        .beside("range", "p="),
    setting!(
        weights.rounding,
        Takes::Words(&["half_even", "half_away", "floor", "stochastic", "gram", "adaround"])
    )
    .means("half_even, half_away, floor, stochastic, or by what calibration images make of a layer: gram (seconds) or adaround (learned)")
    .default("half_even")
    .axis(Axis::of("rounding", Weights)),
];

// No bits of their own is a value, too: these layers then have the bits of the others.
pub(in crate::setting) static WIDTHS: &[Setting] = &[
    setting!(first.bits, Takes::Whole(1, 16))
        .means("for the first layer's weights and the images")
        .usually("as the others")
        .axis(Axis::of("first bits", Weights).prefix("first ").moot(None)),
    setting!(last.bits, Takes::Whole(1, 16))
        .means("for the classifier's weights, its input and the logits")
        .usually("as the others")
        .axis(Axis::of("last bits", Weights).prefix("last ").moot(None)),
];
