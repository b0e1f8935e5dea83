//! A graph compiled for a processor: weights packed, every value's place in memory known.
//!
//! A [`Program`] is made once and shared by all threads. Each thread has a [`Workspace`] of its own and takes a few
//! images at a time through the whole network; nothing is allocated on the way, and no thread waits for another.
//! An image's result does not depend on the images beside it.
//!
//! A graph without codes runs in float32. One with codes is simulated (float numbers that hold codes, see
//! `kernel/simulated.rs`) or executed in integers (`kernel/integer.rs`); with the default arithmetic both make the same
//! codes, in every value and for every image.

mod variant;

use std::ops::Range;

use crate::domain::{By, Domain, IntegerArithmetic};
use crate::error::Error;
use crate::exact;
use crate::graph::Graph;
use crate::kernel::{Algorithm, Float32, Integer, Isa, Simulated};
use crate::shape::Shape;
use crate::typed::{Memory, Seen, Typed};
pub use variant::Variant;

/// [`Options::large`] for observers: no value is large.
pub const WHOLE_GROUPS: usize = usize::MAX;

/// The default of [`Options::large`], measured with ResNet-50: 8 % faster than [`WHOLE_GROUPS`].
const LARGE: usize = 1 << 18;

/// How to compile.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which kernels.
    pub isa: Isa,
    /// The most images that a workspace takes at once; 0 chooses by the size of the images.
    pub group: usize,
    /// Elements from which one image's value is large: a group of it, and of what is made from it, would overflow the
    /// cache that the threads share. The nodes up to the last that makes one run image by image, the others on the
    /// whole group; [`WHOLE_GROUPS`]: all on the whole group, so that an observer sees it at once.
    pub large: usize,
    /// What a graph with codes runs in; no matter to one without.
    pub execution: Execution,
    /// How a graph without codes convolves; no matter to one with.
    pub convolution: Algorithm,
}

/// What a graph with codes runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Execution {
    /// Float numbers that hold codes.
    Simulate,
    /// Integers alone.
    Integer(IntegerArithmetic),
    /// Integers with the exact arithmetic where they are known to give the simulation's codes, of every value of every image
    /// (`exact.rs`); else the simulation. The results are the same bytes.
    Auto,
}

/// The numbers that a program computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// Real numbers in float32: nothing is rounded to codes.
    Float,
    /// As [`Execution::Simulate`].
    Simulate,
    /// As [`Execution::Integer`].
    Integer,
}

quant_core::words!(Executed, "executed": Float = "float", Simulate = "simulate", Integer = "integer");

impl Default for Options {
    /// The fastest kernels that the processor has; codes are simulated.
    fn default() -> Self {
        Self {
            isa: Isa::best(),
            group: 0,
            large: LARGE,
            execution: Execution::Simulate,
            convolution: Algorithm::Direct,
        }
    }
}

impl From<Execution> for Options {
    /// The default in all else.
    fn from(execution: Execution) -> Self {
        Self {
            execution,
            ..Self::default()
        }
    }
}

/// A network ready to run. See the module's header.
pub struct Program {
    isa: Isa,
    numbers: Numbers,
}

enum Numbers {
    Float(Typed<Float32>),
    Simulated(Typed<Simulated>),
    Integer(Typed<Integer>),
}

/// One thread's memory for a [`Program`].
pub struct Workspace {
    memory: Memories,
}

enum Memories {
    Float(Memory<Float32>),
    Simulated(Memory<Simulated>),
    Integer(Memory<Integer>),
}

/// What a finished node made, shown to an observer.
pub struct Observation<'a> {
    /// Index of the node, in the order of [`Program::nodes`].
    pub node: usize,
    seen: Sight<'a>,
}

enum Sight<'a> {
    Float(Seen<'a, Float32>),
    Simulated(Seen<'a, Simulated>),
    Integer(Seen<'a, Integer>),
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
    /// Operations for one image by the definition, a multiplication and an addition counted as two; 0 for nodes without weights.
    pub operations: u64,
    /// What its products are computed by.
    pub algorithm: Algorithm,
}

/// `$body` with `$typed` standing for the program in its kind of numbers.
macro_rules! each {
    ($program:expr, $typed:ident => $body:expr) => {
        match &$program.numbers {
            Numbers::Float($typed) => $body,
            Numbers::Simulated($typed) => $body,
            Numbers::Integer($typed) => $body,
        }
    };
}

impl Program {
    /// Compiles `graph`. The weights are copied into packed form and the graph's own freed one by one.
    ///
    /// # Errors
    /// [`Error::Isa`] if the processor lacks the instructions; [`Error::Shape`] if a value of that many images is too
    /// large to address; [`Error::Code`] and [`Error::Arithmetic`] for what integers cannot do.
    pub fn new(graph: Graph, options: Options) -> Result<Self, Error> {
        let isa = options.isa.check()?;
        let group = match options.group {
            0 => default_group(graph.input),
            group => group,
        };
        let group = (group, options.large);
        let by = By {
            isa,
            algorithm: options.convolution,
            arithmetic: IntegerArithmetic::default(),
        };
        let numbers = match options.execution {
            _ if !graph.is_quantized() => Numbers::Float(Typed::new(graph, by, group)?),
            Execution::Auto if exact::check(&graph).is_ok() => {
                Numbers::Integer(Typed::new(graph, by, group)?)
            }
            Execution::Simulate | Execution::Auto => {
                Numbers::Simulated(Typed::new(graph, by, group)?)
            }
            Execution::Integer(arithmetic) => {
                let by = By { arithmetic, ..by };
                Numbers::Integer(Typed::new(graph, by, group)?)
            }
        };
        Ok(Self { isa, numbers })
    }

    /// One image's shape.
    pub fn input(&self) -> Shape {
        each!(self, typed => typed.input)
    }

    /// One image's result.
    pub fn output(&self) -> Shape {
        each!(self, typed => typed.output)
    }

    /// The kernels in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The numbers that it computes in.
    pub fn executed(&self) -> Executed {
        match &self.numbers {
            Numbers::Float(_) => Executed::Float,
            Numbers::Simulated(_) => Executed::Simulate,
            Numbers::Integer(_) => Executed::Integer,
        }
    }

    /// The most images that [`Program::run`] takes at once.
    pub fn group(&self) -> usize {
        each!(self, typed => typed.group)
    }

    /// The nodes in the order in which they run.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeInfo<'_>> {
        each!(self, typed => typed.nodes()).into_iter()
    }

    /// Memory for one thread.
    pub fn workspace(&self) -> Workspace {
        Workspace {
            memory: match &self.numbers {
                Numbers::Float(typed) => Memories::Float(typed.memory()),
                Numbers::Simulated(typed) => Memories::Simulated(typed.memory()),
                Numbers::Integer(typed) => Memories::Integer(typed.memory()),
            },
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

    /// [`Program::run`], showing each node's value to `observe` when it is made: of all images at once, or of one after
    /// the other ([`Options::large`]).
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
        macro_rules! run {
            ($typed:expr, $memory:expr, $kind:ident) => {
                $typed.run($memory, images, results, &mut |seen| {
                    observe(Observation {
                        node: seen.node,
                        seen: Sight::$kind(seen),
                    })
                })
            };
        }
        match (&self.numbers, &mut workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => run!(typed, memory, Float),
            (Numbers::Simulated(typed), Memories::Simulated(memory)) => {
                run!(typed, memory, Simulated)
            }
            (Numbers::Integer(typed), Memories::Integer(memory)) => run!(typed, memory, Integer),
            _ => Err(another()),
        }
    }

    /// Takes in up to [`Program::group`] images, for [`Program::step`]; how many.
    ///
    /// # Errors
    /// As [`Program::run`]; [`Error::Arithmetic`] for a program that runs some nodes image by image ([`Options::large`]).
    pub fn enter(&self, workspace: &mut Workspace, images: &[f32]) -> Result<usize, Error> {
        match (&self.numbers, &mut workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => typed.begin(memory, images),
            (Numbers::Simulated(typed), Memories::Simulated(memory)) => typed.begin(memory, images),
            (Numbers::Integer(typed), Memories::Integer(memory)) => typed.begin(memory, images),
            _ => Err(another()),
        }
    }

    /// Runs the node number `node` on the `count` images that the workspace took in, and shows its value. All nodes before it
    /// have run.
    ///
    /// # Errors
    /// [`Error::Length`] for the workspace of another program.
    pub fn step(
        &self,
        workspace: &mut Workspace,
        (node, count): (usize, usize),
        observe: &mut dyn FnMut(Observation<'_>),
    ) -> Result<(), Error> {
        macro_rules! step {
            ($typed:expr, $memory:expr, $kind:ident) => {
                $typed.step($memory, (node, count), &mut |seen| {
                    observe(Observation {
                        node: seen.node,
                        seen: Sight::$kind(seen),
                    })
                })
            };
        }
        match (&self.numbers, &mut workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => step!(typed, memory, Float),
            (Numbers::Simulated(typed), Memories::Simulated(memory)) => {
                step!(typed, memory, Simulated)
            }
            (Numbers::Integer(typed), Memories::Integer(memory)) => step!(typed, memory, Integer),
            _ => return Err(another()),
        }
        Ok(())
    }

    /// What the node number `node`, which is the next to run, reads first: the value in real numbers, `[count, c, h, w]`.
    ///
    /// # Errors
    /// [`Error::Length`] for the workspace of another program.
    pub fn operand(
        &self,
        workspace: &Workspace,
        (node, count): (usize, usize),
    ) -> Result<Vec<f32>, Error> {
        match (&self.numbers, &workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => {
                Ok(typed.operand(memory, node, count))
            }
            (Numbers::Simulated(typed), Memories::Simulated(memory)) => {
                Ok(typed.operand(memory, node, count))
            }
            (Numbers::Integer(typed), Memories::Integer(memory)) => {
                Ok(typed.operand(memory, node, count))
            }
            _ => Err(another()),
        }
    }

    /// Takes the node number `node` from `graph`, which differs from the program's own in weights alone.
    ///
    /// # Errors
    /// [`Error::Shape`] where the graph has other values, or codes where there were none.
    pub fn renew(&mut self, graph: Graph, node: usize) -> Result<(), Error> {
        self.renew_nodes(graph, node..node + 1)
    }

    /// [`Program::renew`] for the node number `node` and all behind it, whose scales may differ, too.
    ///
    /// # Errors
    /// As there.
    pub fn renew_from(&mut self, graph: Graph, node: usize) -> Result<(), Error> {
        let all = self.nodes().len();
        self.renew_nodes(graph, node..all)
    }

    fn renew_nodes(&mut self, graph: Graph, nodes: Range<usize>) -> Result<(), Error> {
        match &mut self.numbers {
            Numbers::Float(typed) => typed.renew(graph, nodes),
            Numbers::Simulated(typed) => typed.renew(graph, nodes),
            Numbers::Integer(typed) => typed.renew(graph, nodes),
        }
    }
}

/// The error for a workspace that does not belong to the program.
fn another() -> Error {
    Error::Length {
        what: "workspace of another program",
        found: 0,
        expected: 1,
    }
}

impl Observation<'_> {
    /// How many images there are, and the shape of each one's value.
    pub fn shape(&self) -> (usize, Shape) {
        match &self.seen {
            Sight::Float(seen) => (seen.images, seen.layout.shape),
            Sight::Simulated(seen) => (seen.images, seen.layout.shape),
            Sight::Integer(seen) => (seen.images, seen.layout.shape),
        }
    }

    /// The value in real numbers, `[n, c, h, w]`. Copies it.
    pub fn to_planar(&self) -> Vec<f32> {
        match &self.seen {
            Sight::Float(seen) => real(seen),
            Sight::Simulated(seen) => real(seen),
            Sight::Integer(seen) => real(seen),
        }
    }

    /// The value's codes, `[n, c, h, w]`; none if it has none. Copies them.
    pub fn to_codes(&self) -> Option<Vec<i32>> {
        match &self.seen {
            Sight::Float(seen) => codes(seen),
            Sight::Simulated(seen) => codes(seen),
            Sight::Integer(seen) => codes(seen),
        }
    }

    /// Shows the value's codes to `visit`, some at a time, in the order image, row, column, channel, which is that of
    /// memory: much faster than [`Observation::to_codes`]. Where a portion ends depends on the program. False if the
    /// value has no codes.
    pub fn each_codes(&self, visit: &mut dyn FnMut(&[i32])) -> bool {
        match &self.seen {
            Sight::Float(seen) => stored(seen, visit),
            Sight::Simulated(seen) => stored(seen, visit),
            Sight::Integer(seen) => stored(seen, visit),
        }
    }
}

fn stored<D: Domain>(seen: &Seen<'_, D>, visit: &mut dyn FnMut(&[i32])) -> bool {
    let Some(code) = seen.code else {
        return false;
    };
    seen.stored(|x| D::code(code, x), visit);
    true
}

fn real<D: Domain>(seen: &Seen<'_, D>) -> Vec<f32> {
    seen.planar(|x| D::leave(seen.code, x))
}

fn codes<D: Domain>(seen: &Seen<'_, D>) -> Option<Vec<i32>> {
    seen.code.map(|code| seen.planar(|x| D::code(code, x)))
}

/// Images that pass through the network together, so that the last layers, with many weights and few pixels, use each
/// weight they load often enough.
fn default_group(input: Shape) -> usize {
    ((4 * 224 * 224) / (input.height * input.width)).clamp(4, 16)
}
