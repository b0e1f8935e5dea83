//! What a run is made with.

use crate::setting::About::{Network, Weights};
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static RUN: &[Setting] = &[
    setting!(seed, Takes::Whole(0, i64::MAX))
        .means("for stochastic rounding, the choice of calibration images, and training")
        .default("0")
        .axis(Axis::of("seed", Weights).prefix("seed "))
        .always(),
    setting!(device, Takes::Text)
        .means("engine (the CPU), or burn's flex, cuda, vulkan where built in")
        .default("engine")
        .axis(Axis::of("device", Network))
        .before("execution"),
];
