//! A graph compiled for a processor: weights packed, every value's place in memory known.
//!
//! A [`Program`] is made once and shared by all threads. Each thread has a [`Workspace`] of its own and takes a few
//! images at a time through the whole network; nothing is allocated on the way, and no thread waits for another.
//! An image's result does not depend on the images beside it.

use crate::buffer::Buffer;
use crate::error::Error;
use crate::graph::{Conv, Graph, Linear, Op, Placed};
use crate::kernel::{Convolution, Float32, Geometry, Isa, Post, VECTOR, float32};
use crate::layout::{Layout, Table};
use crate::plan::{Plan, plan};
use crate::pool;
use crate::shape::{Shape, Window};

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which kernels.
    pub isa: Isa,
    /// The most images that a workspace takes at once; 0 chooses by the size of the images.
    pub group: usize,
}

impl Default for Options {
    /// The fastest kernels that the processor has.
    fn default() -> Self {
        Self {
            isa: Isa::best(),
            group: 0,
        }
    }
}

/// A network ready to run. See the module's header.
pub struct Program {
    input: Shape,
    output: Shape,
    isa: Isa,
    group: usize,
    layouts: Vec<Layout>,
    plan: Plan,
    steps: Vec<Step>,
    wanted: usize,
    scratch: usize,
}

/// One thread's memory for a [`Program`].
pub struct Workspace {
    buffers: Vec<Buffer<f32>>,
    sums: Buffer<f32>,
}

struct Step {
    name: String,
    input: usize,
    add: Option<usize>,
    places: Option<Table>,
    relu: bool,
    work: Work,
}

enum Work {
    Conv {
        conv: Box<Convolution<Float32>>,
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    MaxPool(Window),
    AvgPool(Window),
    Subsample {
        stride: usize,
        before: usize,
    },
    Identity,
}

/// What a finished node made, shown to an observer.
pub struct Observation<'a> {
    /// Index of the node, in the order of [`Program::nodes`].
    pub node: usize,
    images: usize,
    values: &'a [f32],
    layout: &'a Layout,
}

/// What a program does in one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of what it reads.
    pub input: &'a str,
    /// What it makes of one image.
    pub shape: Shape,
    /// Floating-point operations for one image, a multiplication and an addition counted as two; 0 for nodes without
    /// weights.
    pub operations: u64,
}

impl Program {
    /// Compiles `graph`. The weights are copied into packed form and the graph's own freed one by one.
    ///
    /// # Errors
    /// [`Error::Isa`] if the processor lacks the instructions; [`Error::Shape`] if a value of that many images is too
    /// large to address.
    pub fn new(graph: Graph, options: Options) -> Result<Self, Error> {
        let isa = options.isa.check()?;
        let group = match options.group {
            0 => default_group(graph.input),
            group => group,
        };
        let layouts = layouts(&graph);
        for (value, layout) in layouts.iter().enumerate() {
            let elements = layout.image().checked_mul(group);
            if elements.is_none_or(|n| n > u32::MAX as usize) {
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
            for value in std::iter::once(placed.input).chain(placed.add) {
                last_read[value] = node;
            }
        }
        last_read[graph.output] = usize::MAX;
        let plan = plan(&layouts, &last_read, group);
        let (input, output, wanted) = (graph.input, graph.output(), graph.output);
        let steps: Vec<Step> = graph
            .nodes
            .into_iter()
            .enumerate()
            .map(|(node, placed)| step(placed, node + 1, &layouts, isa, group))
            .collect();
        let scratch = steps
            .iter()
            .map(|step| match &step.work {
                Work::Conv { conv, .. } => conv.scratch(),
                _ => 0,
            })
            .max()
            .unwrap_or(0);
        Ok(Self {
            input,
            output,
            isa,
            group,
            layouts,
            plan,
            steps,
            wanted,
            scratch,
        })
    }

    /// One image's shape.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// One image's result.
    pub fn output(&self) -> Shape {
        self.output
    }

    /// The kernels in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The most images that [`Program::run`] takes at once.
    pub fn group(&self) -> usize {
        self.group
    }

    /// The nodes in the order in which they run.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeInfo<'_>> {
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
                    Work::Conv { conv, .. } => conv.operations(),
                    _ => 0,
                },
            })
    }

    /// Memory for one thread.
    pub fn workspace(&self) -> Workspace {
        Workspace {
            buffers: self.plan.len.iter().map(|&len| Buffer::new(len)).collect(),
            sums: Buffer::new(self.scratch),
        }
    }

    /// Runs up to [`Program::group`] images. `images` is `[n, c, h, w]`, `results` likewise (logits: `[n, classes]`).
    /// `workspace` is one that [`Program::workspace`] of this program made.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Images`].
    pub fn run(
        &self,
        workspace: &mut Workspace,
        images: &[f32],
        results: &mut [f32],
    ) -> Result<(), Error> {
        self.run_observed(workspace, images, results, &mut |_| {})
    }

    /// [`Program::run`], showing each node's value to `observe` when it is made.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_observed(
        &self,
        workspace: &mut Workspace,
        images: &[f32],
        results: &mut [f32],
        observe: &mut dyn FnMut(Observation<'_>),
    ) -> Result<(), Error> {
        let n = self.check(workspace, images, results)?;
        let Workspace { buffers, sums } = workspace;
        let first = &mut buffers[self.plan.buffer[0]];
        if self.plan.clear[0] {
            clear_border(first.as_mut(), &self.layouts[0], n);
        }
        self.layouts[0].read_planar(n, images, first.as_mut());
        for (node, step) in self.steps.iter().enumerate() {
            let value = node + 1;
            let place = self.plan.buffer[value];
            // Out of the list while it is written; the plan never gives a node's operands the same buffer.
            let mut out = std::mem::replace(&mut buffers[place], Buffer::new(0));
            if self.plan.clear[value] {
                clear_border(out.as_mut(), &self.layouts[value], n);
            }
            self.execute(step, n, buffers, (out.as_mut(), value), sums.as_mut());
            observe(Observation {
                node,
                images: n,
                values: out.as_slice(),
                layout: &self.layouts[value],
            });
            buffers[place] = out;
        }
        let values = buffers[self.plan.buffer[self.wanted]].as_slice();
        self.layouts[self.wanted].write_planar(n, values, results);
        Ok(())
    }

    fn check(
        &self,
        workspace: &Workspace,
        images: &[f32],
        results: &[f32],
    ) -> Result<usize, Error> {
        let n = images.len() / self.input.len();
        let length = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(Error::Length {
                what,
                found,
                expected,
            }),
        };
        length("images", images.len(), n * self.input.len())?;
        length("results", results.len(), n * self.output.len())?;
        if !(1..=self.group).contains(&n) {
            return Err(Error::Images {
                found: n,
                group: self.group,
            });
        }
        let found = workspace.buffers.iter().map(|b| b.as_slice().len());
        if !found.eq(self.plan.len.iter().copied()) {
            return Err(Error::Length {
                what: "workspace of another program",
                found: workspace.buffers.len(),
                expected: self.plan.len.len(),
            });
        }
        Ok(n)
    }

    fn execute(
        &self,
        step: &Step,
        images: usize,
        buffers: &[Buffer<f32>],
        (out, value): (&mut [f32], usize),
        sums: &mut [f32],
    ) {
        let read = |value: usize| {
            (
                buffers[self.plan.buffer[value]].as_slice(),
                &self.layouts[value],
            )
        };
        let input = read(step.input);
        let output = (out, &self.layouts[value]);
        match &step.work {
            Work::Conv { conv, scale, shift } => {
                let add = step.add.zip(step.places.as_ref());
                let post = Post {
                    scale,
                    shift,
                    add: add.map(|(value, places)| (read(value).0, places.offsets())),
                    floor: if step.relu { 0.0 } else { f32::NEG_INFINITY },
                };
                conv.run(images, input.0, output.0, sums, post);
            }
            Work::MaxPool(window) => pool::max_pool(window, images, input, output),
            Work::AvgPool(window) => pool::avg_pool(window, images, input, output),
            Work::Subsample { stride, before } => {
                pool::subsample(*stride, *before, images, input, output);
            }
            Work::Identity => {
                pool::identity(images, input, step.add.map(read), step.relu, output);
            }
        }
    }
}

impl Observation<'_> {
    /// How many images there are, and the shape of each one's value.
    pub fn shape(&self) -> (usize, Shape) {
        (self.images, self.layout.shape)
    }

    /// The value, `[n, c, h, w]`. Copies it.
    pub fn to_planar(&self) -> Vec<f32> {
        let mut planar = vec![0.0; self.images * self.layout.shape.len()];
        self.layout
            .write_planar(self.images, self.values, &mut planar);
        planar
    }
}

/// Images that pass through the network together, so that the last layers, with many weights and few pixels, use each
/// weight they load often enough.
fn default_group(input: Shape) -> usize {
    ((4 * 224 * 224) / (input.height * input.width)).clamp(4, 16)
}

/// Every value's layout, its border as wide as its readers need.
fn layouts(graph: &Graph) -> Vec<Layout> {
    let mut layouts: Vec<Layout> = (0..=graph.nodes.len())
        .map(|value| Layout::new(graph.shape(value)))
        .collect();
    for placed in &graph.nodes {
        if let Op::Conv(conv) = &placed.node.op {
            layouts[placed.input].cover(&conv.window, placed.shape);
        }
    }
    layouts
}

fn step(placed: Placed, value: usize, layouts: &[Layout], isa: Isa, group: usize) -> Step {
    let Placed {
        node, input, add, ..
    } = placed;
    let (from, to) = (&layouts[input], &layouts[value]);
    let convolution = |weight: &[f32], geometry: Geometry| {
        let kernels = &float32(isa).kernels;
        Box::new(Convolution::new(kernels, geometry, weight, from, to, group))
    };
    let filled = |values: Option<Vec<f32>>, absent: f32, channels: usize| {
        let mut values = values.unwrap_or_default();
        values.resize(channels + VECTOR, absent);
        values
    };
    let work = match node.op {
        Op::Conv(Conv {
            weight,
            outputs,
            groups,
            window,
            scale,
            shift,
        }) => Work::Conv {
            conv: convolution(
                &weight,
                Geometry {
                    inputs: from.shape.channels,
                    outputs,
                    groups,
                    window,
                },
            ),
            scale: filled(scale, 1.0, outputs),
            shift: filled(shift, 0.0, outputs),
        },
        Op::Linear(Linear {
            weight,
            outputs,
            bias,
        }) => Work::Conv {
            conv: convolution(
                &weight,
                Geometry {
                    inputs: from.shape.channels,
                    outputs,
                    groups: 1,
                    window: Window::square(1, 1, 0),
                },
            ),
            scale: filled(None, 1.0, outputs),
            shift: filled(bias, 0.0, outputs),
        },
        Op::MaxPool(window) => Work::MaxPool(window),
        Op::AvgPool(window) => Work::AvgPool(window),
        Op::Subsample { stride, before, .. } => Work::Subsample { stride, before },
        Op::Identity => Work::Identity,
    };
    Step {
        name: node.name,
        input,
        add,
        places: match (&work, add) {
            (Work::Conv { .. }, Some(add)) => Some(Table::pixels(&layouts[add], group)),
            _ => None,
        },
        relu: node.relu,
        work,
    }
}

/// Makes the border zero.
fn clear_border(values: &mut [f32], layout: &Layout, images: usize) {
    let (row, pitch) = (layout.row(), layout.pitch);
    let (top, left) = (layout.border.top, layout.border.left);
    let Shape { height, width, .. } = layout.shape;
    for image in values.chunks_exact_mut(layout.image()).take(images) {
        let (above, rest) = image.split_at_mut(top * row);
        let (inside, below) = rest.split_at_mut(height * row);
        above.fill(0.0);
        below.fill(0.0);
        for row in inside.chunks_exact_mut(row) {
            row[..left * pitch].fill(0.0);
            row[(left + width) * pitch..].fill(0.0);
        }
    }
}
