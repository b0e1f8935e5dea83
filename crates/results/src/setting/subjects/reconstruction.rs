//! Codes, biases and activation steps moved by what pieces of the network make of images.

use crate::setting::About::Network;
use crate::setting::entry::setting;
use crate::setting::{Axis, NONE, Setting, Takes};

pub(in crate::setting) static RECONSTRUCTION: &[Setting] = &[
    setting!(reconstruct, Takes::Words(&[NONE, "layer", "block", "network"]))
        .means("none, layer, block or network: codes, biases and activation steps moved by what each makes of images")
        .default(NONE)
        .axis(Axis::of("reconstruction", Network).prefix("reconstructed by ").or(NONE))
        .later(),
    setting!(reconstruct.iterations, Takes::Whole(1, 1 << 24))
        .means("steps for each")
        .default("1000")
        .axis(Axis::of("iterations", Network).prefix("iterations "))
        .later(),
    setting!(reconstruct.batch, Takes::Whole(1, 1 << 16))
        .means("images a step")
        .default("32")
        .axis(Axis::of("reconstruction batch", Network).prefix("reconstruction batch "))
        .later(),
    setting!(reconstruct.rate, Takes::Between(0.0, 10.0))
        .means("how far weights move in a step at first, in codes")
        .default("0.01")
        .axis(Axis::of("reconstruction rate", Network).prefix("reconstruction rate "))
        .later(),
    setting!(reconstruct.scale_rate, Takes::Between(0.0, 1.0))
        .means("how far biases, scales and activation steps do, in units of themselves")
        .default("0.001")
        .axis(Axis::of("reconstruction scale rate", Network).prefix("reconstruction scale rate "))
        .later(),
    setting!(reconstruct.drop, Takes::Between(0.0, 1.0))
        .means("with quantized activations: share of numbers that stay unrounded meanwhile")
        .default("0.5")
        .axis(Axis::of("drop", Network).prefix("drop "))
        .later(),
];
