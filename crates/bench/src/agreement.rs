//! Simulation against integers: every code of every value of every image, side by side.
//!
//! Both programs run the graph whose additions are nodes of their own, so that summands can be compared too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, anyhow, bail};
use dataset::Dataset;
use engine::{Execution, Options, Program};
use quantize::{Epilogue, QuantizedNet};

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
    let group = simulated.group();
    let count = images.len().div_ceil(group);
    let next = AtomicUsize::new(0);
    let fresh = || -> Vec<Agreement> {
        let nodes = simulated.nodes();
        nodes
            .map(|node| Agreement {
                node: node.name.to_owned(),
                ..Agreement::default()
            })
            .collect()
    };
    let work = || -> Result<Vec<Agreement>> {
        let mut found = fresh();
        let (mut one, mut other) = (simulated.workspace(), integer.workspace());
        let mut pixels = vec![0.0; group * images.image_len()];
        let mut results = vec![0.0; group * classes];
        // All codes of a group of images, node by node.
        let mut codes: Vec<i32> = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(found);
            }
            if cancelled.load(Ordering::Relaxed) {
                bail!("cancelled");
            }
            let range = index * group..images.len().min((index + 1) * group);
            let pixels = &mut pixels[..range.len() * images.image_len()];
            let results = &mut results[..range.len() * classes];
            images.write_batch(range, pixels);
            codes.clear();
            simulated.run_observed(&mut one, pixels, results, &mut |seen| {
                seen.each_codes(&mut |some| codes.extend_from_slice(some));
            })?;
            // Both programs run the same nodes in the same order, and show codes in the same order.
            let mut left = &codes[..];
            integer.run_observed(&mut other, pixels, results, &mut |seen| {
                let agreement = &mut found[seen.node];
                seen.each_codes(&mut |integers| {
                    let (simulated, rest) = left.split_at(integers.len().min(left.len()));
                    left = rest;
                    agreement.add(simulated, integers);
                });
            })?;
        }
    };
    let mut all = fresh();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let found = worker.join().map_err(|_| anyhow!("a worker died"))??;
            for (all, found) in all.iter_mut().zip(found) {
                all.n += found.n;
                all.differ += found.differ;
                all.largest = all.largest.max(found.largest);
            }
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(all)
}
