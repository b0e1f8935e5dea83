//! The plain twin: every node by its definition, in float64, with a bound on what float32 may make of it. Where a value
//! has codes, the bound takes in half a step.
//!
//! The bound of a sum of K products is `(K + 4) u sum |w x|`, u = 2^-24, whatever the order (Higham, Accuracy and
//! Stability of Numerical Algorithms, section 3.1); errors of the inputs come through with `sum |w|`.

use crate::graph::{Clip, Code, Graph, Op, Placed};
use crate::shape::{Padding, Shape, Window};

/// A value and how far a float32 result may lie from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounded {
    pub value: f64,
    pub error: f64,
}

const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

impl Bounded {
    /// The nearest number that the code has, or a neighbour where that is a matter of rounding.
    fn rounded(self, code: Code) -> Self {
        let scale = f64::from(code.scale);
        let [low, high] =
            [code.quant_min, code.quant_max].map(|q| scale * f64::from(q - code.zero_point));
        Self {
            value: self.value.clamp(low, high),
            error: self.error + UNIT * self.value.abs() + scale * (0.5 + 1e-5),
        }
    }
}

impl From<f64> for Bounded {
    fn from(value: f64) -> Self {
        Self { value, error: 0.0 }
    }
}

/// The value of every node for one image, `[c, h, w]` each.
pub(crate) fn evaluate(graph: &Graph, image: &[f32]) -> Vec<Vec<Bounded>> {
    let image = image.iter().map(|&x| f64::from(x).into());
    let mut values: Vec<Vec<Bounded>> = vec![image.collect()];
    for placed in &graph.nodes {
        values.push(node(graph, placed, &values));
    }
    values.remove(0);
    values
}

/// The value of a node, from those before it.
pub(crate) fn node(graph: &Graph, placed: &Placed, values: &[Vec<Bounded>]) -> Vec<Bounded> {
    let map = |value: usize| Map {
        shape: graph.shape(value),
        code: graph.code(value),
        values: &values[value],
    };
    let input = map(placed.input);
    let others: Vec<_> = placed.others.iter().map(|&other| map(other)).collect();
    let node = &placed.node;
    let mut made = Vec::with_capacity(placed.shape.len());
    for c in 0..placed.shape.channels {
        for y in 0..placed.shape.height {
            for x in 0..placed.shape.width {
                let mut out = element(&node.op, (&input, &others), [c, y, x]);
                if let Some(inner) = node.inner {
                    out = out.rounded(inner);
                }
                if let Some(add) = placed.add {
                    let other = values[add][made.len()];
                    let own = node.inner.or(input.code);
                    if let (Some(own), Some(added)) = (own, graph.code(add)) {
                        // Both multipliers are multiples of 2^-31 of the larger one.
                        let [own, added] = [own, added].map(|code| f64::from(code.scale));
                        let codes = out.value.abs() / own + other.value.abs() / added;
                        out.error += UNIT / 64.0 * own.max(added) * codes;
                    }
                    out.value += other.value;
                    out.error += other.error + UNIT * out.value.abs();
                }
                if let Some(Clip { low, high }) = node.clip {
                    out.value = out.value.clamp(low.into(), high.into());
                }
                made.push(node.code.map_or(out, |code| out.rounded(code)));
            }
        }
    }
    made
}

struct Map<'a> {
    shape: Shape,
    code: Option<Code>,
    values: &'a [Bounded],
}

impl Map<'_> {
    fn own(&self, [c, y, x]: [usize; 3]) -> Bounded {
        let Shape { height, width, .. } = self.shape;
        self.values[(c * height + y) * width + x]
    }

    /// (channel, row, column), the last two counted from the upper left corner of the padding; none outside the map.
    fn at(&self, c: usize, [y, x]: [usize; 2], window: &Window) -> Option<Bounded> {
        let y = y.checked_sub(window.padding.top)?;
        let x = x.checked_sub(window.padding.left)?;
        let Shape { height, width, .. } = self.shape;
        (y < height && x < width).then(|| self.values[(c * height + y) * width + x])
    }

    /// The taps of a window, those outside as none.
    fn taps<'a>(
        &'a self,
        c: usize,
        [y, x]: [usize; 2],
        window: &'a Window,
    ) -> impl Iterator<Item = Option<Bounded>> + 'a {
        (0..window.kernel[0]).flat_map(move |ky| {
            (0..window.kernel[1]).map(move |kx| {
                let at = [
                    y * window.stride[0] + ky * window.dilation[0],
                    x * window.stride[1] + kx * window.dilation[1],
                ];
                self.at(c, at, window)
            })
        })
    }
}

fn element(op: &Op, (input, others): (&Map<'_>, &[Map<'_>]), [c, y, x]: [usize; 3]) -> Bounded {
    let code = input.code;
    match op {
        Op::Conv(conv) => {
            let each = input.shape.channels / conv.groups;
            let first = c / (conv.outputs / conv.groups) * each;
            let taps = conv.window.kernel[0] * conv.window.kernel[1];
            let weights = &conv.weight[c * each * taps..(c + 1) * each * taps];
            let inputs = (0..each).flat_map(|i| input.taps(first + i, [y, x], &conv.window));
            let factor = |values: &Option<Vec<f32>>, absent| {
                values
                    .as_ref()
                    .map_or(absent, |values| f64::from(values[c]))
            };
            let scale = factor(&conv.scale, 1.0);
            // In units of the sum of the input's codes.
            let unit = code.map_or(1.0, |code| f64::from(code.scale));
            let bias = conv.bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
            dot(
                weights,
                inputs,
                scale,
                [bias * unit * scale, factor(&conv.shift, 0.0)],
            )
        }
        Op::Linear(linear) => {
            let each = input.shape.channels;
            let weights = &linear.weight[c * each..(c + 1) * each];
            let bias = linear.bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
            dot(
                weights,
                input.values.iter().copied().map(Some),
                1.0,
                [bias, 0.0],
            )
        }
        Op::MaxPool(window) => input
            .taps(c, [y, x], window)
            .flatten()
            .max_by(|a, b| a.value.total_cmp(&b.value))
            .unwrap(),
        Op::AvgPool { window, counted } => {
            let weights = vec![1.0; window.kernel[0] * window.kernel[1]];
            let count = count(input.shape, (window, *counted), [y, x]) as f64;
            let taps = input.taps(c, [y, x], window);
            let mut mean = dot(&weights, taps, 1.0 / count, [0.0; 2]);
            mean.error += 2.0 * UNIT * mean.value.abs();
            mean
        }
        &Op::Subsample { stride, before, .. } => match c.checked_sub(before) {
            Some(c) if c < input.shape.channels => {
                let Shape { height, width, .. } = input.shape;
                input.values[(c * height + y * stride) * width + x * stride]
            }
            _ => Bounded::default(),
        },
        Op::Function(function) => {
            let Bounded { value, error } = input.own([c, y, x]);
            let [low, at, high] =
                [value - error, value, value + error].map(|x| f64::from(function.at(x as f32)));
            // Monotone pieces: whatever lies between the ends and a turn is no farther than the functions are steep.
            let steep = 1.1 * error.abs();
            let spread = (low - at).abs().max((high - at).abs()).max(steep);
            Bounded {
                value: at,
                error: spread + 4.0 * UNIT * (at.abs() + value.abs()),
            }
        }
        Op::Multiply => {
            let (a, gate) = (input.own([c, y, x]), &others[0]);
            let b = match gate.shape == input.shape {
                true => gate.own([c, y, x]),
                false => gate.own([c, 0, 0]),
            };
            let value = a.value * b.value;
            let error = a.error * b.value.abs() + b.error * a.value.abs() + a.error * b.error;
            Bounded {
                value,
                error: error + 4.0 * UNIT * value.abs(),
            }
        }
        Op::Concat => {
            let mut channel = c;
            for map in std::iter::once(input).chain(others) {
                match channel.checked_sub(map.shape.channels) {
                    Some(rest) => channel = rest,
                    None => return map.own([channel, y, x]),
                }
            }
            Bounded::default()
        }
        Op::Gather(gather) => {
            let place = (
                gather.channels.at(c),
                gather.rows.at(y),
                gather.columns.at(x),
            );
            match place {
                (Some(c), Some(y), Some(x)) => input.own([c, y, x]),
                _ => match code {
                    Some(code) => Bounded::from(f64::from(gather.fill)).rounded(code),
                    None => f64::from(gather.fill).into(),
                },
            }
        }
        Op::ClipEach(each) => {
            let Clip { low, high } = each[c];
            let mut own = input.own([c, y, x]);
            own.value = own.value.clamp(low.into(), high.into());
            own
        }
        Op::Identity => input.own([c, y, x]),
    }
}

/// How many pixels a window counts, one by one.
pub(crate) fn count(
    input: Shape,
    (window, counted): (&Window, Padding),
    [y, x]: [usize; 2],
) -> usize {
    let Padding { top, left, .. } = window.padding;
    let inside = |at: usize, before: usize, first: usize, size: usize, last: usize| {
        at + first >= before && at < before + size + last
    };
    let taps = (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).map(move |kx| [ky, kx]));
    taps.filter(|[ky, kx]| {
        let (row, column) = (y * window.stride[0] + ky, x * window.stride[1] + kx);
        inside(row, top, counted.top, input.height, counted.bottom)
            && inside(column, left, counted.left, input.width, counted.right)
    })
    .count()
}

fn dot(
    weights: &[f32],
    inputs: impl Iterator<Item = Option<Bounded>>,
    scale: f64,
    shifts: [f64; 2],
) -> Bounded {
    let (mut sum, mut magnitude, mut error) = (0.0, 0.0, 0.0);
    for (&w, x) in weights.iter().zip(inputs) {
        let (w, x) = (f64::from(w), x.unwrap_or_default());
        sum += w * x.value;
        magnitude += w.abs() * (x.value.abs() + x.error);
        error += w.abs() * x.error;
    }
    let largest = magnitude * scale.abs() + shifts[0].abs() + shifts[1].abs();
    let rounding = (weights.len() + 4) as f64 * UNIT * largest;
    Bounded {
        value: sum * scale + shifts[0] + shifts[1],
        error: error * scale.abs() + rounding + f64::from(f32::MIN_POSITIVE),
    }
}
