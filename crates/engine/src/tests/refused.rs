//! What integers cannot do is said in one line that names the node; what contradicts itself is no graph.

use quant_core::Rounding;

use crate::domain::{IntegerArithmetic, Requantize};
use crate::epilogue::Multiplier;
use crate::graph::{Code, Conv, Graph, INPUT, Linear, Node, Op};
use crate::program::{Executed, Execution, Options, Program};
use crate::shape::{Shape, Window};

const CODE: Code = Code {
    scale: 0.5,
    zero_point: 3,
    quant_min: 0,
    quant_max: 255,
};

fn conv() -> Conv {
    Conv {
        weight: vec![1.0; 4],
        outputs: 2,
        groups: 1,
        window: Window::square(1, 1, 0),
        bias: Some(vec![1, 2]),
        scale: Some(vec![0.25; 2]),
        shift: None,
    }
}

fn node(op: impl Into<Op>) -> Node {
    Node::new("node", INPUT, op.into()).with_code(CODE)
}

impl From<Conv> for Op {
    fn from(conv: Conv) -> Self {
        Op::Conv(conv)
    }
}

const SHAPE: Shape = Shape {
    channels: 2,
    height: 2,
    width: 2,
};

fn compiled(input: Option<Code>, nodes: Vec<Node>, how: IntegerArithmetic) -> Result<(), String> {
    let last = nodes[nodes.len() - 1].name.clone();
    let graph = Graph::quantized(SHAPE, input, nodes, &last).map_err(|error| error.to_string())?;
    let options = |execution| Options {
        execution,
        ..Options::default()
    };
    let made = Program::new(graph.clone(), options(Execution::Integer(how)));
    if how == IntegerArithmetic::default() {
        // Who leaves the choice gets the simulation where integers are refused, and only there.
        let chosen = Program::new(graph, options(Execution::Auto)).unwrap();
        let expected = match made {
            Ok(_) => Executed::Integer,
            Err(_) => Executed::Simulate,
        };
        assert_eq!(chosen.executed(), expected);
    }
    match made {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The one line about `node`.
fn refusal(input: Option<Code>, nodes: Vec<Node>) -> String {
    let message = compiled(input, nodes, IntegerArithmetic::default()).unwrap_err();
    assert!(
        message.contains("`node`") && !message.contains('\n'),
        "{message}"
    );
    message
}

fn with(change: impl Fn(&mut Conv)) -> Vec<Node> {
    let mut conv = conv();
    change(&mut conv);
    vec![node(conv)]
}

#[test]
fn integers_refuse_real_numbers_by_name() {
    let fine = compiled(Some(CODE), vec![node(conv())], IntegerArithmetic::default());
    assert_eq!(fine, Ok(()));
    let real = "needs codes for every value";
    assert!(refusal(None, vec![node(conv())]).contains(real));
    let result = Node {
        code: None,
        ..node(conv())
    };
    assert!(refusal(Some(CODE), vec![result]).contains(real));
    let first = Node::new("real", INPUT, Op::Identity);
    let adds = Node {
        inner: Some(CODE),
        ..node(conv()).plus("real")
    };
    let message = compiled(Some(CODE), vec![first, adds], IntegerArithmetic::default());
    assert!(message.unwrap_err().contains("`real`"));
    let shifted = with(|conv| conv.shift = Some(vec![0.5; 2]));
    assert!(refusal(Some(CODE), shifted).contains("int32 bias"));
    let linear = Node::new(
        "node",
        "mean",
        Op::Linear(Linear {
            weight: vec![1.0; 2],
            outputs: 1,
            bias: Some(vec![0.5]),
        }),
    );
    let mean = Node {
        name: "mean".into(),
        ..node(Op::avg_pool(Window::whole(SHAPE)))
    };
    let nodes = vec![mean, linear.with_code(CODE)];
    assert!(refusal(Some(CODE), nodes).contains("int32 bias"));
    let unrounded = node(conv()).plus(INPUT);
    assert!(refusal(Some(CODE), vec![unrounded]).contains("integers add codes"));
}

#[test]
fn integers_refuse_what_does_not_fit_their_bits() {
    for weight in [0.5, 256.0, -256.0, f32::NAN] {
        let message = refusal(Some(CODE), with(|conv| conv.weight[1] = weight));
        assert!(message.contains(&format!("weight {weight} is no code of up to 8 bits")));
    }
    for (quant_min, quant_max) in [
        (0, 65535),
        (-32768, 32767),
        (-128, 128),
        (-129, 126),
        (0, 256),
    ] {
        let wide = Code {
            zero_point: quant_min,
            quant_min,
            quant_max,
            ..CODE
        };
        let message = refusal(Some(wide), vec![node(conv())]);
        assert!(message.contains(&format!("codes {quant_min} to {quant_max}")));
        assert!(message.contains("1 to 8"));
        let result = node(conv()).with_code(wide);
        assert!(refusal(Some(CODE), vec![result]).contains("8 bits"));
    }
    // 255 * 2 + 2^31 - 511 is 2^31 - 1, the largest number that 32 bits hold.
    let long = |bias| with(|conv| conv.bias = Some(vec![0, bias]));
    assert!(
        refusal(Some(CODE), long(i32::MAX - 510)).contains("sums of channel 1 could pass 32 bits")
    );
    assert!(refusal(Some(CODE), long(i32::MIN)).contains("channel 1"));
    let fine = compiled(
        Some(CODE),
        long(i32::MAX - 511),
        IntegerArithmetic::default(),
    );
    assert_eq!(fine, Ok(()));
    // Of a channel whose weights are all but zero every sum becomes zero.
    let faint = with(|conv| conv.scale = Some(vec![0.25, 1e-12]));
    let fine = compiled(Some(CODE), faint, IntegerArithmetic::default());
    assert_eq!(fine, Ok(()));
    for scale in [1e12, 0.0] {
        let scaled = with(|conv| conv.scale = Some(vec![0.25, scale]));
        let message = refusal(Some(CODE), scaled.clone());
        assert!(message.contains("multiplier") && message.contains("31 bits and a shift"));
        let how = IntegerArithmetic {
            requantize: Requantize::Gemmlowp,
            ..IntegerArithmetic::default()
        };
        let message = compiled(Some(CODE), scaled, how).unwrap_err();
        assert!(message.contains("`node`") && message.contains("31 bits and a shift"));
    }
}

#[test]
fn arithmetic_that_contradicts_itself_is_refused() {
    for (requantize, multiplier, why) in [
        (Requantize::Gemmlowp, Multiplier::PowerOfTwo, "fixed-point"),
        (Requantize::Gemmlowp, Multiplier::Float, "fixed-point"),
        (
            Requantize::Once(Rounding::Stochastic { seed: 1 }),
            Multiplier::Fixed,
            "not stochastic",
        ),
    ] {
        let how = IntegerArithmetic {
            requantize,
            multiplier,
            ..IntegerArithmetic::default()
        };
        let message = compiled(Some(CODE), vec![node(conv())], how).unwrap_err();
        assert!(
            message.contains(why) && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn codes_that_contradict_themselves_are_no_graph() {
    for (change, why) in [
        (Code { scale: 0.0, ..CODE }, "scale 0"),
        (
            Code {
                scale: -1.0,
                ..CODE
            },
            "scale -1",
        ),
        (
            Code {
                scale: f32::NAN,
                ..CODE
            },
            "scale NaN",
        ),
        (
            Code {
                scale: f32::INFINITY,
                ..CODE
            },
            "scale inf",
        ),
        (
            Code {
                zero_point: -1,
                ..CODE
            },
            "zero point -1",
        ),
        (
            Code {
                quant_max: -1,
                ..CODE
            },
            "0 to -1",
        ),
    ] {
        let result = node(conv()).with_code(change);
        assert!(refusal(Some(CODE), vec![result]).contains(why));
        let inner = Node {
            inner: Some(change),
            ..node(conv()).plus(INPUT)
        };
        assert!(refusal(Some(CODE), vec![inner]).contains(why));
        let input = compiled(
            Some(change),
            vec![node(conv())],
            IntegerArithmetic::default(),
        );
        assert!(input.unwrap_err().contains("`input`"));
    }
    let before = Node {
        inner: Some(CODE),
        ..node(conv())
    };
    assert!(refusal(Some(CODE), vec![before]).contains("nothing is added"));
    let identity = Node {
        inner: Some(CODE),
        ..node(Op::Identity).plus(INPUT)
    };
    assert!(refusal(Some(CODE), vec![identity]).contains("its input's"));
    let other = Code {
        zero_point: 4,
        ..CODE
    };
    let pool = node(Op::MaxPool(Window::square(2, 1, 0))).with_code(other);
    assert!(refusal(Some(CODE), vec![pool]).contains("keeps its codes"));
}
