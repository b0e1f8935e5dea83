//! Residual networks with pre-activation (He et al. 2016, arXiv 1603.05027) and wide ones (1605.07146), of any width and depth: BatchNorm and
//! ReLU stand in front of a convolution, so that a block's first BatchNorm stands alone behind a sum.
//!
//! | names of blocks | shortcut's convolution | reads | behind the last sum |
//! |---|---|---|---|
//! | `layerS.I`, kuangliu | `shortcut.0` | the activated value | nothing |
//! | `layerS.I`, meliketoy (biases) | `shortcut.0` | the sum | `bn1`, ReLU |
//! | `layerS.I`, bearpaw | `downsample.0` | the sum | `bn`, ReLU |
//! | `blockS.layer.I`, xternalz | `convShortcut` | the activated value | `bn1`, ReLU |
//!
//! The stem is a 3x3 convolution; the first block of every stage but the first has stride 2, on its first 3x3 convolution.

use network::{Op, Topology, Value};

use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "preact_resnet",
    topology,
    standard: &[],
};

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let &[_, 3, 3, 3] = shapes.weight("conv1")? else {
        return None;
    };
    // No BatchNorm directly behind it.
    let (mut x, mut channels) = nodes.conv(shapes, ("conv1", ""), 1, (Value::Input, 3))?;
    let last = shapes.first(&["bn1", "bn"]);
    for stage in 1.. {
        let blocks: Vec<String> = (0..)
            .map(|i| {
                let names = [
                    format!("layer{stage}.{i}"),
                    format!("block{stage}.layer.{i}"),
                ];
                let is_there = |name: &String| shapes.weight(&format!("{name}.conv1")).is_some();
                names.into_iter().find(is_there)
            })
            .map_while(|block| block)
            .collect();
        if blocks.is_empty() {
            break;
        }
        for (i, block) in blocks.iter().enumerate() {
            let stride = if i == 0 && stage > 1 { 2 } else { 1 };
            (x, channels) = residual(&mut nodes, shapes, block, (stride, last), (x, channels))?;
        }
    }
    if let Some(last) = last {
        x = activated(&mut nodes, last, (x, channels));
    }
    let x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    let classifier = shapes.first(&["linear", "fc", "classifier"])?;
    nodes.linear(shapes, classifier, x)?;
    nodes.topology(32)
}

/// A BatchNorm that stands alone, and its ReLU.
fn activated(nodes: &mut Nodes, norm: &str, x: (Value, usize)) -> Value {
    let y = nodes.lone_norm(norm, x);
    nodes.push(format!("{norm}.relu"), Op::RELU, &[y])
}

fn residual(
    nodes: &mut Nodes,
    shapes: &Shapes<'_>,
    block: &str,
    (stride, last): (usize, Option<&str>),
    (x, channels): (Value, usize),
) -> Option<(Value, usize)> {
    let (convs, strided) = shapes.convs(block)?;
    let first = activated(nodes, &format!("{block}.bn1"), (x, channels));
    let (mut y, mut own) = (first, channels);
    for (j, conv) in convs.iter().enumerate() {
        let stride = if j == strided { stride } else { 1 };
        let norm = format!("{block}.bn{}", j + 2);
        (y, own) = nodes.conv(shapes, (conv, &norm), stride, (y, own))?;
        if shapes.weight(&norm).is_some() {
            y = nodes.push(format!("{conv}.relu"), Op::RELU, &[y]);
        }
    }
    let ways = ["shortcut.0", "downsample.0", "convShortcut"].map(|way| format!("{block}.{way}"));
    let way = ways.iter().position(|way| shapes.weight(way).is_some());
    let shortcut = match way {
        Some(way) => {
            let reads = match way {
                0 if last.is_some() => x,
                1 => x,
                _ => first,
            };
            let (y, to) = nodes.conv(shapes, (&ways[way], ""), stride, (reads, channels))?;
            (to == own).then_some(y)?
        }
        None => (stride == 1 && channels == own).then_some(x)?,
    };
    let sum = nodes.push(format!("{block}.add"), Op::Add, &[y, shortcut]);
    Some((sum, own))
}
