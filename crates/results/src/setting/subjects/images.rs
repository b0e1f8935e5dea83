//! Which test images, and how they and their labels are read.

use crate::config::Config;
use crate::setting::About::Subject;
use crate::setting::entry::setting;
use crate::setting::{Axis, DEFAULT, Setting, Takes};

/// Pixels of a side.
const SIDE: Takes = Takes::Whole(1, 8192);

// That nothing was said of images and labels is a value, too.
pub(in crate::setting) static IMAGES: &[Setting] = &[
    setting!(dataset, Takes::Path)
        .means("an entry of data/datasets.toml or a folder")
        .usually("the model's own")
        .axis(Axis::of("dataset", Subject)),
    setting!(images, Takes::Whole(0, 100_000_000))
        .means("how many test images, 0 for all")
        .default("0")
        .always(),
    setting!(input.normalization, Takes::Text)
        .means("imagenet, cifar10, half, unit (0..1), bytes (0..255) or \"MEAN / STD\"")
        .usually("the set's, imagenet")
        .axis(Axis::of("normalization", Subject).or(DEFAULT).moot(None))
        .later(),
    setting!(input.resize, SIDE)
        .means("of class folders: pixels of the shorter side")
        .usually("256, or 32 for networks made for 32")
        .later(),
    setting!(input.size, SIDE)
        .means("of class folders: pixels of the crop")
        .usually("224, or 32 for networks made for 32")
        .axis(
            Axis::of("image size", Subject)
                .text(size)
                .or(DEFAULT)
                .moot(None),
        )
        .later(),
    setting!(labels.class_list, Takes::Path)
        .means("of class folders: a file with one class name a line, in the order of the outputs")
        .without_column(),
    setting!(labels.offset, Takes::Whole(-65535, 65535))
        .means("what is added to a label for the network's output, 1 where output 0 is no class")
        .default("0")
        .axis(Axis::of("label offset", Subject).or(DEFAULT).moot(None))
        .later(),
];

/// Side of the crop, and what the shorter side was resized to before.
fn size(config: &Config) -> String {
    match (config.text("input_size"), config.text("input_resize")) {
        (only, "") | ("", only) => only.to_owned(),
        (size, resize) => format!("{size} of {resize}"),
    }
}
