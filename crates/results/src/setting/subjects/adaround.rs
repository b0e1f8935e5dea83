//! Rounding that is learned layer by layer, with `weights.rounding = "adaround"`.

use crate::setting::About::Weights;
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static ADAROUND: &[Setting] = &[
    setting!(adaround.iterations, Takes::Whole(1, 1_000_000))
        .means("steps for each layer")
        .default("1000")
        .axis(Axis::of("adaround iterations", Weights).prefix("iterations "))
        .later(),
    setting!(adaround.rate, Takes::Between(1e-6, 1.0))
        .means("of Adam")
        .default("0.01")
        .axis(Axis::of("adaround rate", Weights).prefix("rate "))
        .later(),
    setting!(adaround.batch, Takes::Whole(1, 1 << 20))
        .means("points that a step is taken on, where outputs are clipped")
        .default("2048")
        .axis(Axis::of("adaround batch", Weights).prefix("batch "))
        .later(),
    setting!(adaround.penalty, Takes::Between(0.0, 1e3))
        .means("weighs what drives codes to a decision")
        .default("0.01")
        .axis(Axis::of("adaround penalty", Weights).prefix("penalty "))
        .later(),
];
