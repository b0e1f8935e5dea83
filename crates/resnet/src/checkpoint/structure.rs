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

use super::ordinals::{natural, ordinals};
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

#[cfg(test)]
mod tests;
