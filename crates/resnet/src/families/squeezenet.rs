//! SqueezeNet 1.0 and 1.1 (Iandola et al. 2016, arXiv 1602.07360) under torchvision's names: a stem `features.0` of stride 2 without padding,
//! fire modules `features.I` (1x1 squeeze, then 1x1 and 3x3 side by side), a 3x3 max pool of stride 2 that rounds up wherever an index is
//! left out, and a 1x1 convolution `classifier.1` whose means are the logits.

use engine::Window;
use network::{Op, Topology, Value};

use super::build::ceiled;
use super::standard::Tensors;
use super::{Family, Nodes, Shapes};

pub(super) const FAMILY: Family = Family {
    name: "squeezenet",
    topology,
    standard: &[
        ("squeezenet1_0", |all| {
            tensors(all, [96, 3, 7, 7], [3, 4, 5, 7, 8, 9, 10, 12]);
        }),
        ("squeezenet1_1", |all| {
            tensors(all, [64, 3, 3, 3], [3, 4, 6, 7, 9, 10, 11, 12]);
        }),
    ],
};

const SIDE: usize = 224;

fn topology(shapes: &Shapes<'_>) -> Option<Topology> {
    let mut nodes = Nodes::default();
    let &[outputs, 3, kernel, _] = shapes.weight("features.0")? else {
        return None;
    };
    let op = Op::Conv {
        outputs,
        groups: 1,
        window: Window::square(kernel, 2, 0),
    };
    let x = nodes.push("features.0", op, &[Value::Input]);
    let mut x = nodes.push("features.1", Op::RELU, &[x]);
    let mut channels = outputs;
    let mut size = SIDE.checked_sub(kernel)? / 2 + 1;
    let is_fire = |i: &usize| shapes.weight(&format!("features.{i}.squeeze")).is_some();
    let last = (2..32).rfind(is_fire)?;
    for i in 2..=last {
        let module = format!("features.{i}");
        if !is_fire(&i) {
            let (window, left) = ceiled(3, 2, size);
            x = nodes.push(module, Op::MaxPool(window), &[x]);
            size = left;
            continue;
        }
        let layer = |nodes: &mut Nodes, part: &str, from: (Value, usize)| {
            let name = format!("{module}.{part}");
            let (y, to) = nodes.conv(shapes, (&name, ""), 1, from)?;
            Some((nodes.push(format!("{name}_activation"), Op::RELU, &[y]), to))
        };
        let squeezed = layer(&mut nodes, "squeeze", (x, channels))?;
        let (a, one) = layer(&mut nodes, "expand1x1", squeezed)?;
        let (b, three) = layer(&mut nodes, "expand3x3", squeezed)?;
        x = nodes.push(format!("{module}.concat"), Op::Concat, &[a, b]);
        channels = one + three;
    }
    let (y, _) = nodes.conv(shapes, ("classifier.1", ""), 1, (x, channels))?;
    let y = nodes.push("classifier.2", Op::RELU, &[y]);
    nodes.push("classifier.3", Op::GlobalAvgPool, &[y]);
    nodes.topology(SIDE)
}

/// The stem, and where the fire modules stand: two of each width.
fn tensors(all: &mut Tensors, stem: [usize; 4], fires: [usize; 8]) {
    all.conv("features.0", stem);
    let mut channels = stem[0];
    for (n, index) in fires.into_iter().enumerate() {
        let module = format!("features.{index}");
        let squeeze = 16 * (n / 2 + 1);
        let expand = 4 * squeeze;
        all.conv(&format!("{module}.squeeze"), [squeeze, channels, 1, 1]);
        all.conv(&format!("{module}.expand1x1"), [expand, squeeze, 1, 1]);
        all.conv(&format!("{module}.expand3x3"), [expand, squeeze, 3, 3]);
        channels = 2 * expand;
    }
    all.conv("classifier.1", [1000, channels, 1, 1]);
}
