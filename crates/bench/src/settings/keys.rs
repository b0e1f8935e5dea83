//! The settings by subject, as `sweep --help` shows them, and what was probably meant by a key that does not exist.
//!
//! The subject of a key follows from its first part (`weights.bits` is about weights), so that a new setting is one entry
//! of [`KEYS`] and nothing else.

use anyhow::{Result, bail};

/// Every key with its meaning and default, as `sweep --help` shows them by subject (which the key's first part says).
pub const KEYS: &[(&str, &str)] = &[
    ("model.name", "an entry of data/models.toml"),
    (
        "model.weights",
        "a .pth, .safetensors or .onnx file, instead of an entry",
    ),
    (
        "model.arch",
        "resnet18..152, resnet50-v1..152-v1 (stride in the first 1x1), cifar-resnet20..110; default: recognised",
    ),
    (
        "model.key",
        "which network of a file with several: its keys joined by dots, such as state_dict_ema; . is the outermost",
    ),
    (
        "model.extra",
        "tensors beside a complete network: refuse or ignore (the manifest names them); default refuse",
    ),
    (
        "model.rename",
        "parts of a file's names and ours: \"classifier=linear, stage_1=layer1\"; default: by names, else shapes and order",
    ),
    (
        "dataset",
        "an entry of data/datasets.toml or a folder; default: the model's own",
    ),
    ("images", "how many test images; default 0 = all"),
    (
        "input.normalization",
        "imagenet, cifar10, half, unit (0..1), bytes (0..255) or \"MEAN / STD\"; default: the set's, imagenet",
    ),
    (
        "input.resize",
        "of class folders: pixels of the shorter side; default 256, or 32 for networks made for 32",
    ),
    (
        "input.size",
        "of class folders: pixels of the crop; default 224, or 32 for networks made for 32",
    ),
    (
        "labels.class_list",
        "of class folders: a file with one class name a line, in the order of the outputs",
    ),
    (
        "labels.offset",
        "what is added to a label for the network's output, 1 where output 0 is no class; default 0",
    ),
    (
        "method",
        "linear (the original preset), ptq, qat (trained) or stored (the quantizers of the model's file); default ptq",
    ),
    ("weights.bits", "1 to 16, or 32 for float; default 8"),
    (
        "weights.mapping",
        "affine, symmetric, power_of_two; default affine",
    ),
    (
        "weights.narrow",
        "symmetric codes without the lowest one; default true",
    ),
    (
        "weights.granularity",
        "tensor, channel, group; default tensor",
    ),
    (
        "weights.group_size",
        "weights per group, for group; default 64",
    ),
    (
        "weights.range",
        "minmax, percentile, mse, entropy, gaussian, laplacian, or output_mse (of what calibration images make of a layer); default minmax, mse where training learns steps",
    ),
    (
        "weights.percentile",
        "for percentile: what is kept; default 99.99",
    ),
    ("weights.mse_exponent", "for mse: p in |x - y|^p; default 2"),
    (
        "weights.rounding",
        "half_even, half_away, floor, stochastic, or by what calibration images make of a layer: gram (seconds) or adaround (learned); default half_even",
    ),
    (
        "gram.order",
        "nearest, feedback (what a code loses goes into the next ones) or descent; default descent",
    ),
    (
        "gram.activation_order",
        "feedback begins with the weights that read the most; default false",
    ),
    (
        "gram.target",
        "corrected (for what layers before have lost) or float (with feedback: GPTQ); default corrected",
    ),
    (
        "gram.refit",
        "scales fitted to the codes, and codes to them again; default true",
    ),
    (
        "gram.positions",
        "output pixels of an image that are looked at, 0 for all; default 64",
    ),
    (
        "gram.damping",
        "added to the diagonal, in units of its mean; default 0.01",
    ),
    ("adaround.iterations", "steps for each layer; default 1000"),
    ("adaround.rate", "of Adam; default 0.01"),
    (
        "adaround.batch",
        "points that a step is taken on, where outputs are clipped; default 2048",
    ),
    (
        "adaround.penalty",
        "weighs what drives codes to a decision; default 0.01",
    ),
    (
        "first.bits",
        "for the first layer's weights and the images; default: as the others",
    ),
    (
        "last.bits",
        "for the classifier's weights, its input and the logits; default: as the others",
    ),
    ("activations.bits", "1 to 16, or 32 for float; default 32"),
    (
        "activations.mapping",
        "affine, symmetric, power_of_two; default affine",
    ),
    (
        "activations.narrow",
        "signed codes without the lowest one; default true",
    ),
    (
        "bias",
        "same, int32 or float; default same for linear, int32 with quantized activations, else float",
    ),
    (
        "bn",
        "kept or folded; default folded with quantized activations or without BatchNorm, else kept",
    ),
    (
        "equalize",
        "none or cross_layer: channels' ranges made alike from layer to layer, BatchNorm folded; default none",
    ),
    (
        "equalize.reach",
        "pairs, regions (through pools and concatenations) or sums (through additions, too); default regions",
    ),
    (
        "equalize.clip",
        "a ReLU6's end: scale (for each channel), replace (by a ReLU) or keep (nothing goes through); default scale",
    ),
    (
        "equalize.absorb",
        "high biases go into the next layer (through ReLUs behind a BatchNorm); default false",
    ),
    (
        "bias_correction",
        "none, analytic (by the means that BatchNorms promise) or empirical (by calibration images); default none",
    ),
    (
        "reconstruct",
        "none, layer, block or network: codes, biases and activation steps moved by what each makes of images; default none",
    ),
    ("reconstruct.iterations", "steps for each; default 1000"),
    ("reconstruct.batch", "images a step; default 32"),
    (
        "reconstruct.rate",
        "how far weights move in a step at first, in codes; default 0.01",
    ),
    (
        "reconstruct.scale_rate",
        "how far biases, scales and activation steps do, in units of themselves; default 0.001",
    ),
    (
        "reconstruct.drop",
        "with quantized activations: share of numbers that stay unrounded meanwhile; default 0.5",
    ),
    (
        "shortcut",
        "with quantized activations: rescale, shared, float (convolutions' results are added as they are) or identity_float (sums go on in float, too); default rescale",
    ),
    ("execution", "simulate or integer; default simulate"),
    (
        "integer.rounding",
        "half_even, half_away, floor, gemmlowp (TensorFlow Lite), ort (ONNX Runtime); default half_even",
    ),
    (
        "integer.multiplier",
        "fixed, power_of_two, float; default fixed",
    ),
    ("integer.accumulator", "int32, saturating16; default int32"),
    (
        "calibration.dataset",
        "an entry of data/datasets.toml or a folder; default: the test set's training part",
    ),
    (
        "calibration.images",
        "images that activation ranges, gram, adaround, output_mse and empirical correction take; default 512",
    ),
    (
        "calibration.method",
        "minmax, moving_average, percentile, mse, entropy; default minmax, mse where training learns steps",
    ),
    (
        "calibration.percentile",
        "for percentile: what is kept; default 99.99",
    ),
    (
        "calibration.momentum",
        "for moving_average: what is kept at each batch; default 0.9",
    ),
    (
        "calibration.mse_exponent",
        "for mse: p in |x - y|^p; default 2",
    ),
    ("qat.method", "lsq, lsq_plus, pact, minmax; default lsq"),
    (
        "qat.bn",
        "BatchNorm in training: folded, static, kept; default folded, which is kept where each channel has a learned step",
    ),
    (
        "qat.start",
        "first scales: ptq (as calibrated) or float (the method's own); default ptq",
    ),
    ("qat.epochs", "passes over the training images; default 4"),
    ("qat.images", "training images; default 0 = all"),
    ("qat.batch", "images per step; default 64"),
    (
        "qat.shards",
        "parts of a batch, each with BatchNorm of its own; default 2",
    ),
    ("qat.lr", "peak learning rate; default 0.01"),
    (
        "qat.scale_lr",
        "of steps, offsets and bounds; default that of weights",
    ),
    ("qat.warmup", "epochs of linear warm-up; default 0"),
    ("qat.schedule", "cosine or step; default cosine"),
    ("qat.momentum", "of SGD; default 0.9"),
    (
        "qat.weight_decay",
        "of kernels and clipping bounds; default 0.0001, below 4 bits 0.00003",
    ),
    (
        "qat.padding",
        "pixels around an image before a random crop; default 4",
    ),
    ("qat.flip", "mirror half of the images; default true"),
    (
        "qat.delay",
        "share of the steps before activations are quantized; default 0",
    ),
    (
        "qat.freeze",
        "share of the steps after which BatchNorm's statistics stay; default 0.7, below 4 bits 0.9",
    ),
    (
        "qat.distillation",
        "share of the loss that is the distance to the float network; default 0",
    ),
    (
        "qat.temperature",
        "what logits are divided by for that; default 1",
    ),
    (
        "qat.range_momentum",
        "what a moving activation range keeps at a step, for minmax; default 0.99",
    ),
    (
        "seed",
        "for stochastic rounding, the choice of calibration images, and training; default 0",
    ),
    (
        "device",
        "engine (the CPU), or burn's flex, cuda, vulkan where built in; default engine",
    ),
];

/// A subject's title and the first parts of its keys, in the order of the help.
const SUBJECTS: [(&str, &[&str]); 9] = [
    ("Model", &["model"]),
    ("Images", &["dataset", "images", "input", "labels"]),
    (
        "Method",
        &[
            "method",
            "bn",
            "bias",
            "equalize",
            "bias_correction",
            "reconstruct",
        ],
    ),
    ("Weights", &["weights", "gram", "adaround", "first", "last"]),
    ("Activations", &["activations", "shortcut"]),
    ("Calibration", &["calibration"]),
    ("Integers", &["execution", "integer"]),
    ("Training (method = qat)", &["qat"]),
    ("Run", &["seed", "device"]),
];

/// Columns of a terminal that the help keeps to.
const WIDTH: usize = 80;
/// Most keys that a message about an unknown one names.
const MOST_NAMED: usize = 4;

/// Every setting under its subject, with its meaning and default, in lines of at most 80 columns.
pub fn help() -> String {
    let longest = KEYS.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let indent = 2 + longest + 2;
    let mut text =
        String::from("Settings, for --set and for an experiment's [fixed] and [vary]:\n");
    for (title, parts) in SUBJECTS {
        text += &format!("\n{title}:\n");
        for (key, meaning) in KEYS.iter().filter(|(key, _)| parts.contains(&first(key))) {
            for (i, line) in wrapped(meaning, WIDTH - indent).iter().enumerate() {
                let key = if i == 0 { key } else { "" };
                text += &format!("  {key:<longest$}  {line}\n");
            }
        }
    }
    text
}

/// Fails for a key that does not exist, naming the nearest ones.
pub fn check_key(key: &str) -> Result<()> {
    if KEYS.iter().any(|(known, _)| *known == key) {
        return Ok(());
    }
    match nearest(key).as_slice() {
        [] => bail!("unknown key `{key}`; `sweep --help` lists all keys"),
        [one] => bail!("unknown key `{key}`; did you mean {one}?"),
        [most @ .., last] => bail!(
            "unknown key `{key}`; did you mean {} or {last}?",
            most.join(", ")
        ),
    }
}

/// The keys that take the fewest mistypings to become `key`, in the order of [`KEYS`]; none where nothing is near. A key
/// without its first part (`bits`) is as near as one slip to those that it could be the end of.
fn nearest(key: &str) -> Vec<&'static str> {
    let slips = |known: &str| {
        let end = known.split_once('.').map_or(known, |(_, end)| end);
        let whole = strsim::damerau_levenshtein(key, known);
        whole.min(1 + strsim::damerau_levenshtein(key, end))
    };
    let allowed = (key.chars().count() / 3).clamp(1, 4);
    let all = KEYS.iter().map(|(known, _)| (slips(known), *known));
    let Some(least) = all.clone().map(|(slips, _)| slips).min() else {
        return Vec::new();
    };
    let near = all.filter(|(slips, _)| *slips == least && least <= allowed);
    near.map(|(_, known)| known).take(MOST_NAMED).collect()
}

/// The part of a key in front of its first dot.
fn first(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// `text` in lines of at most `width` columns, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let grown = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if grown <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_once_in_the_help_and_every_line_fits_80_columns() {
        let help = help();
        for (key, meaning) in KEYS {
            let of_key = |line: &&str| line.split_whitespace().next() == Some(*key);
            let indented = help.lines().filter(|line| line.starts_with("  "));
            assert_eq!(indented.filter(of_key).count(), 1, "{key}");
            let word = meaning.split_whitespace().next_back().unwrap();
            assert!(help.contains(word), "{key}: {word}");
        }
        for line in help.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn every_subject_has_keys() {
        for (title, parts) in SUBJECTS {
            let has_keys = KEYS.iter().any(|(key, _)| parts.contains(&first(key)));
            assert!(has_keys, "{title}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_ones() {
        let message = |key: &str| check_key(key).unwrap_err().to_string();
        for (wrong, meant) in [
            ("weight.bits", "weights.bits"),
            ("weights.bit", "weights.bits"),
            ("wieghts.bits", "weights.bits"),
            ("activation.mapping", "activations.mapping"),
            ("calibration.image", "calibration.images"),
            ("qat.epoch", "qat.epochs"),
            ("Device", "device"),
            ("epochs", "qat.epochs"),
        ] {
            let expected = format!("unknown key `{wrong}`; did you mean {meant}?");
            assert_eq!(message(wrong), expected);
        }
        let several = "weights.bits, first.bits, last.bits or activations.bits?";
        assert!(message("bits").ends_with(several), "{}", message("bits"));
        let nothing = message("temperature_of_the_room");
        assert!(
            nothing.ends_with("`sweep --help` lists all keys"),
            "{nothing}"
        );
        for (key, _) in KEYS {
            check_key(key).unwrap();
        }
    }
}
