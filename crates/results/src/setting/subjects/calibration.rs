//! Which images are looked at, and how the ranges of activations are found in them.

use crate::setting::About::Network;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

/// The title of the axis.
const AXIS: &str = "calibration";

pub(in crate::setting) static CALIBRATION: &[Setting] = &[
    setting!(calibration.dataset, Takes::Path)
        .means("an entry of data/datasets.toml or a folder")
        .usually("the test set's training part")
        .axis(Axis::of("calibration set", Network).prefix("calibrated on ")),
    setting!(calibration.images, Takes::Whole(0, 100_000_000))
        .means("images that activation ranges, gram, adaround, output_mse and empirical correction take")
        .default("512")
        .axis(Axis::of("calibration images", Network).prefix("calibration images ")),
    setting!(
        calibration.method,
        Takes::Words(&["minmax", "moving_average", "percentile", "mse", "entropy", "output_mse"])
    )
    .means("minmax, moving_average, percentile, mse, entropy, or output_mse (of what layers make of a site)")
    .usually("minmax, mse where training learns steps")
    .axis(Axis::of(AXIS, Network))
    .before("calibration_dataset"),
    setting!(calibration.percentile, Takes::Number)
        .means("for percentile: what is kept")
        .default("99.99")
        .beside(AXIS, ""),
    setting!(calibration.momentum, Takes::Number)
        .means("for moving_average: what is kept at each batch")
        .default("0.9")
        .beside(AXIS, ""),
    setting!(calibration.mse_exponent, Takes::Number)
        .means("for mse: p in |x - y|^p")
        .default("2")
        .beside(AXIS, "p="),
];
