//! Protocol buffers: messages taken apart into fields, changed, and put together with lengths that are right.

use crate::random::{Random, awkward, awkward_text};

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    tag: u64,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place).min(63);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The fields of a message; what looks like a message within it is one.
pub fn fields(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        if key >> 3 == 0 || key >> 3 > 64 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 | 5 => {
                let width = if key & 7 == 1 { 8 } else { 4 };
                let (raw, rest) = bytes.split_at_checked(width)?;
                bytes = rest;
                Value::Fixed(raw.to_vec())
            }
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let (raw, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                // Words look like messages now and then, which does no harm: they come out as they went in.
                match (depth > 0 && !raw.is_empty()).then(|| fields(raw, depth - 1)) {
                    Some(Some(inner)) => Value::Message(inner),
                    _ => Value::Bytes(raw.to_vec()),
                }
            }
            _ => return None,
        };
        found.push(Field {
            tag: key >> 3,
            value,
        });
    }
    Some(found)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes of a message.
pub fn whole(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let (kind, inner) = match &field.value {
            Value::Varint(number) => {
                put_varint(&mut out, field.tag << 3);
                put_varint(&mut out, *number);
                continue;
            }
            Value::Fixed(raw) => {
                put_varint(
                    &mut out,
                    field.tag << 3 | if raw.len() == 8 { 1 } else { 5 },
                );
                out.extend(raw);
                continue;
            }
            Value::Bytes(raw) => (2, raw.clone()),
            Value::Message(inner) => (2, whole(inner)),
        };
        put_varint(&mut out, field.tag << 3 | kind);
        put_varint(&mut out, inner.len() as u64);
        out.extend(inner);
    }
    out
}

/// A message made by hand, for seeds.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// With a number.
    pub fn number(mut self, tag: u64, number: i64) -> Self {
        put_varint(&mut self.0, tag << 3);
        put_varint(&mut self.0, number as u64);
        self
    }

    /// With a float.
    pub fn float(mut self, tag: u64, number: f32) -> Self {
        put_varint(&mut self.0, tag << 3 | 5);
        self.0.extend(number.to_le_bytes());
        self
    }

    /// With bytes, text or a message.
    pub fn bytes(mut self, tag: u64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        put_varint(&mut self.0, tag << 3 | 2);
        put_varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A list of fields within `fields`, any of them, at most so deep.
fn somewhere<'a>(fields: &'a mut Vec<Field>, random: &mut Random) -> &'a mut Vec<Field> {
    let inner = |field: &Field| matches!(&field.value, Value::Message(_));
    let places: Vec<usize> = (0..fields.len()).filter(|&at| inner(&fields[at])).collect();
    if places.is_empty() || random.one_in(5) {
        return fields;
    }
    match &mut fields[*random.pick(&places)].value {
        Value::Message(inner) => somewhere(inner, random),
        _ => unreachable!("only messages were listed"),
    }
}

/// Every name of an operator that is read, for nodes to become others.
const WORDS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Elu",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IntQuant",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "PRelu",
    "Pad",
    "QGemm",
    "QLinearAdd",
    "QLinearConcat",
    "QLinearConv",
    "QLinearMatMul",
    "Quant",
    "QuantizeLinear",
    "ReduceMax",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Constant",
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Range",
    "Where",
    "Equal",
    "Neg",
    "Sqrt",
    "Floor",
    "perm",
    "axis",
    "axes",
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "group",
    "auto_pad",
    "ceil_mode",
    "alpha",
    "beta",
    "transA",
    "transB",
    "to",
    "value",
    "epsilon",
    "x",
    "y",
    "w",
    "s",
    "z",
    "b",
    "input",
    "",
    "com.microsoft",
    "ai.onnx",
    "location",
    "offset",
    "length",
];

/// One change to a message.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let Some(mut all) = fields(bytes, 8) else {
        return super::bytes::change(bytes, other, random);
    };
    let theirs = fields(other, 8).unwrap_or_default();
    let list = somewhere(&mut all, random);
    let len = list.len();
    match random.below(9) {
        0 if len > 0 => drop(list.remove(random.below(len))),
        1 if len > 0 => {
            let field = list[random.below(len)].clone();
            let times = if random.one_in(8) {
                1 + random.below(100)
            } else {
                1
            };
            let at = random.below(len + 1);
            list.splice(at..at, std::iter::repeat_n(field, times));
        }
        2 if len > 1 => {
            let (one, another) = (random.below(len), random.below(len));
            list.swap(one, another);
        }
        3 if len > 0 => list[random.below(len)].tag = 1 + random.below(21) as u64,
        4 => {
            let mut theirs = theirs;
            let from = somewhere(&mut theirs, random);
            if let (false, at) = (from.is_empty(), random.below(len + 1)) {
                list.insert(at, random.pick(from).clone());
            }
        }
        _ if len > 0 => value(&mut list[random.below(len)].value, random),
        _ => {
            let tag = 1 + random.below(21) as u64;
            list.push(Field {
                tag,
                value: Value::Varint(awkward(random)),
            });
        }
    }
    *bytes = whole(&all);
}

fn value(value: &mut Value, random: &mut Random) {
    match value {
        Value::Varint(number) => match random.below(3) {
            0 => *number = awkward(random),
            1 => *number = number.wrapping_add(1),
            _ => *number = random.below(24) as u64,
        },
        Value::Fixed(raw) => {
            let width = raw.len();
            *raw = awkward(random).to_le_bytes()[..width].to_vec();
        }
        Value::Bytes(raw) => match random.below(4) {
            0 => *raw = random.pick(WORDS).as_bytes().to_vec(),
            1 => *raw = awkward_text(random).into_bytes(),
            2 => {
                // Packed numbers.
                raw.clear();
                for _ in 0..random.below(6) {
                    put_varint(raw, awkward(random));
                }
            }
            _ => super::bytes::change(raw, b"", random),
        },
        Value::Message(inner) => {
            if !inner.is_empty() {
                let at = random.below(inner.len());
                inner.swap_remove(at);
            }
        }
    }
}
