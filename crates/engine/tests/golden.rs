//! Integer execution against TensorFlow Lite's reference kernels: `golden/int8-resnet8`, beside the data folder.
//!
//! An int8 ResNet-8 with per-channel weights, int32 biases, additions and an average pool. Every tensor of three images
//! must be theirs, code for code, and so must the classes of 2,000. Left out: RESHAPE, which changes no code, and SOFTMAX,
//! which changes no class.
//!
//! FULLY_CONNECTED has an arithmetic of its own: its reference kernel (`integer_ops/fully_connected.h`) rounds
//! `sum * s_in * s_w / s_out` once, in float64 and half away from zero, where all others multiply as gemmlowp does. To
//! compare tensors it is a program of its own; two of the thirty logits show the difference, none of the classes.

#[path = "../../../testing/data.rs"]
mod testing;

use std::collections::HashMap;
use std::path::PathBuf;

use engine::{
    Accumulator, Clip, Code, Conv, Execution, Graph, INPUT, IntegerArithmetic, Isa, Multiplier,
    Node, Observation, Op, Options, Padding, Program, Requantize, Shape, Window,
};
use quant_core::Rounding;
use safetensors::SafeTensors;
use serde_json::Value;

/// TensorFlow Lite's arithmetic of convolutions, additions and pools.
const GEMMLOWP: IntegerArithmetic = IntegerArithmetic {
    requantize: Requantize::Gemmlowp,
    multiplier: Multiplier::Fixed,
    accumulator: Accumulator::Wide,
};
/// That of its fully connected layers.
const ONCE: IntegerArithmetic = IntegerArithmetic {
    requantize: Requantize::Once(Rounding::HalfAway),
    multiplier: Multiplier::Float,
    accumulator: Accumulator::Wide,
};

/// CIFAR-10's test images, in the data folder.
const IMAGES: &str = "cifar10/test_batch.bin";

struct Golden {
    data: PathBuf,
    folder: PathBuf,
    json: Value,
    bytes: Vec<u8>,
}

fn golden() -> Option<Golden> {
    const FOLDER: &str = "../golden/int8-resnet8";
    let data = testing::data(&[FOLDER, IMAGES])?;
    let folder = data.join(FOLDER);
    Some(Golden {
        json: serde_json::from_slice(&std::fs::read(folder.join("graph.json")).unwrap()).unwrap(),
        bytes: std::fs::read(folder.join("tensors.safetensors")).unwrap(),
        data,
        folder,
    })
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

impl Golden {
    fn input(&self) -> usize {
        count(&self.json["input"])
    }

    /// A tensor's description.
    fn info(&self, id: usize) -> &Value {
        &self.json["tensors"][id.to_string()]
    }

    fn extents(&self, id: usize) -> Vec<usize> {
        let extents = self.info(id)["shape"].as_array().unwrap();
        extents.iter().map(count).collect()
    }

    fn scales(&self, id: usize) -> Vec<f32> {
        let scales = self.info(id)["scales"].as_array().unwrap();
        scales.iter().map(|s| s.as_f64().unwrap() as f32).collect()
    }

    fn code(&self, id: usize) -> Code {
        Code {
            scale: self.scales(id)[0],
            zero_point: self.info(id)["zero_points"][0].as_i64().unwrap() as i32,
            quant_min: i8::MIN.into(),
            quant_max: i8::MAX.into(),
        }
    }

    /// One image's share of an activation.
    fn shape(&self, id: usize) -> Shape {
        match self.extents(id)[..] {
            [_, height, width, channels] => Shape::new(channels, height, width),
            [_, channels] => Shape::new(channels, 1, 1),
            ref other => panic!("tensor {id} of {other:?}"),
        }
    }

    /// A tensor as stored, int8 or int32.
    fn tensor(&self, id: usize) -> Vec<i32> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(&id.to_string()).unwrap();
        match tensor.dtype() {
            safetensors::Dtype::I8 => tensor.data().iter().map(|&b| (b as i8).into()).collect(),
            safetensors::Dtype::I32 => {
                let words = tensor.data().chunks_exact(4);
                words
                    .map(|word| i32::from_le_bytes(word.try_into().unwrap()))
                    .collect()
            }
            other => panic!("tensor {id} of {other:?}"),
        }
    }

    /// An activation's codes, `[n, c, h, w]`; stored are `[n, h, w, c]` or `[n, c]`.
    fn activation(&self, id: usize, shape: Shape) -> Vec<i32> {
        let pixels = shape.height * shape.width;
        let stored = self.tensor(id);
        let images = stored.chunks_exact(shape.len());
        images.flat_map(|hwc| transposed(hwc, pixels)).collect()
    }

    /// The nodes up to the classifier, and that. A node has the id of its tensor for a name. With `fused`, an addition is
    /// part of a convolution.
    fn nodes(&self, fused: bool) -> (Vec<Node>, Node) {
        let mut same = HashMap::from([(self.input(), INPUT.to_owned())]);
        let mut nodes: Vec<Node> = Vec::new();
        for op in self.json["ops"].as_array().unwrap() {
            let ids = |key: &str| -> Vec<usize> {
                op[key].as_array().unwrap().iter().map(count).collect()
            };
            let (inputs, output) = (ids("inputs"), ids("outputs")[0]);
            let name = |id: usize| same.get(&id).cloned().unwrap_or_else(|| id.to_string());
            let mut node = Node::new(output.to_string(), name(inputs[0]), Op::Identity);
            match op["op"].as_str().unwrap() {
                "CONV_2D" | "FULLY_CONNECTED" => node.op = Op::Conv(self.conv(&inputs, output)),
                // The only one in the network covers its map.
                "AVERAGE_POOL_2D" => node.op = Op::avg_pool(Window::whole(self.shape(inputs[0]))),
                "ADD" if fused => {
                    let conv = nodes.iter().position(|node| node.name == name(inputs[1]));
                    let conv = nodes.remove(conv.unwrap());
                    node = Node {
                        name: node.name,
                        inner: conv.code,
                        ..conv.plus(node.input)
                    };
                }
                "ADD" => node.add = Some(name(inputs[1])),
                "RESHAPE" | "SOFTMAX" => {
                    same.insert(output, node.input);
                    continue;
                }
                other => panic!("operation {other}"),
            }
            node.code = Some(self.code(output));
            // The activation that was fused stands in the name; its tensor's codes begin at the zero point.
            let relu = self.info(output)["name"]
                .as_str()
                .unwrap()
                .contains("/Relu");
            node.clip = relu.then_some(Clip::RELU);
            nodes.push(node);
        }
        let classifier = nodes.pop().unwrap();
        (nodes, classifier)
    }

    /// A graph that reads `input` and makes what the last of `nodes` makes.
    fn graph(&self, input: usize, nodes: Vec<Node>) -> Graph {
        let last = nodes.last().unwrap().name.clone();
        Graph::quantized(self.shape(input), Some(self.code(input)), nodes, &last).unwrap()
    }

    /// A convolution from the ids of its input, weights and biases.
    fn conv(&self, inputs: &[usize], output: usize) -> Conv {
        let (weights, extents) = (self.tensor(inputs[1]), self.extents(inputs[1]));
        let (outputs, kernel) = match extents[..] {
            [outputs, rows, columns, _] => (outputs, [rows, columns]),
            [outputs, _] => (outputs, [1, 1]),
            _ => panic!("weights of {extents:?}"),
        };
        let each = weights.len() / outputs;
        let taps = kernel[0] * kernel[1];
        let mut scale = self.scales(inputs[1]);
        if let [one] = scale[..] {
            scale = vec![one; outputs];
        }
        let (from, to) = (self.shape(inputs[0]), self.shape(output));
        let stride = [from.height / to.height, from.width / to.width];
        let (top, bottom) = same_padding(from.height, to.height, kernel[0], stride[0]);
        let (left, right) = same_padding(from.width, to.width, kernel[1], stride[1]);
        Conv {
            weight: weights
                .chunks_exact(each)
                .flat_map(|ohw| transposed(ohw, taps))
                .map(|q| q as f32)
                .collect(),
            outputs,
            groups: 1,
            window: Window {
                kernel,
                stride,
                dilation: [1; 2],
                padding: Padding {
                    top,
                    bottom,
                    left,
                    right,
                },
            },
            bias: Some(self.tensor(inputs[2])),
            scale: Some(scale),
            shift: None,
        }
    }
}

/// `[pixels, channels]` to `[channels, pixels]`.
fn transposed(hwc: &[i32], pixels: usize) -> Vec<i32> {
    let channels = hwc.len() / pixels;
    (0..channels)
        .flat_map(|c| hwc.iter().skip(c).step_by(channels).copied())
        .collect()
}

/// TensorFlow's padding `SAME` before and behind: what is missing, the larger half behind.
fn same_padding(size: usize, out: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let missing = ((out - 1) * stride + kernel).saturating_sub(size);
    (missing / 2, missing - missing / 2)
}

/// The network's program as far as its classifier, and the classifier's.
fn programs(golden: &Golden, fused: bool, isa: Isa) -> [Program; 2] {
    let (nodes, classifier) = golden.nodes(fused);
    let body = golden.graph(golden.input(), nodes);
    let pooled = classifier.input.parse().unwrap();
    let head = Node {
        input: INPUT.to_owned(),
        ..classifier
    };
    let head = golden.graph(pooled, vec![head]);
    [(body, GEMMLOWP), (head, ONCE)].map(|(graph, arithmetic)| program(graph, isa, arithmetic))
}

fn program(graph: Graph, isa: Isa, arithmetic: IntegerArithmetic) -> Program {
    let options = Options {
        isa,
        group: 0,
        execution: Execution::Integer(arithmetic),
        ..Options::default()
    };
    Program::new(graph, options).unwrap()
}

#[test]
fn every_tensor_of_the_int8_resnet8_is_tensorflow_lite_s_code_for_code() {
    let Some(golden) = golden() else { return };
    let n = count(&golden.json["images"]);
    let code = golden.code(golden.input());
    let images = golden.activation(golden.input(), golden.shape(golden.input()));
    let images: Vec<f32> = images.iter().map(|&q| code.dequantize(q)).collect();
    for isa in Isa::available() {
        // Fused, the convolutions before an addition have no tensor of their own.
        for (fused, tensors) in [(false, 14), (true, 11)] {
            let mut values = images.clone();
            let mut seen = 0;
            for program in programs(&golden, fused, isa) {
                let names: Vec<_> = program.nodes().map(|node| node.name.to_owned()).collect();
                let mut results = vec![0.0; n * program.output().len()];
                let mut compare = |value: Observation<'_>| {
                    let name = &names[value.node];
                    let expected = golden.activation(name.parse().unwrap(), value.shape().1);
                    let found = value.to_codes().unwrap();
                    assert_eq!(found.len(), expected.len());
                    let wrong = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
                    assert!(wrong == 0, "{isa}, tensor {name}: {wrong} codes differ");
                    seen += 1;
                };
                let mut workspace = program.workspace();
                program
                    .run_observed(&mut workspace, &values, &mut results, &mut compare)
                    .unwrap();
                values = results;
            }
            assert_eq!(seen, tensors);
        }
    }
}

#[test]
fn the_classes_of_2000_images_are_tensorflow_lite_s() {
    let Some(golden) = golden() else { return };
    let expected = std::fs::read_to_string(golden.folder.join("predictions.txt")).unwrap();
    let expected: Vec<usize> = expected.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(expected.len(), 2000);
    // One byte for the label, then the pixels, [c, h, w].
    let records = std::fs::read(golden.data.join(IMAGES)).unwrap();
    let images: Vec<f32> = records
        .chunks_exact(1 + 3 * 32 * 32)
        .take(expected.len())
        .flat_map(|record| record[1..].iter().map(|&pixel| pixel.into()))
        .collect();
    for isa in Isa::available() {
        // All kernels make the same codes; the fastest are asked for all images.
        let n = if isa == Isa::best() { 2000 } else { 200 };
        let (mut nodes, classifier) = golden.nodes(true);
        nodes.push(classifier);
        let program = program(golden.graph(golden.input(), nodes), isa, GEMMLOWP);
        let (each, classes) = (program.input().len(), program.output().len());
        let mut workspace = program.workspace();
        let mut found = Vec::new();
        for images in images[..n * each].chunks(program.group() * each) {
            let mut logits = vec![0.0; images.len() / each * classes];
            program.run(&mut workspace, images, &mut logits).unwrap();
            found.extend(logits.chunks_exact(classes).map(first_largest));
        }
        assert_eq!(found, expected[..n], "{isa}");
    }
}

fn first_largest(logits: &[f32]) -> usize {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|&z| z == largest).unwrap()
}
