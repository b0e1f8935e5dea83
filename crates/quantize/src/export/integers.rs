//! A quantized network as its integers: a `.safetensors` file under the names that compressed-tensors has for them (format
//! `int-quantized`), and beside it a description in JSON, for tools that compute with the numbers themselves.
//!
//! | tensor | holds |
//! |---|---|
//! | `LAYER.weight` | codes: int8 of up to 8 bits, else int16; float32 where there are none |
//! | `LAYER.weight_scale` | `[out, 1, ...]`, or `[1]` for the whole tensor: weight = scale (code - zero point) |
//! | `LAYER.weight_zero_point` | the same extents; left out where all are 0 |
//! | `LAYER.bias` | float32 |
//! | `LAYER.bias_quantized`, `LAYER.bias_scale` | int32 codes and `[out]`, where the bias has 32 bits |
//! | `LAYER.input_scale`, `LAYER.input_zero_point` | `[1]`: of what the layer reads, where it is rounded |
//! | `LAYER.output_scale`, `LAYER.output_zero_point` | `[1]`: of its result, behind BatchNorm and ReLU |
//!
//! Codes are signed as compressed-tensors has them: unsigned ones less 2^(bits - 1), and so are their zero points. The description has
//! every quantized value with the codes that this project's tables show, those of sums and pools too, and the graph.

use std::collections::{BTreeMap, HashMap};

use engine::Code;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};

use super::stored::{lowest, rows, same};
use crate::error::Error;
use crate::quantize::{QuantizedNet, WeightCodes};
use crate::sites::Sites;
use network::{HostTensor, Op, Value};

/// The two files.
#[derive(Clone, Debug)]
pub struct Integers {
    /// The tensors.
    pub tensors: Vec<u8>,
    /// The description.
    pub description: String,
}

/// `net` as integers; `metadata` goes into both files.
///
/// # Errors
/// [`Error::Export`] where the file cannot be written, for more tensors than a header lists.
pub fn to_integers(
    net: &QuantizedNet,
    metadata: &BTreeMap<String, String>,
) -> Result<Integers, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Export {
        reason: error.to_string(),
    };
    let (sites, mut tensors) = (Sites::new(&net.topology), Tensors::default());
    let mut groups: Vec<(Json, Vec<&str>)> = Vec::new();
    let mut ignored = Vec::new();
    for id in net.topology.layers() {
        let layer = net.topology.node(id).name.as_str();
        let weights = tensors.weight(net, layer)?;
        let rounded = |site: &str| {
            let (codes, shortcut) = net.activations.as_ref()?;
            sites.code(site, codes, *shortcut)
        };
        let input = sites.inputs.get(layer).and_then(|site| rounded(site));
        let [input, output] = [("input", input), ("output", rounded(layer))]
            .map(|(part, code)| code.map(|code| tensors.activation(layer, part, code)));
        if weights.is_none() && input.is_none() && output.is_none() {
            ignored.push(layer);
            continue;
        }
        let scheme =
            json!({"weights": weights, "input_activations": input, "output_activations": output});
        match groups.iter_mut().find(|(known, _)| *known == scheme) {
            Some((_, layers)) => layers.push(layer),
            None => groups.push((scheme, vec![layer])),
        }
    }
    tensors.others(net);
    let config_groups = groups
        .into_iter()
        .enumerate()
        .map(|(i, (mut scheme, targets))| {
            scheme["targets"] = json!(targets);
            (format!("group_{i}"), scheme)
        });
    let description = json!({
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "int-quantized",
            "quantization_status": "compressed",
            "config_groups": config_groups.collect::<serde_json::Map<_, _>>(),
            "ignore": ignored,
        },
        "input": net.topology.input().to_string(),
        "graph": graph(net),
        "values": values(net, &sites),
        "metadata": metadata,
    });
    let metadata = serde_json::to_string(metadata).map_err(|error| failed(&error))?;
    let info = HashMap::from([("quantlab".to_owned(), metadata)]);
    let views = tensors.0.iter().map(|(name, (dtype, shape, bytes))| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.clone(), view))
    });
    let views: Result<BTreeMap<_, _>, _> = views.collect();
    let views = views.map_err(|error| failed(&error))?;
    Ok(Integers {
        tensors: safetensors::serialize(views, Some(info)).map_err(|error| failed(&error))?,
        description: format!("{description:#}\n"),
    })
}

/// Each node in execution order: what is computed of what.
fn graph(net: &QuantizedNet) -> Vec<Json> {
    let topology = &net.topology;
    let nodes = topology.nodes().iter().enumerate();
    let node = |(id, node): (usize, &network::Node)| {
        let inputs = node.inputs.iter().map(|&value| topology.name(value));
        let mut said = json!({
            "name": node.name,
            "operation": node.op.to_string(),
            "inputs": inputs.collect::<Vec<_>>(),
            "shape": topology.shape(Value::Node(id)).to_string(),
        });
        if let Op::ClipEach(ends) = &node.op {
            // JSON has no infinity: null is no end.
            said["ends"] = json!(ends);
        }
        said
    };
    nodes.map(node).collect()
}

/// What each value is rounded to, by the name of the value; nothing of those that stay as they are.
fn values(net: &QuantizedNet, sites: &Sites) -> serde_json::Map<String, Json> {
    let rounded = |site: &str| {
        let (codes, shortcut) = net.activations.as_ref()?;
        let code = sites.code(site, codes, *shortcut)?;
        let said = json!({
            "scale": code.scale,
            "zero_point": code.zero_point,
            "quant_min": code.quant_min,
            "quant_max": code.quant_max,
            "bits": code.bits().max(1),
            "signed": code.quant_min < 0,
        });
        Some((site.to_owned(), said))
    };
    sites.names().filter_map(rounded).collect()
}

/// Type, extents and bytes of tensors by name.
#[derive(Default)]
struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    /// Codes of so many bits and what else is counted in them, in the type for such codes where it holds them.
    fn integers(&mut self, name: String, bits: u32, shape: &[usize], values: &[i32]) {
        let within = |low: i32, high: i32| values.iter().all(|v| (low..=high).contains(v));
        let (dtype, bytes) = match bits {
            ..=8 if within(-128, 127) => (Dtype::I8, values.iter().map(|&v| v as u8).collect()),
            ..=16 if within(-32_768, 32_767) => {
                let bytes = values.iter().flat_map(|&v| (v as i16).to_le_bytes());
                (Dtype::I16, bytes.collect())
            }
            _ => (
                Dtype::I32,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
        };
        self.0.insert(name, (dtype, shape.to_vec(), bytes));
    }

    fn floats(&mut self, name: String, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.insert(name, (Dtype::F32, shape.to_vec(), bytes));
    }

    /// A layer's weights and bias, as far as they have codes; what compressed-tensors says of the weights.
    fn weight(&mut self, net: &QuantizedNet, layer: &str) -> Result<Option<Json>, Error> {
        let name = format!("{layer}.weight");
        let Some(weights) = net.codes.get(layer) else {
            return Ok(None);
        };
        let tensor: &HostTensor = net.state.require(&name)?;
        let decision = net.manifest.iter().find(|d| d.tensor == name);
        let bits = decision.map_or(8, |decision| decision.bits);
        let zeros = zero_points(weights, bits);
        let codes = rows(weights).zip(&zeros);
        let codes: Vec<i32> = codes
            .flat_map(|(row, zero)| row.iter().map(move |q| q + zero))
            .collect();
        self.integers(name, bits, &tensor.shape, &codes);
        let whole = same(&weights.scale) && same(&zeros);
        let n = if whole { 1 } else { weights.scale.len() };
        let mut extents = vec![1; if whole { 1 } else { tensor.shape.len() }];
        extents[0] = n;
        self.floats(
            format!("{layer}.weight_scale"),
            &extents,
            &weights.scale[..n],
        );
        let symmetric = zeros.iter().all(|&zero| zero == 0);
        if !symmetric {
            let name = format!("{layer}.weight_zero_point");
            self.integers(name, bits, &extents, &zeros[..n]);
        }
        self.bias(net, layer, weights);
        let strategy = if whole { "tensor" } else { "channel" };
        Ok(Some(arguments(bits, symmetric, strategy)))
    }

    fn bias(&mut self, net: &QuantizedNet, layer: &str, weights: &WeightCodes) {
        let sites = Sites::new(&net.topology);
        let Some((codes, (activations, shortcut))) =
            net.bias_codes.get(layer).zip(net.activations.as_ref())
        else {
            return;
        };
        let input = sites.inputs.get(layer);
        let Some(input) = input.and_then(|site| sites.code(site, activations, *shortcut)) else {
            return;
        };
        let scales: Vec<f32> = weights.scale.iter().map(|s| s * input.scale).collect();
        self.integers(format!("{layer}.bias_quantized"), 32, &[codes.len()], codes);
        self.floats(format!("{layer}.bias_scale"), &[scales.len()], &scales);
    }

    /// Scale and zero point of what a layer reads or makes; what compressed-tensors says of it.
    fn activation(&mut self, layer: &str, part: &str, code: Code) -> Json {
        // A single code has no bits of its own.
        let bits = code.bits().max(1);
        let shift = if code.quant_min < 0 {
            0
        } else {
            1 << (bits - 1)
        };
        let zero = code.zero_point - shift;
        self.floats(format!("{layer}.{part}_scale"), &[1], &[code.scale]);
        self.integers(format!("{layer}.{part}_zero_point"), bits, &[1], &[zero]);
        arguments(bits, zero == 0, "tensor")
    }

    /// What has no codes, as it is.
    fn others(&mut self, net: &QuantizedNet) {
        for (name, tensor) in net.state.iter() {
            if !self.0.contains_key(name) {
                self.floats(name.clone(), &tensor.shape, &tensor.data);
            }
        }
    }
}

fn arguments(bits: u32, symmetric: bool, strategy: &str) -> Json {
    json!({"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy, "dynamic": false})
}

/// What is added to the codes of each channel, `q - zero_point`, so that they are signed and have so many bits.
fn zero_points(weights: &WeightCodes, bits: u32) -> Vec<i32> {
    let half = 1_i64 << (bits - 1);
    if weights
        .codes
        .iter()
        .all(|&q| (-half..half).contains(&q.into()))
    {
        return vec![0; weights.scale.len()];
    }
    let lowest = lowest(weights, bits).into_iter();
    lowest.map(|q| -(half as i32) - q).collect()
}
