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

use engine::Window;
use network::{Op, Topology, Value};

use super::Nodes;

const RELU6: Op = Op::Clip {
    low: 0.0,
    high: 6.0,
};
const STEM: usize = 16;
const HEAD: usize = 256;
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

pub(super) fn topology(classes: usize) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let window = |size, stride| Window::square(size, stride, size / 2);
    let mut x = layer(
        &mut nodes,
        ("stem", "conv", "bn"),
        Value::Input,
        (STEM, 1, window(3, 1)),
        true,
    );
    let mut channels = STEM;
    for (index, (expansion, outputs, stride)) in BLOCKS.into_iter().enumerate() {
        let block = format!("block{}", index + 1);
        let wide = expansion * channels;
        let part = |nodes: &mut Nodes, part: &str, x, op, clips| {
            layer(nodes, (&block, part, &format!("{part}_bn")), x, op, clips)
        };
        let mut y = x;
        if expansion > 1 {
            y = part(&mut nodes, "expand", y, (wide, 1, window(1, 1)), true);
        }
        y = part(
            &mut nodes,
            "depthwise",
            y,
            (wide, wide, window(3, stride)),
            true,
        );
        y = part(&mut nodes, "project", y, (outputs, 1, window(1, 1)), false);
        x = match stride == 1 && outputs == channels {
            true => nodes.push(format!("{block}.add"), Op::Add, &[x, y]),
            false => y,
        };
        channels = outputs;
    }
    x = layer(
        &mut nodes,
        ("head", "conv", "bn"),
        x,
        (HEAD, 1, window(1, 1)),
        true,
    );
    x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    nodes.push("classifier", Op::Linear { outputs: classes }, &[x]);
    nodes.topology(32)
}

/// A convolution of so many outputs, groups and that window, its BatchNorm and, if it `clips`, its ReLU6.
fn layer(
    nodes: &mut Nodes,
    (block, conv, norm): (&str, &str, &str),
    x: Value,
    (outputs, groups, window): (usize, usize, Window),
    clips: bool,
) -> Value {
    let op = Op::Conv {
        outputs,
        groups,
        window,
    };
    let conv = format!("{block}.{conv}");
    let y = nodes.push(conv.clone(), op, &[x]);
    let y = nodes.norm(format!("{block}.{norm}"), y);
    match clips {
        true => nodes.push(format!("{conv}.relu"), RELU6, &[y]),
        false => y,
    }
}
