//! A quantized network as its integers: a `.safetensors` file under the names that compressed-tensors has for them (formats
//! `int-quantized` and `pack-quantized`), and beside it a description in JSON, for tools that compute with the numbers themselves.
//!
//! | tensor | holds |
//! |---|---|
//! | `LAYER.weight` | codes: int8 of up to 8 bits, else int16; float32 where there are none |
//! | `LAYER.weight_packed`, `LAYER.weight_shape` | [`Packing::Words`] in its place: int32 `[out, words]` (see `packed`), and the extents as int64 |
//! | `LAYER.weight_scale` | `[out, 1, ...]`, `[out, groups]`, or `[1]` for the whole tensor: weight = scale (code - zero point) |
//! | `LAYER.weight_zero_point` | the same extents; packed along the channels beside packed weights, but for `[1]`; left out where all are 0 |
//! | `LAYER.bias` | float32 |
//! | `LAYER.bias_quantized`, `LAYER.bias_scale` | int32 codes and `[out]`, where the bias has 32 bits |
//! | `LAYER.input_scale`, `LAYER.input_zero_point` | `[1]`: of what the layer reads, where it is rounded |
//! | `LAYER.output_scale`, `LAYER.output_zero_point` | `[1]`: of its result, behind BatchNorm and ReLU |
//!
//! Groups are consecutive weights of an output channel, its kernel flattened; the last of a channel may be short. Codes are signed as
//! compressed-tensors has them: unsigned ones less 2^(bits - 1), and so are their zero points. The description has
//! every quantized value with the codes that this project's tables show, those of sums and pools too, and the graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::Code;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};

use super::packed;
use super::signed::SignedWeights;
use crate::error::Error;
use crate::quantize::{QuantizedNet, WeightCodes};
use crate::sites::Sites;
use network::{HostTensor, Op, Value};

/// How codes of weights lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Each in a byte or two.
    Plain,
    /// Those of up to 8 bits without gaps in words of 32; the others plain.
    Words,
}

impl Packing {
    /// compressed-tensors' name for it.
    fn format(self) -> &'static str {
        match self {
            Self::Plain => "int-quantized",
            Self::Words => "pack-quantized",
        }
    }
}

/// The two files.
#[derive(Clone, Debug)]
pub struct Integers {
    /// The tensors.
    pub tensors: Vec<u8>,
    /// The description.
    pub description: String,
}

/// `net` as integers, its weights as `packing` says; `metadata` goes into both files.
///
/// # Errors
/// [`Error::Export`] where the file cannot be written, for more tensors than a header lists.
pub fn to_integers(
    net: &QuantizedNet,
    packing: Packing,
    metadata: &BTreeMap<String, String>,
) -> Result<Integers, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Export {
        reason: error.to_string(),
    };
    let (sites, mut tensors) = (Sites::new(&net.topology), Tensors::default());
    let mut groups: Vec<(Json, Vec<&str>)> = Vec::new();
    let (mut ignored, mut formats) = (Vec::new(), BTreeSet::new());
    for id in net.topology.layers() {
        let layer = net.topology.node(id).name.as_str();
        let (packing, weights) = match tensors.weight(net, layer, packing)? {
            Some((packing, weights)) => (packing, Some(weights)),
            None => (packing, None),
        };
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
        let format = weights.is_some().then(|| packing.format());
        formats.extend(format);
        let scheme = json!({
            "weights": weights,
            "input_activations": input,
            "output_activations": output,
            "format": format,
        });
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
            "format": match (formats.pop_first(), formats.is_empty()) {
                (Some(format), true) => format,
                (None, _) => packing.format(),
                _ => "mixed-precision",
            },
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

    /// A layer's weights and bias, as far as they have codes; how they lie in the file, and what compressed-tensors says of the weights.
    fn weight(
        &mut self,
        net: &QuantizedNet,
        layer: &str,
        packing: Packing,
    ) -> Result<Option<(Packing, Json)>, Error> {
        let name = format!("{layer}.weight");
        let tensor: &HostTensor = net.state.require(&name)?;
        let decision = net.manifest.iter().find(|d| d.tensor == name);
        let bits = decision.map_or(8, |decision| decision.bits);
        let Some(weights) = SignedWeights::new(net, layer, tensor, bits) else {
            return Ok(None);
        };
        let fits = packed::fits(&weights.codes, bits) && packed::fits(&weights.zeros, bits);
        let packing = if fits { packing } else { Packing::Plain };
        let extents = weights.extents(&tensor.shape);
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let each = tensor.len() / rows.max(1);
        match packing {
            Packing::Plain => self.integers(name, bits, &tensor.shape, &weights.codes),
            Packing::Words => {
                let words = packed::rows(&weights.codes, each, bits);
                let shape = [rows, packed::words(each, bits)];
                self.integers(format!("{layer}.weight_packed"), 32, &shape, &words);
                self.shape(format!("{layer}.weight_shape"), &tensor.shape);
            }
        }
        self.floats(format!("{layer}.weight_scale"), &extents, &weights.scales);
        let name = format!("{layer}.weight_zero_point");
        match packing {
            _ if weights.is_symmetric() => {}
            // As compressed-tensors has it: packed along the channels, and that of a whole tensor not at all.
            Packing::Words if weights.zeros.len() > 1 => {
                let groups = weights.zeros.len() / rows;
                let words = packed::columns(&weights.zeros, groups, bits);
                self.integers(name, 32, &[packed::words(rows, bits), groups], &words);
            }
            _ => self.integers(name, bits, &extents, &weights.zeros),
        }
        if let Some(codes) = net.codes.get(layer) {
            self.bias(net, layer, codes);
        }
        let strategy = match (weights.zeros.len(), weights.layout.groups_per_channel()) {
            (1, _) => "tensor",
            (_, 1) => "channel",
            _ => "group",
        };
        let mut said = arguments(bits, weights.is_symmetric(), strategy);
        if strategy == "group" {
            said["group_size"] = json!(weights.layout.group_len());
        }
        Ok(Some((packing, said)))
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

    fn shape(&mut self, name: String, shape: &[usize]) {
        let bytes = shape
            .iter()
            .flat_map(|&extent| (extent as i64).to_le_bytes());
        let entry = (Dtype::I64, vec![shape.len()], bytes.collect());
        self.0.insert(name, entry);
    }

    /// What has no codes, as it is.
    fn others(&mut self, net: &QuantizedNet) {
        for (name, tensor) in net.state.iter() {
            if !self.0.contains_key(name) && !self.0.contains_key(&format!("{name}_packed")) {
                self.floats(name.clone(), &tensor.shape, &tensor.data);
            }
        }
    }
}

fn arguments(bits: u32, symmetric: bool, strategy: &str) -> Json {
    json!({"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy, "dynamic": false})
}
