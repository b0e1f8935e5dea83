//! What happens to ranges before weights are quantized, and to biases for what rounding does.

use crate::setting::About::{Network, Weights};
use crate::setting::entry::setting;
use crate::setting::{Axis, NONE, Setting, Takes};

/// The title of the axis.
const AXIS: &str = "equalization";

pub(in crate::setting) static EQUALIZATION: &[Setting] = &[
    setting!(equalize, Takes::Words(&[NONE, "cross_layer"]))
        .means("none or cross_layer: channels' ranges made alike from layer to layer, BatchNorm folded")
        .default(NONE)
        .axis(
            Axis::of(AXIS, Weights)
                .prefix("equalized ")
                .parts(" ")
                .or(NONE)
                .words(&[NONE]),
        )
        .later(),
    setting!(equalize.reach, Takes::Words(&["pairs", "regions", "sums"]))
        .means("pairs, regions (through pools and concatenations) or sums (through additions, too)")
        .default("regions")
        .beside(AXIS, "")
        .later(),
    setting!(equalize.clip, Takes::Words(&["scale", "replace", "keep"]))
        .means("a ReLU6's end: scale (for each channel), replace (by a ReLU) or keep (nothing goes through)")
        .default("scale")
        .beside(AXIS, "")
        .later(),
    setting!(equalize.absorb, Takes::Flag)
        .means("high biases go into the next layer (through ReLUs behind a BatchNorm)")
        .default("false")
        .if_true(AXIS, "absorb")
        .later(),
    setting!(bias_correction, Takes::Words(&[NONE, "analytic", "empirical"]))
        .means("none, analytic (by the means that BatchNorms promise) or empirical (by calibration images)")
        .default(NONE)
        .axis(
            Axis::of("bias correction", Network)
                .prefix("bias correction ")
                .or(NONE),
        )
        .later(),
];
