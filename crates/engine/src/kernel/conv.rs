//! A convolution as a matrix product that is never written down.
//!
//! The product is `[pixels, K] x [K, outputs]`, `K = taps x channels`. Weights are packed once into panels as wide as a
//! tile. Inputs are read where they lie: a pixel's row of the matrix is a few runs of neighbouring elements (one for
//! each kernel row, where nothing lies between the taps), the same runs for every pixel, so a table of the pixels' first
//! taps and a list of runs stand for the whole matrix.
//!
//! Loops, from the outside: groups, blocks of pixels (their inputs stay in the second-level cache), chunks of `K` (a
//! panel's share of weights stays in the first-level cache), panels, tiles. Sums wait between chunks in a scratch.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::kernel::tile::ROUND;
use crate::kernel::{Arithmetic, DepthwiseJob, Job, Kernels, Segment};
use crate::layout::{Layout, Table};
use crate::shape::Window;

/// Bytes of inputs that a block of pixels may take: well below the smallest second-level cache in use, 512 KiB.
const BLOCK: usize = 192 << 10;
/// Pixels in a block.
const PIXELS: Range<usize> = 96..1024;

/// What a convolution computes, in the units of [`crate::graph::Conv`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
    pub window: Window,
}

/// How convolutions are computed. Real numbers: as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// By their definition: every output is one sum over all taps.
    #[default]
    Direct,
    /// 3x3 kernels that move by one pixel by a quarter of the products, with larger rounding errors; see `kernel/winograd.rs`. The rest
    /// by definition. Codes are convolved so unasked, wherever that is exact.
    Winograd,
}

quant_core::words!(Algorithm, "convolution": Direct = "direct", Winograd = "winograd");

/// The maps between which a convolution computes.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    pub from: &'a Layout,
    pub to: &'a Layout,
    /// Images at once.
    pub group: usize,
}

/// A convolution ready to run, by whichever algorithm.
pub(crate) trait Convolve<A: Arithmetic>: Send + Sync {
    /// Sums that [`Convolve::run`] needs room for.
    fn scratch(&self) -> usize;

    /// Multiplications and additions for one image by the definition, two for each weight and output pixel.
    fn operations(&self) -> u64;

    /// What it is computed by.
    fn algorithm(&self) -> Algorithm;

    /// Computes `images` images. Panics where a slice is too short for the layouts that it was made for.
    fn run<'a>(
        &'a self,
        images: usize,
        input: &[A::In],
        output: &mut [A::In],
        sums: &mut [A::Sum],
        post: A::Post<'a>,
    );
}

/// A convolution by its definition: each output is one sum over all taps.
pub(crate) struct Convolution<A: Arithmetic> {
    kernels: &'static Kernels<A>,
    geometry: Geometry,
    weights: Buffer<A::Weight>,
    /// Empty for a depthwise convolution.
    panels: Vec<Panel>,
    chunks: Vec<Chunk>,
    taps: Table,
    places: Table,
    /// Output pixels of one image.
    pixels: usize,
    /// Pixels in a block.
    block: usize,
    /// Elements that input and output must have.
    reach: (usize, usize),
}

/// A few vectors of output channels.
struct Panel {
    /// The first, counted from the group's first.
    channel: usize,
    channels: usize,
    vectors: usize,
    /// Where its share of a chunk's weights starts, in multiplication steps times channels.
    start: usize,
}

/// A part of `K`.
struct Chunk {
    segments: Vec<Segment>,
    /// Where its weights start in a group's.
    start: usize,
    steps: usize,
}

impl<A: Arithmetic> Convolution<A> {
    /// Packs the sum of `weights`, `[outputs, inputs / groups, rows, columns]` each, for these maps, whose `from`
    /// has a border that covers the window. More than one weight tensor is for types that
    /// cannot hold their sum: the product is then as many times as long.
    pub fn new(
        kernels: &'static Kernels<A>,
        geometry: Geometry,
        weights: &[Vec<A::Weight>],
        Maps { from, to, group }: Maps<'_>,
    ) -> Self {
        let taps = Table::first_taps(from, &geometry.window, to.shape, group);
        let places = Table::pixels(to, group);
        Self::between(kernels, geometry, weights, from, [taps, places], group)
    }

    /// The same, with tables of one's own of first taps and of places, for `group` images.
    pub fn between(
        kernels: &'static Kernels<A>,
        geometry: Geometry,
        weights: &[Vec<A::Weight>],
        from: &Layout,
        [taps, places]: [Table; 2],
        group: usize,
    ) -> Self {
        let Geometry {
            inputs,
            outputs,
            groups,
            window,
        } = geometry;
        let (each, makes) = (inputs / groups, outputs / groups);
        let elements = elements(from, &window, each, weights.len());
        // A depthwise kernel sums all taps in one go, which is no more exact than a chunk.
        let depthwise = each == 1 && makes == 1 && groups > 1 && elements.len() <= kernels.chunk;
        let width = kernels.lanes * kernels.panels.len();
        let panels: Vec<Panel> = match depthwise {
            true => Vec::new(),
            false => (0..makes)
                .step_by(width)
                .map(|channel| {
                    let channels = width.min(makes - channel);
                    Panel {
                        channel,
                        channels,
                        vectors: channels.div_ceil(kernels.lanes),
                        start: channel,
                    }
                })
                .collect(),
        };
        let runs = runs(&elements);
        let segments = segments(&runs, kernels.step);
        let chunks = match depthwise {
            true => vec![taps_of(&elements, kernels.taps)],
            false => {
                let filled = makes.next_multiple_of(kernels.lanes);
                chunks(&segments, kernels.chunk, kernels.step, filled)
            }
        };
        let last = chunks
            .iter()
            .flat_map(|chunk| &chunk.segments)
            .map(|s| s.offset + s.steps * if depthwise { 1 } else { kernels.step })
            .max()
            .unwrap_or(0);
        let last = taps.largest() + (groups - 1) * each + last;
        let longest = chunks.iter().map(|chunk| chunk.steps).max().unwrap_or(1);
        let unique = (longest * kernels.step).min(each * window.stride[0] * window.stride[1]);
        let block = (BLOCK / (unique * size_of::<A::In>())).clamp(PIXELS.start, PIXELS.end);
        let mut conv = Self {
            kernels,
            geometry,
            weights: Buffer::new(0),
            panels,
            chunks,
            pixels: taps.offsets().len() / group,
            block: block.next_multiple_of(kernels.rows),
            reach: (last, places.largest() + outputs),
            taps,
            places,
        };
        let taps = window.kernel[0] * window.kernel[1];
        let at = |output: usize, source: Source| {
            weights[source.part][(output * each + source.channel) * taps + source.tap]
        };
        conv.weights = match depthwise {
            true => pack_depthwise(kernels, outputs, &elements, at),
            false => conv.pack(&elements, &runs, at),
        };
        conv
    }

    /// Output channels of a group, filled up to whole vectors.
    fn filled(&self) -> usize {
        (self.geometry.outputs / self.geometry.groups).next_multiple_of(self.kernels.lanes)
    }

    /// `[group][chunk][panel][step][vector][lane][STEP]`, zeros where there is no weight.
    fn pack(
        &self,
        elements: &[Element],
        runs: &[Range<usize>],
        at: impl Fn(usize, Source) -> A::Weight,
    ) -> Buffer<A::Weight> {
        let (lanes, step) = (self.kernels.lanes, self.kernels.step);
        let makes = self.geometry.outputs / self.geometry.groups;
        // The element that each place of K stands for: segments are filled up to whole steps.
        let mut sources = Vec::new();
        let mut rest = elements;
        for run in runs {
            let (now, later) = rest.split_at(run.len());
            rest = later;
            sources.extend(now.iter().map(|element| Some(element.source)));
            sources.resize(sources.len().next_multiple_of(step), None);
        }
        let mut packed = Buffer::new(self.geometry.groups * sources.len() * self.filled());
        let mut places = packed.as_mut().iter_mut();
        for group in 0..self.geometry.groups {
            let mut chunk_sources = sources.as_slice();
            for chunk in &self.chunks {
                let (now, later) = chunk_sources.split_at(chunk.steps * step);
                chunk_sources = later;
                for panel in &self.panels {
                    for sources in now.chunks_exact(step) {
                        for lane in 0..panel.vectors * lanes {
                            for source in sources {
                                let Some(place) = places.next() else {
                                    return packed;
                                };
                                if let (Some(source), true) = (source, lane < panel.channels) {
                                    let output = group * makes + panel.channel + lane;
                                    *place = at(output, *source);
                                }
                            }
                        }
                    }
                }
            }
        }
        packed
    }
}

impl<A: Arithmetic> Convolve<A> for Convolution<A> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Direct
    }

    fn scratch(&self) -> usize {
        match self.chunks.len() {
            0 | 1 => 0,
            _ => self.block * self.filled(),
        }
    }

    fn operations(&self) -> u64 {
        let Geometry {
            inputs,
            outputs,
            groups,
            window,
        } = self.geometry;
        let taps = window.kernel[0] * window.kernel[1];
        2 * (self.pixels * outputs * (inputs / groups) * taps) as u64
    }

    fn run<'a>(
        &'a self,
        images: usize,
        input: &[A::In],
        output: &mut [A::In],
        sums: &mut [A::Sum],
        post: A::Post<'a>,
    ) {
        let pixels = images * self.pixels;
        let taps = &self.taps.offsets()[..pixels];
        let places = &self.places.offsets()[..pixels];
        assert!(input.len() >= self.reach.0 && output.len() >= self.reach.1);
        assert!(sums.len() >= self.scratch());
        assert!(A::covers(&post, pixels, self.geometry.outputs));
        if self.panels.is_empty() {
            let job = DepthwiseJob {
                input: input.as_ptr(),
                taps,
                segments: &self.chunks[0].segments,
                weights: self.weights.as_slice().as_ptr(),
                out: output.as_mut_ptr(),
                places,
                channels: self.geometry.outputs,
                post,
            };
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`). `reach` was computed
            // from all taps and places, and was just compared; the weights were packed for whole vectors.
            unsafe { (self.kernels.depthwise)(&job) };
            return;
        }
        let groups = self.geometry.groups;
        let (each, makes) = (
            self.geometry.inputs / groups,
            self.geometry.outputs / groups,
        );
        let (step, lanes) = (self.kernels.step, self.kernels.lanes);
        let steps: usize = self.chunks.iter().map(|chunk| chunk.steps).sum();
        for group in 0..groups {
            let packed = &self.weights.as_slice()[group * steps * step * self.filled()..];
            for start in (0..pixels).step_by(self.block) {
                let run = &taps[start..pixels.min(start + self.block)];
                for (c, chunk) in self.chunks.iter().enumerate() {
                    let is_last = c + 1 == self.chunks.len();
                    // In each round one pixel of a tile has its turn.
                    let is_long = chunk.segments[0].steps > ROUND * self.kernels.rows;
                    let functions = match is_last && is_long && A::adds(&post) {
                        true => self.kernels.adding,
                        false => self.kernels.panels,
                    };
                    for panel in &self.panels {
                        let weights = &packed[chunk.start + panel.start * chunk.steps * step..]
                            [..chunk.steps * panel.vectors * lanes * step];
                        let scratch = match self.chunks.len() {
                            1 => &mut [],
                            _ => {
                                &mut sums[panel.start * self.block..]
                                    [..run.len() * panel.vectors * lanes]
                            }
                        };
                        let job = Job {
                            input: input[group * each..].as_ptr(),
                            taps: run,
                            segments: &chunk.segments,
                            weights: weights.as_ptr(),
                            sums: scratch.as_mut_ptr(),
                            first: c == 0,
                            last: is_last,
                            out: output.as_mut_ptr(),
                            places,
                            pixel: start,
                            channel: group * makes + panel.channel,
                            channels: panel.channels,
                            post,
                        };
                        // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`). Weights
                        // and sums were just sliced to what the panel takes; `reach`, computed from all taps, segments
                        // and places, and `covers` were compared above.
                        unsafe { (functions[panel.vectors - 1])(&job) };
                    }
                }
            }
        }
    }
}

/// A depthwise convolution's elements, `taps` for each multiplication: where the last has too few, its own last one again, which meets a
/// weight of zero.
fn taps_of(elements: &[Element], taps: usize) -> Chunk {
    let mut segments: Vec<_> = elements
        .iter()
        .map(|element| Segment {
            offset: element.offset,
            steps: 1,
        })
        .collect();
    if let Some(&last) = segments.last() {
        segments.resize(segments.len().next_multiple_of(taps), last);
    }
    Chunk {
        start: 0,
        steps: segments.len(),
        segments,
    }
}

/// `[multiplication][channels in the kernel's order, filled up][its taps]`, zeros where there is no weight.
fn pack_depthwise<A: Arithmetic>(
    kernels: &Kernels<A>,
    channels: usize,
    elements: &[Element],
    at: impl Fn(usize, Source) -> A::Weight,
) -> Buffer<A::Weight> {
    let taps = kernels.taps;
    let row = kernels.filled(channels) * taps;
    let mut packed = Buffer::new(elements.len().div_ceil(taps) * row);
    let rows = packed.as_mut().chunks_exact_mut(row);
    for (row, elements) in rows.zip(elements.chunks(taps)) {
        for channel in 0..channels {
            let places = &mut row[kernels.place(channel) * taps..];
            for (place, element) in places.iter_mut().zip(elements) {
                *place = at(channel, element.source);
            }
        }
    }
    packed
}

/// One of the `K` inputs of an output.
#[derive(Clone, Copy)]
struct Element {
    /// From the pixel's first tap.
    offset: usize,
    source: Source,
}

/// Where an element's weight stands.
#[derive(Clone, Copy)]
struct Source {
    /// In which of the weight tensors.
    part: usize,
    tap: usize,
    channel: usize,
}

/// All `K` of them, in the order in which they are summed.
fn elements(from: &Layout, window: &Window, channels: usize, parts: usize) -> Vec<Element> {
    let [rows, columns] = window.kernel;
    let mut elements = Vec::with_capacity(parts * rows * columns * channels);
    for part in 0..parts {
        for y in 0..rows {
            for x in 0..columns {
                let tap = y * window.dilation[0] * from.row() + x * window.dilation[1] * from.pitch;
                elements.extend((0..channels).map(|channel| Element {
                    offset: tap + channel,
                    source: Source {
                        part,
                        tap: y * columns + x,
                        channel,
                    },
                }));
            }
        }
    }
    elements
}

/// Joins elements that lie side by side.
fn runs(elements: &[Element]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for element in elements {
        match runs.last_mut() {
            Some(run) if run.end == element.offset => run.end += 1,
            _ => runs.push(element.offset..element.offset + 1),
        }
    }
    runs
}

/// The same in steps, each run filled up to whole ones: what is read too much meets a weight of zero.
fn segments(runs: &[Range<usize>], step: usize) -> Vec<Segment> {
    runs.iter()
        .map(|run| Segment {
            offset: run.start,
            steps: run.len().div_ceil(step),
        })
        .collect()
}

/// Cuts `K` into equal parts of at most `longest` steps.
fn chunks(segments: &[Segment], longest: usize, step: usize, filled: usize) -> Vec<Chunk> {
    let total: usize = segments.iter().map(|s| s.steps).sum();
    let each = total.div_ceil(total.div_ceil(longest));
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut done = 0;
    for segment in segments {
        let mut from = 0;
        while from < segment.steps {
            let into = done % each;
            if into == 0 {
                chunks.push(Chunk {
                    segments: Vec::new(),
                    start: done * step * filled,
                    steps: 0,
                });
            }
            let to = segment.steps.min(from + each - into);
            if let Some(chunk) = chunks.last_mut() {
                chunk.segments.push(segment.part(from..to, step));
                chunk.steps += to - from;
            }
            done += to - from;
            from = to;
        }
    }
    chunks
}

impl Segment {
    /// Some of its steps.
    fn part(&self, steps: Range<usize>, step: usize) -> Self {
        Self {
            offset: self.offset + steps.start * step,
            steps: steps.len(),
        }
    }
}
