//! The nodes that have no weights: pools, copies, functions, additions, products. They take a few percent of the time, so they are plain
//! loops over channels that the compiler turns into vectors.

use std::ops::Range;

use crate::domain::Domain;
use crate::function::Function;
use crate::gather::{Axis, Gather};
use crate::graph::Code;
use crate::layout::Layout;
use crate::shape::{Padding, Shape, Window};

/// Channels whose sums, or largest values, are kept at once.
const BLOCK: usize = 64;

/// Largest value in each window; pixels outside the map do not count, a NaN wins.
#[inline(always)]
pub(crate) fn max_pool<D: Domain>(
    window: &Window,
    images: usize,
    (input, from): (&[D::In], &Layout),
    (output, to): (&mut [D::In], &Layout),
) {
    let channels = to.shape.channels;
    let whole = channels / BLOCK * BLOCK;
    let mut windows = Windows::new(window, from, to);
    // Loops and no closure for a window: one that is not inlined is compiled without the registers of `wide`.
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let (place, first) = windows.at(image, y, x);
                let out = &mut output[place..place + channels];
                // A window that lies outside altogether is refused when the graph is built.
                let others = windows.taps.get(1..).unwrap_or_default();
                for channel in (0..whole).step_by(BLOCK) {
                    // As many as a constant says: they stay in registers.
                    let mut most = [D::In::default(); BLOCK];
                    most.copy_from_slice(&input[first + channel..][..BLOCK]);
                    for tap in others {
                        let values = &input[first + tap + channel..][..BLOCK];
                        for (most, &value) in most.iter_mut().zip(values) {
                            *most = D::larger(*most, value);
                        }
                    }
                    out[channel..channel + BLOCK].copy_from_slice(&most);
                }
                let rest = &mut out[whole..];
                rest.copy_from_slice(&input[first + whole..first + channels]);
                for tap in others {
                    let values = &input[first + tap + whole..][..rest.len()];
                    for (most, &value) in rest.iter_mut().zip(values) {
                        *most = D::larger(*most, value);
                    }
                }
            }
        }
    }
}

/// How many pixels the windows of an average pool count.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Each number once.
    pub distinct: Vec<usize>,
    /// For each window, row by row, which of them it is.
    which: Vec<usize>,
}

impl Counts {
    /// Those of `window` over a map of shape `input`, for a window that fits; pixels within `counted` count.
    pub fn new(window: &Window, counted: Padding, input: Shape) -> Self {
        let [height, width] = window.output(input).unwrap_or([0, 0]);
        let Padding { top, left, .. } = window.padding;
        let along = |axis: usize, n: usize, before: usize, first: usize, size: usize| {
            let count = move |at: usize| {
                // Counted from the upper left corner of the padding.
                let start = at * window.stride[axis];
                let end = start + window.kernel[axis];
                let low = before.saturating_sub(first);
                end.min(before + size).saturating_sub(start.max(low))
            };
            (0..n).map(count).collect::<Vec<_>>()
        };
        let below = input.height + counted.bottom;
        let behind = input.width + counted.right;
        let rows = along(0, height, top, counted.top, below);
        let columns = along(1, width, left, counted.left, behind);
        let mut all = Self {
            distinct: Vec::new(),
            which: Vec::with_capacity(height * width),
        };
        for row in &rows {
            for column in &columns {
                let count = row * column;
                let known = all.distinct.iter().position(|&other| other == count);
                all.which.push(known.unwrap_or(all.distinct.len()));
                if known.is_none() {
                    all.distinct.push(count);
                }
            }
        }
        all
    }
}

/// Mean over each window, summed row by row; pixels outside the map that are counted count as `zero`.
pub(crate) fn avg_pool<D: Domain>(
    finish: &D::Finish,
    (window, counts, zero): (&Window, &Counts, D::In),
    images: usize,
    (input, from): (&[D::In], &Layout),
    (output, to): (&mut [D::In], &Layout),
) {
    let mut windows = Windows::new(window, from, to);
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let (place, first) = windows.at(image, y, x);
                let which = counts.which[y * to.shape.width + x];
                let out = &mut output[place..place + to.shape.channels];
                for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                    let mut sums = [D::Sum::default(); BLOCK];
                    let sums = &mut sums[..out.len()];
                    for tap in &windows.taps {
                        for (sum, &x) in sums.iter_mut().zip(&input[first + tap + block * BLOCK..])
                        {
                            *sum = D::accumulate(*sum, x, zero);
                        }
                    }
                    for (out, &sum) in out.iter_mut().zip(&*sums) {
                        *out = D::result(finish, sum, which);
                    }
                }
            }
        }
    }
}

/// The windows of a pool.
struct Windows<'a> {
    from: &'a Layout,
    to: &'a Layout,
    /// For each row and each column of the output, those of the input inside the map.
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
    /// How many rows and columns the last window had, and how far behind its first pixel each one lies, row by row.
    size: [usize; 2],
    taps: Vec<usize>,
}

impl<'a> Windows<'a> {
    fn new(window: &Window, from: &'a Layout, to: &'a Layout) -> Self {
        let inside = |count: usize, axis: usize, before: usize, size: usize| {
            let range = move |at: usize| {
                let start = at * window.stride[axis];
                let end = start + window.kernel[axis];
                start.saturating_sub(before)..end.saturating_sub(before).min(size)
            };
            (0..count).map(range).collect()
        };
        let (rows, columns) = (to.shape.height, to.shape.width);
        Self {
            from,
            to,
            rows: inside(rows, 0, window.padding.top, from.shape.height),
            columns: inside(columns, 1, window.padding.left, from.shape.width),
            size: [0; 2],
            taps: Vec::new(),
        }
    }

    /// Where an output pixel lies, and the first pixel of its window, which becomes the last one.
    #[inline(always)]
    fn at(&mut self, image: usize, y: usize, x: usize) -> (usize, usize) {
        let (rows, columns) = (&self.rows[y], &self.columns[x]);
        let size = [rows.len(), columns.len()];
        if size != self.size {
            // Most windows are whole ones.
            self.size = size;
            let (row, pitch) = (self.from.row(), self.from.pitch);
            let taps = (0..size[0]).flat_map(|y| (0..size[1]).map(move |x| y * row + x * pitch));
            self.taps = taps.collect();
        }
        (
            image * self.to.image() + self.to.pixel(y, x),
            image * self.from.image() + self.from.pixel(rows.start, columns.start),
        )
    }
}

/// Every `stride`-th pixel, `before` channels of `zero` in front of the input's, and as many behind as are missing.
pub(crate) fn subsample<T: Copy>(
    (stride, before): (usize, usize),
    zero: T,
    images: usize,
    (input, from): (&[T], &Layout),
    (output, to): (&mut [T], &Layout),
) {
    let channels = from.shape.channels;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let tap = image * from.image() + from.pixel(y * stride, x * stride);
                let place = image * to.image() + to.pixel(y, x);
                let out = &mut output[place..place + to.shape.channels];
                out.fill(zero);
                out[before..before + channels].copy_from_slice(&input[tap..tap + channels]);
            }
        }
    }
}

/// What a [`Gather`] chooses; `fill` where it chooses nothing.
pub(crate) fn gather<T: Copy>(
    (gather, fill): (&Gather, T),
    images: usize,
    (input, from): (&[T], &Layout),
    (output, to): (&mut [T], &Layout),
) {
    for image in 0..images {
        for y in 0..to.shape.height {
            let row = gather.rows.at(y);
            for x in 0..to.shape.width {
                let place = image * to.image() + to.pixel(y, x);
                let out = &mut output[place..place + to.shape.channels];
                let Some((row, column)) = row.zip(gather.columns.at(x)) else {
                    out.fill(fill);
                    continue;
                };
                let tap = image * from.image() + from.pixel(row, column);
                let pixel = &input[tap..tap + from.shape.channels];
                match &gather.channels {
                    Axis::Whole => out.copy_from_slice(pixel),
                    Axis::Of(channels) => {
                        for (out, &channel) in out.iter_mut().zip(channels) {
                            *out = channel.map_or(fill, |channel| pixel[channel]);
                        }
                    }
                }
            }
        }
    }
}

/// Every number no less and no more than its channel's ends; a NaN stays one.
pub(crate) fn clip_each<T: Copy + PartialOrd>(
    ends: &[[T; 2]],
    images: usize,
    input: (&[T], &Layout),
    output: (&mut [T], &Layout),
) {
    identity(images, input, None, output, |own, _, out| {
        let pixels = out.chunks_mut(ends.len()).zip(own.chunks(ends.len()));
        for (out, own) in pixels {
            for ((out, &x), &[low, high]) in out.iter_mut().zip(own).zip(ends) {
                let above = if x < low { low } else { x };
                *out = if above > high { high } else { above };
            }
        }
    });
}

/// What a number becomes on its way from one value to another.
pub(crate) enum Map<D: Domain> {
    /// Itself.
    Same,
    /// What stands in the table at its code's place, counted from the smallest.
    Table { from: Code, values: Vec<D::In> },
    /// A function of the real number; none: that number.
    Function {
        function: Option<Function>,
        from: Option<Code>,
        to: Option<Code>,
    },
}

impl<D: Domain> Map<D> {
    /// From a value with the codes `from` to one with the codes `to`, through `function` if there is one.
    pub fn new(function: Option<Function>, from: Option<Code>, to: Option<Code>) -> Self {
        if function.is_none() && from == to {
            return Self::Same;
        }
        let whole = Self::Function { function, from, to };
        let Some(code) = from else {
            return whole;
        };
        let places = (code.quant_max - code.quant_min) as usize;
        if places >= LARGEST_TABLE {
            return whole;
        }
        let entry = |q: i32| whole.real(code.dequantize(q));
        Self::Table {
            from: code,
            values: (code.quant_min..=code.quant_max).map(entry).collect(),
        }
    }

    fn real(&self, x: f32) -> D::In {
        match self {
            Self::Function { function, to, .. } => {
                D::enter(*to, function.map_or(x, |function| function.at(x)))
            }
            _ => D::enter(None, x),
        }
    }

    /// All of `input` to `out`.
    fn apply(&self, input: &[D::In], out: &mut [D::In]) {
        match self {
            Self::Same => out.copy_from_slice(input),
            Self::Table { from, values } => {
                for (out, &x) in out.iter_mut().zip(input) {
                    *out = values[(D::code(*from, x) - from.quant_min) as usize];
                }
            }
            Self::Function { from, .. } => {
                for (out, &x) in out.iter_mut().zip(input) {
                    *out = self.real(D::leave(*from, x));
                }
            }
        }
    }
}

/// Codes of up to 16 bits have a table.
const LARGEST_TABLE: usize = 1 << 16;

/// An operand of a concatenation: what its numbers become, and where they lie.
pub(crate) struct Part<'a, D: Domain> {
    pub map: &'a Map<D>,
    pub values: &'a [D::In],
    pub layout: &'a Layout,
}

/// The channels of one operand after those of the other, each by its own map; one operand: a function of it.
pub(crate) fn concat<D: Domain>(
    images: usize,
    operands: &[Part<'_, D>],
    (output, to): (&mut [D::In], &Layout),
) {
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x);
                let mut out = &mut output[at(to)..][..to.shape.channels];
                for Part {
                    map,
                    values,
                    layout,
                } in operands
                {
                    let (own, rest) = out.split_at_mut(layout.shape.channels);
                    map.apply(&values[at(layout)..][..own.len()], own);
                    out = rest;
                }
            }
        }
    }
}

/// The product of two values, the other of which may have one pixel alone; with each what stands for 0.
pub(crate) fn multiply<D: Domain>(
    finish: &D::Finish,
    images: usize,
    (input, from, zero): (&[D::In], &Layout, D::In),
    (other, gate, other_zero): (&[D::In], &Layout, D::In),
    (output, to): (&mut [D::In], &Layout),
) {
    let channels = to.shape.channels;
    let spread = gate.shape != to.shape;
    for image in 0..images {
        for y in 0..to.shape.height {
            for x in 0..to.shape.width {
                let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x);
                let out = &mut output[at(to)..][..channels];
                let own = &input[at(from)..][..channels];
                let place = match spread {
                    true => image * gate.image() + gate.pixel(0, 0),
                    false => at(gate),
                };
                let factors = &other[place..][..channels];
                for ((out, &x), &y) in out.iter_mut().zip(own).zip(factors) {
                    *out = D::result(finish, D::product((x, zero), (y, other_zero)), 0);
                }
            }
        }
    }
}

/// `combine(input, added, output)` for the channels of every pixel, those of a whole row at once where nothing lies between its pixels.
pub(crate) fn identity<T: Copy>(
    images: usize,
    (input, from): (&[T], &Layout),
    add: Option<(&[T], &Layout)>,
    (output, to): (&mut [T], &Layout),
    combine: impl Fn(&[T], Option<&[T]>, &mut [T]),
) {
    let Shape {
        channels,
        height,
        width,
    } = to.shape;
    let layouts = [from, to].into_iter().chain(add.map(|(_, layout)| layout));
    let run = match layouts.into_iter().all(|layout| layout.pitch == channels) {
        true => width,
        false => 1,
    };
    for image in 0..images {
        for y in 0..height {
            for x in (0..width).step_by(run) {
                let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x);
                let out = &mut output[at(to)..][..run * channels];
                let own = &input[at(from)..][..run * channels];
                let added = add.map(|(added, layout)| &added[at(layout)..][..run * channels]);
                combine(own, added, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_adds_pixel_by_pixel_whatever_lies_between_them() {
        // With 512 channels a line lies between pixels, with 3 nothing does; borders differ as well.
        for channels in [3, 512] {
            let shape = Shape::new(channels, 2, 3);
            let bordered = |border: usize, extra: usize| {
                let mut layout = Layout::new(shape, size_of::<f32>());
                layout.border = Padding {
                    top: border,
                    bottom: 0,
                    left: border,
                    right: 1,
                };
                layout.pitch += extra;
                layout
            };
            for extra in [0, 5] {
                let [from, add, to] = [bordered(1, 0), bordered(0, extra), bordered(2, 0)];
                let values = |layout: &Layout, seed: usize| -> Vec<f32> {
                    (0..2 * layout.image())
                        .map(|i| ((i * 37 + seed) % 101) as f32)
                        .collect()
                };
                let (own, added) = (values(&from, 3), values(&add, 71));
                let mut out = vec![-1.0; 2 * to.image()];
                let sum = |own: &[f32], added: Option<&[f32]>, out: &mut [f32]| {
                    let pairs = own.iter().zip(added.unwrap());
                    for (out, (own, added)) in out.iter_mut().zip(pairs) {
                        *out = own + added;
                    }
                };
                identity(2, (&own, &from), Some((&added, &add)), (&mut out, &to), sum);
                let mut expected = vec![-1.0; out.len()];
                for (image, y, x, c) in (0..2).flat_map(|image| {
                    (0..2).flat_map(move |y| {
                        (0..3).flat_map(move |x| (0..channels).map(move |c| (image, y, x, c)))
                    })
                }) {
                    let at = |layout: &Layout| image * layout.image() + layout.pixel(y, x) + c;
                    expected[at(&to)] = own[at(&from)] + added[at(&add)];
                }
                assert!(out == expected, "{channels} channels, {extra}");
            }
        }
    }
}
