//! A program in one kind of numbers: weights packed, every value's place in memory known.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::domain::{By, Domain};
use crate::epilogue::Surroundings;
use crate::error::{Error, expect};
use crate::gather::Gather;
use crate::graph::{Clip, Code, Conv, Graph, Op, Placed};
use crate::kernel::{Algorithm, Body, Convolve, Geometry, Maps, whole_tiles, wide};
use crate::layout::{Layout, Table};
use crate::plan::{self, Plan, plan};
use crate::pool::{self, Counts, Map, Part};
use crate::program::NodeInfo;
use crate::shape::{Shape, Window};

/// See the module's header.
pub(crate) struct Typed<D: Domain> {
    pub input: Shape,
    pub output: Shape,
    pub group: usize,
    by: By,
    /// Nodes that run image by image.
    early: usize,
    layouts: Vec<Layout>,
    codes: Vec<Option<Code>>,
    plan: Plan,
    /// For each value, the last node that reads it.
    last_read: Vec<usize>,
    steps: Vec<Step<D>>,
    wanted: usize,
}

/// One thread's memory.
pub(crate) struct Memory<D: Domain> {
    buffers: Vec<Buffer<D::In>>,
    sums: Buffer<D::Sum>,
}

/// What a node does, weights packed.
pub(crate) struct Step<D: Domain> {
    name: String,
    input: usize,
    others: Vec<usize>,
    add: Option<usize>,
    places: Option<Table>,
    finish: D::Finish,
    work: Work<D>,
}

enum Work<D: Domain> {
    Conv(Box<dyn Convolve<D>>),
    MaxPool(Window),
    AvgPool(Window, Counts),
    Subsample {
        stride: usize,
        before: usize,
    },
    /// Its operands' channels one behind the other, each by its map.
    Concat(Vec<Map<D>>),
    Multiply,
    Gather(Gather, D::In),
    /// Each channel's ends as they are stored.
    ClipEach(Vec<[D::In; 2]>),
    Identity,
}

/// Some images of the group.
#[derive(Clone, Copy)]
struct Images {
    first: usize,
    count: usize,
}

/// A finished node's value.
pub(crate) struct Seen<'a, D: Domain> {
    pub node: usize,
    pub images: usize,
    pub values: &'a [D::In],
    pub layout: &'a Layout,
    pub code: Option<Code>,
}

/// Elements behind the last one of a buffer: kernels read inputs four at a time.
const SLACK: usize = 4;
/// The most elements that [`Seen::stored`] shows at once: a few KiB on the stack.
const PORTION: usize = 1024;

impl<D: Domain> Typed<D> {
    /// Compiles `graph` for `group` images at once, the nodes up to the last that makes a value of `large` elements or more
    /// for one. The weights are copied into packed form and the graph's own freed one by one.
    pub fn new(graph: Graph, by: By, (group, large): (usize, usize)) -> Result<Self, Error> {
        let layouts = layouts::<D>(&graph, &by);
        for (value, layout) in layouts.iter().enumerate() {
            let elements = layout.image().checked_mul(group);
            if elements.is_none_or(|n| n > u32::MAX as usize - SLACK) {
                let node = match value {
                    0 => crate::INPUT,
                    _ => &graph.nodes[value - 1].node.name,
                };
                return Err(Error::Shape {
                    node: node.to_owned(),
                    detail: format!("{group} images of {} are too large", layout.shape),
                });
            }
        }
        let mut last_read = vec![0; layouts.len()];
        for (node, placed) in graph.nodes.iter().enumerate() {
            let others = placed.others.iter().copied().chain(placed.add);
            for value in std::iter::once(placed.input).chain(others) {
                last_read[value] = node;
            }
        }
        last_read[graph.output] = usize::MAX;
        let codes: Vec<_> = (0..layouts.len()).map(|value| graph.code(value)).collect();
        // Where two values differ in what stands for zero, the border must be renewed.
        let kinds: Vec<_> = (0..layouts.len())
            .map(|value| (layouts[value], D::zero(codes[value])))
            .collect();
        let sizes: Vec<_> = layouts.iter().map(|layout| layout.shape.len()).collect();
        let early = match group {
            1 => 0,
            _ => plan::early(&sizes, large),
        };
        let plan = plan(&kinds, &last_read, group, early, SLACK);
        let (input, output, wanted) = (graph.input, graph.output(), graph.output);
        let mut steps: Vec<Step<D>> = Vec::with_capacity(graph.nodes.len());
        for (node, placed) in graph.nodes.into_iter().enumerate() {
            let context = Context {
                by: &by,
                layouts: &layouts,
                codes: &codes,
                images: if node < early { 1 } else { group },
            };
            steps.push(context.step(placed, node + 1)?);
        }
        Ok(Self {
            input,
            output,
            group,
            by,
            early,
            layouts,
            codes,
            plan,
            last_read,
            steps,
            wanted,
        })
    }

    pub fn nodes(&self) -> Vec<NodeInfo<'_>> {
        self.steps
            .iter()
            .zip(&self.layouts[1..])
            .map(|(step, layout)| NodeInfo {
                name: &step.name,
                input: match step.input {
                    0 => crate::INPUT,
                    value => &self.steps[value - 1].name,
                },
                shape: layout.shape,
                operations: match &step.work {
                    Work::Conv(conv) => conv.operations(),
                    _ => 0,
                },
                algorithm: match &step.work {
                    Work::Conv(conv) => conv.algorithm(),
                    _ => Algorithm::Direct,
                },
            })
            .collect()
    }

    pub fn memory(&self) -> Memory<D> {
        let mut buffers: Vec<_> = self.plan.len.iter().map(|&len| Buffer::new(len)).collect();
        // The borders that no run renews.
        for (value, layout) in self.layouts.iter().enumerate() {
            if !self.plan.clear[value] {
                let buffer = buffers[self.plan.buffer[value]].as_mut();
                let images = self.plan.images[value];
                layout.fill_border(buffer, images, D::zero(self.codes[value]));
            }
        }
        Memory {
            buffers,
            sums: Buffer::new(0),
        }
    }

    /// See [`crate::Program::run_observed`].
    pub fn run(
        &self,
        memory: &mut Memory<D>,
        images: &[f32],
        results: &mut [f32],
        observe: &mut dyn FnMut(Seen<'_, D>),
    ) -> Result<(), Error> {
        let n = self.check(memory, images)?;
        expect("results", results.len(), n * self.output.len())?;
        let Memory { buffers, sums } = memory;
        let all = Images { first: 0, count: n };
        if self.early == 0 {
            self.enter(all, images, buffers);
        } else {
            for (first, image) in images.chunks_exact(self.input.len()).enumerate() {
                let one = Images { first, count: 1 };
                self.enter(one, image, buffers);
                self.walk(0..self.early, one, buffers, sums, observe);
            }
        }
        let rest = self.early..self.steps.len();
        self.walk(rest, all, buffers, sums, observe);
        self.leave(buffers, n, results);
        Ok(())
    }

    /// Writes the result of `n` images to `results`.
    fn leave(&self, buffers: &[Buffer<D::In>], n: usize, results: &mut [f32]) {
        let values = buffers[self.plan.buffer[self.wanted]].as_slice();
        let code = self.codes[self.wanted];
        let layout = &self.layouts[self.wanted];
        layout.write_planar(n, values, results, |x| D::leave(code, x));
    }

    /// See [`crate::Program::result`].
    pub fn result(&self, memory: &Memory<D>, count: usize) -> Vec<f32> {
        let mut results = vec![0.0; count * self.output.len()];
        self.leave(&memory.buffers, count, &mut results);
        results
    }

    /// Takes in `images`, `[n, c, h, w]`.
    fn enter(&self, which: Images, images: &[f32], buffers: &mut [Buffer<D::In>]) {
        let (layout, code) = (&self.layouts[0], self.codes[0]);
        let to = &mut buffers[self.plan.buffer[0]].as_mut()[self.start(0, which)..];
        if self.plan.clear[0] {
            layout.fill_border(to, which.count, D::zero(code));
        }
        let enter = Enter::<D> {
            layout,
            code,
            count: which.count,
            images,
            to,
        };
        wide(self.by.isa, enter);
    }

    /// Runs some nodes on some images.
    fn walk(
        &self,
        nodes: Range<usize>,
        images: Images,
        buffers: &mut [Buffer<D::In>],
        sums: &mut Buffer<D::Sum>,
        observe: &mut dyn FnMut(Seen<'_, D>),
    ) {
        for node in nodes {
            self.walk_one((&self.steps[node], node), images, buffers, sums, observe);
        }
    }

    /// Runs node number `node` as `step` has it.
    fn walk_one(
        &self,
        (step, node): (&Step<D>, usize),
        images: Images,
        buffers: &mut [Buffer<D::In>],
        sums: &mut Buffer<D::Sum>,
        observe: &mut dyn FnMut(Seen<'_, D>),
    ) {
        let value = node + 1;
        let (place, code) = (self.plan.buffer[value], self.codes[value]);
        // Out of the list while it is written; the plan never gives a node's operands the same buffer.
        let mut buffer = std::mem::replace(&mut buffers[place], Buffer::new(0));
        let out = &mut buffer.as_mut()[self.start(value, images)..];
        if self.plan.clear[value] {
            self.layouts[value].fill_border(out, images.count, D::zero(code));
        }
        self.execute(step, images, buffers, (out, value), sums);
        observe(Seen {
            node,
            images: images.count,
            values: out,
            layout: &self.layouts[value],
            code,
        });
        buffers[place] = buffer;
    }

    /// Where a value of some images starts in its buffer: what lives for one image alone is always in the first's place.
    fn start(&self, value: usize, images: Images) -> usize {
        match self.plan.images[value] {
            1 => 0,
            _ => images.first * self.layouts[value].image(),
        }
    }

    /// See [`crate::Program::enter`].
    pub fn begin(&self, memory: &mut Memory<D>, images: &[f32]) -> Result<usize, Error> {
        let count = self.check(memory, images)?;
        if self.early > 0 {
            return Err(Error::Arithmetic {
                detail: "node by node goes with whole groups of images alone".into(),
            });
        }
        self.enter(Images { first: 0, count }, images, &mut memory.buffers);
        Ok(count)
    }

    /// See [`crate::Program::step`].
    pub fn step(
        &self,
        memory: &mut Memory<D>,
        (node, count): (usize, usize),
        observe: &mut dyn FnMut(Seen<'_, D>),
    ) {
        let Memory { buffers, sums } = memory;
        let images = Images { first: 0, count };
        self.walk(node..node + 1, images, buffers, sums, observe);
    }

    /// See [`crate::Program::step_as`].
    pub fn step_as(
        &self,
        memory: &mut Memory<D>,
        (step, node, count): (&Step<D>, usize, usize),
        observe: &mut dyn FnMut(Seen<'_, D>),
    ) {
        let Memory { buffers, sums } = memory;
        let images = Images { first: 0, count };
        self.walk_one((step, node), images, buffers, sums, observe);
    }

    /// See [`crate::Program::operand`].
    pub fn operand(&self, memory: &Memory<D>, node: usize, count: usize) -> Vec<f32> {
        let value = self.steps[node].input;
        let code = self.codes[value];
        let layout = &self.layouts[value];
        let values = memory.buffers[self.plan.buffer[value]].as_slice();
        let mut planar = vec![0.0; count * layout.shape.len()];
        layout.write_planar(count, values, &mut planar, |x| D::leave(code, x));
        planar
    }

    /// See [`crate::Program::renew`] and [`crate::Program::renew_from`].
    pub fn renew(&mut self, graph: Graph, nodes: Range<usize>) -> Result<(), Error> {
        // A value's code is in whoever reads it, too, and its zero in borders that are filled already.
        let all_behind = nodes.end == self.steps.len();
        self.codes = self.codes_of(&graph, &nodes, all_behind)?;
        for (node, step) in self.steps_of(graph, &|node| nodes.contains(&node))? {
            self.steps[node] = step;
        }
        Ok(())
    }

    /// The codes of the values of `graph`, which has the same values; codes, too, but behind the first of `nodes` if it is `all_behind`
    /// that is taken from there.
    ///
    /// # Errors
    /// [`Error::Shape`] for other values.
    fn codes_of(
        &self,
        graph: &Graph,
        nodes: &Range<usize>,
        all_behind: bool,
    ) -> Result<Vec<Option<Code>>, Error> {
        let renewed = layouts::<D>(graph, &self.by);
        let codes: Vec<_> = (0..renewed.len()).map(|value| graph.code(value)).collect();
        let fits = |(value, (new, old)): (usize, (&Option<Code>, &Option<Code>))| {
            let is_like = new.is_some() == old.is_some() && D::zero(*new) == D::zero(*old);
            new == old || all_behind && value > nodes.start && is_like
        };
        let codes_fit = codes.iter().zip(&self.codes).enumerate().all(fits);
        if renewed != self.layouts || !codes_fit {
            return Err(Error::Shape {
                node: self.steps[nodes.start].name.clone(),
                detail: "the other graph has other values".into(),
            });
        }
        Ok(codes)
    }

    /// See [`crate::Program::variants`].
    pub fn variants(
        &self,
        graph: Graph,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Step<D>)>, Error> {
        self.codes_of(&graph, &(0..0), false)?;
        self.steps_of(graph, wanted)
    }

    /// The nodes that are `wanted`, by their numbers, as `graph` has them, which has the values of this one.
    fn steps_of(
        &self,
        graph: Graph,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Step<D>)>, Error> {
        let context = Context {
            by: &self.by,
            layouts: &self.layouts,
            codes: &self.codes,
            images: self.group,
        };
        let placed = graph.nodes.into_iter().enumerate();
        let placed = placed.filter(|(node, _)| wanted(*node));
        let step = |(node, placed)| Ok((node, context.step(placed, node + 1)?));
        placed.map(step).collect()
    }

    /// See [`crate::Program::hand_over`]; false for memory of another program.
    pub fn hand_over(
        &self,
        from: &Memory<D>,
        to: &mut Memory<D>,
        node: usize,
        count: usize,
    ) -> bool {
        if !(self.owns(from) && self.owns(to)) {
            return false;
        }
        let mut is_held = vec![false; self.plan.len.len()];
        for value in (0..=node).filter(|&value| self.last_read[value] >= node) {
            let place = self.plan.buffer[value];
            let held = ..count * self.layouts[value].image();
            to.buffers[place].as_mut()[held].copy_from_slice(&from.buffers[place].as_slice()[held]);
            is_held[place] = true;
        }
        // Elsewhere a value may come that counts on the border of one that lived there in `from`.
        for value in node + 1..self.layouts.len() {
            let place = self.plan.buffer[value];
            if !std::mem::replace(&mut is_held[place], true) && !self.plan.clear[value] {
                let zero = D::zero(self.codes[value]);
                self.layouts[value].fill_border(to.buffers[place].as_mut(), count, zero);
            }
        }
        true
    }

    fn owns(&self, memory: &Memory<D>) -> bool {
        let found = memory.buffers.iter().map(|b| b.as_slice().len());
        found.eq(self.plan.len.iter().copied())
    }

    /// See [`crate::Program::revise`]; value `node + 1` is made by a node.
    pub fn revise(
        &self,
        memory: &mut Memory<D>,
        value: usize,
        count: usize,
        change: &mut dyn FnMut(&mut [D::In]),
    ) {
        let values = memory.buffers[self.plan.buffer[value]].as_mut();
        let layout = &self.layouts[value];
        layout.each_run(count, |run| change(&mut values[run]));
    }

    fn check(&self, memory: &Memory<D>, images: &[f32]) -> Result<usize, Error> {
        let n = images.len() / self.input.len();
        expect("images", images.len(), n * self.input.len())?;
        if !(1..=self.group).contains(&n) {
            return Err(Error::Images {
                found: n,
                group: self.group,
            });
        }
        if !self.owns(memory) {
            return Err(Error::Length {
                what: "workspace of another program",
                found: memory.buffers.len(),
                expected: self.plan.len.len(),
            });
        }
        Ok(n)
    }

    fn execute(
        &self,
        step: &Step<D>,
        images: Images,
        buffers: &[Buffer<D::In>],
        (out, value): (&mut [D::In], usize),
        sums: &mut Buffer<D::Sum>,
    ) {
        let read = |value: usize| {
            let values = buffers[self.plan.buffer[value]].as_slice();
            (&values[self.start(value, images)..], &self.layouts[value])
        };
        let images = images.count;
        let input = read(step.input);
        let zero = D::zero(self.codes[step.input]);
        let output = (out, &self.layouts[value]);
        let finish = &step.finish;
        match &step.work {
            Work::Conv(conv) => {
                let add = step.add.zip(step.places.as_ref());
                let add = add.map(|(value, places)| (read(value).0, places.offsets()));
                // As much as the largest asks for, which another graph's weights may change.
                if sums.len() < conv.scratch() {
                    *sums = Buffer::new(conv.scratch());
                }
                conv.run(
                    images,
                    input.0,
                    output.0,
                    sums.as_mut(),
                    D::post(finish, add),
                );
            }
            Work::MaxPool(window) => {
                let pool = MaxPool::<D> {
                    window,
                    images,
                    input,
                    output,
                };
                wide(self.by.isa, pool);
            }
            Work::AvgPool(window, counts) => {
                pool::avg_pool::<D>(finish, (window, counts, zero), images, input, output);
            }
            Work::Concat(maps) => {
                let values = std::iter::once(&step.input).chain(&step.others);
                let operands: Vec<_> = maps
                    .iter()
                    .zip(values)
                    .map(|(map, &value)| {
                        let (values, layout) = read(value);
                        Part {
                            map,
                            values,
                            layout,
                        }
                    })
                    .collect();
                pool::concat::<D>(images, &operands, output);
            }
            Work::Multiply => {
                let other = step.others.first().copied().unwrap_or(step.input);
                let (values, layout) = read(other);
                let other = (values, layout, D::zero(self.codes[other]));
                let input = (input.0, input.1, zero);
                pool::multiply::<D>(finish, images, input, other, output);
            }
            Work::Gather(gather, fill) => pool::gather((gather, *fill), images, input, output),
            Work::ClipEach(ends) => pool::clip_each(ends, images, input, output),
            Work::Subsample { stride, before } => {
                pool::subsample((*stride, *before), zero, images, input, output);
            }
            Work::Identity => {
                let combine = |own: &[D::In], added: Option<&[D::In]>, out: &mut [D::In]| {
                    D::combine(finish, (own, zero), added, out);
                };
                pool::identity(images, input, step.add.map(read), output, combine);
            }
        }
    }
}

impl<D: Domain> Seen<'_, D> {
    /// `[n, c, h, w]`, each element as `map` has it.
    pub fn planar<T: Copy + Default>(&self, map: impl Fn(D::In) -> T) -> Vec<T> {
        let mut planar = vec![T::default(); self.images * self.layout.shape.len()];
        self.layout
            .write_planar(self.images, self.values, &mut planar, map);
        planar
    }

    /// All elements as `map` has them, some at a time, in the order in which they lie in memory, without the border.
    pub fn stored<T: Copy + Default>(&self, map: impl Fn(D::In) -> T, visit: &mut dyn FnMut(&[T])) {
        let mut some = [T::default(); PORTION];
        self.layout.each_run(self.images, |run| {
            for part in self.values[run].chunks(PORTION) {
                let some = &mut some[..part.len()];
                for (to, &x) in some.iter_mut().zip(part) {
                    *to = map(x);
                }
                visit(some);
            }
        });
    }
}

/// Every value's layout, its border as wide as its readers need.
fn layouts<D: Domain>(graph: &Graph, by: &By) -> Vec<Layout> {
    let mut layouts: Vec<Layout> = (0..=graph.nodes.len())
        .map(|value| Layout::new(graph.shape(value), size_of::<D::In>()))
        .collect();
    for placed in &graph.nodes {
        if let Op::Conv(conv) = &placed.node.op {
            let layout = &mut layouts[placed.input];
            let makes = match D::algorithm(by, conv, layout.shape, placed.shape) {
                Algorithm::Direct => placed.shape,
                Algorithm::Winograd => whole_tiles(placed.shape),
            };
            layout.cover(&conv.window, makes);
        }
    }
    layouts
}

/// What a step is made of besides its node.
struct Context<'a> {
    by: &'a By,
    layouts: &'a [Layout],
    codes: &'a [Option<Code>],
    /// Images at once.
    images: usize,
}

impl Context<'_> {
    /// The step that makes `value`.
    fn step<D: Domain>(&self, placed: Placed, value: usize) -> Result<Step<D>, Error> {
        let Placed {
            mut node,
            input,
            others,
            add,
            ..
        } = placed;
        let (from, to) = (&self.layouts[input], &self.layouts[value]);
        node.op = match node.op {
            Op::Linear(linear) => Op::Conv(Conv::from(linear)),
            other => other,
        };
        let around = Surroundings {
            node: &node,
            input: self.codes[input],
            other: others.first().and_then(|&other| self.codes[other]),
            add: add.and_then(|add| self.codes[add]),
            shape: from.shape,
            channels: to.shape.channels,
        };
        let finish = D::finish(around, self.by.arithmetic)?;
        let work = match &node.op {
            Op::Conv(conv) => {
                let weights = D::weights(around, conv)?;
                let geometry = Geometry {
                    inputs: from.shape.channels,
                    outputs: conv.outputs,
                    groups: conv.groups,
                    window: conv.window,
                };
                let algorithm = D::algorithm(self.by, conv, from.shape, to.shape);
                let maps = Maps {
                    from,
                    to,
                    group: self.images,
                };
                Work::Conv(D::convolution(self.by, algorithm, geometry, &weights, maps))
            }
            Op::MaxPool(window) => Work::MaxPool(*window),
            Op::AvgPool { window, counted } => {
                Work::AvgPool(*window, Counts::new(window, *counted, from.shape))
            }
            Op::Function(function) => {
                let map = Map::new(Some(*function), self.codes[input], self.codes[value]);
                Work::Concat(vec![map])
            }
            Op::Concat => {
                let operands = std::iter::once(&input).chain(&others);
                let map = |&operand: &usize| Map::new(None, self.codes[operand], self.codes[value]);
                Work::Concat(operands.map(map).collect())
            }
            Op::Multiply => Work::Multiply,
            Op::Gather(gather) => {
                let fill = D::enter(self.codes[input], gather.fill);
                Work::Gather(gather.clone(), fill)
            }
            Op::ClipEach(each) => {
                let code = self.codes[input];
                let ends = |clip: &Clip| [clip.low, clip.high].map(|end| D::enter(code, end));
                Work::ClipEach(each.iter().map(ends).collect())
            }
            &Op::Subsample { stride, before, .. } => Work::Subsample { stride, before },
            Op::Identity | Op::Linear(_) => Work::Identity,
        };
        Ok(Step {
            places: match (&work, add) {
                (Work::Conv(_), Some(add)) => Some(Table::pixels(&self.layouts[add], self.images)),
                _ => None,
            },
            name: node.name,
            input,
            others,
            add,
            finish,
            work,
        })
    }
}

/// Planar images into a layout.
struct Enter<'a, D: Domain> {
    layout: &'a Layout,
    code: Option<Code>,
    count: usize,
    images: &'a [f32],
    to: &'a mut [D::In],
}

impl<D: Domain> Body for Enter<'_, D> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let code = self.code;
        let map = |x| D::enter(code, x);
        self.layout
            .read_planar(self.count, self.images, self.to, map);
    }
}

/// [`pool::max_pool`].
struct MaxPool<'a, D: Domain> {
    window: &'a Window,
    images: usize,
    input: (&'a [D::In], &'a Layout),
    output: (&'a mut [D::In], &'a Layout),
}

impl<D: Domain> Body for MaxPool<'_, D> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        pool::max_pool::<D>(self.window, self.images, self.input, self.output);
    }
}
