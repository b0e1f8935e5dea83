//! The plain twin of quantized graphs: codes from codes, element by element, in whole numbers alone.
//!
//! Jacob et al. 2018, equations 4 to 7: `q_out - z_out = round(M * sum (q - z) w)`, an M being `mantissa * 2^-shift`. An
//! addition is `round(M_own (q_own - z_own) + M_add (q_add - z_add))`, both mantissas in one shift.

use quant_core::{FixedPoint, Rounding};

use crate::domain::{IntegerArithmetic, Requantize};
use crate::epilogue::Multiplier;
use crate::function::Function;
use crate::graph::{Clip, Code, Conv, Graph, Op, Placed};
use crate::kernel::Accumulator;
use crate::reference::count;
use crate::shape::{Shape, Window};

/// The codes of every node for one image, `[c, h, w]` each.
pub(super) fn codes(graph: &Graph, image: &[f32], how: IntegerArithmetic) -> Vec<Vec<i32>> {
    let input = graph.input_code.unwrap();
    let enter = |&x: &f32| input.quantize(x, Rounding::HalfEven, 0);
    let mut values: Vec<Vec<i32>> = vec![image.iter().map(enter).collect()];
    for placed in &graph.nodes {
        let element = Element {
            graph,
            placed,
            values: &values,
            how,
        };
        let Shape {
            channels,
            height,
            width,
        } = placed.shape;
        let rows = (0..channels).flat_map(|c| (0..height).map(move |y| (c, y)));
        let places = rows.flat_map(|(c, y)| (0..width).map(move |x| [c, y, x]));
        let made = places.map(|at| element.code(at)).collect();
        values.push(made);
    }
    values.remove(0);
    values
}

struct Element<'a> {
    graph: &'a Graph,
    placed: &'a Placed,
    values: &'a [Vec<i32>],
    how: IntegerArithmetic,
}

fn scale(code: Code) -> f64 {
    f64::from(code.scale)
}

/// `q - zero_point` between the ends, those of a clipping being the nearest codes.
fn clamp(code: Code, clip: Option<Clip>, v: i64) -> i64 {
    let steps = |end: f32| (end / code.scale).round_ties_even();
    let (low, high) = clip.map_or((f32::NEG_INFINITY, f32::INFINITY), |c| (c.low, c.high));
    let [least, most] = [code.quant_min, code.quant_max].map(|q| (q - code.zero_point) as f32);
    let [low, high] = [low, high].map(|end| steps(end).clamp(least, most) as i64);
    v.clamp(low, high)
}

impl Element<'_> {
    fn code(&self, [c, y, x]: [usize; 3]) -> i32 {
        let node = &self.placed.node;
        let (from, to) = (self.graph.shape(self.placed.input), node.code.unwrap());
        let input = self.graph.code(self.placed.input).unwrap();
        let (sum, up, down) = match &node.op {
            Op::Conv(conv) => {
                let scale = conv.scale.as_ref().map_or(1.0, |scale| scale[c]);
                let bias = conv.bias.as_ref().map_or(0, |bias| bias[c]);
                let sum = self.sum(conv, [c, y, x]) + i64::from(bias);
                (sum, f64::from(scale), 1.0)
            }
            Op::AvgPool { window, counted } => {
                let taps = self.taps(c, [y, x], window).flatten();
                let sum = taps.map(|q| i64::from(q - input.zero_point)).sum();
                let count = count(from, (window, *counted), [y, x]);
                if self.how.requantize == Requantize::Gemmlowp && input == to {
                    let codes: i64 = sum + count as i64 * i64::from(input.zero_point);
                    let mean = (2 * codes.abs() + count as i64) / (2 * count as i64);
                    let v = codes.signum() * mean - i64::from(to.zero_point);
                    return to.zero_point + clamp(to, None, v) as i32;
                }
                (sum, 1.0, count as f64)
            }
            Op::MaxPool(window) => return self.taps(c, [y, x], window).flatten().max().unwrap(),
            &Op::Subsample { stride, before, .. } => {
                return match c.checked_sub(before) {
                    Some(c) if c < from.channels => self.input(c, [y * stride, x * stride]),
                    _ => input.zero_point,
                };
            }
            Op::Function(_) | Op::Concat => {
                let (function, source, q) = self.operand([c, y, x]);
                let same = function.is_none() && source == to;
                return match same {
                    true => q,
                    false => {
                        let real = source.scale * (q - source.zero_point) as f32;
                        to.quantize(function.map_or(real, |f| f.at(real)), Rounding::HalfEven, 0)
                    }
                };
            }
            Op::Multiply => {
                let gate = self.placed.others[0];
                let other = self.graph.code(gate).unwrap();
                let at = match self.graph.shape(gate) == from {
                    true => [c, y, x],
                    false => [c, 0, 0],
                };
                let q = self.value(gate, at) - other.zero_point;
                let own = self.input(c, [y, x]) - input.zero_point;
                (i64::from(own) * i64::from(q), scale(other), 1.0)
            }
            Op::Gather(gather) => {
                let place = (
                    gather.channels.at(c),
                    gather.rows.at(y),
                    gather.columns.at(x),
                );
                return match place {
                    (Some(c), Some(y), Some(x)) => self.input(c, [y, x]),
                    _ => input.quantize(gather.fill, Rounding::HalfEven, 0),
                };
            }
            Op::ClipEach(each) => {
                let v = i64::from(self.input(c, [y, x]) - input.zero_point);
                return to.zero_point + clamp(to, Some(each[c]), v) as i32;
            }
            Op::Identity => (
                i64::from(self.input(c, [y, x]) - input.zero_point),
                1.0,
                1.0,
            ),
            Op::Linear(_) => panic!("a linear layer has a real bias"),
        };
        let real = scale(input) * up;
        let v = match self.placed.add {
            None => self.rescaled(sum, real / (down * scale(to))),
            Some(add) => {
                let Shape { height, width, .. } = self.placed.shape;
                let other = self.graph.code(add).unwrap();
                let q = self.values[add][(c * height + y) * width + x];
                let own = match node.inner {
                    None => (sum, scale(input)),
                    Some(inner) => {
                        let v = self.rescaled(sum, real / (down * scale(inner)));
                        (clamp(inner, None, v), scale(inner))
                    }
                };
                self.added(
                    [own, ((q - other.zero_point).into(), scale(other))],
                    scale(to),
                )
            }
        };
        to.zero_point + clamp(to, node.clip, v) as i32
    }

    /// A code of any value.
    fn value(&self, value: usize, [c, y, x]: [usize; 3]) -> i32 {
        let Shape { height, width, .. } = self.graph.shape(value);
        self.values[value][(c * height + y) * width + x]
    }

    /// What an element is made of where that is one other: the function, its codes, its own code.
    fn operand(&self, [c, y, x]: [usize; 3]) -> (Option<Function>, Code, i32) {
        if let Op::Function(function) = self.placed.node.op {
            let from = self.placed.input;
            let q = self.value(from, [c, y, x]);
            return (Some(function), self.graph.code(from).unwrap(), q);
        }
        let mut channel = c;
        for &from in std::iter::once(&self.placed.input).chain(&self.placed.others) {
            match channel.checked_sub(self.graph.shape(from).channels) {
                Some(rest) => channel = rest,
                None => {
                    let q = self.value(from, [channel, y, x]);
                    return (None, self.graph.code(from).unwrap(), q);
                }
            }
        }
        panic!("a channel of no operand")
    }

    /// `round(M sum)`.
    fn rescaled(&self, sum: i64, m: f64) -> i64 {
        match self.how.requantize {
            Requantize::Once(rounding) => {
                let sign = if m < 0.0 { -1 } else { 1 };
                self.form(m.abs()).multiply(sign * sum, rounding)
            }
            Requantize::OnnxRuntime => panic!("has a test of its own"),
            Requantize::Gemmlowp => {
                let m = FixedPoint::new(m).unwrap();
                m.multiply_gemmlowp(sum.try_into().unwrap()).into()
            }
        }
    }

    fn form(&self, m: f64) -> FixedPoint {
        match self.how.multiplier {
            Multiplier::Fixed => FixedPoint::exact(m).unwrap(),
            Multiplier::PowerOfTwo => FixedPoint::power_of_two(m).unwrap(),
            Multiplier::Float => panic!("no whole number"),
        }
    }

    /// The sum of two values, each with its scale.
    fn added(&self, values: [(i64, f64); 2], to: f64) -> i64 {
        let Requantize::Once(rounding) = self.how.requantize else {
            return added_by_gemmlowp(values, to);
        };
        let [own, other] = values.map(|(_, scale)| self.form(scale / to));
        // The unit of the larger one, where mantissas have 31 bits; two powers of two lose nothing in the smaller's.
        let shift = match self.how.multiplier {
            Multiplier::PowerOfTwo => own.shift().max(other.shift()),
            _ => own.shift().min(other.shift()),
        };
        let mantissa = |m: FixedPoint| match m.shift() - shift {
            down @ 0.. => shifted(m.mantissa().into(), down, Rounding::HalfAway),
            up => i128::from(m.mantissa()) << -up,
        };
        let sum =
            i128::from(values[0].0) * mantissa(own) + i128::from(values[1].0) * mantissa(other);
        shifted(sum, shift, rounding) as i64
    }

    /// `sum (q - z) w` of a convolution, as the accumulator has it.
    fn sum(&self, conv: &Conv, [c, y, x]: [usize; 3]) -> i64 {
        let zero = self.graph.code(self.placed.input).unwrap().zero_point;
        let inputs = self.graph.shape(self.placed.input).channels / conv.groups;
        let first = c / (conv.outputs / conv.groups) * inputs;
        let each = conv.weight.len() / conv.outputs;
        let weights = &conv.weight[c * each..(c + 1) * each];
        let q: Vec<Option<i32>> = (first..first + inputs)
            .flat_map(|i| self.taps(i, [y, x], &conv.window))
            .collect();
        let products = q.iter().zip(weights);
        match self.how.accumulator {
            Accumulator::Wide => products
                .map(|(q, &w)| i64::from(q.map_or(0, |q| q - zero)) * w as i64)
                .sum(),
            Accumulator::Saturating16 => {
                let q: Vec<i32> = q.iter().map(|q| q.unwrap_or(zero)).collect();
                self.saturating(conv, &q, weights)
            }
        }
    }

    /// Pairs of neighbours in 16 bits. Codes are stored from 0 on; those outside the map are zero points.
    fn saturating(&self, conv: &Conv, q: &[i32], weights: &[f32]) -> i64 {
        let code = self.graph.code(self.placed.input).unwrap();
        let base = if code.quant_min < 0 { -128 } else { 0 };
        let mut rest: Vec<i32> = weights.iter().map(|&w| w as i32).collect();
        let whole: i32 = rest.iter().sum();
        let mut total = 0;
        // Weights past 8 bits are several, each clamped to what is left of them.
        while rest.iter().any(|&w| w != 0) {
            let part: Vec<i32> = rest.iter().map(|&w| w.clamp(-128, 127)).collect();
            for (w, part) in rest.iter_mut().zip(&part) {
                *w -= part;
            }
            for run in self.runs(conv) {
                for pair in run.chunks(2) {
                    let sum: i32 = pair.iter().map(|&k| (q[k] - base) * part[k]).sum();
                    total += i64::from(sum.clamp(i16::MIN.into(), i16::MAX.into()));
                }
            }
        }
        total - i64::from(code.zero_point - base) * i64::from(whole)
    }

    /// The products of an output that read neighbouring elements, in the order of the memory: `[row, column, channel]`.
    fn runs(&self, conv: &Conv) -> Vec<Vec<usize>> {
        let from = self.graph.shape(self.placed.input);
        let inputs = from.channels / conv.groups;
        let [rows, columns] = conv.window.kernel;
        let row = self.row() * from.channels;
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut last = None;
        for y in 0..rows {
            for x in 0..columns {
                for i in 0..inputs {
                    let [down, right] = conv.window.dilation;
                    let place = y * down * row + x * right * from.channels + i;
                    if last.is_none_or(|last| last + 1 != place) {
                        runs.push(Vec::new());
                    }
                    last = Some(place);
                    runs.last_mut().unwrap().push((i * rows + y) * columns + x);
                }
            }
        }
        runs
    }

    /// Pixels in a stored row of the input: as far as any of its readers goes beyond the map.
    fn row(&self) -> usize {
        let value = self.placed.input;
        let width = self.graph.shape(value).width;
        let (mut left, mut right) = (0, 0);
        for placed in self.graph.nodes.iter().filter(|node| node.input == value) {
            if let Op::Conv(Conv { window, .. }) = &placed.node.op {
                let steps = (placed.shape.width - 1) * window.stride[1];
                let end = steps + (window.kernel[1] - 1) * window.dilation[1] + 1;
                left = left.max(window.padding.left);
                right = right.max(end.saturating_sub(window.padding.left + width));
            }
        }
        left + width + right
    }

    fn input(&self, c: usize, [y, x]: [usize; 2]) -> i32 {
        let Shape { height, width, .. } = self.graph.shape(self.placed.input);
        self.values[self.placed.input][(c * height + y) * width + x]
    }

    /// The codes under a window, row by row, those outside the map as none.
    fn taps<'a>(
        &'a self,
        c: usize,
        [y, x]: [usize; 2],
        window: &'a Window,
    ) -> impl Iterator<Item = Option<i32>> + 'a {
        let shape = self.graph.shape(self.placed.input);
        let place = move |at: usize, k: usize, axis: usize, before: usize, size: usize| {
            (at * window.stride[axis] + k * window.dilation[axis])
                .checked_sub(before)
                .filter(|&place| place < size)
        };
        (0..window.kernel[0]).flat_map(move |ky| {
            let row = place(y, ky, 0, window.padding.top, shape.height);
            (0..window.kernel[1]).map(move |kx| {
                let column = place(x, kx, 1, window.padding.left, shape.width);
                Some(self.input(c, [row?, column?]))
            })
        })
    }
}

/// TensorFlow Lite's addition: both times 2^20, to twice the larger scale, then to the result's.
fn added_by_gemmlowp(values: [(i64, f64); 2], to: f64) -> i64 {
    let twice = 2.0 * values[0].1.max(values[1].1);
    let times = |m: f64, v: i32| FixedPoint::new(m).unwrap().multiply_gemmlowp(v);
    let [own, other] = values.map(|(v, scale)| times(scale / twice, (v << 20) as i32));
    times(twice / (f64::from(1 << 20) * to), own + other).into()
}

/// `v * 2^-shift`, rounded.
fn shifted(v: i128, shift: i32, rounding: Rounding) -> i128 {
    if shift <= 0 {
        return v << -shift;
    }
    let floor = v >> shift;
    let (rest, half) = (v - (floor << shift), 1 << (shift - 1));
    let up = match rounding {
        Rounding::HalfEven => rest > half || (rest == half && floor % 2 != 0),
        Rounding::HalfAway => rest > half || (rest == half && v > 0),
        Rounding::Floor => false,
        Rounding::Stochastic { .. } => panic!("no rule of integers"),
    };
    floor + i128::from(up)
}
