//! Which network, and how its file is read.

use crate::setting::entry::setting;
use crate::setting::{About, Axis, Setting, Takes};

pub(in crate::setting) static MODEL: &[Setting] = &[
    setting!(model.name, Takes::Text)
        .means("an entry of data/models.toml")
        .axis(Axis::of("model", About::Subject).text(|config| config.model().to_owned())),
    setting!(model.weights, Takes::Path)
        .means("a .pth, .safetensors or .onnx file, instead of an entry")
        .without_column(),
    setting!(model.arch, Takes::Text)
        .means("resnet18..152, resnet50-v1..152-v1 (stride in the first 1x1), cifar-resnet20..110")
        .usually("recognised"),
    setting!(model.key, Takes::Text)
        .means("which network of a file with several: its keys joined by dots, such as state_dict_ema; . is the outermost")
        .without_column(),
    setting!(model.extra, Takes::Words(&["refuse", "ignore"]))
        .means("tensors beside a complete network: refuse or ignore (the manifest names them)")
        .default("refuse")
        .without_column(),
    setting!(model.rename, Takes::Text)
        .means("parts of a file's names and ours: \"classifier=linear, stage_1=layer1\"")
        .usually("by names, else shapes and order")
        .without_column(),
];
