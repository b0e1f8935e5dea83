//! MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) under torchvision's names, of any width: a 3x3 stem of stride 2, inverted residuals
//! `features.I.conv` (expand, 3x3 for each channel, project), a 1x1 convolution, the mean, `classifier.1`. Strides are torchvision's: 2 in
//! the blocks 2, 4, 7 and 14. A block adds its input where stride and channels allow it.

use network::{Op, Topology, Value};

use super::standard::Tensors;
use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "mobilenet_v2",
    topology,
    standard: &[("mobilenet_v2", tensors)],
};

const STRIDED: [usize; 4] = [2, 4, 7, 14];

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let stem = ("features.0.0", "features.0.1");
    let (x, mut channels) = nodes.conv(shapes, stem, 2, (Value::Input, 3))?;
    let mut x = nodes.push("features.0.2", Op::RELU6, &[x]);
    let mut block = 1;
    while shapes
        .weight(&format!("features.{block}.conv.0.0"))
        .is_some()
    {
        (x, channels) = inverted(&mut nodes, shapes, block, (x, channels))?;
        block += 1;
    }
    let [conv, norm, relu] = [0, 1, 2].map(|part| format!("features.{block}.{part}"));
    (x, _) = nodes.conv(shapes, (&conv, &norm), 1, (x, channels))?;
    x = nodes.push(relu, Op::RELU6, &[x]);
    x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    nodes.linear(shapes, "classifier.1", x)?;
    nodes.topology(224)
}

fn inverted(
    nodes: &mut Nodes,
    shapes: &Shapes<'_>,
    block: usize,
    (x, channels): (Value, usize),
) -> Option<(Value, usize)> {
    let part = |rest: &str| format!("features.{block}.conv.{rest}");
    let stride = if STRIDED.contains(&block) { 2 } else { 1 };
    // The first block does not expand.
    let expands = matches!(shapes.weight(&part("2")), Some([_, _, _, _]));
    let steps = if expands { 2 } else { 1 };
    let (mut y, mut own) = (x, channels);
    for step in 0..steps {
        let names = [0, 1, 2].map(|i| part(&format!("{step}.{i}")));
        let stride = if step + 1 == steps { stride } else { 1 };
        (y, own) = nodes.conv(shapes, (&names[0], &names[1]), stride, (y, own))?;
        y = nodes.push(&names[2], Op::RELU6, &[y]);
    }
    let (conv, norm) = (part(&steps.to_string()), part(&(steps + 1).to_string()));
    let (y, to) = nodes.conv(shapes, (&conv, &norm), 1, (y, own))?;
    Some(match stride == 1 && to == channels {
        true => {
            let name = format!("features.{block}.add");
            (nodes.push(name, Op::Add, &[x, y]), to)
        }
        false => (y, to),
    })
}

/// Width 1: the paper's table 2, a row for each (expansion, channels, blocks).
fn tensors(all: &mut Tensors) {
    let rows = [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ];
    all.normalized("features.0", ["0", "1"], [32, 3, 3, 3]);
    let (mut channels, mut index) = (32, 1);
    for (expansion, to, blocks) in rows {
        for _ in 0..blocks {
            let block = format!("features.{index}.conv");
            let hidden = channels * expansion;
            if expansion == 1 {
                all.normalized(&block, ["0.0", "0.1"], [hidden, 1, 3, 3]);
                all.normalized(&block, ["1", "2"], [to, hidden, 1, 1]);
            } else {
                all.normalized(&block, ["0.0", "0.1"], [hidden, channels, 1, 1]);
                all.normalized(&block, ["1.0", "1.1"], [hidden, 1, 3, 3]);
                all.normalized(&block, ["2", "3"], [to, hidden, 1, 1]);
            }
            (channels, index) = (to, index + 1);
        }
    }
    all.normalized("features.18", ["0", "1"], [1280, 320, 1, 1]);
    all.linear("classifier.1", [1000, 1280]);
}
