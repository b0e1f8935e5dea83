//! A quantized network as ONNX: in float32, in QONNX's form (see `qonnx`), or in QDQ form, where quantizers stand as pairs of QuantizeLinear and
//! DequantizeLinear around operators that are written as if they were real, and a runtime fuses both into integer kernels.
//!
//! QDQ is operator set 13, or 21 where types of 16 and 4 bits are asked for. Activations are u8 (signed codes plus 128) with scalar scales
//! and zero points, with 21 u16 or s16 above 8 bits; fewer bits than the type has are cut by a Clip between the two (QCDQ). Weights are
//! s8 with a scale for each output channel on axis 0 (u8 where affine codes need it; with 21 s4 or u4, s16 or u16), biases int32 in the
//! scale of the sums. What is not quantized is float32. Values and tensors have the names that they have here, so that the file can be
//! read again; clipping that a saturating quantizer would do by itself is written all the same, for who ignores quantizers.

use std::collections::BTreeMap;

use engine::{Axis, Code, Function, Padding, Window};
use network::onnx::Attribute::{Float, Int, Ints};
use network::onnx::{Attribute, Integer, Writer};
use network::{Network, NodeId, Op, Topology, Value};

use crate::error::Error;
use crate::quantize::QuantizedNet;
use crate::sites::{Sites, rounding_node};
use crate::units::{Unit, Units};

mod integers;
mod packed;
mod qonnx;
mod signed;
mod stored;

pub use integers::{Integers, Packing, to_integers};
use stored::{StoredWeights, activation};

/// How quantization stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As pairs of QuantizeLinear and DequantizeLinear, operator set 13.
    Qdq,
    /// The same of operator set 21, which has types of 16 and 4 bits.
    Qdq21,
    /// As nodes Quant of QONNX, of any number of bits.
    Qonnx,
    /// Not at all: float32 weights that happen to lie on their grids, for tools that know no quantizers.
    Float,
}

impl Form {
    /// ONNX's operator set.
    fn opset(self) -> i64 {
        match self {
            Self::Qdq | Self::Qonnx | Self::Float => 13,
            Self::Qdq21 => 21,
        }
    }

    /// Operator sets of others.
    fn domains(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Qonnx => &[(qonnx::DOMAIN, 1)],
            Self::Qdq | Self::Qdq21 | Self::Float => &[],
        }
    }
}

/// `net` as an ONNX file; `metadata` goes into it.
///
/// # Errors
/// [`Error::Export`] naming what the form does not have: activations of more than 8 bits in [`Form::Qdq`], in float any; borders that no
/// Pad makes.
pub fn to_onnx(
    net: &QuantizedNet,
    form: Form,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let topology = &net.topology;
    if form == Form::Float && net.activations.is_some() {
        return Err(refused(
            "a float file has no quantized activations: leave activations.bits out, or write qdq or qonnx"
                .to_owned(),
        ));
    }
    let mut export = Export {
        net,
        form,
        sites: Sites::new(topology),
        writer: Writer::new("quantlab", IMAGES, topology.input()),
        names: vec![None; topology.nodes().len()],
        images: Names::one(IMAGES),
    };
    export.images = export.site(engine::INPUT, IMAGES)?;
    let units = Units::new(topology);
    for unit in units.iter() {
        export.unit(&units, unit)?;
    }
    let mut output = export.name(Value::Node(topology.output())).read;
    let is_linear = matches!(topology.node(topology.output()).op, Op::Linear { .. });
    if !is_linear {
        let flat = format!("{output}.flat");
        export.node("Flatten", &[&output], &flat, vec![("axis", Int(1))]);
        output = flat;
    }
    let classes = topology.classes();
    let (opset, domains) = (form.opset(), form.domains());
    let writer = export.writer;
    Ok(writer.finish((&output, classes), opset, domains, metadata))
}

/// A network in float as an ONNX file, its BatchNorms where they are; the rest as in [`to_onnx`].
///
/// # Errors
/// As [`to_onnx`].
pub fn float_onnx(
    network: &Network,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    to_onnx(&QuantizedNet::float(network.clone()), Form::Float, metadata)
}

/// The file's name of the images.
const IMAGES: &str = "images";

/// What a value is called in the file: for additions and the like, and for layers ([`crate::ShortcutPolicy::IdentityFloat`]).
#[derive(Clone)]
struct Names {
    added: String,
    read: String,
    /// Whether it is `[n, features]` there, as fully connected layers make it.
    flat: bool,
}

impl Names {
    fn one(name: &str) -> Self {
        Self {
            added: name.to_owned(),
            read: name.to_owned(),
            flat: false,
        }
    }
}

struct Export<'a> {
    net: &'a QuantizedNet,
    form: Form,
    sites: Sites,
    writer: Writer,
    /// Of the values at the ends of steps.
    names: Vec<Option<Names>>,
    images: Names,
}

impl Export<'_> {
    fn name(&self, value: Value) -> Names {
        match value {
            Value::Input => self.images.clone(),
            // Steps come in execution order.
            Value::Node(id) => self.names[id]
                .clone()
                .unwrap_or_else(|| self.images.clone()),
        }
    }

    fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<(&str, Attribute)>,
    ) {
        self.writer.node(op_type, inputs, output, attributes);
    }

    fn code(&self, site: &str) -> Option<Code> {
        let (codes, policy) = self.net.activations.as_ref()?;
        self.sites.code(site, codes, *policy)
    }

    fn is_forked(&self, site: &str) -> bool {
        let activations = self.net.activations.as_ref();
        activations.is_some_and(|(_, policy)| self.sites.is_forked(site, *policy))
    }

    /// What a layer reads is rounded to.
    fn input_code(&self, layer: &str) -> Option<Code> {
        self.code(self.sites.inputs.get(layer)?)
    }

    /// The value of a site from what was computed for it.
    fn site(&mut self, site: &str, raw: &str) -> Result<Names, Error> {
        let Some(code) = self.code(site) else {
            return Ok(Names::one(raw));
        };
        let forked = self.is_forked(site);
        let name = match (forked, site == engine::INPUT) {
            (true, _) => rounding_node(site),
            (_, true) => format!("{IMAGES}.quantized"),
            _ => site.to_owned(),
        };
        self.rounded(raw, &name, code)?;
        Ok(Names {
            added: if forked { raw.to_owned() } else { name.clone() },
            read: name,
            flat: false,
        })
    }

    /// `raw` rounded to codes and back.
    fn rounded(&mut self, raw: &str, name: &str, code: Code) -> Result<(), Error> {
        if self.form == Form::Qonnx {
            return self.quant(raw, name, code);
        }
        let Some((kind, shift)) = activation(code, self.form) else {
            return Err(refused(format!(
                "{name} has the codes {} to {}, and operator set 13 has 8 bits: write qdq21 or qonnx, or set activations.bits to 1 to 8",
                code.quant_min, code.quant_max
            )));
        };
        let [low, high, zero] =
            [code.quant_min, code.quant_max, code.zero_point].map(|q| q + shift);
        let [scale, zero_point, codes] =
            ["scale", "zero_point", "codes"].map(|part| format!("{name}.{part}"));
        self.writer.floats(&scale, &[], &[code.scale]);
        self.writer.integers(&zero_point, kind, &[], &[zero]);
        self.node(
            "QuantizeLinear",
            &[raw, &scale, &zero_point],
            &codes,
            Vec::new(),
        );
        let mut last = codes;
        if (low, high) != kind.range() {
            last = self.narrowed(name, last, kind, [low, high]);
        }
        self.node(
            "DequantizeLinear",
            &[&last, &scale, &zero_point],
            name,
            Vec::new(),
        );
        Ok(())
    }

    /// Codes cut to fewer than their type has. Runtimes clip no integers of 16 bits: those are 32 bits wide meanwhile.
    fn narrowed(&mut self, name: &str, codes: String, kind: Integer, ends: [i32; 2]) -> String {
        let [least, most, clipped, wide, cut] =
            ["least", "most", "clipped", "wide", "cut"].map(|part| format!("{name}.{part}"));
        let to = |kind: Integer| vec![("to", Int(kind.number().into()))];
        let is_wide = matches!(kind, Integer::Int16 | Integer::Uint16);
        let (clip, from, into) = match is_wide {
            true => (Integer::Int32, &wide, &cut),
            false => (kind, &codes, &clipped),
        };
        if is_wide {
            self.node("Cast", &[&codes], &wide, to(Integer::Int32));
        }
        self.writer.integers(&least, clip, &[], &ends[..1]);
        self.writer.integers(&most, clip, &[], &ends[1..]);
        self.node("Clip", &[from, &least, &most], into, Vec::new());
        if is_wide {
            self.node("Cast", &[&cut], &clipped, to(kind));
        }
        clipped
    }

    fn unit(&mut self, units: &Units, unit: &Unit) -> Result<(), Error> {
        let topology = &self.net.topology;
        let node = topology.node(unit.head);
        let reads: Vec<Names> = node.inputs.iter().map(|&value| self.name(value)).collect();
        if node.op.is_copy() {
            let made = self.copy(units, unit.head, &reads[0])?;
            self.names[unit.tail()] = Some(made);
            return Ok(());
        }
        let is_flat = match node.op {
            Op::Linear { .. } => true,
            Op::Conv { .. } => false,
            _ => reads.iter().all(|names| names.flat),
        };
        let raw = format!("{}.raw", node.name);
        match &node.op {
            op if op.is_layer() => self.layer(unit.head, &reads[0], &raw)?,
            Op::AvgPool { window, counted }
                if *counted != window.padding && *counted != Padding::default() =>
            {
                return Err(refused(format!(
                    "{} counts a part of its padding (ceil_mode with count_include_pad)",
                    node.name
                )));
            }
            Op::ClipEach(ends) => {
                self.clip_each(ends, None, (&reads[0].added, is_flat), &raw)?;
            }
            op => {
                let added: Vec<&str> = reads.iter().map(|names| names.added.as_str()).collect();
                self.plain(op, &added, &raw);
            }
        }
        let mut last = raw;
        if let Some(norm) = unit.norm {
            last = self.norm(norm, &last);
        }
        if let Some(clip) = unit.clip {
            let name = format!("{}.raw", topology.node(clip).name);
            match &topology.node(clip).op {
                Op::ClipEach(ends) => {
                    let code = self
                        .code(&node.name)
                        .filter(|_| !self.is_forked(&node.name));
                    self.clip_each(ends, code, (&last, is_flat), &name)?;
                }
                op => self.plain(op, &[&last], &name),
            }
            last = name;
        }
        let mut names = self.site(&node.name, &last)?;
        names.flat = is_flat;
        self.names[unit.tail()] = Some(names);
        Ok(())
    }

    /// Ends of each channel's own, `[n, c]` where the value is `flat`. With a code it is rounded in between, codes being clipped like
    /// the numbers: a runtime looks for a layer, its ReLU and a quantizer behind one another.
    fn clip_each(
        &mut self,
        ends: &[[f32; 2]],
        code: Option<Code>,
        (x, flat): (&str, bool),
        raw: &str,
    ) -> Result<(), Error> {
        let [least, most, above, open] =
            ["low", "high", "above", "open"].map(|part| format!("{raw}.{part}"));
        let shape = [1, ends.len(), 1, 1];
        let shape = if flat { &shape[..2] } else { &shape[..] };
        let each = |end: usize| ends.iter().map(|ends| ends[end]).collect::<Vec<f32>>();
        let (lows, highs) = (each(0), each(1));
        let same = lows.iter().all(|&low| low == lows[0]);
        let mut last = x;
        if same && lows[0].is_finite() {
            let (low, high) = (lows[0], f32::INFINITY);
            self.plain(&Op::Clip { low, high }, &[last], &above);
            last = &above;
        }
        if let Some(code) = code {
            self.rounded(last, &open, code)?;
            last = &open;
        }
        if !same {
            self.writer.floats(&least, shape, &lows);
            self.node("Max", &[last, &least], &above, Vec::new());
            last = &above;
        }
        self.writer.floats(&most, shape, &highs);
        self.node("Min", &[last, &most], raw, Vec::new());
        Ok(())
    }

    fn layer(&mut self, id: NodeId, x: &Names, raw: &str) -> Result<(), Error> {
        let topology = &self.net.topology;
        let name = topology.node(id).name.clone();
        let weight = self.weight(&name)?;
        let bias = self.bias(topology, id, &name)?;
        let op = topology.node(id).op.clone();
        let reads_flat = x.flat;
        let mut inputs = vec![weight];
        inputs.extend(bias);
        match op {
            Op::Conv { groups, window, .. } => {
                let mut attributes = of_window(&window);
                attributes.push(("group", Int(groups as i64)));
                let mut x = x.read.clone();
                if reads_flat {
                    let axes = format!("{name}.axes");
                    self.writer.int64(&axes, &[2, 3]);
                    let map = format!("{name}.map");
                    self.node("Unsqueeze", &[&x, &axes], &map, Vec::new());
                    x = map;
                }
                let all: Vec<&str> = std::iter::once(x.as_str())
                    .chain(inputs.iter().map(String::as_str))
                    .collect();
                self.node("Conv", &all, raw, attributes);
            }
            _ => {
                let mut flat = format!("{name}.flat");
                self.node("Flatten", &[&x.read], &flat, vec![("axis", Int(1))]);
                if let Some(code) = self.input_code(&name) {
                    // A runtime looks for a quantizer right in front of the product.
                    let raw = std::mem::replace(&mut flat, format!("{name}.input"));
                    self.rounded(&raw, &flat, code)?;
                }
                let all: Vec<&str> = std::iter::once(flat.as_str())
                    .chain(inputs.iter().map(String::as_str))
                    .collect();
                let attributes = vec![
                    ("alpha", Float(1.0)),
                    ("beta", Float(1.0)),
                    ("transB", Int(1)),
                ];
                self.node("Gemm", &all, raw, attributes);
            }
        }
        Ok(())
    }

    /// A layer's weights, behind a DequantizeLinear where they have codes; the name of the real tensor.
    fn weight(&mut self, layer: &str) -> Result<String, Error> {
        let name = format!("{layer}.weight");
        let tensor = self.net.state.require(&name)?.clone();
        let codes = self.net.codes.get(layer);
        let Some(weights) = codes.filter(|_| self.form != Form::Float) else {
            self.writer.floats(&name, &tensor.shape, &tensor.data);
            return Ok(name);
        };
        if self.form == Form::Qonnx {
            let decision = self.net.manifest.iter().find(|d| d.tensor == name);
            let bits = decision.map_or(8, |decision| decision.bits);
            self.quant_weight(&name, &tensor, weights, bits);
            return Ok(name);
        }
        let Some(stored) = StoredWeights::new(weights, self.form) else {
            // More bits than a type has: as the real numbers that they are.
            self.writer.floats(&name, &tensor.shape, &tensor.data);
            return Ok(name);
        };
        let channels = weights.scale.len();
        let [codes, scale, zero_point] =
            ["codes", "scale", "zero_point"].map(|part| format!("{name}.{part}"));
        let kind = stored.kind;
        self.writer
            .integers(&codes, kind, &tensor.shape, &stored.codes);
        self.writer
            .integers(&zero_point, kind, &[channels], &stored.zeros);
        self.writer.floats(&scale, &[channels], &weights.scale);
        let attributes = vec![("axis", Int(0))];
        self.node(
            "DequantizeLinear",
            &[&codes, &scale, &zero_point],
            &name,
            attributes,
        );
        Ok(name)
    }

    /// A layer's bias, if it has one: int32 in the scale of its sums where it has codes.
    fn bias(
        &mut self,
        topology: &Topology,
        id: NodeId,
        layer: &str,
    ) -> Result<Option<String>, Error> {
        let name = format!("{layer}.bias");
        let Some(tensor) = self.net.state.get(&name) else {
            return Ok(None);
        };
        let parts = (
            self.net.bias_codes.get(layer),
            self.net.codes.get(layer),
            self.input_code(layer),
        );
        let (Some(bias), Some(weights), Some(input)) = parts else {
            let channels = topology.shape(Value::Node(id)).channels;
            let data = tensor.data.clone();
            self.writer.floats(&name, &[channels], &data);
            return Ok(Some(name));
        };
        let [codes, scale] = ["codes", "scale"].map(|part| format!("{name}.{part}"));
        let scales: Vec<f32> = weights.scale.iter().map(|s| s * input.scale).collect();
        if let Some(tiny) = scales.iter().find(|s| !s.is_normal()) {
            return Err(refused(format!(
                "{name} has the scale {tiny:e}, which no runtime divides by"
            )));
        }
        if self.form == Form::Qonnx {
            let tensor = tensor.clone();
            self.quant_bias(&name, &tensor, &scales);
            return Ok(Some(name));
        }
        let bias = bias.clone();
        self.writer
            .integers(&codes, Integer::Int32, &[bias.len()], &bias);
        self.writer.floats(&scale, &[scales.len()], &scales);
        let attributes = vec![("axis", Int(0))];
        self.node("DequantizeLinear", &[&codes, &scale], &name, attributes);
        Ok(Some(name))
    }

    /// A BatchNorm that is still there.
    fn norm(&mut self, id: NodeId, x: &str) -> String {
        let topology = &self.net.topology;
        let node = topology.node(id);
        let raw = format!("{}.raw", node.name);
        let mut inputs = vec![x.to_owned()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            let name = format!("{}.{part}", node.name);
            if let Some(tensor) = self.net.state.get(&name) {
                self.writer.floats(&name, &tensor.shape, &tensor.data);
            }
            inputs.push(name);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let epsilon = match node.op {
            Op::BatchNorm { epsilon } => epsilon as f32,
            _ => 1e-5,
        };
        self.node(
            "BatchNormalization",
            &inputs,
            &raw,
            vec![("epsilon", Float(epsilon))],
        );
        raw
    }

    /// An operation that copies numbers: what is quantized before is quantized behind.
    fn copy(&mut self, units: &Units, id: NodeId, x: &Names) -> Result<Names, Error> {
        let topology = &self.net.topology;
        let node = topology.node(id).clone();
        let source = units.site(topology, Value::Node(id)).to_owned();
        let code = self.code(&source);
        let added = self.copied(&node.op, &node.name, &x.added)?;
        let forked = x.added != x.read;
        let read = match (code, forked) {
            (None, _) => added.clone(),
            (Some(code), false) => {
                self.rounded(&added, &node.name, code)?;
                return Ok(Names {
                    flat: x.flat,
                    ..Names::one(&node.name)
                });
            }
            (Some(code), true) => {
                let name = rounding_node(&node.name);
                let raw = self.copied(&node.op, &name, &x.read)?;
                self.rounded(&raw, &name, code)?;
                name
            }
        };
        Ok(Names {
            added,
            read,
            flat: x.flat,
        })
    }

    /// The copy itself; its name.
    fn copied(&mut self, op: &Op, name: &str, x: &str) -> Result<String, Error> {
        let raw = format!("{name}.raw");
        match op {
            Op::MaxPool(window) => {
                self.node("MaxPool", &[x], &raw, of_window(window));
                Ok(raw)
            }
            &Op::Subsample {
                stride,
                before,
                behind,
            } => {
                let parts =
                    ["starts", "ends", "axes", "steps"].map(|part| format!("{name}.{part}"));
                let step = stride as i64;
                let values = [[0, 0], [i64::MAX, i64::MAX], [2, 3], [step, step]];
                for (part, values) in parts.iter().zip(values) {
                    self.writer.int64(part, &values);
                }
                let sliced = format!("{name}.sliced");
                let [starts, ends, axes, steps] = &parts;
                self.node(
                    "Slice",
                    &[x, starts, ends, axes, steps],
                    &sliced,
                    Vec::new(),
                );
                self.pad(name, &sliced, (1, before, behind), 0.0);
                Ok(format!("{name}.padded1"))
            }
            Op::Gather(gather) => {
                let mut last = x.to_owned();
                let axes = [&gather.channels, &gather.rows, &gather.columns];
                for (axis, places) in (1..).zip(axes) {
                    last = self.chosen(name, &last, (axis, places), gather.fill)?;
                }
                Ok(last)
            }
            _ => Ok(x.to_owned()),
        }
    }

    fn pad(
        &mut self,
        name: &str,
        x: &str,
        (axis, before, behind): (usize, usize, usize),
        fill: f32,
    ) {
        let [pads, value, out] =
            ["pads", "fill", "padded"].map(|part| format!("{name}.{part}{axis}"));
        let mut all = [0; 8];
        (all[axis], all[4 + axis]) = (before as i64, behind as i64);
        self.writer.int64(&pads, &all);
        self.writer.floats(&value, &[], &[fill]);
        self.node("Pad", &[x, &pads, &value], &out, Vec::new());
    }

    /// Places of an axis: a Gather, and a Pad where nothing is chosen at the ends.
    fn chosen(
        &mut self,
        name: &str,
        x: &str,
        (axis, places): (usize, &Axis),
        fill: f32,
    ) -> Result<String, Error> {
        let Axis::Of(places) = places else {
            return Ok(x.to_owned());
        };
        let before = places.iter().take_while(|place| place.is_none()).count();
        let behind = places
            .iter()
            .rev()
            .take_while(|place| place.is_none())
            .count();
        let inside = places
            .get(before..places.len().saturating_sub(behind))
            .unwrap_or_default();
        let indices: Option<Vec<i64>> =
            inside.iter().map(|place| place.map(|p| p as i64)).collect();
        let Some(indices) = indices.filter(|indices| !indices.is_empty()) else {
            return Err(refused(format!(
                "{name} has gaps between the places that it takes"
            )));
        };
        let [list, taken] = ["places", "taken"].map(|part| format!("{name}.{part}{axis}"));
        self.writer.int64(&list, &indices);
        self.node(
            "Gather",
            &[x, &list],
            &taken,
            vec![("axis", Int(axis as i64))],
        );
        if before + behind == 0 {
            return Ok(taken);
        }
        self.pad(name, &taken, (axis, before, behind), fill);
        Ok(format!("{name}.padded{axis}"))
    }

    /// An operation without numbers of its own.
    fn plain(&mut self, op: &Op, x: &[&str], raw: &str) {
        match op {
            Op::Add => self.node("Add", x, raw, Vec::new()),
            Op::Multiply => self.node("Mul", x, raw, Vec::new()),
            Op::Concat => self.node("Concat", x, raw, vec![("axis", Int(1))]),
            Op::GlobalAvgPool => self.node("GlobalAveragePool", x, raw, Vec::new()),
            Op::AvgPool { window, counted } => {
                let mut attributes = of_window(window);
                attributes.retain(|(name, _)| *name != "dilations");
                let include = *counted != Padding::default();
                attributes.push(("count_include_pad", Int(include.into())));
                self.node("AveragePool", x, raw, attributes);
            }
            op if *op == Op::RELU => self.node("Relu", x, raw, Vec::new()),
            Op::Clip { low, high } => {
                let [least, most] = ["low", "high"].map(|part| format!("{raw}.{part}"));
                let mut inputs = vec![x[0], "", ""];
                if low.is_finite() {
                    self.writer.floats(&least, &[], &[*low]);
                    inputs[1] = &least;
                }
                if high.is_finite() {
                    self.writer.floats(&most, &[], &[*high]);
                    inputs[2] = &most;
                }
                self.node("Clip", &inputs, raw, Vec::new());
            }
            Op::Function(function) => self.function(*function, x, raw),
            _ => self.node("Identity", x, raw, Vec::new()),
        }
    }

    fn function(&mut self, function: Function, x: &[&str], raw: &str) {
        let gate = format!("{raw}.gate");
        match function {
            Function::Sigmoid => self.node("Sigmoid", x, raw, Vec::new()),
            Function::Tanh => self.node("Tanh", x, raw, Vec::new()),
            Function::LeakyRelu { alpha } => {
                self.node("LeakyRelu", x, raw, vec![("alpha", Float(alpha))]);
            }
            Function::Elu { alpha } => self.node("Elu", x, raw, vec![("alpha", Float(alpha))]),
            Function::HardSigmoid { alpha, beta } => {
                let attributes = vec![("alpha", Float(alpha)), ("beta", Float(beta))];
                self.node("HardSigmoid", x, raw, attributes);
            }
            Function::Silu => {
                self.node("Sigmoid", x, &gate, Vec::new());
                self.node("Mul", &[x[0], &gate], raw, Vec::new());
            }
            Function::HardSwish => {
                let attributes = vec![("alpha", Float(1.0 / 6.0)), ("beta", Float(0.5))];
                self.node("HardSigmoid", x, &gate, attributes);
                self.node("Mul", &[x[0], &gate], raw, Vec::new());
            }
        }
    }
}

fn of_window(window: &Window) -> Vec<(&'static str, Attribute)> {
    let Padding {
        top,
        bottom,
        left,
        right,
    } = window.padding;
    let pair = |values: [usize; 2]| Ints(values.map(|v| v as i64).to_vec());
    let pads = [top, left, bottom, right].map(|v| v as i64).to_vec();
    vec![
        ("dilations", pair(window.dilation)),
        ("kernel_shape", pair(window.kernel)),
        ("pads", Ints(pads)),
        ("strides", pair(window.stride)),
    ]
}

fn refused(reason: String) -> Error {
    Error::Export { reason }
}
