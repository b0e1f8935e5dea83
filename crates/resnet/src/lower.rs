//! From tensors to the flat graph that the CPU engine runs.
//!
//! Nodes carry the PyTorch name of their convolution or classifier; what has no name there is called `maxpool`,
//! `avgpool` and `{block}.shortcut`. A BatchNorm that is still there becomes the scale and shift of its convolution's
//! epilogue, with `k[c] = gamma[c] / sqrt(running_var[c] + eps)`:
//!
//! ```text
//! scale[c] = k[c]        shift[c] = beta[c] - running_mean[c] * k[c]
//! ```
//!
//! so the weights stay on their quantization grid; after [`crate::fold`] there is a bias alone. Additions and ReLUs are
//! part of the convolution before them, or nodes of their own where each convolution's own output is wanted.
//!
//! Quantized activations make a graph with codes ([`lower_quantized`]): weights become integers with their scale beside
//! them, 32-bit biases too, and every site's node rounds its value, if the site has a code.

use engine::{Code, Conv, Graph, INPUT, Linear, Node, Op, Shape, Window};

use crate::arch::{Arch, ConvUnit, Shortcut};
use crate::error::Error;
use crate::fold::BatchNorm;
use crate::quantize::QuantizedNet;
use crate::sites::{
    INPUT_SITE, POOL_SITE, ShortcutPolicy, SiteCodes, Sites, rounding_node, sum_node,
};
use network::StateDict;

/// Where additions and ReLUs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Into the convolution before them: the fast form.
    Fused,
    /// Into nodes of their own, called `{convolution}.sum`: every convolution's output is as PyTorch's BatchNorm hands
    /// it on. In a graph with codes the additions alone: what is rounded behind a ReLU is rounded once.
    Separate,
}

/// The graph of `arch` with the tensors of `state`, BatchNorm kept or folded, for images `[3, height, width]`. Takes the
/// tensors out of `state`, so that no second copy of the weights exists. Fails when one is missing, or misshapen, or the
/// images are too small.
pub fn lower(
    arch: &Arch,
    state: StateDict,
    size: [usize; 2],
    epilogue: Epilogue,
) -> Result<Graph, Error> {
    build(arch, state, size, epilogue, None)
}

/// [`lower`] for a quantized network: with codes where its activations have them, otherwise as [`lower`] makes it.
pub fn lower_quantized(
    arch: &Arch,
    mut net: QuantizedNet,
    size: [usize; 2],
    epilogue: Epilogue,
) -> Result<Graph, Error> {
    let state = std::mem::take(&mut net.state);
    let codes = net.activations.take().map(|(codes, shortcut)| Codes {
        sites: Sites::new(arch),
        codes,
        shortcut,
        net,
    });
    build(arch, state, size, epilogue, codes)
}

fn build(
    arch: &Arch,
    mut state: StateDict,
    [height, width]: [usize; 2],
    epilogue: Epilogue,
    codes: Option<Codes>,
) -> Result<Graph, Error> {
    let layout = arch.layout();
    let input_code = codes.as_ref().and_then(|codes| codes.of(INPUT_SITE));
    let mut nodes = Nodes {
        nodes: Vec::new(),
        epilogue,
        codes,
    };
    let stem = conv(&mut state, &layout.stem)?;
    let mut x = nodes.push(&layout.stem.conv, INPUT, stem, None, true);
    let mut channels = layout.stem.output;
    let mut size = layout.stem.shrunk([height, width]);
    if layout.max_pool {
        let pool = || Op::MaxPool(Window::square(3, 2, 1));
        let added = nodes.copy("maxpool", x.added.clone(), pool());
        let read = match x.read == x.added {
            true => added.clone(),
            false => nodes.copy(&rounding_node("maxpool"), x.read, pool()),
        };
        x = Value { added, read };
        size = size.map(|extent| extent.div_ceil(2));
    }
    for block in &layout.blocks {
        let shortcut = match &block.shortcut {
            Shortcut::Identity => x.added.clone(),
            Shortcut::Pad { pad } => {
                let op = Op::Subsample {
                    stride: block.units[0].stride,
                    before: *pad,
                    behind: *pad,
                };
                let name = format!("{}.shortcut", block.name());
                nodes.copy(&name, x.added.clone(), op)
            }
            Shortcut::Project(unit) => {
                let op = conv(&mut state, unit)?;
                nodes.push(&unit.conv, &x.read, op, None, false).added
            }
        };
        for (i, unit) in block.units.iter().enumerate() {
            let add = (i + 1 == block.units.len()).then_some(shortcut.as_str());
            let op = conv(&mut state, unit)?;
            x = nodes.push(&unit.conv, &x.read, op, add, true);
            channels = unit.output;
            size = unit.shrunk(size);
        }
    }
    let whole = Window::whole(Shape::new(channels, size[0], size[1]));
    let mut pool = Node::new(POOL_SITE, x.read, Op::AvgPool(whole));
    pool.code = nodes.code(POOL_SITE);
    nodes.nodes.push(pool);
    let classifier = linear(arch, &mut state)?;
    nodes.push(&layout.classifier, POOL_SITE, classifier, None, false);
    let input = Shape::new(layout.stem.input, height, width);
    let output = &layout.classifier;
    Ok(Graph::quantized(input, input_code, nodes.nodes, output)?)
}

/// A graph of one layer alone, for inputs of the shape given; `index` counts as in [`crate::Tap`]: the units of
/// [`crate::Layout::units`], then the classifier.
pub fn lower_layer(
    arch: &Arch,
    state: &StateDict,
    index: usize,
    input: Shape,
) -> Result<Graph, Error> {
    let layout = arch.layout();
    let units = layout.units();
    let name = units.get(index).map_or(&layout.classifier, |u| &u.conv);
    // The layer's own tensors are copied, and no others.
    let belongs = |tensor: &str| {
        let (layer, _) = tensor.rsplit_once('.').unwrap_or((tensor, ""));
        layer == name || units.get(index).is_some_and(|unit| layer == unit.bn)
    };
    let mut own: StateDict = state
        .into_iter()
        .filter(|(tensor, _)| belongs(tensor))
        .map(|(tensor, values)| (tensor.clone(), values.clone()))
        .collect();
    let op = match units.get(index) {
        Some(unit) => conv(&mut own, unit)?,
        None => linear(arch, &mut own)?,
    };
    Ok(Graph::new(input, vec![Node::new(name, INPUT, op)], name)?)
}

/// A value on its way: what an addition takes of it, and what layers read. The two differ where the former is not rounded
/// ([`ShortcutPolicy::IdentityFloat`]).
struct Value {
    added: String,
    read: String,
}

struct Nodes {
    nodes: Vec<Node>,
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
        let code = self.codes.get(site).copied();
        code.filter(|_| !self.sites.is_unrounded(site, self.shortcut))
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

impl Nodes {
    fn code(&self, site: &str) -> Option<Code> {
        self.codes.as_ref().and_then(|codes| codes.of(site))
    }

    /// Adds a node that copies numbers; its name.
    fn copy(&mut self, name: &str, input: String, op: Op) -> String {
        let code = self.nodes.iter().find(|node| node.name == input);
        let code = code.and_then(|node| node.code);
        let node = Node::new(name, input, op);
        self.nodes.push(Node { code, ..node });
        name.to_owned()
    }

    /// Adds a layer with what follows it; the value that comes out.
    fn push(&mut self, name: &str, input: &str, op: Op, add: Option<&str>, relu: bool) -> Value {
        let (mut code, mut inner, mut fork) = (None, None, None);
        let mut op = op;
        if let Some(codes) = &mut self.codes {
            op = codes.integers(name, op);
            let site = match codes.sites.additions.get(name) {
                Some((_, sum)) => sum,
                None => name,
            };
            code = codes.of(site);
            if add.is_some() {
                inner = codes.of(name);
            }
            if codes.sites.is_forked(site, codes.shortcut) {
                fork = code.take().map(|code| (rounding_node(site), code));
            }
        }
        let apart = add.is_some() || (relu && self.codes.is_none());
        let mut node = Node::new(name, input, op);
        if self.epilogue == Epilogue::Separate && apart {
            node.code = inner.take();
            self.nodes.push(node);
            node = Node::new(sum_node(name), name, Op::Identity);
        }
        node.add = add.map(str::to_owned);
        node.relu = relu;
        node.code = code;
        node.inner = inner;
        let added = node.name.clone();
        self.nodes.push(node);
        let Some((name, code)) = fork else {
            return Value {
                read: added.clone(),
                added,
            };
        };
        let mut rounded = Node::new(&name, &added, Op::Identity);
        rounded.code = Some(code);
        self.nodes.push(rounded);
        Value { added, read: name }
    }
}

fn conv(state: &mut StateDict, unit: &ConvUnit) -> Result<Op, Error> {
    let shape = [unit.output, unit.input, unit.kernel, unit.kernel];
    let weight = state.take_shaped(&format!("{}.weight", unit.conv), &shape)?;
    let bias_name = format!("{}.bias", unit.conv);
    let bias = match state.contains(&bias_name) {
        true => Some(state.take_shaped(&bias_name, &[unit.output])?),
        false => None,
    };
    let (scale, shift) = match BatchNorm::take(state, unit)? {
        Some(bn) => {
            let scale = bn.scale();
            let shift = bn.shift(&scale, bias.as_deref());
            (Some(scale), Some(shift))
        }
        // Neither BatchNorm nor bias: what is missing is the BatchNorm.
        None if bias.is_none() => {
            return Err(network::Error::missing(&format!("{}.weight", unit.bn)).into());
        }
        None => (None, bias),
    };
    Ok(Op::Conv(Conv {
        weight,
        outputs: unit.output,
        groups: 1,
        window: Window::square(unit.kernel, unit.stride, unit.padding()),
        bias: None,
        scale,
        shift,
    }))
}

fn linear(arch: &Arch, state: &mut StateDict) -> Result<Op, Error> {
    let layout = arch.layout();
    let (name, outputs) = (&layout.classifier, layout.classes);
    Ok(Op::Linear(Linear {
        weight: state.take_shaped(&format!("{name}.weight"), &[outputs, layout.features])?,
        outputs,
        bias: Some(state.take_shaped(&format!("{name}.bias"), &[outputs])?),
    }))
}

#[cfg(all(test, feature = "burn"))]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use engine::{Options, Program};
    use quant_core::uniform;

    use super::*;
    use crate::fold::fold;
    use crate::{ResNet, random_state};

    /// Largest distance, relative to the largest logit.
    fn distance(a: &[f32], b: &[f32]) -> f32 {
        let largest = a.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let far = |(x, y): (&f32, &f32)| (x - y).abs();
        a.iter().zip(b).map(far).fold(0.0, f32::max) / largest
    }

    fn images(n: usize, side: usize) -> Vec<f32> {
        (0..n * 3 * side * side)
            .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
            .collect()
    }

    #[test]
    fn the_graph_computes_what_the_burn_module_does_for_every_architecture() {
        let device = Device::flex();
        for arch in Arch::all().into_iter().chain(Arch::v1()) {
            if ["resnet101", "resnet152"].contains(&arch.name().trim_end_matches("-v1")) {
                continue; // hundreds of megabytes for no other code than resnet50's
            }
            let arch = arch.with_classes(11);
            // 72 is no multiple of the strides' product 32: odd maps on the way.
            let side = if arch.image_size() == 32 { 32 } else { 72 };
            let kept = random_state(&arch, 3);
            let folded = fold(&arch, &kept).unwrap();
            let pixels = images(2, side);
            for state in [kept, folded] {
                let net = ResNet::from_state(&arch, &state, &device).unwrap();
                let data = TensorData::new(pixels.clone(), [2, 3, side, side]);
                let expected = net.forward(Tensor::from_data(data, &device)).into_data();
                let expected = expected.try_to_vec::<f32>().unwrap();
                let graph =
                    lower(&arch, net.to_state(&arch), [side, side], Epilogue::Fused).unwrap();
                let program = Program::new(graph, Options::default()).unwrap();
                let mut found = vec![0.0; 22];
                let mut workspace = program.workspace();
                program.run(&mut workspace, &pixels, &mut found).unwrap();
                let distance = distance(&expected, &found);
                assert!(distance <= 1e-4, "{arch}: {distance}");
            }
        }
    }

    #[test]
    fn separate_epilogues_change_no_bit_and_show_every_unit() {
        let arch = Arch::parse("resnet18").unwrap().with_classes(5);
        let state = random_state(&arch, 4);
        let pixels = images(1, 64);
        let [fused, separate] = [Epilogue::Fused, Epilogue::Separate].map(|epilogue| {
            let graph = lower(&arch, state.clone(), [64, 64], epilogue).unwrap();
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
    }

    #[test]
    fn a_layer_alone_makes_of_its_input_what_it_makes_in_the_network() {
        let arch = Arch::parse("cifar-resnet20-b").unwrap();
        let state = random_state(&arch, 5);
        let graph = lower(&arch, state.clone(), [32, 32], Epilogue::Separate).unwrap();
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
        let layout = arch.layout();
        let layers: Vec<_> = layout.units().iter().map(|u| u.conv.clone()).collect();
        for (index, name) in layers.iter().chain([&layout.classifier]).enumerate() {
            let reads = program.nodes().find(|n| n.name == name).unwrap().input;
            let (shape, input) = &values[reads];
            let layer = lower_layer(&arch, &state, index, *shape).unwrap();
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
            let error = lower(&arch, state, size, Epilogue::Fused).unwrap_err();
            error.to_string()
        };
        let missing = fails(&|state| drop(state.remove("linear.bias")), [32, 32]);
        assert!(missing.contains("linear.bias"), "{missing}");
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
