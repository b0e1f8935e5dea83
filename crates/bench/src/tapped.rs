//! A network whose layers can be looked at: every layer's input and output, and each layer alone.
//!
//! On the engine, additions and ReLUs run as nodes of their own, so that a convolution's output is what BatchNorm hands
//! on, as in PyTorch.

#[cfg(feature = "burn")]
mod on_burn;

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use engine::{Options, Program, Shape, WHOLE_GROUPS};
use network::{Network, NodeId};
use quantize::Epilogue;

use crate::device::Target;

/// A value inside the network, `[n, c, h, w]`.
#[derive(Clone, Debug)]
pub struct Map {
    /// Images.
    pub n: usize,
    /// Of each image.
    pub shape: Shape,
    /// `n * shape.len()` values.
    pub values: Vec<f32>,
}

/// A network, ready to be looked at. Layers are counted in the order of execution, the classifier last.
pub struct Tapped {
    place: Place,
    classes: usize,
}

enum Place {
    Engine {
        program: Box<Program>,
        layers: Vec<Layer>,
    },
    #[cfg(feature = "burn")]
    Burn(Box<on_burn::Module>),
}

/// A layer on the engine.
struct Layer {
    name: String,
    /// The node whose value it reads; none: the images.
    reads: Option<usize>,
    alone: Program,
}

impl Tapped {
    /// `network`, for up to `batch` images `[c, height, width]` at once.
    pub fn new(
        target: &Target,
        network: &Network,
        [height, width]: [usize; 2],
        batch: usize,
    ) -> Result<Self> {
        let place = match target {
            Target::Engine => {
                let options = Options {
                    group: batch,
                    // Each layer is shown the whole batch.
                    large: WHOLE_GROUPS,
                    ..Options::default()
                };
                let graph = quantize::lower(network.clone(), [height, width], Epilogue::Separate)?;
                let program = Program::new(graph, options)?;
                Place::Engine {
                    layers: layers(network, [height, width], &program, options)?,
                    program: Box::new(program),
                }
            }
            #[cfg(feature = "burn")]
            Target::Burn(device) => Place::Burn(Box::new(on_burn::Module::new(network, device)?)),
        };
        Ok(Self {
            place,
            classes: network.topology().classes(),
        })
    }

    /// Logits `[n, classes]` of `images`. On the way `tap` is shown each layer's number, input and output.
    pub fn run(
        &self,
        images: Map,
        tap: &mut dyn FnMut(usize, &Map, &Map) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let mut logits = vec![0.0; images.n * self.classes];
        match &self.place {
            Place::Engine { program, layers } => {
                let number: HashMap<&str, usize> = layers
                    .iter()
                    .enumerate()
                    .map(|(number, layer)| (layer.name.as_str(), number))
                    .collect();
                let layer_of: Vec<Option<usize>> = program
                    .nodes()
                    .map(|node| number.get(node.name).copied())
                    .collect();
                // Values that a layer still has to read.
                let mut read: Vec<usize> = vec![0; layer_of.len()];
                for node in layers.iter().filter_map(|layer| layer.reads) {
                    read[node] += 1;
                }
                let mut kept: HashMap<usize, Map> = HashMap::new();
                let mut result = Ok(());
                let mut workspace = program.workspace();
                program.run_observed(&mut workspace, &images.values, &mut logits, &mut |seen| {
                    let (n, shape) = seen.shape();
                    let map = || Map {
                        n,
                        shape,
                        values: seen.to_planar(),
                    };
                    if let (Some(number), true) = (layer_of[seen.node], result.is_ok()) {
                        let input = match layers[number].reads {
                            Some(node) => &kept[&node],
                            None => &images,
                        };
                        result = tap(number, input, &map());
                        if let Some(node) = layers[number].reads {
                            read[node] -= 1;
                            if read[node] == 0 {
                                kept.remove(&node);
                            }
                        }
                    }
                    if read[seen.node] > 0 {
                        kept.insert(seen.node, map());
                    }
                })?;
                result?;
            }
            #[cfg(feature = "burn")]
            Place::Burn(module) => logits = module.run(&images, tap)?,
        }
        Ok(logits)
    }

    /// The output of layer `number` alone for an input of its own.
    pub fn layer(&self, number: usize, input: &Map) -> Result<Map> {
        let unknown = || anyhow!("there is no layer number {number}");
        match &self.place {
            Place::Engine { layers, .. } => {
                let program = &layers.get(number).ok_or_else(unknown)?.alone;
                let shape = program.output();
                let mut values = vec![0.0; input.n * shape.len()];
                program.run(&mut program.workspace(), &input.values, &mut values)?;
                Ok(Map {
                    n: input.n,
                    shape,
                    values,
                })
            }
            #[cfg(feature = "burn")]
            Place::Burn(module) => module.layer(number, input)?.ok_or_else(unknown),
        }
    }
}

fn layers(
    network: &Network,
    size: [usize; 2],
    program: &Program,
    options: Options,
) -> Result<Vec<Layer>> {
    let (topology, tensors) = network.clone().into_parts();
    let network = Network::new(topology.at(size)?, tensors)?;
    let topology = network.topology();
    let nodes: Vec<_> = program.nodes().collect();
    let layer = |id: NodeId| {
        let name = &topology.node(id).name;
        let node = nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| anyhow!("the graph has no node {name}"))?;
        Ok(Layer {
            name: name.clone(),
            reads: nodes.iter().position(|other| other.name == node.input),
            alone: Program::new(quantize::lower_layer(&network, id)?, options)?,
        })
    };
    topology.layers().map(layer).collect()
}
