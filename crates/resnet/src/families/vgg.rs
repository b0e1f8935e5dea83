//! VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) under torchvision's names, with BatchNorm and without: 3x3 convolutions `features.I`,
//! a ReLU behind each, a 2x2 max pool wherever the indices leave room for one and at the end, then fully connected layers `classifier` or
//! `classifier.I` with ReLUs between them (dropout does nothing here).
//!
//! The first fully connected layer says how large the last map is, and so how large images are.

use engine::Window;
use network::{Op, Topology, Value};

use super::standard::Tensors;
use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "vgg",
    topology,
    standard: &[
        ("vgg11", |all| tensors(all, [1, 1, 2, 2, 2], false)),
        ("vgg13", |all| tensors(all, [2, 2, 2, 2, 2], false)),
        ("vgg16", |all| tensors(all, [2, 2, 3, 3, 3], false)),
        ("vgg19", |all| tensors(all, [2, 2, 4, 4, 4], false)),
        ("vgg11_bn", |all| tensors(all, [1, 1, 2, 2, 2], true)),
        ("vgg13_bn", |all| tensors(all, [2, 2, 2, 2, 2], true)),
        ("vgg16_bn", |all| tensors(all, [2, 2, 3, 3, 3], true)),
        ("vgg19_bn", |all| tensors(all, [2, 2, 4, 4, 4], true)),
    ],
};

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let indices: Vec<usize> = (0..128)
        .filter(|i| matches!(shapes.weight(&format!("features.{i}")), Some([_, _, _, _])))
        .collect();
    let (mut x, mut channels, mut pools) = (Value::Input, 3, 0);
    for (n, &index) in indices.iter().enumerate() {
        let (conv, norm) = (
            format!("features.{index}"),
            format!("features.{}", index + 1),
        );
        let normalized = shapes.weight(&norm).is_some_and(|shape| shape.len() == 1);
        (x, channels) = nodes.conv(shapes, (&conv, &norm), 1, (x, channels))?;
        let relu = index + 1 + usize::from(normalized);
        x = nodes.push(format!("features.{relu}"), Op::RELU, &[x]);
        let next = indices.get(n + 1).copied().unwrap_or(relu + 2);
        match next.checked_sub(relu)? {
            1 => {}
            2 => {
                let pool = Op::MaxPool(Window::square(2, 2, 0));
                x = nodes.push(format!("features.{}", relu + 1), pool, &[x]);
                pools += 1;
            }
            _ => return None,
        }
    }
    let numbered = (0..16).map(|i| format!("classifier.{i}"));
    let layers: Vec<String> = std::iter::once("classifier".to_owned())
        .chain(numbered)
        .filter(|layer| shapes.weight(layer).is_some())
        .collect();
    let &[_, inputs] = shapes.weight(layers.first()?)? else {
        return None;
    };
    for (n, layer) in layers.iter().enumerate() {
        x = nodes.linear(shapes, layer, x)?;
        if n + 1 < layers.len() {
            x = nodes.push(format!("{layer}.relu"), Op::RELU, &[x]);
        }
    }
    let pixels = inputs.checked_div(channels)?;
    let side = (1..=32).find(|side| side * side == pixels)?;
    nodes.topology(side << pools)
}

/// The paper's table 1: `convs` convolutions in front of each pool.
fn tensors(all: &mut Tensors, convs: [usize; 5], normalized: bool) {
    let (mut channels, mut index) = (3, 0);
    for (to, convs) in [64, 128, 256, 512, 512].into_iter().zip(convs) {
        for _ in 0..convs {
            all.conv(&format!("features.{index}"), [to, channels, 3, 3]);
            if normalized {
                all.norm(&format!("features.{}", index + 1), to);
            }
            // Behind the convolution its BatchNorm, if it has one, and a ReLU.
            (channels, index) = (to, index + 2 + usize::from(normalized));
        }
        index += 1;
    }
    all.linear("classifier.0", [4096, channels * 49]);
    all.linear("classifier.3", [4096, 4096]);
    all.linear("classifier.6", [1000, 4096]);
}
