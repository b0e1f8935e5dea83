//! Residual networks of any width and depth under torchvision's or kuangliu's names: ResNeXt (arXiv 1611.05431), wide ones (1605.07146),
//! those with a 3x3 stem for small images, pruned ones whose channels are odd.
//!
//! Blocks of two or three convolutions, `layerS.I.convJ` and `bnJ`; strides of 2 in the first block of every stage but the first, on the
//! 3x3 convolution; shortcuts `downsample.0` or `shortcut.0` with a BatchNorm, or none, or option A's where channels are missing. A stem of
//! 7x7 has stride 2 and a max pool behind it, one of 3x3 neither.

use engine::Window;
use network::{Op, Topology, Value};

use super::standard::Tensors;
use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "resnet",
    topology,
    standard: &[
        ("resnext50_32x4d", |all| {
            bottlenecks(all, [3, 4, 6, 3], 32, 4)
        }),
        ("resnext101_32x8d", |all| {
            bottlenecks(all, [3, 4, 23, 3], 32, 8)
        }),
        ("resnext101_64x4d", |all| {
            bottlenecks(all, [3, 4, 23, 3], 64, 4)
        }),
        ("wide_resnet50_2", |all| {
            bottlenecks(all, [3, 4, 6, 3], 1, 128)
        }),
        ("wide_resnet101_2", |all| {
            bottlenecks(all, [3, 4, 23, 3], 1, 128)
        }),
    ],
};

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let &[_, 3, kernel, _] = shapes.weight("conv1")? else {
        return None;
    };
    let (side, stride) = match kernel {
        7 => (224, 2),
        3 => (32, 1),
        _ => return None,
    };
    let (x, mut channels) = nodes.conv(shapes, ("conv1", "bn1"), stride, (Value::Input, 3))?;
    let mut x = nodes.push("conv1.relu", Op::RELU, &[x]);
    if kernel == 7 {
        x = nodes.push("maxpool", Op::MaxPool(Window::square(3, 2, 1)), &[x]);
    }
    let stages = (1..).take_while(|s| shapes.weight(&format!("layer{s}.0.conv1")).is_some());
    for stage in stages {
        let blocks = (0..)
            .map(|i| format!("layer{stage}.{i}"))
            .take_while(|block| shapes.weight(&format!("{block}.conv1")).is_some());
        for (i, block) in blocks.enumerate() {
            let stride = if i == 0 && stage > 1 { 2 } else { 1 };
            (x, channels) = residual(&mut nodes, shapes, &block, stride, (x, channels))?;
        }
    }
    let x = nodes.push("avgpool", Op::GlobalAvgPool, &[x]);
    let classifier = shapes.first(&["fc", "linear", "classifier"])?;
    nodes.linear(shapes, classifier, x)?;
    nodes.topology(side)
}

fn residual(
    nodes: &mut Nodes,
    shapes: &Shapes<'_>,
    block: &str,
    stride: usize,
    (x, channels): (Value, usize),
) -> Option<(Value, usize)> {
    let (convs, strided) = shapes.convs(block)?;
    let (mut y, mut own) = (x, channels);
    for (j, conv) in convs.iter().enumerate() {
        let stride = if j == strided { stride } else { 1 };
        let norm = format!("{block}.bn{}", j + 1);
        (y, own) = nodes.conv(shapes, (conv, &norm), stride, (y, own))?;
        if j + 1 < convs.len() {
            y = nodes.push(format!("{conv}.relu"), Op::RELU, &[y]);
        }
    }
    let ways = ["downsample", "shortcut"].map(|way| format!("{block}.{way}"));
    let projected = ways
        .iter()
        .find(|way| shapes.weight(&format!("{way}.0")).is_some());
    let shortcut = match projected {
        Some(way) => {
            let names = (format!("{way}.0"), format!("{way}.1"));
            let (y, to) = nodes.conv(shapes, (&names.0, &names.1), stride, (x, channels))?;
            (to == own).then_some(y)?
        }
        None if stride == 1 && channels == own => x,
        None => {
            let more = own.checked_sub(channels)?;
            let op = Op::Subsample {
                stride,
                before: more / 2,
                behind: more - more / 2,
            };
            nodes.push(format!("{block}.shortcut"), op, &[x])
        }
    };
    let sum = nodes.push(format!("{block}.add"), Op::Add, &[y, shortcut]);
    Some((nodes.push(format!("{block}.relu"), Op::RELU, &[sum]), own))
}

/// `blocks` in each stage, whose 3x3 convolutions have `groups` groups of, in the first stage, `width` channels.
fn bottlenecks(all: &mut Tensors, blocks: [usize; 4], groups: usize, width: usize) {
    all.weight("conv1", [64, 3, 7, 7]);
    all.norm("bn1", 64);
    let mut channels = 64;
    for (stage, blocks) in blocks.into_iter().enumerate() {
        let (each, to) = (width << stage, 256 << stage);
        let middle = groups * each;
        for i in 0..blocks {
            let block = format!("layer{}.{i}", stage + 1);
            all.normalized(&block, ["conv1", "bn1"], [middle, channels, 1, 1]);
            all.normalized(&block, ["conv2", "bn2"], [middle, each, 3, 3]);
            all.normalized(&block, ["conv3", "bn3"], [to, middle, 1, 1]);
            if i == 0 {
                let way = ["downsample.0", "downsample.1"];
                all.normalized(&block, way, [to, channels, 1, 1]);
            }
            channels = to;
        }
    }
    all.linear("fc", [1000, channels]);
}
