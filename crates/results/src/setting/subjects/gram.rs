//! Rounding by what calibration images make of a layer, with `weights.rounding = "gram"`.

use crate::setting::About::Weights;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static GRAM: &[Setting] = &[
    setting!(
        gram.order,
        Takes::Words(&["nearest", "feedback", "descent"])
    )
    .means("nearest, feedback (what a code loses goes into the next ones) or descent")
    .default("descent")
    .axis(Axis::of("gram order", Weights))
    .later(),
    setting!(gram.activation_order, Takes::Flag)
        .means("feedback begins with the weights that read the most")
        .default("false")
        // That it was not asked for is a value, too.
        .axis(
            Axis::of("gram activation order", Weights)
                .prefix("activation order ")
                .moot(None),
        )
        .later(),
    setting!(gram.target, Takes::Words(&["float", "corrected"]))
        .means("corrected (for what layers before have lost) or float (with feedback: GPTQ)")
        .default("corrected")
        .axis(Axis::of("gram target", Weights).prefix("target "))
        .later(),
    setting!(gram.refit, Takes::Flag)
        .means("scales fitted to the codes, and codes to them again")
        .default("true")
        .axis(Axis::of("gram refit", Weights).prefix("refit "))
        .later(),
    setting!(gram.positions, Takes::Whole(0, 1 << 24))
        .means("output pixels of an image that are looked at, 0 for all")
        .default("64")
        .axis(Axis::of("gram positions", Weights).prefix("positions "))
        .later(),
    setting!(gram.damping, Takes::Between(0.0, 1e3))
        .means("added to the diagonal, in units of its mean")
        .default("0.01")
        .axis(Axis::of("gram damping", Weights).prefix("damping "))
        .later(),
];
