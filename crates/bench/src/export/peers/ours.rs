//! Our side: predictions in integers, exact and with ONNX Runtime's arithmetic, and the codes of the latter.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use dataset::Dataset;
use engine::{
    Execution, IntegerArithmetic, Multiplier, Options, Program, Requantize, WHOLE_GROUPS, Workspace,
};
use network::Value;
use quantize::{QuantizedNet, Sites, Units};

use super::Predictions;
use crate::agreement::each_value;
use crate::device::Target;
use crate::evaluate::evaluate;
use crate::executable::Executable;

const ORT: Execution = Execution::Integer(IntegerArithmetic {
    requantize: Requantize::OnnxRuntime,
    multiplier: Multiplier::Float,
    accumulator: engine::Accumulator::Wide,
});

/// How a network can be executed, the first for the comparison of codes; a simulation where it has what integers do not hold.
fn executions(net: &QuantizedNet, size: [usize; 2]) -> Vec<(&'static str, Execution)> {
    let exact = Execution::Integer(IntegerArithmetic::default());
    match program(net, size, ORT) {
        Ok(_) if net.activations.is_some() => vec![
            ("quantlab, integer.rounding = ort", ORT),
            ("quantlab, exact integers", exact),
        ],
        _ => vec![("quantlab, simulation", Execution::Simulate)],
    }
}

fn program(net: &QuantizedNet, size: [usize; 2], execution: Execution) -> Result<Program> {
    let options = Options {
        execution,
        // An observer sees a group's value at once.
        large: WHOLE_GROUPS,
        ..Options::default()
    };
    each_value(net, size, options)
}

/// The classes of all images in each execution.
pub(super) fn predictions(
    net: &QuantizedNet,
    images: &Dataset,
    threads: usize,
) -> Result<Vec<Predictions>> {
    let size = [images.height(), images.width()];
    let mut all = Vec::new();
    for (name, execution) in executions(net, size) {
        let device = Executable::quantized(&Target::Engine, net.clone(), size, execution)?;
        let running = AtomicBool::new(false);
        let outcomes = evaluate(&device, images, threads, &|_, _| {}, &running)?;
        let top1 = outcomes.iter().map(|outcome| outcome.top1).collect();
        all.push(Predictions::new(name.to_owned(), top1, images));
    }
    Ok(all)
}

/// The network with its additions as nodes of their own.
pub(super) struct Ours {
    program: Program,
    /// Names of the nodes in execution order, and the zero points of their codes; none where a node's value has no codes.
    pub nodes: Vec<(String, Option<i32>)>,
    /// Of all values of an image together.
    pub numbers: usize,
}

impl Ours {
    pub fn new(net: &QuantizedNet, images: &Dataset) -> Result<Self> {
        let size = [images.height(), images.width()];
        let (_, execution) = executions(net, size)[0];
        let program = program(net, size, execution)?;
        let zeros = zero_points(net);
        let named = |name: &str| (name.to_owned(), zeros.get(name).copied());
        Ok(Self {
            nodes: program.nodes().map(|node| named(node.name)).collect(),
            numbers: program.nodes().map(|node| node.shape.len()).sum(),
            program,
        })
    }

    pub fn worker(&self) -> Worker<'_> {
        Worker {
            ours: self,
            workspace: self.program.workspace(),
        }
    }
}

/// Memory to run the network in.
pub(super) struct Worker<'a> {
    ours: &'a Ours,
    workspace: Workspace,
}

impl Worker<'_> {
    /// The codes of each node's value of `images`, `[n, c, h, w]`, counted from their zero point; nothing of a value without codes.
    pub fn codes(&mut self, images: &[f32]) -> Result<Vec<Vec<i32>>> {
        let Ours { program, nodes, .. } = self.ours;
        let mut all: Vec<Vec<i32>> = vec![Vec::new(); nodes.len()];
        let some = program.group() * program.input().len();
        for images in images.chunks(some) {
            let n = images.len() / program.input().len();
            let mut results = vec![0.0; n * program.output().len()];
            program.run_observed(&mut self.workspace, images, &mut results, &mut |seen| {
                if let (Some(codes), Some(zero)) = (seen.to_codes(), nodes[seen.node].1) {
                    all[seen.node].extend(codes.iter().map(|q| q - zero));
                }
            })?;
        }
        Ok(all)
    }
}

/// The zero points of values' codes, by the nodes that make them.
fn zero_points(net: &QuantizedNet) -> BTreeMap<String, i32> {
    let Some((codes, shortcut)) = &net.activations else {
        return BTreeMap::new();
    };
    let (sites, units) = (Sites::new(&net.topology), Units::new(&net.topology));
    let made = sites.names().filter_map(|site| {
        let name = sites.quantized_node(site, *shortcut);
        Some((name, codes.get(site)?.zero_point))
    });
    // A copy has the codes of what it copies.
    let nodes = net.topology.nodes().iter().enumerate();
    let copies = nodes.filter(|(_, node)| node.op.is_copy());
    let copied = copies.filter_map(|(id, node)| {
        let site = units.site(&net.topology, Value::Node(id));
        Some((node.name.clone(), codes.get(site)?.zero_point))
    });
    made.chain(copied).collect()
}
