//! Bits of each layer's and each site's own, under a budget.

use crate::setting::About::Weights;
use crate::setting::entry::setting;
use crate::setting::{Axis, NONE, Setting, Takes};

pub(in crate::setting) static ALLOCATION: &[Setting] = &[
    setting!(
        allocate.method,
        Takes::Words(&[
            NONE, "uniform", "random", "sqnr", "lin", "sensitivity", "hessian", "fisher", "greedy"
        ])
    )
    .means("bits for each layer by its harm: none, uniform or random (to compare with), sqnr (its own noise), lin (the closed form of that), sensitivity (the logits' divergence), hessian or fisher (curvature), greedy (the divergence, measured again after every step)")
    .default(NONE)
    .axis(Axis::of("allocation", Weights).prefix("allocated by ").or(NONE))
    .later(),
    setting!(allocate.of, Takes::Words(&["weights", "activations", "both"]))
        .means("weights, activations or both")
        .default("weights")
        .axis(Axis::of("allocated", Weights).prefix("bits of "))
        .later(),
    setting!(allocate.cost, Takes::Words(&["size", "bit_operations", "latency"]))
        .means("what the budget is spent on: size, bit_operations (multiplications times both bits) or latency (measured time of layers)")
        .default("size")
        .axis(Axis::of("cost", Weights).prefix("by "))
        .later(),
    setting!(allocate.budget, Takes::Between(1.0, 16.0))
        .means("the bits that would cost as much everywhere, first and last layer included")
        .default("4")
        .axis(Axis::of("budget", Weights).prefix("budget "))
        .later(),
    setting!(allocate.bits, Takes::Widths)
        .means("the numbers of bits that may be given")
        .default("2 3 4 6 8")
        .axis(Axis::of("widths", Weights).prefix("of "))
        .later(),
    setting!(allocate.images, Takes::Whole(1, 1 << 20))
        .means("calibration images that harm is measured on")
        .default("256")
        .axis(Axis::of("allocation images", Weights).prefix("allocation images "))
        .later(),
    setting!(allocate.latencies, Takes::Path)
        .means("for latency: layers.csv of throughput --out, or another table with layer, weight_bits, activation_bits, seconds_per_image")
        .without_column(),
    // In place of the path, what is in it.
    Setting::filled("allocate_latencies", Takes::Text)
        .axis(Axis::of("latencies", Weights).prefix("latencies "))
        .later(),
];
