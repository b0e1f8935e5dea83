//! Networks from files.

use std::path::Path;
use std::sync::LazyLock;

use engine::{Shape, Window};
use network::{HostTensor, Network, Node, Op, StateDict, Topology, Value};
use quantize::StoredQuantizers;

use super::{Verdict, file};

/// `.pth` in both containers and `.safetensors`, as `model.weights` names them, and as tensors alone.
pub fn checkpoint(place: &Path, input: &[u8]) -> Verdict {
    let path = file(place, "net.pth", input);
    let tensors = resnet::read_tensors(&path);
    match (resnet::load(&path, None), tensors) {
        (Ok(found), _) if found.quantizers.is_empty() => Verdict::Taken,
        (Ok(found), _) => Verdict::of(found.quantizers.network(&found.network)),
        (Err(error), _) => Verdict::Refused(error.to_string()),
    }
}

/// A network of two layers; what matters is in the file.
static NETWORK: LazyLock<Network> = LazyLock::new(|| small().expect("a network of two layers"));

/// `conv` on two channels of 4 x 4, rectified, then `fc`.
pub(crate) fn small() -> Result<Network, network::Error> {
    let node = |name: &str, op, inputs| Node {
        name: name.to_owned(),
        op,
        inputs: vec![inputs],
    };
    let conv = Op::Conv {
        outputs: 3,
        groups: 1,
        window: Window::square(1, 1, 0),
    };
    let nodes = vec![
        node("conv", conv, Value::Input),
        node("relu", Op::RELU, Value::Node(0)),
        node("pool", Op::GlobalAvgPool, Value::Node(1)),
        node("fc", Op::Linear { outputs: 2 }, Value::Node(2)),
    ];
    let mut tensors = StateDict::new();
    for (name, shape) in [
        ("conv.weight", vec![3, 2, 1, 1]),
        ("conv.bias", vec![3]),
        ("fc.weight", vec![2, 3]),
        ("fc.bias", vec![2]),
    ] {
        let len = shape.iter().product::<usize>();
        let data = (0..len).map(|n| (n as f32 - 2.0) * 0.25).collect();
        tensors.insert(name, HostTensor::new(shape, data)?);
    }
    Network::new(Topology::new(Shape::new(2, 4, 4), nodes)?, tensors)
}

/// What a network trained with quantizers keeps beside its weights.
pub fn quantizers(place: &Path, input: &[u8]) -> Verdict {
    let path = file(place, "net.safetensors", input);
    match resnet::read_tensors(&path) {
        Ok(tensors) => {
            let stored = StoredQuantizers::new(tensors);
            stored.bits();
            Verdict::of(stored.network(&NETWORK))
        }
        Err(error) => Verdict::Refused(error.to_string()),
    }
}

/// An ONNX model.
pub fn onnx(place: &Path, input: &[u8]) -> Verdict {
    let path = file(place, "net.onnx", input);
    Verdict::of(resnet::load(&path, None))
}
