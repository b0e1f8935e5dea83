//! An exported file beside ONNX Runtime: predictions, and the codes of every value.
//!
//! ```text
//! QuantizedNet -> engine, in integers: exact, and with ONNX Runtime's arithmetic -> predictions, codes --+-> Comparison -> text
//! FILE -> session (a Python process): all its optimizations, and none ------------> predictions, codes --+
//! ```
//!
//! Optimized, ONNX Runtime fuses quantizers and operators into integer kernels; as it stands, the file is computed in float32 between
//! codes. To see codes inside, they are made results of a copy of the file; whether that changes what is fused is counted and said.

mod ours;
mod session;
mod text;

use std::path::Path;

use anyhow::Result;
use dataset::Dataset;
use quantize::QuantizedNet;

use crate::agreement::Agreement;
use ours::Ours;
use session::Session;

/// What came out on both sides.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// ONNX Runtime's version, in words.
    pub versions: String,
    /// Images.
    pub images: usize,
    /// Our executions, the one whose codes are compared first.
    pub ours: Vec<Predictions>,
    /// ONNX Runtime's.
    pub theirs: Vec<Theirs>,
}

/// The classes of all images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// What computed them, in words.
    pub name: String,
    /// In the set's order.
    pub top1: Vec<u16>,
    /// How many are those of the labels.
    pub hits: usize,
}

impl Predictions {
    /// How many are other than those of `other`.
    pub fn differ(&self, other: &Self) -> usize {
        let pairs = self.top1.iter().zip(&other.top1);
        pairs.filter(|(a, b)| a != b).count()
    }

    fn new(name: String, top1: Vec<u16>, images: &Dataset) -> Self {
        let right = top1
            .iter()
            .enumerate()
            .filter(|(i, class)| **class == images.label(*i));
        Self {
            hits: right.count(),
            name,
            top1,
        }
    }
}

/// A mode of ONNX Runtime.
#[derive(Clone, Debug)]
pub struct Theirs {
    /// Its classes.
    pub predictions: Predictions,
    /// Nodes that compute in integers: of the file, and where codes are results, too.
    pub integers: [usize; 2],
    /// Codes of each value against those of our first execution, in execution order.
    pub values: Vec<Agreement>,
}

/// Numbers of a group of images that are held at a time.
const NUMBERS: usize = 1 << 24;

/// Runs `file`, which `net` was exported to, through the ONNX Runtime of `python` and `net` through the engine, on all of `images`, and
/// compares. `progress` is told of images that are done.
///
/// # Errors
/// A Python without ONNX Runtime, a file that it refuses, a process that dies: in one line.
pub fn compare(
    net: &QuantizedNet,
    file: &[u8],
    images: &Dataset,
    (python, threads): (&Path, usize),
    progress: &dyn Fn(usize),
) -> Result<Comparison> {
    let mut session = Session::start(python, threads, file)?;
    let ours = Ours::new(net, images)?;
    let predictions = ours::predictions(net, images, threads)?;
    let mut worker = ours.worker();
    // In the order of our nodes: place there and in the session's answers.
    let place = |name: &String| session.values.iter().position(|value| value == name);
    let nodes = ours.nodes.iter().enumerate();
    let values: Vec<(usize, usize)> = nodes
        .filter_map(|(node, (name, zero))| zero.and_then(|_| Some((node, place(name)?))))
        .collect();
    let fresh = |&(node, _): &(usize, usize)| Agreement {
        node: ours.nodes[node].0.clone(),
        ..Agreement::default()
    };
    let mut found: Vec<Vec<Agreement>> = (session.modes.iter())
        .map(|_| values.iter().map(fresh).collect())
        .collect();
    let mut top1: Vec<Vec<u16>> = vec![Vec::new(); session.modes.len()];
    let (rows, columns) = (images.height(), images.width());
    let channels = images.image_len() / (rows * columns);
    let group = (NUMBERS / ours.numbers.max(images.image_len())).clamp(1, 256);
    let mut pixels = vec![0.0; group * images.image_len()];
    for start in (0..images.len()).step_by(group) {
        let range = start..images.len().min(start + group);
        let n = range.len();
        let pixels = &mut pixels[..n * images.image_len()];
        images.write_batch(range, pixels);
        let classes = session.run(pixels, [n, channels, rows, columns])?;
        for (all, some) in top1.iter_mut().zip(classes) {
            all.extend(some);
        }
        let codes = worker.codes(pixels)?;
        for (mode, found) in found.iter_mut().enumerate() {
            for (&(node, value), found) in values.iter().zip(found) {
                found.add(
                    &codes[node],
                    &session.codes(mode, value, codes[node].len())?,
                );
            }
        }
        progress(n);
    }
    let modes = session.modes.iter().zip(top1).zip(found);
    let theirs = modes.map(|((mode, top1), values)| Theirs {
        predictions: Predictions::new(mode.in_words(), top1, images),
        integers: mode.integers,
        values,
    });
    Ok(Comparison {
        theirs: theirs.collect(),
        versions: session.versions().to_owned(),
        images: images.len(),
        ours: predictions,
    })
}
