//! Biases and BatchNorm.

use crate::setting::About::{Network, Weights};
use crate::setting::entry::setting;
use crate::setting::{Axis, Setting, Takes};

pub(in crate::setting) static BIASES: &[Setting] = &[
    setting!(bias, Takes::Words(&["same", "int32", "float"]))
        .means("same, int32 or float")
        .usually("same for linear, int32 with quantized activations, else float")
        .axis(Axis::of("bias", Network).prefix("bias ")),
    setting!(bn, Takes::Words(&["kept", "folded"]))
        .means("kept or folded")
        .usually("folded with quantized activations or without BatchNorm, else kept")
        .axis(Axis::of("BN", Weights).prefix("BN ")),
];
