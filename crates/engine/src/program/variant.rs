//! A program run many times on the same images with one thing changed: what lies before the change is computed once.
//!
//! ```text
//! workspace one:  enter, step 0, step 1, ..., step k-1   --hand_over-->
//! workspace two:  step_as(variant of k), step k+1, ...
//! ```
//!
//! A [`Variant`] is one node with weights of another graph; [`Program::revise`] changes a value where it lies.

use super::{Memories, Numbers, Observation, Program, Sight, Workspace, another};
use crate::error::Error;
use crate::graph::Graph;
use crate::kernel::{Float32, Integer, Simulated};
use crate::typed::Step;

/// A node of a [`Program`] with other weights.
pub struct Variant {
    node: usize,
    step: Steps,
}

enum Steps {
    Float(Step<Float32>),
    Simulated(Step<Simulated>),
    Integer(Step<Integer>),
}

impl Variant {
    /// The node that it stands for.
    pub fn node(&self) -> usize {
        self.node
    }
}

impl Program {
    /// The nodes that have weights, as `graph` has them, which differs from the program's own in weights alone; `wanted` is asked
    /// for each by its number. For float32 and for [`crate::Execution::Simulate`].
    ///
    /// # Errors
    /// As [`Program::renew`].
    pub fn variants(
        &self,
        graph: Graph,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Variant>, Error> {
        let weighted: Vec<bool> = (graph.nodes.iter())
            .map(|placed| placed.node.op.weights() > 0)
            .collect();
        let wanted = |node: usize| weighted[node] && wanted(node);
        macro_rules! variants {
            ($typed:expr, $kind:ident) => {
                ($typed.variants(graph, &wanted)?.into_iter())
                    .map(|(node, step)| Variant {
                        node,
                        step: Steps::$kind(step),
                    })
                    .collect()
            };
        }
        Ok(match &self.numbers {
            Numbers::Float(typed) => variants!(typed, Float),
            Numbers::Simulated(typed) => variants!(typed, Simulated),
            Numbers::Integer(typed) => variants!(typed, Integer),
        })
    }

    /// [`Program::step`] of the node that `variant` stands for, with its weights.
    ///
    /// # Errors
    /// [`Error::Length`] for a workspace or a variant of another program.
    pub fn step_as(
        &self,
        workspace: &mut Workspace,
        (variant, count): (&Variant, usize),
        observe: &mut dyn FnMut(Observation<'_>),
    ) -> Result<(), Error> {
        macro_rules! step {
            ($typed:expr, $memory:expr, $step:expr, $kind:ident) => {
                $typed.step_as($memory, ($step, variant.node, count), &mut |seen| {
                    observe(Observation {
                        node: seen.node,
                        seen: Sight::$kind(seen),
                    })
                })
            };
        }
        match (&self.numbers, &mut workspace.memory, &variant.step) {
            (Numbers::Float(typed), Memories::Float(memory), Steps::Float(step)) => {
                step!(typed, memory, step, Float)
            }
            (Numbers::Simulated(typed), Memories::Simulated(memory), Steps::Simulated(step)) => {
                step!(typed, memory, step, Simulated)
            }
            (Numbers::Integer(typed), Memories::Integer(memory), Steps::Integer(step)) => {
                step!(typed, memory, step, Integer)
            }
            _ => return Err(another()),
        }
        Ok(())
    }

    /// Shows the value that the node number `node` made, of `count` images, or the images themselves, to `change`, some elements at
    /// a time, to be changed in place. For float32 alone.
    ///
    /// # Errors
    /// [`Error::Length`] for the workspace of another program, and for values that are not in float32.
    pub fn revise(
        &self,
        workspace: &mut Workspace,
        (node, count): (Option<usize>, usize),
        change: &mut dyn FnMut(&mut [f32]),
    ) -> Result<(), Error> {
        match (&self.numbers, &mut workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => {
                typed.revise(memory, node.map_or(0, |node| node + 1), count, change);
                Ok(())
            }
            _ => Err(another()),
        }
    }

    /// The result of `count` images whose last node has run: `[count, c, h, w]`.
    ///
    /// # Errors
    /// [`Error::Length`] for the workspace of another program.
    pub fn result(&self, workspace: &Workspace, count: usize) -> Result<Vec<f32>, Error> {
        match (&self.numbers, &workspace.memory) {
            (Numbers::Float(typed), Memories::Float(memory)) => Ok(typed.result(memory, count)),
            (Numbers::Simulated(typed), Memories::Simulated(memory)) => {
                Ok(typed.result(memory, count))
            }
            (Numbers::Integer(typed), Memories::Integer(memory)) => Ok(typed.result(memory, count)),
            _ => Err(another()),
        }
    }

    /// Makes of `to`, a workspace of this program, one that can go on with the node number `node` where `from` is, which has run all
    /// nodes before it on `count` images: copies what is still read.
    ///
    /// # Errors
    /// [`Error::Length`] for workspaces of other programs.
    pub fn hand_over(
        &self,
        from: &Workspace,
        to: &mut Workspace,
        (node, count): (usize, usize),
    ) -> Result<(), Error> {
        let is_own = match (&self.numbers, &from.memory, &mut to.memory) {
            (Numbers::Float(typed), Memories::Float(from), Memories::Float(to)) => {
                typed.hand_over(from, to, node, count)
            }
            (Numbers::Simulated(typed), Memories::Simulated(from), Memories::Simulated(to)) => {
                typed.hand_over(from, to, node, count)
            }
            (Numbers::Integer(typed), Memories::Integer(from), Memories::Integer(to)) => {
                typed.hand_over(from, to, node, count)
            }
            _ => false,
        };
        match is_own {
            true => Ok(()),
            false => Err(another()),
        }
    }
}
