//! Which network it is, by shapes and order where the names do not say.
//!
//! The convolutions of a ResNet, one behind another, have shapes that no other network of these families has; what
//! shapes leave open is decided by where things stand, and what that leaves open is refused:
//! - the order of layers is that of the file, which in a pickle is the order in which the modules were made; a file
//!   that is sorted by name (safetensors) must have ordinals in its names (`conv1`, `conv2`; `conv_a`, `conv_b`), and
//!   where both say something, they must agree;
//! - a BatchNorm belongs to the convolution of its own module that has the same place among those of its kind, and must
//!   stand behind it: in a network with pre-activation, of the same shapes, it stands before or in another module;
//! - the layers of a block must have a module to themselves: without it nothing says where a sum is.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::arch::{Arch, BlockSpec, ConvUnit, Shortcut};
use crate::error::quoted;

/// Shape and place of a tensor.
pub(super) type Tensors<'a> = BTreeMap<&'a str, (&'a [usize], usize)>;

/// What was found: PyTorch's name of every tensor of the architecture to the name given.
#[derive(Debug)]
pub(super) struct Found {
    pub arch: Arch,
    pub folded: bool,
    pub names: BTreeMap<String, String>,
}

/// A convolution or a BatchNorm: the name of its module, its place, and its shape (of a BatchNorm: one extent).
#[derive(Clone, Copy, Debug)]
struct Layer<'a> {
    name: &'a str,
    place: usize,
    shape: &'a [usize],
}

/// A convolution and its BatchNorm, if there is one.
type Unit<'a> = (Layer<'a>, Option<Layer<'a>>);

/// Finds the network among `tensors`; `ordered`: their places are those in which the modules were made.
///
/// # Errors
/// What leaves it open, or what is none of a ResNet's.
pub(super) fn recognise(tensors: &Tensors<'_>, ordered: bool) -> Result<Found, String> {
    let mut convs = layers(tensors, |name| {
        let weight = tensors.get(format!("{name}.weight").as_str());
        weight.filter(|(shape, _)| shape.len() == 4).copied()
    });
    let mut norms = layers(tensors, |name| {
        let part = |part: &str| tensors.get(format!("{name}.{part}").as_str());
        let weight = part("weight")?;
        let others = ["bias", "running_mean", "running_var"];
        let same = others
            .iter()
            .all(|&p| part(p).is_some_and(|(shape, _)| *shape == weight.0));
        (weight.0.len() == 1 && same).then_some(*weight)
    });
    let by_order = |a: &Layer, b: &Layer| match ordered {
        true => a.place.cmp(&b.place),
        false => natural(a.name, b.name),
    };
    convs.sort_by(by_order);
    norms.sort_by(by_order);

    let stems: Vec<usize> = (0..convs.len())
        .filter(|&at| convs[at].shape[1] == 3)
        .collect();
    let [stem] = stems[..] else {
        return Err(match stems.len() {
            0 => "no convolution takes three channels".to_owned(),
            n => format!(
                "{n} convolutions take three channels, {} and {} among them: of several networks model.key chooses one",
                quoted(convs[stems[0]].name),
                quoted(convs[stems[1]].name)
            ),
        });
    };
    let stem = convs.remove(stem);
    convs.insert(0, stem);
    let bias = |layer: &Layer| tensors.contains_key(format!("{}.bias", layer.name).as_str());
    let folded = norms.is_empty() && convs.iter().all(bias);
    let units = match folded {
        true => convs.iter().map(|&conv| (conv, None)).collect(),
        false => pairs(&convs, &norms, ordered)?,
    };

    let mut reason = format!(
        "{} convolutions of these shapes are no ResNet's",
        units.len()
    );
    for arch in Arch::all() {
        let layout = arch.layout();
        if layout.units().len() != units.len() {
            continue;
        }
        match assign(&layout.stem, &layout.blocks, &units) {
            Ok(blocks) => {
                in_modules(&blocks)?;
                in_order(&blocks, ordered)?;
                let (classes, classifier) = classifier(tensors, layout.features)?;
                let arch = arch.with_classes(classes);
                let names = names(&arch, folded, &units[0], &blocks, classifier);
                return Ok(Found {
                    arch,
                    folded,
                    names,
                });
            }
            Err(Some(open)) => reason = open,
            Err(None) => {}
        }
    }
    Err(reason)
}

/// The modules of which `shape` says that they are wanted, with their places.
fn layers<'a>(
    tensors: &Tensors<'a>,
    shape: impl Fn(&str) -> Option<(&'a [usize], usize)>,
) -> Vec<Layer<'a>> {
    let modules = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".weight"));
    modules
        .filter_map(|name| {
            let (shape, place) = shape(name)?;
            Some(Layer { name, place, shape })
        })
        .collect()
}

/// Each convolution with its BatchNorm: in every module as many of the one as of the other, in the same order.
fn pairs<'a>(
    convs: &[Layer<'a>],
    norms: &[Layer<'a>],
    ordered: bool,
) -> Result<Vec<Unit<'a>>, String> {
    let mut of_module: BTreeMap<&str, Vec<Layer>> = BTreeMap::new();
    for norm in norms {
        of_module.entry(parent(norm.name)).or_default().push(*norm);
    }
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut units = Vec::new();
    for &conv in convs {
        let taken = taken.entry(parent(conv.name)).or_default();
        let norm = of_module
            .get(parent(conv.name))
            .and_then(|norms| norms.get(*taken));
        *taken += 1;
        let norm = norm.ok_or_else(|| {
            format!(
                "beside convolution {} there is no BatchNorm",
                quoted(conv.name)
            )
        })?;
        if norm.shape[0] != conv.shape[0] || (ordered && norm.place < conv.place) {
            return Err(format!(
                "BatchNorm {} is not that of convolution {} (perhaps a network with pre-activation)",
                quoted(norm.name),
                quoted(conv.name)
            ));
        }
        units.push((conv, Some(*norm)));
    }
    if units.len() != norms.len() {
        return Err(format!(
            "{} convolutions and {} BatchNorms (perhaps a network with pre-activation)",
            units.len(),
            norms.len()
        ));
    }
    Ok(units)
}

/// One block: the units of the main branch, and the projection, with the layout they stand for.
struct Block<'a> {
    spec: BlockSpec,
    main: Vec<Unit<'a>>,
    projection: Option<Unit<'a>>,
}

/// The units by blocks. Fails with nothing where the shapes are others, with a reason where they leave something open.
fn assign<'a>(
    stem: &ConvUnit,
    specs: &[BlockSpec],
    units: &[Unit<'a>],
) -> Result<Vec<Block<'a>>, Option<String>> {
    let fits = |unit: &Unit, wanted: &ConvUnit| {
        unit.0.shape == [wanted.output, wanted.input, wanted.kernel, wanted.kernel]
    };
    if !fits(&units[0], stem) {
        return Err(None);
    }
    let mut rest = &units[1..];
    let mut blocks = Vec::new();
    for spec in specs {
        let projected = matches!(spec.shortcut, Shortcut::Project(_));
        let (here, behind) = rest.split_at(spec.units.len() + usize::from(projected));
        rest = behind;
        let mut main = here.to_vec();
        let projection = match &spec.shortcut {
            Shortcut::Project(wanted) => Some(main.remove(projection(here, spec, wanted, &fits)?)),
            _ => None,
        };
        if !main
            .iter()
            .zip(&spec.units)
            .all(|(unit, wanted)| fits(unit, wanted))
        {
            return Err(None);
        }
        blocks.push(Block {
            spec: spec.clone(),
            main,
            projection,
        });
    }
    Ok(blocks)
}

/// Which of a block's units is the projection: the only one of its shape, or else the only one of these that does not lie
/// in the module of the 3x3 convolution.
fn projection(
    units: &[Unit<'_>],
    spec: &BlockSpec,
    wanted: &ConvUnit,
    fits: &impl Fn(&Unit<'_>, &ConvUnit) -> bool,
) -> Result<usize, Option<String>> {
    let all: Vec<usize> = (0..units.len())
        .filter(|&at| fits(&units[at], wanted))
        .collect();
    if let [only] = all[..] {
        return Ok(only);
    }
    let middle = units.iter().find(|unit| unit.0.shape[2] == 3);
    let home = middle.map(|unit| parent(unit.0.name));
    let apart: Vec<usize> = (all.iter().copied())
        .filter(|&at| Some(parent(units[at].0.name)) != home)
        .collect();
    match (all.is_empty(), &apart[..]) {
        (true, _) => Err(None),
        (_, &[only]) => Ok(only),
        _ => Err(Some(format!(
            "which convolution of {} is the shortcut's is left open by shapes and names",
            quoted(spec.name())
        ))),
    }
}

/// Every block's layers lie in a module that no other block's layer lies in.
fn in_modules(blocks: &[Block<'_>]) -> Result<(), String> {
    let names = |block: &Block<'_>| -> Vec<String> {
        let units = block.main.iter().chain(&block.projection);
        units.map(|unit| unit.0.name.to_owned()).collect()
    };
    let all: Vec<Vec<String>> = blocks.iter().map(names).collect();
    for (at, block) in all.iter().enumerate() {
        let module = common(block);
        let others = all.iter().enumerate().filter(|(other, _)| *other != at);
        let stranger = others
            .flat_map(|(_, names)| names)
            .find(|name| name.starts_with(&module));
        if let Some(stranger) = stranger {
            return Err(format!(
                "names do not say where blocks begin: {} and {} share a module",
                quoted(&block[0]),
                quoted(stranger)
            ));
        }
    }
    Ok(())
}

/// The module that all of `names` lie in, with its dot; empty for the network itself.
fn common(names: &[String]) -> String {
    let mut module = parent(&names[0]).to_owned();
    loop {
        let prefix = if module.is_empty() {
            String::new()
        } else {
            format!("{module}.")
        };
        if names.iter().all(|name| name.starts_with(&prefix)) {
            return prefix;
        }
        module = parent(&module).to_owned();
    }
}

/// The main branches' layers one behind another, as their names count them; without an order of the file they must.
fn in_order(blocks: &[Block<'_>], ordered: bool) -> Result<(), String> {
    let names: Vec<&str> = blocks
        .iter()
        .flat_map(|block| block.main.iter().map(|unit| unit.0.name))
        .collect();
    for pair in names.windows(2) {
        match (ordinals(pair[0], pair[1]), ordered) {
            (Some(Ordering::Less), _) | (None, true) => {}
            (Some(_), _) => {
                return Err(format!(
                    "{} stands behind {} in the file, against their names",
                    quoted(pair[1]),
                    quoted(pair[0])
                ));
            }
            (None, false) => {
                return Err(format!(
                    "neither the file, which is sorted by name, nor the names {} and {} say which comes first",
                    quoted(pair[0]),
                    quoted(pair[1])
                ));
            }
        }
    }
    Ok(())
}

/// The only linear layer that takes `features`: its classes and its name.
fn classifier<'a>(tensors: &Tensors<'a>, features: usize) -> Result<(usize, &'a str), String> {
    let linear = tensors.iter().filter_map(|(name, (shape, _))| {
        let name = name.strip_suffix(".weight")?;
        let bias = tensors.get(format!("{name}.bias").as_str());
        match shape {
            [classes, taken] if *taken == features => {
                (bias?.0 == [*classes]).then_some((*classes, name))
            }
            _ => None,
        }
    });
    let linear: Vec<_> = linear.collect();
    match linear[..] {
        [only] => Ok(only),
        _ => Err(format!(
            "{} linear layers with bias take {features} features, where a classifier is one",
            linear.len()
        )),
    }
}

fn names(
    arch: &Arch,
    folded: bool,
    stem: &Unit<'_>,
    blocks: &[Block<'_>],
    classifier: &str,
) -> BTreeMap<String, String> {
    let layout = arch.layout();
    let mut names = BTreeMap::new();
    let mut put = |wanted: &ConvUnit, found: &Unit<'_>| {
        names.insert(
            format!("{}.weight", wanted.conv),
            format!("{}.weight", found.0.name),
        );
        if folded {
            names.insert(
                format!("{}.bias", wanted.conv),
                format!("{}.bias", found.0.name),
            );
        }
        for part in ["weight", "bias", "running_mean", "running_var"] {
            if let Some(norm) = found.1 {
                names.insert(
                    format!("{}.{part}", wanted.bn),
                    format!("{}.{part}", norm.name),
                );
            }
        }
    };
    put(&layout.stem, stem);
    for block in blocks {
        for (wanted, found) in block.spec.units.iter().zip(&block.main) {
            put(wanted, found);
        }
        if let (Shortcut::Project(wanted), Some(found)) = (&block.spec.shortcut, &block.projection)
        {
            put(wanted, found);
        }
    }
    for part in ["weight", "bias"] {
        names.insert(
            format!("{}.{part}", layout.classifier),
            format!("{classifier}.{part}"),
        );
    }
    names
}

/// The module that a module lies in.
fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// Numbers in names by their value.
fn natural(a: &str, b: &str) -> Ordering {
    runs(a).cmp(&runs(b))
}

/// What two names say of their order: where they differ first, the one has a smaller number, or its part ends in an
/// earlier letter. Nothing where they differ in words.
fn ordinals(a: &str, b: &str) -> Option<Ordering> {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    let (a, b) = loop {
        let (a, b) = (left.next()?, right.next()?);
        if a != b {
            break (a, b);
        }
    };
    let (left, right) = (runs(a), runs(b));
    let (left, right) = left.iter().zip(&right).find(|(a, b)| a != b)?;
    match (left, right) {
        (Run::Number(a), Run::Number(b)) => Some(a.cmp(b)),
        (Run::Text(_), Run::Text(_)) => {
            let letter = |text: &str| text.chars().next_back().filter(char::is_ascii_alphabetic);
            let (x, y) = (letter(a)?, letter(b)?);
            let stem = a.strip_suffix(x)?;
            let apart = stem.is_empty() || stem.ends_with(['_', '-']);
            (apart && Some(stem) == b.strip_suffix(y)).then(|| x.cmp(&y))
        }
        _ => None,
    }
}

/// A piece of a name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    Number(u64),
    Text(&'a str),
}

/// A name as numbers and what stands between them.
fn runs(name: &str) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let len = rest
            .find(|c: char| c.is_ascii_digit() != digits)
            .unwrap_or(rest.len());
        let (run, behind) = rest.split_at(len);
        runs.push(match (digits, run.parse()) {
            (true, Ok(number)) => Run::Number(number),
            _ => Run::Text(run),
        });
        rest = behind;
    }
    runs
}

#[cfg(test)]
mod tests {
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
        let tensors =
            tensors.map(|(place, (name, shape))| (name.as_str(), (shape.as_slice(), place)));
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
                let bias =
                    (shape.len() == 4).then(|| (name.replace("weight", "bias"), vec![shape[0]]));
                [Some((name, shape)), bias].into_iter().flatten()
            })
            .collect();
        let found = found(&tensors, true).unwrap();
        assert!(found.folded && found.names["layer1.0.conv1.bias"] == "stage_1.0.conv_a.bias");
    }

    #[test]
    fn ordinals_are_numbers_and_single_letters() {
        for (a, b, order) in [
            ("layer1.0.conv1", "layer1.0.conv2", Some(Ordering::Less)),
            ("layer1.9.conv2", "layer1.10.conv1", Some(Ordering::Less)),
            ("s.conv_b", "s.conv_a", Some(Ordering::Greater)),
            ("s.a.conv", "s.b.conv", Some(Ordering::Less)),
            ("s.left", "s.right", None),
            ("s.squeeze", "s.expand", None),
            ("a", "a", None),
        ] {
            assert_eq!(ordinals(a, b), order, "{a} {b}");
        }
    }
}
