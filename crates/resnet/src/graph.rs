//! A ResNet as a [`Network`]: the family's layers, names and shortcuts, once.
//!
//! Values have PyTorch's names where PyTorch has some: of convolutions, BatchNorms and the classifier. What has none there is called
//! `CONV.relu`, `maxpool`, `BLOCK.shortcut` (option A), `BLOCK.add`, `BLOCK.relu` and `avgpool`.

use engine::Window;
use network::{Network, Op, StateDict, Topology, Value};

use crate::arch::{Arch, ConvUnit, Shortcut};
use crate::error::Error;
use crate::families::{self, Nodes};

/// The network of `arch` with the tensors of `state`, for images of the family's size. A convolution that has a bias and no BatchNorm
/// in `state` has been folded.
///
/// # Errors
/// A tensor that is missing, misshapen or has no place.
pub fn network(arch: &Arch, state: StateDict) -> Result<Network, Error> {
    let has = |name: &str, part: &str| state.contains(&format!("{name}.{part}"));
    let folded = |unit: &ConvUnit| has(&unit.conv, "bias") && !has(&unit.bn, "weight");
    let topology = build(arch, folded);
    Ok(Network::new(topology, state)?)
}

/// The topology of `arch`, no convolution folded, for images of the family's size.
pub fn topology(arch: &Arch) -> Topology {
    build(arch, |_| false)
}

/// The topology called `name`: one of [`Arch::parse`], or a network that its family has a name for (`mobilenet_v2`, `vgg16`,
/// `squeezenet1_1`, ...), as torchvision makes it, for images of 224 pixels and 1000 classes.
///
/// # Errors
/// [`Error::UnknownArch`] with all names there are.
pub fn topology_named(name: &str) -> Result<Topology, Error> {
    match (Arch::parse(name), families::named(name)) {
        (Ok(arch), _) => Ok(topology(&arch)),
        (_, Some(topology)) => Ok(topology),
        (Err(Error::UnknownArch { name, known }), None) => Err(Error::UnknownArch {
            name,
            known: families::names_of_networks().fold(known, |known, name| known + ", " + name),
        }),
        (Err(other), None) => Err(other),
    }
}

fn build(arch: &Arch, folded: impl Fn(&ConvUnit) -> bool) -> Topology {
    let layout = arch.layout();
    let mut nodes = Nodes::default();
    // A convolution, and its BatchNorm unless it has been folded.
    let step = |nodes: &mut Nodes, unit: &ConvUnit, x: Value| {
        let conv = Op::Conv {
            outputs: unit.output,
            groups: 1,
            window: Window::square(unit.kernel, unit.stride, unit.padding()),
        };
        let y = nodes.push(&unit.conv, conv, &[x]);
        match folded(unit) {
            true => y,
            false => nodes.norm(&unit.bn, y),
        }
    };
    let mut x = step(&mut nodes, &layout.stem, Value::Input);
    x = nodes.push(format!("{}.relu", layout.stem.conv), Op::RELU, &[x]);
    if layout.max_pool {
        let pool = Op::MaxPool(Window::square(3, 2, 1));
        x = nodes.push("maxpool", pool, &[x]);
    }
    for block in &layout.blocks {
        let mut y = x;
        for (i, unit) in block.units.iter().enumerate() {
            y = step(&mut nodes, unit, y);
            if i + 1 < block.units.len() {
                y = nodes.push(format!("{}.relu", unit.conv), Op::RELU, &[y]);
            }
        }
        let shortcut = match &block.shortcut {
            Shortcut::Identity => x,
            Shortcut::Pad { pad } => {
                let op = Op::Subsample {
                    stride: block.units[0].stride,
                    before: *pad,
                    behind: *pad,
                };
                nodes.push(format!("{}.shortcut", block.name()), op, &[x])
            }
            Shortcut::Project(unit) => step(&mut nodes, unit, x),
        };
        let sum = nodes.push(format!("{}.add", block.name()), Op::Add, &[y, shortcut]);
        x = nodes.push(format!("{}.relu", block.name()), Op::RELU, &[sum]);
    }
    x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    let classifier = Op::Linear {
        outputs: layout.classes,
    };
    nodes.push(layout.classifier.clone(), classifier, &[x]);
    // Layouts are ours; a test builds every one.
    let topology = nodes.topology(arch.image_size());
    topology.expect("a layout hangs together")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use engine::Shape;

    /// Name and shape of every tensor, biases of convolutions left out if there is a BatchNorm.
    fn tensors(topology: &Topology) -> BTreeMap<String, Vec<usize>> {
        let all = (0..topology.nodes().len()).flat_map(|id| {
            let normalized = topology.node(id).op.is_layer() && topology.norm(id).is_some();
            let wanted = topology.wanted(id);
            wanted.filter(move |(_, _, optional)| !(normalized && *optional))
        });
        all.map(|(name, shape, _)| (name, shape)).collect()
    }

    #[test]
    fn a_topology_has_the_tensors_of_its_architecture_kept_and_folded() {
        for arch in Arch::all().into_iter().chain(Arch::v1()) {
            let arch = arch.with_classes(7);
            let kept = topology(&arch);
            assert_eq!(
                tensors(&kept),
                arch.expected().into_iter().collect(),
                "{arch}"
            );
            assert_eq!(kept.classes(), 7);
            let layout = arch.layout();
            let layers: Vec<_> = kept.layers().map(|id| &kept.node(id).name[..]).collect();
            assert_eq!(layers, layout.layers().collect::<Vec<_>>(), "{arch}");
            let folded = build(&arch, |_| true);
            assert_eq!(
                tensors(&folded),
                arch.expected_folded().into_iter().collect(),
                "{arch}"
            );
            assert_eq!(kept.without_norms(), folded, "{arch}");
        }
    }

    #[test]
    fn other_sizes_fit_until_a_map_vanishes() {
        let arch = Arch::parse("resnet18").unwrap();
        for side in [32, 33, 256] {
            let at = topology(&arch).at([side, side + 1]).unwrap();
            assert_eq!(at.input(), Shape::new(3, side, side + 1));
        }
        assert!(topology(&arch).at([0, 32]).is_err());
    }
}
