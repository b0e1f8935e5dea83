//! Simulation against integers: every code of every value of every image, side by side.
//!
//! Both programs run the graph whose additions are nodes of their own, so that summands can be compared too.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use dataset::Dataset;
use engine::{Execution, Options, Program, Workspace};
use quantize::{Epilogue, QuantizedNet};

use crate::observe::{cut, observe};

/// How the codes of one value differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The node that makes the value.
    pub node: String,
    /// Codes compared.
    pub n: u64,
    /// Codes that differ.
    pub differ: u64,
    /// The largest difference of two codes.
    pub largest: u32,
}

impl Agreement {
    /// Takes in as many codes of the one as of the other.
    pub(crate) fn add(&mut self, ones: &[i32], others: &[i32]) {
        self.n += others.len() as u64;
        // Nearly always, and much faster than looking at each.
        if ones == others {
            return;
        }
        for (one, other) in ones.iter().zip(others) {
            self.differ += u64::from(one != other);
            self.largest = self.largest.max(one.abs_diff(*other));
        }
    }
}

/// `net` for images of `size`, each of its values made by a node of its own.
pub(crate) fn each_value(
    net: &QuantizedNet,
    size: [usize; 2],
    options: Options,
) -> Result<Program> {
    let graph = quantize::lower_quantized(net.clone(), size, Epilogue::Separate)?;
    Ok(Program::new(graph, options)?)
}

/// Compares the simulation of `net` with its execution in `integers`, on all of `images`; one entry for each node, in
/// execution order. `cancelled` ends it early, with an error.
pub fn compare(
    net: &QuantizedNet,
    integers: Execution,
    images: &Dataset,
    threads: usize,
    cancelled: &AtomicBool,
) -> Result<Vec<Agreement>> {
    let size = [images.height(), images.width()];
    let classes = net.topology.classes();
    let program = |execution| {
        let options = Options::default();
        each_value(
            net,
            size,
            Options {
                execution,
                ..options
            },
        )
    };
    let (simulated, integer) = (program(Execution::Simulate)?, program(integers)?);
    let batches: Vec<_> = cut(0..images.len(), simulated.group()).collect();
    let fresh = || -> Vec<Agreement> {
        let nodes = simulated.nodes();
        nodes
            .map(|node| Agreement {
                node: node.name.to_owned(),
                ..Agreement::default()
            })
            .collect()
    };
    let worker = || {
        Ok(Side {
            found: fresh(),
            simulated: simulated.workspace(),
            integer: integer.workspace(),
            logits: Vec::new(),
            codes: Vec::new(),
        })
    };
    let look = |side: &mut Side, images: Range<usize>, pixels: &[f32]| -> Result<()> {
        let Side {
            found,
            logits,
            codes,
            ..
        } = side;
        logits.resize(images.len() * classes, 0.0);
        codes.clear();
        simulated.run_observed(&mut side.simulated, pixels, logits, &mut |seen| {
            seen.each_codes(&mut |some| codes.extend_from_slice(some));
        })?;
        // Both programs run the same nodes in the same order, and show codes in the same order.
        let mut left = &codes[..];
        integer.run_observed(&mut side.integer, pixels, logits, &mut |seen| {
            let agreement = &mut found[seen.node];
            seen.each_codes(&mut |integers| {
                let (simulated, rest) = left.split_at(integers.len().min(left.len()));
                left = rest;
                agreement.add(simulated, integers);
            });
        })?;
        Ok(())
    };
    let compared = observe(images, &batches, (threads, cancelled), worker, look)?;
    let mut all = fresh();
    for side in compared.workers {
        for (all, found) in all.iter_mut().zip(side.found) {
            all.n += found.n;
            all.differ += found.differ;
            all.largest = all.largest.max(found.largest);
        }
    }
    Ok(all)
}

/// What one thread compares with.
struct Side {
    found: Vec<Agreement>,
    simulated: Workspace,
    integer: Workspace,
    logits: Vec<f32>,
    /// All codes of a group of images, node by node.
    codes: Vec<i32>,
}
