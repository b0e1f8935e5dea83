//! ONNX files out: nodes and numbers in the order in which they are added.

use std::collections::BTreeMap;

use engine::Shape;
use prost::Message;

use super::proto;

/// The version of the file format that operator set 13 came with.
const IR_VERSION: i64 = 7;

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f32),
}

/// A model that is being written.
#[derive(Default)]
pub struct Writer {
    graph: proto::Graph,
}

impl Writer {
    /// A model called `name` that reads images `input`, `[n, c, h, w]` with any n.
    pub fn new(name: &str, input: &str, shape: Shape) -> Self {
        let extents = [shape.channels, shape.height, shape.width];
        let graph = proto::Graph {
            name: name.to_owned(),
            input: vec![value(input, &extents)],
            ..proto::Graph::default()
        };
        Self { graph }
    }

    /// A node called like what it makes, but for `.raw` at the end, and for dequantizers.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<(&str, Attribute)>,
    ) {
        let attribute = |(name, attribute): (&str, Attribute)| {
            let mut made = proto::Attribute {
                name: name.to_owned(),
                ..proto::Attribute::default()
            };
            match attribute {
                Attribute::Float(f) => (made.kind, made.f) = (1, f),
                Attribute::Int(i) => (made.kind, made.i) = (2, i),
                Attribute::Ints(ints) => (made.kind, made.ints) = (7, ints),
            }
            made
        };
        self.graph.node.push(proto::Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: match op_type {
                "DequantizeLinear" => format!("{output}.dequantize"),
                _ => output.strip_suffix(".raw").unwrap_or(output).to_owned(),
            },
            op_type: op_type.to_owned(),
            attribute: attributes.into_iter().map(attribute).collect(),
            domain: String::new(),
        });
    }

    /// float32 numbers; no extents for a scalar.
    pub fn floats(&mut self, name: &str, extents: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes());
        self.tensor(name, 1, extents, bytes.collect());
    }

    /// int8 numbers.
    pub fn int8(&mut self, name: &str, extents: &[usize], values: &[i8]) {
        let bytes = values.iter().map(|&v| v as u8);
        self.tensor(name, 3, extents, bytes.collect());
    }

    /// uint8 numbers.
    pub fn uint8(&mut self, name: &str, extents: &[usize], values: &[u8]) {
        self.tensor(name, 2, extents, values.to_vec());
    }

    /// int32 numbers.
    pub fn int32(&mut self, name: &str, extents: &[usize], values: &[i32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes());
        self.tensor(name, 6, extents, bytes.collect());
    }

    /// int64 numbers.
    pub fn int64(&mut self, name: &str, values: &[i64]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes());
        self.tensor(name, 7, &[values.len()], bytes.collect());
    }

    fn tensor(&mut self, name: &str, data_type: i32, extents: &[usize], raw_data: Vec<u8>) {
        self.graph.initializer.push(proto::Tensor {
            dims: extents.iter().map(|&extent| extent as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data,
            ..proto::Tensor::default()
        });
    }

    /// The file, whose result is `output`, `[n, classes]`; `metadata` says where it comes from.
    pub fn finish(
        mut self,
        (output, classes): (&str, usize),
        opset: i64,
        metadata: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        self.graph.output = vec![value(output, &[classes])];
        let entry = |(key, value): (&String, &String)| proto::Entry {
            key: key.clone(),
            value: value.clone(),
        };
        let model = proto::Model {
            ir_version: IR_VERSION,
            producer_name: "quantlab".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![proto::OperatorSet {
                domain: String::new(),
                version: opset,
            }],
            metadata_props: metadata.iter().map(entry).collect(),
        };
        model.encode_to_vec()
    }
}

/// A float32 tensor `[n, ...]`.
fn value(name: &str, extents: &[usize]) -> proto::ValueInfo {
    let batch = proto::Dimension {
        value: 0,
        name: "n".to_owned(),
    };
    let extents = extents.iter().map(|&extent| proto::Dimension {
        value: extent as i64,
        name: String::new(),
    });
    let shape = proto::TensorShape {
        dim: std::iter::once(batch).chain(extents).collect(),
    };
    proto::ValueInfo {
        name: name.to_owned(),
        kind: Some(proto::Type {
            tensor: Some(proto::TensorType {
                element: 1,
                shape: Some(shape),
            }),
        }),
    }
}
