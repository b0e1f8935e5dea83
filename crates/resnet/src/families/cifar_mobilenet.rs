//! A small network of MobileNetV2's blocks (Sandler et al. 2018, arXiv 1801.04381) for images of 32 x 32 pixels: a 3x3 stem of stride 1,
//! inverted residuals (expand, 3x3 for each channel, project without a ReLU), a 1x1 convolution, the mean, a classifier; ReLU6
//! throughout. 0.1 million weights, 6 million multiply-adds.
//!
//! | block | expansion | channels | stride |
//! |---|---|---|---|
//! | 1 | 1 | 16 | 1 |
//! | 2, 3 | 4 | 24 | 2, 1 |
//! | 4, 5, 6 | 4 | 32 | 2, 1, 1 |
//! | 7, 8 | 4 | 64 | 2, 1 |
//!
//! Layers are called `stem.conv`, `block1.expand`, `block1.depthwise`, `block1.project`, `head.conv` and `classifier`, their
//! BatchNorms `stem.bn`, `block1.expand_bn` and so on.

use network::{Op, Topology, Value};

use super::standard::Tensors;
use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "cifar_mobilenet",
    topology,
    standard: &[("cifar-mobilenet", tensors)],
};

/// Expansion, channels, stride.
const BLOCKS: [(usize, usize, usize); 8] = [
    (1, 16, 1),
    (4, 24, 2),
    (4, 24, 1),
    (4, 32, 2),
    (4, 32, 1),
    (4, 32, 1),
    (4, 64, 2),
    (4, 64, 1),
];

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let (mut x, mut channels) = (Value::Input, 3);
    (x, channels) = layer(
        &mut nodes,
        shapes,
        ["stem", "conv", "bn"],
        (1, true),
        (x, channels),
    )?;
    for (index, (expansion, _, stride)) in BLOCKS.into_iter().enumerate() {
        let block = format!("block{}", index + 1);
        let mut part = |part: &str, how, x| {
            layer(
                &mut nodes,
                shapes,
                [&block, part, &format!("{part}_bn")],
                how,
                x,
            )
        };
        let mut y = (x, channels);
        if expansion > 1 {
            y = part("expand", (1, true), y)?;
        }
        y = part("depthwise", (stride, true), y)?;
        let (y, outputs) = part("project", (1, false), y)?;
        x = match stride == 1 && outputs == channels {
            true => nodes.push(format!("{block}.add"), Op::Add, &[x, y]),
            false => y,
        };
        channels = outputs;
    }
    (x, _) = layer(
        &mut nodes,
        shapes,
        ["head", "conv", "bn"],
        (1, true),
        (x, channels),
    )?;
    x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    nodes.linear(shapes, "classifier", x)?;
    nodes.topology(32)
}

/// A convolution of that stride, its BatchNorm and, if it is to be clipped, its ReLU6.
fn layer(
    nodes: &mut Nodes,
    shapes: &Shapes<'_>,
    [block, conv, norm]: [&str; 3],
    (stride, is_clipped): (usize, bool),
    x: (Value, usize),
) -> Option<(Value, usize)> {
    let [conv, norm] = [conv, norm].map(|part| format!("{block}.{part}"));
    let (y, channels) = nodes.conv(shapes, (&conv, &norm), stride, x)?;
    Some(match is_clipped {
        true => (
            nodes.push(format!("{conv}.relu"), Op::RELU6, &[y]),
            channels,
        ),
        false => (y, channels),
    })
}

fn tensors(all: &mut Tensors) {
    all.normalized("stem", ["conv", "bn"], [16, 3, 3, 3]);
    let mut channels = 16;
    for (index, (expansion, outputs, _)) in BLOCKS.into_iter().enumerate() {
        let block = format!("block{}", index + 1);
        let wide = expansion * channels;
        if expansion > 1 {
            all.normalized(&block, ["expand", "expand_bn"], [wide, channels, 1, 1]);
        }
        all.normalized(&block, ["depthwise", "depthwise_bn"], [wide, 1, 3, 3]);
        all.normalized(&block, ["project", "project_bn"], [outputs, wide, 1, 1]);
        channels = outputs;
    }
    all.normalized("head", ["conv", "bn"], [256, channels, 1, 1]);
    all.linear("classifier", [10, 256]);
}
