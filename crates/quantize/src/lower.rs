//! From a network to the flat graph that the CPU engine runs.
//!
//! Nodes are called what steps are called ([`Units`]): a layer's node has the layer's name, an addition of its own that of the
//! addition. A BatchNorm that is still there becomes the scale and shift of its layer's epilogue, with
//! `k[c] = gamma[c] / sqrt(running_var[c] + eps)`:
//!
//! ```text
//! scale[c] = k[c]        shift[c] = beta[c] - running_mean[c] * k[c]
//! ```
//!
//! so the weights stay on their quantization grid; after [`crate::fold`] there is a bias alone. Additions and ReLUs are
//! part of the layer before them, or nodes of their own where each layer's own output is wanted.
//!
//! Quantized activations make a graph with codes ([`lower_quantized`]): weights become integers with their scale beside
//! them, 32-bit biases too, and every site's node rounds its value, if the site has a code.

use engine::{Clip, Code, Conv, Graph, INPUT, Linear, Node, Op, Window};
use network::{Network, NodeId, Op as Operation, StateDict, Topology, Value};

use crate::error::Error;
use crate::fold::{BatchNorm, of_node};
use crate::quantize::QuantizedNet;
use crate::sites::{ShortcutPolicy, SiteCodes, Sites, readers, rounding_node};
use crate::units::{Unit, Units};

/// Where additions and ReLUs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Into the layer before them: the fast form.
    Fused,
    /// ReLUs into the step before them, additions into nodes of their own: every activation site is a node's value.
    Sites,
    /// Into nodes of their own, called what they are called in the network: every layer's output is as PyTorch's BatchNorm
    /// hands it on. In a graph with codes the additions alone: what is rounded behind a ReLU is rounded once.
    Separate,
}

/// The graph of `network` for images `[c, height, width]`. Takes the tensors out of it, so that no second copy of the weights
/// exists. Fails when the images are too small.
pub fn lower(network: Network, size: [usize; 2], epilogue: Epilogue) -> Result<Graph, Error> {
    let (topology, tensors) = network.into_parts();
    build(topology.at(size)?, tensors, epilogue, None)
}

/// [`lower`] for a quantized network: with codes where its activations have them, otherwise as [`lower`] makes it.
pub fn lower_quantized(
    mut net: QuantizedNet,
    size: [usize; 2],
    epilogue: Epilogue,
) -> Result<Graph, Error> {
    let tensors = std::mem::take(&mut net.state);
    let topology = net.topology.clone();
    let codes = net.activations.take().map(|(codes, shortcut)| Codes {
        sites: Sites::new(&topology),
        codes,
        shortcut,
        net,
    });
    build(topology.at(size)?, tensors, epilogue, codes)
}

fn build(
    topology: Topology,
    tensors: StateDict,
    epilogue: Epilogue,
    codes: Option<Codes>,
) -> Result<Graph, Error> {
    let input_code = codes.as_ref().and_then(|codes| codes.of(INPUT));
    let units = Units::new(&topology);
    let mut build = Build {
        topology: &topology,
        tensors,
        nodes: Vec::new(),
        names: vec![None; topology.nodes().len()],
        epilogue,
        codes,
    };
    for unit in units.iter() {
        let reader = topology.only_reader(unit.tail());
        let sum = reader.filter(|&reader| units.fused(&topology, reader) == Some(unit));
        match (&topology.node(unit.head).op, sum) {
            // It runs when the rest of the sum is there.
            (_, Some(_)) if epilogue == Epilogue::Fused => {}
            (op, _) if op.is_layer() => build.layer(unit, unit, None)?,
            (Operation::Add, _) => {
                let [one, other] = [0, 1].map(|i| topology.node(unit.head).inputs[i]);
                let fused = units.fused(&topology, unit.head);
                let fused_value = fused.map(|fused| Value::Node(fused.tail()));
                let rest = if fused_value == Some(other) {
                    one
                } else {
                    other
                };
                match fused.filter(|_| epilogue == Epilogue::Fused) {
                    Some(layer) => build.layer(layer, unit, Some(rest))?,
                    None => build.sum(unit, fused_value.unwrap_or(one), rest),
                }
            }
            (op, _) if op.is_copy() => build.copy(unit.head),
            _ => build.plain(unit.head),
        }
    }
    let output = build.name(Value::Node(topology.output())).read.clone();
    Ok(Graph::quantized(
        topology.input(),
        input_code,
        build.nodes,
        &output,
    )?)
}

/// A graph of one layer of `network` alone, for what it reads in the network.
pub fn lower_layer(network: &Network, layer: NodeId) -> Result<Graph, Error> {
    one_layer(network.topology(), network.tensors(), layer)
}

/// [`lower_layer`] of the network that has `tensors`.
pub(crate) fn one_layer(
    topology: &Topology,
    tensors: &StateDict,
    layer: NodeId,
) -> Result<Graph, Error> {
    // The layer's own tensors are copied, and no others.
    let mut own = of_node(topology, tensors, layer);
    if let Some(norm) = topology.norm(layer) {
        own.extend(of_node(topology, tensors, norm));
    }
    let op = layer_op(topology, &mut own, layer)?;
    let node = topology.node(layer);
    let input = topology.shape(node.inputs[0]);
    let name = &node.name;
    Ok(Graph::new(input, vec![Node::new(name, INPUT, op)], name)?)
}

/// What a value is called in the graph: for additions and the like, and for layers. The two differ where the former is not
/// rounded ([`ShortcutPolicy::IdentityFloat`]).
#[derive(Clone)]
struct Names {
    added: String,
    read: String,
}

struct Build<'a> {
    topology: &'a Topology,
    tensors: StateDict,
    nodes: Vec<Node>,
    /// Of each node's value, where it is the end of a step that has been built.
    names: Vec<Option<Names>>,
    epilogue: Epilogue,
    codes: Option<Codes>,
}

/// What a graph with codes needs beside the tensors.
struct Codes {
    sites: Sites,
    codes: SiteCodes,
    shortcut: ShortcutPolicy,
    net: QuantizedNet,
}

impl Codes {
    /// None for a site that stays in float.
    fn of(&self, site: &str) -> Option<Code> {
        self.sites.code(site, &self.codes, self.shortcut)
    }

    /// A layer with integers in place of its weights and of a 32-bit bias.
    fn integers(&mut self, layer: &str, op: Op) -> Op {
        let mut conv = match op {
            Op::Linear(linear) => Conv::from(linear),
            Op::Conv(conv) => conv,
            other => return other,
        };
        if let Some(weights) = self.net.codes.remove(layer) {
            // Codes are below 2^24 in magnitude: exact.
            conv.weight = weights.codes.iter().map(|&q| q as f32).collect();
            let scale = weights.scale.into_iter();
            conv.scale = Some(match conv.scale {
                Some(factor) => scale.zip(factor).map(|(s, k)| s * k).collect(),
                None => scale.collect(),
            });
        }
        if let Some(bias) = self.net.bias_codes.remove(layer) {
            conv.bias = Some(bias);
            conv.shift = None;
        }
        Op::Conv(conv)
    }
}

impl Build<'_> {
    fn name(&self, value: Value) -> Names {
        let images = || Names {
            added: INPUT.to_owned(),
            read: INPUT.to_owned(),
        };
        match value {
            Value::Input => images(),
            // Steps come in execution order.
            Value::Node(id) => self.names[id].clone().unwrap_or_else(images),
        }
    }

    fn code(&self, site: &str) -> Option<Code> {
        self.codes.as_ref().and_then(|codes| codes.of(site))
    }

    fn is_forked(&self, site: &str) -> bool {
        let codes = self.codes.as_ref();
        codes.is_some_and(|codes| codes.sites.is_forked(site, codes.shortcut))
    }

    /// A node that copies numbers, for all who read it.
    fn copy(&mut self, head: NodeId) {
        let Names { added, read } = self.name(self.topology.node(head).inputs[0]);
        let own = self.topology.node(head).name.clone();
        let (layers, others) = readers(self.topology, Value::Node(head));
        let is_forked = added != read;
        let mut names = Names {
            added: own.clone(),
            read: own.clone(),
        };
        if is_forked && layers {
            if others {
                names.read = rounding_node(&own);
            }
            self.copy_of(head, &names.read, read);
        }
        if !is_forked || others {
            self.copy_of(head, &names.added, added);
        }
        self.names[head] = Some(names);
    }

    fn copy_of(&mut self, head: NodeId, name: &str, input: String) {
        let op = match &self.topology.node(head).op {
            Operation::MaxPool(window) => Op::MaxPool(*window),
            &Operation::Subsample {
                stride,
                before,
                behind,
            } => Op::Subsample {
                stride,
                before,
                behind,
            },
            Operation::Gather(gather) => Op::Gather(gather.clone()),
            _ => Op::Identity,
        };
        let code = self.code_of(&input);
        let node = Node::new(name, input, op);
        self.nodes.push(Node { code, ..node });
    }

    /// The codes of a node that is there already, or of the images.
    fn code_of(&self, made_by: &str) -> Option<Code> {
        match made_by == INPUT {
            true => self.code(INPUT),
            false => {
                let made_by = self.nodes.iter().find(|node| node.name == made_by);
                made_by.and_then(|node| node.code)
            }
        }
    }

    /// An operation without numbers of its own, and with nothing fused.
    fn plain(&mut self, head: NodeId) {
        let node = self.topology.node(head);
        let x = self.topology.shape(node.inputs[0]);
        let op = match &node.op {
            &Operation::AvgPool { window, counted } => Op::AvgPool { window, counted },
            Operation::GlobalAvgPool => Op::avg_pool(Window::whole(x)),
            &Operation::Function(function) => Op::Function(function),
            Operation::ClipEach(ends) => clip_each(ends),
            Operation::Multiply => Op::Multiply,
            Operation::Concat => Op::Concat,
            _ => Op::Identity,
        };
        let inputs = node.inputs.iter().map(|&input| self.name(input).added);
        let mut inputs = inputs.collect::<Vec<_>>().into_iter();
        let mut input = inputs.next().unwrap_or_else(|| INPUT.to_owned());
        let code = self.code(&node.name);
        let first = code.filter(|_| !self.is_forked(&node.name));
        if matches!(op, Op::ClipEach(_)) && self.code_of(&input) != first {
            // It keeps the codes of what it reads: that gets the others first.
            let name = format!("{}.codes", node.name);
            let mut rounded = Node::new(&name, input, Op::Identity);
            rounded.code = first;
            self.nodes.push(rounded);
            input = name;
        }
        let mut lowered = Node::new(&node.name, input, op).with(inputs);
        lowered.clip = clip(&node.op);
        lowered.code = code;
        self.finish(head, None, lowered, &node.name);
    }

    /// A layer, with `rest` added if the step `unit` is a sum; otherwise `unit` is the layer's own.
    fn layer(&mut self, layer: &Unit, unit: &Unit, rest: Option<Value>) -> Result<(), Error> {
        let topology = self.topology;
        let name = &topology.node(layer.head).name;
        let mut op = layer_op(topology, &mut self.tensors, layer.head)?;
        if let Some(codes) = &mut self.codes {
            op = codes.integers(name, op);
        }
        let input = self.name(topology.node(layer.head).inputs[0]).read;
        let mut node = Node::new(name, input, op);
        node.clip = self.clip(unit);
        let site = &topology.node(unit.head).name;
        node.code = self.code(site);
        if let Some(rest) = rest {
            node.add = Some(self.name(rest).added);
            node.is_added_first = topology.node(unit.head).inputs[0] == rest;
            node.inner = self.code(name);
        }
        let clip = unit.clip.filter(|_| node.clip.is_some());
        if let (Some(clip), Epilogue::Separate, None) = (clip, self.epilogue, &self.codes) {
            node.clip = None;
            self.nodes.push(node);
            let node_name = &topology.node(layer.head).name;
            let name = &topology.node(clip).name;
            node = Node::new(name, node_name, Op::Identity);
            node.clip = self.clip(unit);
        }
        self.finish(unit.tail(), unit.each(topology), node, site);
        Ok(())
    }

    /// The clipping at the end of a step.
    fn clip(&self, unit: &Unit) -> Option<Clip> {
        unit.clip.and_then(|id| clip(&self.topology.node(id).op))
    }

    /// An addition of its own.
    fn sum(&mut self, unit: &Unit, one: Value, other: Value) {
        let node = self.topology.node(unit.head);
        let (name, is_added_first) = (&node.name, node.inputs[0] != one);
        let (one, other) = (self.name(one).added, self.name(other).added);
        let mut node = Node::new(name, one, Op::Identity).plus(other);
        node.is_added_first = is_added_first;
        node.clip = self.clip(unit);
        node.code = self.code(name);
        self.finish(unit.tail(), unit.each(self.topology), node, name);
    }

    /// Adds the node that makes the value of `site`, which ends at `tail`, one that clips `each` channel by itself, and another that
    /// rounds it, where it is to be had both ways.
    fn finish(&mut self, tail: NodeId, each: Option<NodeId>, mut node: Node, site: &str) {
        let mut added = node.name.clone();
        let fork = self.is_forked(site).then(|| node.code.take());
        let code = node.code;
        self.nodes.push(node);
        if let Some(Operation::ClipEach(ends)) = each.map(|id| &self.topology.node(id).op) {
            let name = self.topology.node(tail).name.clone();
            let node = Node::new(&name, added, clip_each(ends));
            self.nodes.push(Node { code, ..node });
            added = name;
        }
        let mut read = added.clone();
        if let Some(code) = fork {
            read = rounding_node(site);
            let node = Node::new(&read, &added, Op::Identity);
            self.nodes.push(Node { code, ..node });
        }
        self.names[tail] = Some(Names { added, read });
    }
}

fn clip_each(ends: &[[f32; 2]]) -> Op {
    let clips = ends.iter().map(|&[low, high]| Clip { low, high });
    Op::ClipEach(clips.collect())
}

fn clip(op: &Operation) -> Option<Clip> {
    match *op {
        Operation::Clip { low, high } => Some(Clip { low, high }),
        _ => None,
    }
}

/// A layer, its BatchNorm included.
fn layer_op(topology: &Topology, tensors: &mut StateDict, layer: NodeId) -> Result<Op, Error> {
    let node = topology.node(layer);
    let x = topology.shape(node.inputs[0]);
    let weight = tensors.take(&format!("{}.weight", node.name))?.data;
    let bias = tensors.remove(&format!("{}.bias", node.name));
    let bias = bias.map(|bias| bias.data);
    let (scale, shift) = match BatchNorm::take(topology, tensors, layer)? {
        Some(bn) => {
            let scale = bn.scale();
            let shift = bn.shift(&scale, bias.as_deref());
            (Some(scale), Some(shift))
        }
        None => (None, bias),
    };
    let (outputs, groups, window) = match node.op {
        Operation::Conv {
            outputs,
            groups,
            window,
        } => (outputs, groups, window),
        _ => (
            topology.shape(Value::Node(layer)).channels,
            1,
            Window::whole(x),
        ),
    };
    let is_linear = matches!(node.op, Operation::Linear { .. });
    if is_linear && scale.is_none() && (x.height, x.width) == (1, 1) {
        let bias = shift;
        return Ok(Op::Linear(Linear {
            weight,
            outputs,
            bias,
        }));
    }
    Ok(Op::Conv(Conv {
        weight,
        outputs,
        groups,
        window,
        bias: None,
        scale,
        shift,
    }))
}

#[cfg(test)]
mod tests {
    use engine::{Options, Program};
    use quant_core::uniform;

    use super::*;
    use resnet::Arch;
    use resnet::{network, random_state};

    fn images(n: usize, side: usize) -> Vec<f32> {
        (0..n * 3 * side * side)
            .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
            .collect()
    }

    #[test]
    fn separate_epilogues_change_no_bit_and_show_every_unit() {
        let arch = Arch::parse("resnet18").unwrap().with_classes(5);
        let network = network(&arch, random_state(&arch, 4)).unwrap();
        let pixels = images(1, 64);
        let all = [Epilogue::Fused, Epilogue::Sites, Epilogue::Separate];
        let [fused, sites, separate] = all.map(|epilogue| {
            let graph = lower(network.clone(), [64, 64], epilogue).unwrap();
            let names: Vec<_> = graph.nodes().map(|(name, _)| name.to_owned()).collect();
            for unit in arch.layout().units() {
                assert!(names.contains(&unit.conv), "{}", unit.conv);
            }
            let program = Program::new(graph, Options::default()).unwrap();
            let mut logits = vec![0.0; 5];
            let mut workspace = program.workspace();
            program.run(&mut workspace, &pixels, &mut logits).unwrap();
            logits
        });
        assert_eq!(fused, separate);
        assert_eq!(fused, sites);
    }

    #[test]
    fn a_layer_alone_makes_of_its_input_what_it_makes_in_the_network() {
        let arch = Arch::parse("cifar-resnet20-b").unwrap();
        let network = network(&arch, random_state(&arch, 5)).unwrap();
        let graph = lower(network.clone(), [32, 32], Epilogue::Separate).unwrap();
        let program = Program::new(graph, Options::default()).unwrap();
        let pixels = images(1, 32);
        let mut values = std::collections::HashMap::new();
        let names: Vec<_> = program.nodes().map(|n| n.name.to_owned()).collect();
        program
            .run_observed(
                &mut program.workspace(),
                &pixels,
                &mut [0.0; 10],
                &mut |seen| {
                    values.insert(names[seen.node].clone(), (seen.shape().1, seen.to_planar()));
                },
            )
            .unwrap();
        values.insert(INPUT.to_owned(), (program.input(), pixels));
        let topology = network.topology();
        for id in topology.layers() {
            let name = &topology.node(id).name;
            let reads = program.nodes().find(|n| n.name == name).unwrap().input;
            let (shape, input) = &values[reads];
            let layer = lower_layer(&network, id).unwrap();
            assert_eq!(layer.input(), *shape, "{name}");
            let layer = Program::new(layer, Options::default()).unwrap();
            let mut found = vec![0.0; layer.output().len()];
            layer
                .run(&mut layer.workspace(), input, &mut found)
                .unwrap();
            assert_eq!(found, values[name].1, "{name}");
        }
    }

    #[test]
    fn what_is_missing_misshapen_or_too_small_is_named() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let fails = |change: &dyn Fn(&mut StateDict), size| {
            let mut state = random_state(&arch, 6);
            change(&mut state);
            match network(&arch, state) {
                Ok(network) => lower(network, size, Epilogue::Fused)
                    .unwrap_err()
                    .to_string(),
                Err(error) => error.to_string(),
            }
        };
        let missing = fails(&|state| drop(state.remove("linear.weight")), [32, 32]);
        assert!(missing.contains("linear.weight"), "{missing}");
        let gone = fails(&|state| drop(state.remove("layer1.1.bn2.bias")), [32, 32]);
        assert!(gone.contains("layer1.1.bn2.bias"), "{gone}");
        let bare = fails(&|state| drop(state.remove("bn1.weight")), [32, 32]);
        assert!(bare.contains("bn1.weight"), "{bare}");
        let other = network::HostTensor::new(vec![16], vec![0.0; 16]).unwrap();
        let misshapen = fails(
            &|state| drop(state.insert("conv1.weight", other.clone())),
            [32, 32],
        );
        assert!(misshapen.contains("conv1.weight"), "{misshapen}");
        let empty = fails(&|_| (), [0, 32]);
        assert!(empty.contains("3x0x32"), "{empty}");
    }
}
