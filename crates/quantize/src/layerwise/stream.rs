//! A network run node by node on all images at once, so that weights can change between one layer and the next.

use engine::{Graph, Options, Program, WHOLE_GROUPS, Workspace};
use rayon::prelude::*;

use crate::error::Error;

/// Images that one workspace takes through the network.
const GROUP: usize = 8;

/// A network on its way through the images; what lies in memory is what later nodes still read, of all images.
pub struct Stream {
    program: Program,
    parts: Vec<(Workspace, usize)>,
    names: Vec<String>,
    next: usize,
}

impl Stream {
    /// `graph` with `images`, `[n, c, h, w]`, taken in and nothing run yet.
    ///
    /// # Errors
    /// Values too large to address.
    pub fn new(graph: Graph, images: &[f32]) -> Result<Self, Error> {
        let options = Options {
            group: GROUP,
            large: WHOLE_GROUPS,
            ..Options::default()
        };
        let program = Program::new(graph, options)?;
        let names = program.nodes().map(|node| node.name.to_owned()).collect();
        let parts = images
            .par_chunks(GROUP * program.input().len())
            .map(|images| {
                let mut workspace = program.workspace();
                let count = program.enter(&mut workspace, images)?;
                Ok((workspace, count))
            });
        let parts = parts.collect::<Result<_, engine::Error>>()?;
        Ok(Self {
            program,
            parts,
            names,
            next: 0,
        })
    }

    /// Runs everything before the node `name`, and tells what that one reads: `[n, c, h, w]`.
    ///
    /// # Errors
    /// None for a node that has not run.
    pub fn input_of(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        while self.names.get(self.next).is_some_and(|next| next != name) {
            self.run(|_| ())?;
        }
        let node = self.next;
        let program = &self.program;
        let parts = self.parts.par_iter();
        let values = parts.map(|(workspace, count)| program.operand(workspace, (node, *count)));
        let values: Vec<Vec<f32>> = values.collect::<Result<_, _>>()?;
        Ok(values.concat())
    }

    /// Runs everything up to the node `name`, and tells what that one makes: `[n, c, h, w]`.
    ///
    /// # Errors
    /// As [`Stream::input_of`].
    pub fn value_of(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        while self.names.get(self.next).is_some_and(|next| next != name) {
            self.run(|_| ())?;
        }
        self.made()
    }

    /// Runs the next node, and tells what it makes: `[n, c, h, w]`.
    ///
    /// # Errors
    /// As [`Stream::input_of`].
    pub fn made(&mut self) -> Result<Vec<f32>, Error> {
        let values = self.run(|seen| seen.to_planar())?;
        Ok(values.concat())
    }

    /// Takes the next node from `graph`, which differs in weights alone.
    ///
    /// # Errors
    /// A graph that differs in more.
    pub fn renew(&mut self, graph: Graph) -> Result<(), Error> {
        Ok(self.program.renew(graph, self.next)?)
    }

    /// Takes all that has not run from `graph`, which differs in weights and scales alone.
    ///
    /// # Errors
    /// As [`Stream::renew`].
    pub fn renew_from(&mut self, graph: Graph) -> Result<(), Error> {
        Ok(self.program.renew_from(graph, self.next)?)
    }

    fn run<T: Send + Default>(
        &mut self,
        see: impl Fn(engine::Observation<'_>) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let (program, node) = (&self.program, self.next);
        let parts = self.parts.par_iter_mut().map(|(workspace, count)| {
            let mut made = T::default();
            program.step(workspace, (node, *count), &mut |seen| made = see(seen))?;
            Ok(made)
        });
        let made = parts.collect::<Result<_, engine::Error>>()?;
        self.next += 1;
        Ok(made)
    }
}
