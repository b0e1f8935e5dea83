//! ONNX files out: nodes and numbers in the order in which they are added.

use std::collections::BTreeMap;

use engine::Shape;
use prost::Message;

use super::proto;

/// The version of the file format that an operator set came with.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..21 => 7,
        _ => 10,
    }
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f32),
    /// A word.
    Text(&'static str),
}

/// A type of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// -8 to 7; from operator set 21, as are the next and those of 16 bits where codes are meant.
    Int4,
    /// 0 to 15.
    Uint4,
    /// -128 to 127.
    Int8,
    /// 0 to 255.
    Uint8,
    /// -32,768 to 32,767.
    Int16,
    /// 0 to 65,535.
    Uint16,
    /// All.
    Int32,
}

impl Integer {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Int4,
        Self::Uint4,
        Self::Int8,
        Self::Uint8,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
    ];

    /// The smallest and the largest.
    pub fn range(self) -> (i32, i32) {
        match self {
            Self::Int4 => (-8, 7),
            Self::Uint4 => (0, 15),
            Self::Int8 => (-128, 127),
            Self::Uint8 => (0, 255),
            Self::Int16 => (-32_768, 32_767),
            Self::Uint16 => (0, 65_535),
            Self::Int32 => (i32::MIN, i32::MAX),
        }
    }

    /// ONNX's number for it.
    pub fn number(self) -> i32 {
        match self {
            Self::Uint8 => 2,
            Self::Int8 => 3,
            Self::Uint16 => 4,
            Self::Int16 => 5,
            Self::Int32 => 6,
            Self::Uint4 => 21,
            Self::Int4 => 22,
        }
    }
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
        self.node_of("", op_type, inputs, output, attributes);
    }

    /// The same of an operator of another domain than ONNX's own.
    pub fn node_of(
        &mut self,
        domain: &str,
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
                Attribute::Text(text) => (made.kind, made.s) = (3, text.into()),
            }
            made
        };
        self.graph.node.push(proto::Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: match op_type {
                "DequantizeLinear" => format!("{output}.dequantize"),
                "Quant" => format!("{output}.quant"),
                _ => output.strip_suffix(".raw").unwrap_or(output).to_owned(),
            },
            op_type: op_type.to_owned(),
            attribute: attributes.into_iter().map(attribute).collect(),
            domain: domain.to_owned(),
        });
    }

    /// float32 numbers; no extents for a scalar.
    pub fn floats(&mut self, name: &str, extents: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes());
        self.tensor(name, 1, extents, bytes.collect());
    }

    /// Integers of a type that holds them ([`Integer::range`]).
    pub fn integers(&mut self, name: &str, kind: Integer, extents: &[usize], values: &[i32]) {
        let bytes = match kind {
            // Two in a byte, the first in the low half.
            Integer::Int4 | Integer::Uint4 => {
                let half = |v: i32| v as u8 & 15;
                let byte = |pair: &[i32]| half(pair[0]) | pair.get(1).map_or(0, |&v| half(v) << 4);
                values.chunks(2).map(byte).collect()
            }
            Integer::Int8 | Integer::Uint8 => values.iter().map(|&v| v as u8).collect(),
            Integer::Int16 | Integer::Uint16 => values
                .iter()
                .flat_map(|&v| (v as u16).to_le_bytes())
                .collect(),
            Integer::Int32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        self.tensor(name, kind.number(), extents, bytes);
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

    /// The file, whose result is `output`, `[n, classes]`, with ONNX's operator set `opset` and those of other `domains`; `metadata` says
    /// where it comes from.
    pub fn finish(
        mut self,
        (output, classes): (&str, usize),
        opset: i64,
        domains: &[(&str, i64)],
        metadata: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        self.graph.output = vec![value(output, &[classes])];
        let entry = |(key, value): (&String, &String)| proto::Entry {
            key: key.clone(),
            value: value.clone(),
        };
        let set = |(domain, version): &(&str, i64)| proto::OperatorSet {
            domain: (*domain).to_owned(),
            version: *version,
        };
        let model = proto::Model {
            ir_version: ir_version(opset),
            producer_name: "quantlab".to_owned(),
            graph: Some(self.graph),
            opset_import: std::iter::once(&("", opset))
                .chain(domains)
                .map(set)
                .collect(),
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
