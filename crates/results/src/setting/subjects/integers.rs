//! What a quantized network is computed in.

use crate::setting::About::Arithmetic;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static INTEGERS: &[Setting] = &[
    // A run that leaves the choice has `simulate` in the column, whichever it took: the bytes are the same, and so is the run.
    setting!(execution, Takes::Words(&["auto", "simulate", "integer"]))
        .means(
            "auto (in integers wherever that gives the simulation's codes, else simulated; the same run as simulate, and its column \
             executed says which), simulate, or integer (compared with the simulation code for code)",
        )
        .default("auto")
        .axis(Axis::of("execution", Arithmetic)),
    setting!(
        integer.rounding,
        Takes::Words(&["half_even", "half_away", "floor", "gemmlowp", "ort"])
    )
    .means("half_even, half_away, floor, gemmlowp (TensorFlow Lite), ort (ONNX Runtime)")
    .default("half_even")
    .axis(Axis::of("integer rounding", Arithmetic)),
    setting!(
        integer.multiplier,
        Takes::Words(&["fixed", "power_of_two", "float"])
    )
    .means("fixed, power_of_two, float")
    .usually("fixed, float for ort")
    .axis(Axis::of("multiplier", Arithmetic).prefix("multiplier "))
    .before("integer_rounding"),
    setting!(
        integer.accumulator,
        Takes::Words(&["int32", "saturating16"])
    )
    .means("int32, saturating16")
    .default("int32")
    .axis(Axis::of("accumulator", Arithmetic)),
];
