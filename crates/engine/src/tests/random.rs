//! Quantized graphs from a seed: every operation, codes of 1 to 8 bits, zero points anywhere, windows of every kind.

use super::{CHANNELS, Random};
use crate::function::Function;
use crate::gather::{Axis, Gather};
use crate::graph::{Clip, Code, Conv, Graph, INPUT, Node, Op};
use crate::shape::{Padding, Shape, Window};

/// Codes of 1 to 8 bits for numbers that span `range`, with a sign or without, and any zero point.
pub(super) fn code(random: &mut Random, range: f32) -> Code {
    let width = 1 << random.between(1, 8);
    let quant_min = random.pick(&[0, -width / 2]);
    let quant_max = quant_min + width - 1;
    let inside = random.between(quant_min, quant_max);
    Code {
        scale: range / width as f32,
        zero_point: random.pick(&[inside, inside, quant_min, quant_max]),
        quant_min,
        quant_max,
    }
}

/// What the numbers of a code span.
fn range(code: Code) -> f32 {
    code.scale * (code.quant_max - code.quant_min + 1) as f32
}

/// No clipping, a ReLU, or both ends somewhere in `range`.
pub(super) fn clip(random: &mut Random, range: f32) -> Option<Clip> {
    let end = |random: &mut Random| random.next() * range;
    match random.between(0, 3) {
        0 | 1 => None,
        2 => Some(Clip::RELU),
        _ => {
            let (a, b) = (end(random), end(random));
            Some(Clip {
                low: a.min(b),
                high: a.max(b),
            })
        }
    }
}

/// 2^x, x between the two.
pub(super) fn power(random: &mut Random, low: f32, high: f32) -> f32 {
    (low + (random.next() + 1.0) / 2.0 * (high - low)).exp2()
}

/// `q - zero_point` of 1 to 8 bits: symmetric, or affine with any zero point, which takes up to 9; or the ends alone.
pub(super) fn weights(random: &mut Random, n: usize) -> Vec<f32> {
    let top = (1 << random.between(1, 8)) - 1;
    let inside = random.between(0, top);
    let zero = random.pick(&[top / 2 + 1, inside, 0, top]);
    let ends = random.once_in(4);
    let mut weight = || match ends {
        true => random.pick(&[-zero, top - zero]) as f32,
        false => random.between(-zero, top - zero) as f32,
    };
    (0..n).map(|_| weight()).collect()
}

/// A convolution with int32 biases, and a range that holds most of its results.
pub(super) fn conv(
    random: &mut Random,
    (input, code): (Shape, Code),
    [outputs, groups]: [usize; 2],
    window: Window,
) -> (Conv, f32) {
    let each = input.channels / groups * window.kernel[0] * window.kernel[1];
    let weight = weights(random, outputs * each);
    let scale = |random: &mut Random| power(random, -9.0, -8.0);
    let scale = (!random.once_in(4)).then(|| (0..outputs).map(|_| scale(random)).collect());
    // Input and weights as independent numbers with a mean and a spread.
    let [low, high] = [code.quant_min, code.quant_max].map(|q| (q - code.zero_point) as f32);
    let mean = weight.iter().sum::<f32>() / weight.len() as f32;
    let square = weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32;
    let spread = (each as f32 * square).sqrt() * (high - low).max(-low).max(high);
    let sums = spread + (each as f32 * mean * (low + high)).abs() + 1.0;
    let bias = |random: &mut Random| (sums / 4.0 * random.next()) as i32;
    let conv = Conv {
        weight,
        outputs,
        groups,
        window,
        bias: (!random.once_in(4)).then(|| (0..outputs).map(|_| bias(random)).collect()),
        scale,
        shift: None,
    };
    let unit = conv.scale.as_ref().map_or(1.0, |scale| scale[0]);
    (conv, code.scale * unit * sums * power(random, -1.0, 1.0))
}

/// A window that fits.
pub(super) fn window(random: &mut Random, input: Shape) -> Window {
    let size = [input.height, input.width];
    let mut side = || random.between(0, 2) as usize;
    let [top, bottom, left, right] = [side(), side(), side(), side()];
    let kernel = size.map(|size| size.min(1 + random.between(0, 2) as usize));
    let dilation = [0, 1].map(|axis| match kernel[axis] * 2 <= size[axis] {
        true => random.pick(&[1, 1, 2]),
        false => 1,
    });
    Window {
        kernel,
        stride: [random.pick(&[1, 1, 2]), random.pick(&[1, 1, 2])],
        dilation,
        padding: Padding {
            top,
            bottom,
            left,
            right,
        },
    }
}

/// A window of a pool, which its padding must not fill.
fn pool(random: &mut Random, input: Shape) -> Window {
    let mut window = window(random, input);
    let [rows, columns] = window.kernel;
    let Padding {
        top,
        bottom,
        left,
        right,
    } = window.padding;
    window.padding = Padding {
        top: top.min(rows - 1),
        bottom: bottom.min(rows - 1),
        left: left.min(columns - 1),
        right: right.min(columns - 1),
    };
    window.dilation = [1, 1];
    window
}

/// A chain of nodes with shortcuts, a pool of the whole map and a classifier.
pub(super) fn network(seed: u64) -> Graph {
    let random = &mut Random(seed);
    let mut side = || random.between(3, 9) as usize;
    let (height, width) = (side(), side());
    let input = Shape::new(random.pick(&CHANNELS[..5]), height, width);
    let first = code(random, 1.0);
    let mut values = vec![(INPUT.to_owned(), input, first)];
    let mut nodes: Vec<Node> = Vec::new();
    for step in 0..random.between(3, 7) {
        let (node, shape) = next(random, step.to_string(), &values);
        values.extend(node.code.map(|code| (node.name.clone(), shape, code)));
        nodes.push(node);
    }
    let (name, shape, of) = values[values.len() - 1].clone();
    let span = range(of) * power(random, -2.0, 0.0);
    let other = code(random, span);
    let to = random.pick(&[of, other]);
    nodes.push(Node::new("pooled", name, Op::avg_pool(Window::whole(shape))).with_code(to));
    let shape = Shape::new(shape.channels, 1, 1);
    let (conv, span) = conv(random, (shape, to), [10, 1], Window::square(1, 1, 0));
    let to = code(random, span);
    nodes.push(Node::new("logits", "pooled", Op::Conv(conv)).with_code(to));
    Graph::quantized(input, Some(first), nodes, "logits").unwrap()
}

const FUNCTIONS: [Function; 7] = [
    Function::Sigmoid,
    Function::HardSigmoid {
        alpha: 0.2,
        beta: 0.5,
    },
    Function::Silu,
    Function::HardSwish,
    Function::LeakyRelu { alpha: 0.1 },
    Function::Elu { alpha: 0.7 },
    Function::Tanh,
];

/// A node that reads the last of the values, and its shape.
fn next(random: &mut Random, name: String, values: &[(String, Shape, Code)]) -> (Node, Shape) {
    let (from, shape, of) = values[values.len() - 1].clone();
    let mut node = Node::new(name, from, Op::Identity);
    let mut span = range(of) * power(random, -1.0, 0.0);
    let resized = |channels: usize, window: &Window| {
        let [height, width] = window.output(shape).unwrap();
        Shape::new(channels, height, width)
    };
    let mut makes = shape;
    match random.between(0, 14) {
        10 => {
            node.op = Op::Function(random.pick(&FUNCTIONS));
            span = span.max(1.0);
        }
        11 => {
            let gate = Shape::new(shape.channels, 1, 1);
            let fits = |(_, other, code): &&(String, Shape, Code)| {
                (*other == shape || *other == gate) && (-12.0..12.0).contains(&range(*code).log2())
            };
            let fitting: Vec<_> = values.iter().filter(fits).collect();
            if !fitting.is_empty() {
                let (other, _, code) = random.pick(&fitting);
                node = node.with([other]);
                node.op = Op::Multiply;
                span *= range(*code);
            }
        }
        12 => {
            let fits = |(_, other, _): &&(String, Shape, Code)| {
                (other.height, other.width) == (shape.height, shape.width) && other.channels < 40
            };
            let fitting: Vec<_> = values.iter().filter(fits).collect();
            if !fitting.is_empty() {
                let (other, other_shape, _) = random.pick(&fitting);
                node = node.with([other]);
                node.op = Op::Concat;
                makes.channels += other_shape.channels;
            }
        }
        13 => {
            let axis = |random: &mut Random, size: usize| match random.between(0, 2) {
                0 => Axis::Whole,
                _ => {
                    let n = random.between(1, size as i32 + 2);
                    let place = |random: &mut Random| random.between(-1, size as i32 - 1);
                    let all = (0..n).map(|_| usize::try_from(place(random)).ok());
                    Axis::Of(all.collect())
                }
            };
            let gather = Gather {
                channels: axis(random, shape.channels),
                rows: axis(random, shape.height),
                columns: axis(random, shape.width),
                fill: random.pick(&[0.0, 0.0, -0.3, 2.0]),
            };
            makes = gather.output(shape).unwrap();
            node.op = Op::Gather(gather);
        }
        14 => {
            let each = (0..shape.channels).map(|_| clip(random, span).unwrap_or(Clip::NONE));
            node.op = Op::ClipEach(each.collect());
        }
        kind @ 0..=1 => {
            let window = pool(random, shape);
            makes = resized(shape.channels, &window);
            let counted = random.pick(&[window.padding, Padding::default()]);
            let pools = [Op::MaxPool(window), Op::AvgPool { window, counted }];
            node.op = pools[kind as usize].clone();
        }
        2 => {
            let [stride, before, behind] = [0, 1, 2].map(|_| random.between(0, 2) as usize);
            let stride = stride.max(1);
            node.op = Op::Subsample {
                stride,
                before,
                behind,
            };
            makes = Shape::new(
                before + shape.channels + behind,
                shape.height.div_ceil(stride),
                shape.width.div_ceil(stride),
            );
        }
        3 => {}
        kind => {
            let divides = |n: &usize| shape.channels.is_multiple_of(*n);
            let groups = [1, 2, 4, shape.channels].into_iter().filter(divides);
            let groups = random.pick(&groups.collect::<Vec<_>>());
            // Half of them keep the shape, so that there is something to add.
            let (window, outputs) = match kind {
                4..=6 => (Window::square(3, 1, 1), shape.channels),
                _ => {
                    let each = random.pick(&CHANNELS[..5]).min(40usize.div_ceil(groups));
                    (window(random, shape), each * groups)
                }
            };
            makes = resized(outputs, &window);
            let (conv, sums) = conv(random, (shape, of), [outputs, groups], window);
            (node.op, span) = (Op::Conv(conv), sums);
        }
    }
    if matches!(node.op, Op::Conv(_) | Op::Identity) {
        node.clip = clip(random, span);
        // Of one order of magnitude, roughly: the quotient of the scales has 31 bits.
        let alike = values.iter().filter(|(_, shape, code)| {
            *shape == makes && (range(*code) / span).log2().abs() < 12.0
        });
        let alike: Vec<_> = alike.collect();
        if !alike.is_empty() && !random.once_in(3) {
            let (add, _, added) = random.pick(&alike);
            node.add = Some(add.clone());
            if matches!(node.op, Op::Conv(_)) {
                node.inner = Some(code(random, span));
            }
            span = range(*added).max(span) * power(random, -1.0, 1.0);
        }
    }
    node.code = Some(if node.op.is_copy() {
        of
    } else {
        code(random, span)
    });
    (node, makes)
}
