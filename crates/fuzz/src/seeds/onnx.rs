//! Small models, among them every operator that is read.

use crate::mutate::protobuf::Message;

/// Nodes as `OPERATOR inputs -> outputs`, with attributes by name: `i` an integer, `n` integers, `f` a number, `s` text.
fn node(text: &str, attributes: &[(&str, char, &[i64])]) -> Message {
    let (left, outputs) = text.split_once(" -> ").unwrap_or((text, ""));
    let mut words = left.split(' ');
    let operator = words.next().unwrap_or_default();
    let mut message = Message::default();
    for input in words {
        message = message.bytes(1, if input == "_" { "" } else { input });
    }
    for output in outputs.split(' ') {
        message = message.bytes(2, output);
    }
    message = message.bytes(4, operator);
    for (name, kind, values) in attributes {
        let attribute = Message::default().bytes(1, name);
        let first = values.first().copied().unwrap_or_default();
        let attribute = match kind {
            'i' => attribute.number(3, first).number(20, 2),
            'f' => attribute.float(2, first as f32 / 8.0).number(20, 1),
            's' => attribute.bytes(4, "NOTSET").number(20, 3),
            _ => values
                .iter()
                .fold(attribute, |message, &value| message.number(8, value))
                .number(20, 7),
        };
        message = message.bytes(5, attribute);
    }
    message
}

/// A tensor of floats, 0.25 each.
fn floats(name: &str, dims: &[i64]) -> Message {
    let n = dims.iter().product::<i64>() as usize;
    let raw: Vec<u8> = (0..n)
        .flat_map(|i| (0.25 * (i % 5) as f32).to_le_bytes())
        .collect();
    dims.iter()
        .fold(Message::default(), |m, &d| m.number(1, d))
        .number(2, 1)
        .bytes(8, name)
        .bytes(9, raw)
}

/// A tensor of 64-bit integers.
fn ints(name: &str, values: &[i64]) -> Message {
    let message = Message::default()
        .number(1, values.len() as i64)
        .number(2, 7);
    values
        .iter()
        .fold(message, |m, &value| m.number(7, value))
        .bytes(8, name)
}

/// A tensor of bytes: type 2 or 3.
fn bytes(name: &str, dims: &[i64], kind: i64, values: &[u8]) -> Message {
    dims.iter()
        .fold(Message::default(), |m, &d| m.number(1, d))
        .number(2, kind)
        .bytes(8, name)
        .bytes(9, values)
}

fn value(name: &str, dims: &[i64]) -> Message {
    let dims = dims.iter().map(|&d| Message::default().number(1, d));
    let shape = dims.fold(Message::default(), |shape, dim| shape.bytes(1, dim));
    let tensor = Message::default().number(1, 1).bytes(2, shape);
    Message::default()
        .bytes(1, name)
        .bytes(2, Message::default().bytes(1, tensor))
}

/// For images `[1, 2, 8, 8]` called x; the result is y.
fn model(opset: i64, nodes: Vec<Message>, tensors: Vec<Message>) -> Vec<u8> {
    let graph = nodes
        .into_iter()
        .fold(Message::default(), |graph, node| graph.bytes(1, node));
    let graph = tensors
        .into_iter()
        .fold(graph, |graph, tensor| graph.bytes(5, tensor));
    let graph = graph
        .bytes(2, "g")
        .bytes(11, value("x", &[1, 2, 8, 8]))
        .bytes(12, value("y", &[1, 3]));
    let set = |domain: &str, version| Message::default().bytes(1, domain).number(2, version);
    let model = Message::default()
        .number(1, 8)
        .bytes(7, graph)
        .bytes(8, set("", opset));
    model.bytes(8, set("com.microsoft", 1)).as_ref().to_vec()
}

/// All of them.
pub fn models() -> Vec<Vec<u8>> {
    let square: &[(&str, char, &[i64])] = &[
        ("kernel_shape", 'n', &[3, 3]),
        ("pads", 'n', &[1, 1, 1, 1]),
        ("strides", 'n', &[2, 2]),
    ];
    let head = || {
        [
            node("GlobalAveragePool e -> p", &[]),
            node("Flatten p -> q", &[]),
            node("Gemm q w2 b2 -> y", &[("transB", 'i', &[1])]),
        ]
    };
    let weights = || {
        [
            floats("w", &[4, 2, 3, 3]),
            floats("b", &[4]),
            floats("w2", &[3, 4]),
            floats("b2", &[3]),
        ]
    };
    let plain = model(
        13,
        [
            vec![
                node("Conv x w b -> c", square),
                node(
                    "BatchNormalization c b b b b -> n",
                    &[("epsilon", 'f', &[1])],
                ),
                node("Relu n -> r", &[]),
                node(
                    "Conv r dw _ -> d",
                    &[("group", 'i', &[4]), ("kernel_shape", 'n', &[1, 1])],
                ),
                node("Add d r -> e", &[]),
            ],
            head().into(),
        ]
        .concat(),
        [weights().to_vec(), vec![floats("dw", &[4, 1, 1, 1])]].concat(),
    );
    let functions = [
        "Sigmoid",
        "Tanh",
        "HardSwish",
        "HardSigmoid",
        "LeakyRelu",
        "Elu",
        "Identity",
        "Dropout",
    ];
    let mut chain = vec![node("Conv x w b -> f0", square)];
    chain.extend(
        functions
            .iter()
            .enumerate()
            .map(|(at, name)| node(&format!("{name} f{at} -> f{}", at + 1), &[])),
    );
    chain.extend([
        node("Clip f8 lo hi -> f9", &[]),
        node("PRelu f9 slope -> f10", &[]),
        node("Max f10 zero -> f11", &[]),
        node("Min f11 hi -> f12", &[]),
        node("Mul f12 f9 -> f13", &[]),
        node("Sub f13 hi -> f14", &[]),
        node("Div f14 hi -> f15", &[]),
        node("Sum f15 f12 -> e", &[]),
    ]);
    chain.extend(head());
    chain.push(node("Softmax y -> z", &[("axis", 'i', &[1])]));
    let scalars = [
        floats("lo", &[]),
        floats("hi", &[1]),
        floats("zero", &[]),
        floats("slope", &[4, 1, 1]),
    ];
    let functions = model(13, chain, [weights().to_vec(), scalars.to_vec()].concat());
    let parts = model(
        13,
        [vec![
            node("Pad x pads -> a", &[]),
            node(
                "MaxPool a -> m",
                &[("kernel_shape", 'n', &[2, 2]), ("ceil_mode", 'i', &[1])],
            ),
            node(
                "AveragePool m -> v",
                &[
                    ("kernel_shape", 'n', &[2, 2]),
                    ("count_include_pad", 'i', &[1]),
                ],
            ),
            node("Split v -> s t", &[("axis", 'i', &[1])]),
            node("Concat t s v -> k", &[("axis", 'i', &[1])]),
            node("Slice k from to axes -> l", &[]),
            node("Gather l which -> e2", &[("axis", 'i', &[1])]),
            node("Transpose e2 -> tr", &[("perm", 'n', &[0, 2, 3, 1])]),
            node("Transpose tr -> e", &[("perm", 'n', &[0, 3, 1, 2])]),
            node(
                "ReduceMean e -> p",
                &[("axes", 'n', &[2, 3]), ("keepdims", 'i', &[1])],
            ),
            node("Shape p -> sh", &[]),
            node("Gather sh zero -> n", &[]),
            node("Unsqueeze n ax -> n1", &[]),
            node("Concat n1 minus -> to2", &[("axis", 'i', &[0])]),
            node("Reshape p to2 -> q", &[]),
            node("MatMul q w3 -> m3", &[]),
            node("Add m3 b2 -> y", &[]),
        ]]
        .concat(),
        vec![
            ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
            ints("from", &[0]),
            ints("to", &[4]),
            ints("axes", &[1]),
            ints("which", &[3, 2, 1, 0]),
            Message::default()
                .number(2, 7)
                .number(7, 0)
                .bytes(8, "zero"),
            ints("ax", &[0]),
            ints("minus", &[-1]),
            floats("w3", &[4, 3]),
            floats("b2", &[3]),
        ],
    );
    let quantizers = model(
        13,
        vec![
            node("QuantizeLinear x s z -> xq", &[]),
            node("DequantizeLinear xq s z -> xd", &[]),
            node("DequantizeLinear wq ws -> wd", &[("axis", 'i', &[0])]),
            node("Conv xd wd _ -> c", square),
            node("Relu c -> r", &[]),
            node("GlobalAveragePool r -> p", &[]),
            node("Squeeze p -> q", &[("axes", 'n', &[2, 3])]),
            node("MatMul q w4 -> y", &[]),
        ],
        vec![
            floats("one", &[1]),
            Message::default()
                .number(2, 1)
                .bytes(8, "s")
                .bytes(9, 0.1f32.to_le_bytes()),
            bytes("z", &[], 2, &[3]),
            bytes("wq", &[4, 2, 3, 3], 3, &[1; 72]),
            bytes("ws", &[4], 1, &[0, 0, 128, 62].repeat(4)),
            floats("w4", &[4, 3]),
        ],
    );
    let scalar = |name: &str, x: f32| {
        Message::default()
            .number(2, 1)
            .bytes(8, name)
            .bytes(9, x.to_le_bytes())
    };
    let domain = |message: Message, domain: &str| message.bytes(7, domain);
    let codes = model(
        13,
        vec![
            node("QuantizeLinear x s z -> xq", &[]),
            node("QLinearConv xq s z wq s zw s z -> c", square),
            domain(
                node("QLinearAdd c s z c s z s z -> a", &[]),
                "com.microsoft",
            ),
            domain(
                node("QLinearGlobalAveragePool a s z s z -> p", &[]),
                "com.microsoft",
            ),
            node("Flatten p -> q", &[]),
            domain(node("QGemm q s z w5 s zw _ s z -> g", &[]), "com.microsoft"),
            node("DequantizeLinear g s z -> y", &[]),
        ],
        vec![
            scalar("s", 0.1),
            bytes("z", &[], 2, &[3]),
            bytes("zw", &[], 3, &[0]),
            bytes("wq", &[4, 2, 3, 3], 3, &[1; 72]),
            bytes("w5", &[4, 3], 3, &[1; 12]),
        ],
    );
    let brevitas = model(
        13,
        [
            vec![
                domain(
                    node(
                        "Quant x s0 z0 bits -> xq",
                        &[
                            ("signed", 'i', &[1]),
                            ("narrow", 'i', &[0]),
                            ("rounding_mode", 's', &[]),
                        ],
                    ),
                    "qonnx.custom_op.general",
                ),
                domain(
                    node(
                        "Quant w s0 z0 bits -> wq",
                        &[
                            ("signed", 'i', &[1]),
                            ("narrow", 'i', &[1]),
                            ("rounding_mode", 's', &[]),
                        ],
                    ),
                    "qonnx.custom_op.general",
                ),
                node("Conv xq wq b -> e", square),
            ],
            head().into(),
        ]
        .concat(),
        [
            weights().to_vec(),
            vec![scalar("s0", 0.25), scalar("z0", 0.0), scalar("bits", 4.0)],
        ]
        .concat(),
    );
    vec![plain, functions, parts, quantizers, codes, brevitas]
}
