//! What a run is made with.

use crate::setting::About::{Arithmetic, Network, Weights};
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
    // Empty where it is direct, as in all runs that are older.
    setting!(convolution, Takes::Words(&["direct", "winograd"]))
        .means(
            "how real numbers are convolved, where activations stay in float and in training: direct (each sum by its definition) or \
             winograd (3x3 kernels by F(4x4, 3x3), a quarter of the products, 2.6 times the rounding error); sums of codes are exact \
             and direct",
        )
        .default("direct")
        .axis(Axis::of("convolution", Arithmetic).or("direct"))
        .later(),
];
