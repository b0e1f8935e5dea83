//! Networks under the names that training code gives them, and what must not be taken for one.

use super::*;

type Named = Vec<(String, Vec<usize>)>;

/// A network's tensors in the order of its modules, each layer (`stem`, `1.0.conv1`, `2.0.shortcut`, `classifier`; of a
/// BatchNorm: the convolution's with `bn` before it) under the name that `name` gives it.
fn network(arch: &str, name: impl Fn(&str) -> String) -> Named {
    let layout = Arch::parse(arch).unwrap().layout();
    let layer = |conv: &str| match conv {
        "conv1" => "stem".to_owned(),
        _ => conv
            .trim_start_matches("layer")
            .replace("shortcut.0", "shortcut")
            .replace("downsample.0", "shortcut"),
    };
    let mut out = Vec::new();
    for unit in layout.units() {
        let layer = layer(&unit.conv);
        out.push((
            format!("{}.weight", name(&layer)),
            vec![unit.output, unit.input, unit.kernel, unit.kernel],
        ));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            out.push((
                format!("{}.{part}", name(&format!("bn {layer}"))),
                vec![unit.output],
            ));
        }
    }
    out.push((
        format!("{}.weight", name("classifier")),
        vec![layout.classes, layout.features],
    ));
    out.push((format!("{}.bias", name("classifier")), vec![layout.classes]));
    out
}

fn found(tensors: &Named, ordered: bool) -> Result<Found, String> {
    let tensors = tensors.iter().enumerate();
    let tensors = tensors.map(|(place, (name, shape))| (name.as_str(), (shape.as_slice(), place)));
    recognise(&tensors.collect(), ordered)
}

/// `(stage, block, layer)` of a layer of a block, and whether it is a BatchNorm.
fn of_block(layer: &str) -> Option<(usize, usize, &str, bool)> {
    let (plain, norm) = match layer.strip_prefix("bn ") {
        Some(plain) => (plain, true),
        None => (layer, false),
    };
    let mut parts = plain.split('.');
    Some((
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?,
        norm,
    ))
}

/// `conv_1_3x3`, `stage_1.0.conv_a`, `classifier`.
fn letters(layer: &str) -> String {
    match (layer, of_block(layer)) {
        ("stem", _) => "conv_1_3x3".to_owned(),
        ("bn stem", _) => "bn_1".to_owned(),
        (_, Some((stage, block, "shortcut", norm))) => {
            format!("stage_{stage}.{block}.downsample.{}", usize::from(norm))
        }
        (_, Some((stage, block, conv, norm))) => {
            let letter = ["a", "b", "c"][conv[4..].parse::<usize>().unwrap() - 1];
            format!(
                "stage_{stage}.{block}.{}_{letter}",
                if norm { "bn" } else { "conv" }
            )
        }
        _ => "classifier".to_owned(),
    }
}

/// `conv1.0`, `conv2_x.0.residual_function.3`, `fc`.
fn sequential(layer: &str) -> String {
    match (layer, of_block(layer)) {
        ("stem", _) => "conv1.0".to_owned(),
        ("bn stem", _) => "conv1.1".to_owned(),
        (_, Some((stage, block, "shortcut", norm))) => {
            format!("conv{}_x.{block}.shortcut.{}", stage + 1, usize::from(norm))
        }
        (_, Some((stage, block, conv, norm))) => {
            let at = 3 * (conv[4..].parse::<usize>().unwrap() - 1) + usize::from(norm);
            format!("conv{}_x.{block}.residual_function.{at}", stage + 1)
        }
        _ => "fc".to_owned(),
    }
}

/// `features.init_block.conv`, `features.stage1.unit1.body.conv1.conv`, `output`.
fn units(layer: &str) -> String {
    match (layer, of_block(layer)) {
        ("stem", _) => "features.init_block.conv".to_owned(),
        ("bn stem", _) => "features.init_block.bn".to_owned(),
        (_, Some((stage, block, conv, norm))) => {
            let part = if norm { "bn" } else { "conv" };
            let place = if conv == "shortcut" {
                "identity_conv".to_owned()
            } else {
                format!("body.{conv}")
            };
            format!("features.stage{stage}.unit{}.{place}.{part}", block + 1)
        }
        _ => "output".to_owned(),
    }
}

/// `features.0`, `features.3.0.conv1`, `linear`.
fn indices(layer: &str) -> String {
    match (layer, of_block(layer)) {
        ("stem", _) => "features.0".to_owned(),
        ("bn stem", _) => "features.1".to_owned(),
        (_, Some((stage, block, "shortcut", norm))) => {
            format!("features.{}.{block}.skip.{}", stage + 2, usize::from(norm))
        }
        (_, Some((stage, block, conv, norm))) => {
            format!(
                "features.{}.{block}.{}",
                stage + 2,
                if norm {
                    conv.replace("conv", "bn")
                } else {
                    conv.to_owned()
                }
            )
        }
        _ => "linear".to_owned(),
    }
}

#[test]
fn networks_under_other_names_are_recognised_in_the_files_order_and_by_ordinals() {
    for arch in [
        "cifar-resnet20",
        "cifar-resnet56",
        "cifar-resnet20-b",
        "cifar-resnet110-b",
        "resnet18",
        "resnet34",
    ] {
        for name in [letters, sequential, units, indices] {
            let mut tensors = network(arch, name);
            for ordered in [true, false] {
                let found = found(&tensors, ordered).unwrap();
                assert_eq!(
                    (found.arch, found.folded),
                    (Arch::parse(arch).unwrap(), false)
                );
                let wanted: BTreeMap<_, _> = found.arch.expected().into_iter().collect();
                assert!(wanted.keys().eq(found.names.keys()));
                assert_eq!(
                    found.names["layer2.0.conv2.weight"],
                    format!("{}.weight", name("2.0.conv2"))
                );
                assert_eq!(
                    found.names["layer2.0.bn1.running_var"],
                    format!("{}.running_var", name("bn 2.0.conv1"))
                );
                tensors.sort();
            }
        }
    }
}

#[test]
fn bottlenecks_are_recognised_where_names_tell_the_shortcut_apart() {
    let tensors = network("resnet50", indices);
    assert_eq!(
        found(&tensors, true).unwrap().arch,
        Arch::parse("resnet50").unwrap()
    );
    // In the first block, the last convolution and the shortcut's have one shape.
    let tensors = network("resnet50", |layer| {
        indices(layer)
            .replace("skip.0", "conv4")
            .replace("skip.1", "bn4")
    });
    assert!(found(&tensors, true).unwrap_err().contains("left open"));
}

#[test]
fn a_shortcut_that_is_made_first_is_one() {
    let mut tensors = network("cifar-resnet20-b", sequential);
    let of_block = |name: &str| name.starts_with("conv3_x.0.");
    let from = tensors.iter().position(|(name, _)| of_block(name)).unwrap();
    let to = tensors
        .iter()
        .rposition(|(name, _)| of_block(name))
        .unwrap();
    tensors[from..=to].rotate_right(5);
    let found = found(&tensors, true).unwrap();
    assert_eq!(
        found.names["layer2.0.shortcut.0.weight"],
        "conv3_x.0.shortcut.0.weight"
    );
}

#[test]
fn layers_that_stand_in_another_order_than_their_names_count_are_refused() {
    let mut tensors = network("cifar-resnet20", letters);
    let at = |wanted: &str| tensors.iter().position(|(name, _)| name == wanted).unwrap();
    let (a, b) = (at("stage_1.1.conv_a.weight"), at("stage_1.1.conv_b.weight"));
    tensors.swap(a, b);
    let reason = found(&tensors, true).unwrap_err();
    assert!(
        reason.contains("BatchNorm") || reason.contains("against their names"),
        "{reason}"
    );
    let swapped = network("cifar-resnet20", |layer| {
        let layer = match layer.split_once("conv") {
            Some((before, "1")) => format!("{before}conv2"),
            Some((before, "2")) => format!("{before}conv1"),
            _ => layer.to_owned(),
        };
        letters(&layer)
    });
    assert!(
        found(&swapped, true)
            .unwrap_err()
            .contains("against their names")
    );
}

#[test]
fn names_without_ordinals_need_the_order_of_the_file() {
    let words = |first: &'static str, second: &'static str| {
        move |layer: &str| letters(layer).replace("_a", first).replace("_b", second)
    };
    let tensors = network("cifar-resnet20", words("_contract", "_expand"));
    assert!(found(&tensors, true).is_ok());
    let reason = found(&tensors, false).unwrap_err();
    assert!(reason.contains("which comes first"), "{reason}");
    let tensors = network("cifar-resnet20", words("_squeeze", "_expand"));
    assert!(found(&tensors, true).is_ok() && found(&tensors, false).is_err());
}

#[test]
fn names_that_do_not_show_blocks_are_refused() {
    let tensors = network("cifar-resnet20", |layer| letters(layer).replace('.', "_"));
    let reason = found(&tensors, true).unwrap_err();
    assert!(reason.contains("where blocks begin"), "{reason}");
}

#[test]
fn pre_activation_is_not_taken_for_a_network_of_the_same_shapes() {
    // conv1; bn1, conv1, bn2, conv2 of each block; bn; linear: the same convolutions, as many BatchNorms.
    let layout = Arch::parse("cifar-resnet20").unwrap().layout();
    let mut tensors = vec![("conv1.weight".to_owned(), vec![16, 3, 3, 3])];
    let norm = |tensors: &mut Named, name: &str, channels| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{name}.{part}"), vec![channels]));
        }
    };
    for block in &layout.blocks {
        for unit in &block.units {
            norm(&mut tensors, &unit.bn, unit.input);
            tensors.push((
                format!("{}.weight", unit.conv),
                vec![unit.output, unit.input, 3, 3],
            ));
        }
    }
    norm(&mut tensors, "bn", 64);
    tensors.push(("fc.weight".to_owned(), vec![10, 64]));
    tensors.push(("fc.bias".to_owned(), vec![10]));
    for ordered in [true, false] {
        let reason = found(&tensors, ordered).unwrap_err();
        assert!(reason.contains("pre-activation"), "{reason}");
    }
}

#[test]
fn several_networks_and_heads_are_refused() {
    let mut tensors = network("cifar-resnet20", |layer| format!("a.{}", letters(layer)));
    tensors.extend(network("cifar-resnet20", |layer| {
        format!("b.{}", letters(layer))
    }));
    assert!(found(&tensors, true).unwrap_err().contains("model.key"));
    let mut tensors = network("cifar-resnet20", letters);
    tensors.push(("aux.weight".to_owned(), vec![4, 64]));
    tensors.push(("aux.bias".to_owned(), vec![4]));
    assert!(
        found(&tensors, true)
            .unwrap_err()
            .contains("2 linear layers")
    );
}

#[test]
fn folded_networks_are_recognised_too() {
    let tensors: Named = network("cifar-resnet20", letters)
        .into_iter()
        .filter(|(name, _)| !name.contains("bn_"))
        .flat_map(|(name, shape)| {
            let bias = (shape.len() == 4).then(|| (name.replace("weight", "bias"), vec![shape[0]]));
            [Some((name, shape)), bias].into_iter().flatten()
        })
        .collect();
    let found = found(&tensors, true).unwrap();
    assert!(found.folded && found.names["layer1.0.conv1.bias"] == "stage_1.0.conv_a.bias");
}
