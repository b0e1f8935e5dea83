//! What each operator becomes. An operator is a function from its operands to its results and one line in [`TABLE`]; where all operands
//! are constants, those of `constants` are computed at once.

mod arithmetic;
mod constants;
mod layers;
mod normalization;
mod parts;
mod pointwise;
mod pools;
mod qoperator;
mod quant;
mod quantizers;
mod shapes;

use std::rc::Rc;

use super::constant::Constant;
use super::file::Folder;
use super::import::{Import, Known, is_standard};
use super::proto;
use super::view::View;
use crate::error::quoted;

type Operator = fn(&mut Import, &Call<'_>) -> Result<Vec<Known>, String>;

const TABLE: &[(&str, Operator)] = &[
    ("Add", arithmetic::add),
    ("AveragePool", pools::average),
    ("BatchNormalization", normalization::batch),
    ("Cast", pointwise::cast),
    ("Clip", pointwise::clip),
    ("Concat", parts::concat),
    ("Conv", layers::conv),
    ("DequantizeLinear", quantizers::dequantize),
    ("Div", arithmetic::divide),
    ("Dropout", pointwise::identity),
    ("Elu", pointwise::elu),
    ("Flatten", shapes::flatten),
    ("Gather", parts::gather),
    ("Gemm", layers::gemm),
    ("GlobalAveragePool", pools::global_average),
    ("GlobalMaxPool", pools::global_max),
    ("HardSigmoid", pointwise::hard_sigmoid),
    ("HardSwish", pointwise::hard_swish),
    ("Identity", pointwise::identity),
    ("IntQuant", quant::quantize),
    ("LeakyRelu", pointwise::leaky_relu),
    ("LogSoftmax", pointwise::softmax),
    ("MatMul", layers::matmul),
    ("Max", pointwise::max),
    ("MaxPool", pools::max),
    ("Min", pointwise::min),
    ("Mul", arithmetic::multiply),
    ("PRelu", pointwise::prelu),
    ("Pad", parts::pad),
    ("QGemm", qoperator::gemm),
    ("QLinearAdd", qoperator::add),
    ("QLinearAveragePool", qoperator::average),
    ("QLinearConcat", qoperator::concat),
    ("QLinearConv", qoperator::conv),
    ("QLinearGlobalAveragePool", qoperator::global_average),
    ("QLinearLeakyRelu", qoperator::leaky_relu),
    ("QLinearMatMul", qoperator::matmul),
    ("QLinearMul", qoperator::multiply),
    ("QLinearSigmoid", qoperator::sigmoid),
    ("Quant", quant::quantize),
    ("QuantizeLinear", quantizers::quantize),
    ("ReduceMax", pools::reduce_max),
    ("ReduceMean", pools::reduce_mean),
    ("Relu", pointwise::relu),
    ("Reshape", shapes::reshape),
    ("Shape", shapes::shape),
    ("Sigmoid", pointwise::sigmoid),
    ("Slice", parts::slice),
    ("Softmax", pointwise::softmax),
    ("Split", parts::split),
    ("Squeeze", shapes::squeeze),
    ("Sub", arithmetic::subtract),
    ("Sum", arithmetic::sum),
    ("Tanh", pointwise::tanh),
    ("Transpose", shapes::transpose),
    ("Unsqueeze", shapes::unsqueeze),
];

/// A node of the file and what it reads.
pub(crate) struct Call<'a> {
    node: &'a proto::Node,
    pub folder: &'a Folder<'a>,
    /// What its value is to be called.
    pub name: String,
    pub operands: Vec<Option<Known>>,
    pub opset: i64,
    pub batch: usize,
    /// Numbers that a constant may have that is computed here.
    pub most: usize,
}

/// The results of `node`.
pub(crate) fn run(
    import: &mut Import,
    node: &proto::Node,
    folder: &Folder<'_>,
) -> Result<Vec<Known>, String> {
    let is_known = match node.op_type.as_str() {
        "IntQuant" | "Quant" => quant::is_domain(&node.domain),
        name if qoperator::real(name).is_some() => {
            is_standard(&node.domain) || qoperator::is_domain(&node.domain)
        }
        _ => is_standard(&node.domain),
    };
    if !is_known {
        return Err(format!(
            "an operator of the domain {}, which is not read",
            quoted(&node.domain)
        ));
    }
    if node.output.iter().all(String::is_empty) {
        return Err("it makes nothing".to_owned());
    }
    let operands = node.input.iter().map(|name| match name.as_str() {
        "" => Ok(None),
        name => match import.get(name) {
            Some(known) => Ok(Some(known.clone())),
            None => Err(format!("its operand {} is not there", quoted(name))),
        },
    });
    let operands = operands.collect::<Result<Vec<Option<Known>>, String>>()?;
    // Operators copy what they read, some of it several times and into the network.
    let read = operands.iter().map(|operand| match operand {
        Some(Known::Constant(constant)) => constant.len(),
        _ => 0,
    });
    import.spend(read.sum())?;
    let call = Call {
        node,
        folder,
        name: name(node),
        operands,
        opset: import.opset,
        batch: import.batch,
        most: import.left(),
    };
    let is_constant = |operand: &Option<Known>| !matches!(operand, Some(Known::View(_)));
    if call.operands.iter().all(is_constant)
        && let Some(folded) = constants::fold(&call)
    {
        let folded = folded?;
        import.spend(folded.len())?;
        return Ok(vec![Known::Constant(Rc::new(folded))]);
    }
    let found = TABLE.iter().find(|(name, _)| *name == node.op_type);
    match found {
        Some((_, operator)) => operator(import, &call),
        None => Err("an operator that is not read".to_owned()),
    }
}

/// What a node's value is to be called: what its weights are called without `.weight`, else what the node is called, in PyTorch's way
/// without the operator and with each part once (`/layer1/layer1.0/conv1/Conv` is `layer1.0.conv1`), else what it makes.
fn name(node: &proto::Node) -> String {
    let parameters = node.input.iter().skip(1);
    let mut layers = parameters.filter_map(|name| name.strip_suffix(".weight"));
    if let Some(layer) = layers.next().filter(|layer| !layer.contains('/')) {
        return layer.to_owned();
    }
    if node.name.is_empty() {
        return node.output.first().cloned().unwrap_or_default();
    }
    let (op_type, name) = match qoperator::real(&node.op_type) {
        // What ONNX Runtime makes of the real operator's name.
        Some(real) => (real, node.name.strip_suffix("_quant")),
        None => (&node.op_type[..], None),
    };
    let name = name.unwrap_or(&node.name);
    let Some(path) = name.strip_prefix('/') else {
        return name.to_owned();
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        let repeats = |last: &&str| part.starts_with(&format!("{last}."));
        if parts.last().is_some_and(repeats) {
            parts.pop();
        }
        parts.push(part);
    }
    let is_operator = parts.last().is_some_and(|last| last.starts_with(op_type));
    if is_operator && parts.len() > 1 && ["Conv", "Gemm", "MatMul"].contains(&op_type) {
        parts.pop();
    }
    parts.join(".")
}

impl<'a> Call<'a> {
    /// The file's name of the first result.
    pub fn output(&self) -> &'a str {
        self.node.output.first().map_or("", |name| name)
    }

    /// How many results it has.
    pub fn outputs(&self) -> usize {
        self.node.output.len()
    }

    pub fn op_type(&self) -> &'a str {
        &self.node.op_type
    }

    /// Refuses more operands than the operator has.
    pub fn at_most(&self, operands: usize) -> Result<(), String> {
        match self.operands.len() > operands {
            true => Err(format!("{} operands", self.operands.len())),
            false => Ok(()),
        }
    }

    /// The same node with other operands.
    pub fn with(&self, operands: Vec<Option<Known>>) -> Self {
        Self {
            node: self.node,
            folder: self.folder,
            name: self.name.clone(),
            operands,
            opset: self.opset,
            batch: self.batch,
            most: self.most,
        }
    }

    fn known(&self, index: usize) -> Option<&Known> {
        self.operands.get(index)?.as_ref()
    }

    /// An operand that depends on the images.
    pub fn view(&self, index: usize) -> Result<&View, String> {
        match self.known(index) {
            Some(Known::View(view)) => Ok(view),
            Some(Known::Constant(_)) => {
                Err(format!("operand {index} does not depend on the images"))
            }
            None => Err(format!("operand {index} is missing")),
        }
    }

    /// An operand that does not, if it is there.
    pub fn constant(&self, index: usize) -> Result<Option<&Rc<Constant>>, String> {
        match self.known(index) {
            Some(Known::Constant(constant)) => Ok(Some(constant)),
            Some(Known::View(_)) => Err(format!("operand {index} depends on the images")),
            None => Ok(None),
        }
    }

    /// A real operand that must be there.
    pub fn floats(&self, index: usize) -> Result<&Rc<Constant>, String> {
        let constant = self.constant(index)?;
        let constant = constant.ok_or_else(|| format!("operand {index} is missing"))?;
        match constant.floats() {
            Some(_) => Ok(constant),
            None => Err(format!("operand {index} holds integers")),
        }
    }

    /// Integers from an attribute, as older operator sets have them, or an operand.
    pub fn ints_of(&self, attribute: &str, index: usize) -> Result<Option<Vec<i64>>, String> {
        if let Some(ints) = self.ints(attribute)? {
            return Ok(Some(ints));
        }
        match self.constant(index)? {
            None => Ok(None),
            Some(constant) => match constant.integers() {
                Some(ints) => Ok(Some(ints.to_vec())),
                None => Err(format!("operand {index} holds no integers")),
            },
        }
    }

    fn attribute(&self, name: &str, kind: i32) -> Result<Option<&'a proto::Attribute>, String> {
        match self
            .node
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
        {
            None => Ok(None),
            // Files of the first years say no type.
            Some(attribute) if attribute.kind == kind || attribute.kind == 0 => Ok(Some(attribute)),
            Some(_) => Err(format!("the attribute {name} has another type")),
        }
    }

    pub fn int(&self, name: &str, absent: i64) -> Result<i64, String> {
        Ok(self.attribute(name, 2)?.map_or(absent, |a| a.i))
    }

    pub fn float(&self, name: &str, absent: f32) -> Result<f32, String> {
        Ok(self.attribute(name, 1)?.map_or(absent, |a| a.f))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        let found = self.attribute(name, 3)?;
        Ok(found.map(|a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        Ok(self.attribute(name, 7)?.map(|a| a.ints.clone()))
    }

    pub fn tensor(&self, name: &str) -> Result<Option<&'a proto::Tensor>, String> {
        Ok(self.attribute(name, 4)?.and_then(|a| a.t.as_ref()))
    }

    /// Whether it has an attribute of that name.
    pub fn has(&self, name: &str) -> bool {
        self.node
            .attribute
            .iter()
            .any(|attribute| attribute.name == name)
    }

    pub fn floats_attribute(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        Ok(self.attribute(name, 6)?.map(|a| a.floats.clone()))
    }
}

/// One result.
pub(super) fn one(view: View) -> Result<Vec<Known>, String> {
    Ok(vec![Known::View(view)])
}

/// An axis counted from the front, of a tensor of `rank` axes.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(from_front) {
        Ok(found) if found < rank => Ok(found),
        _ => Err(format!("axis {axis} of {rank}")),
    }
}

/// [`axis`] of each.
pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    axes.iter().map(|&at| axis(at, rank)).collect()
}

/// The attribute `perm` of Transpose; the axes in reverse where it is missing.
pub(super) fn permutation(call: &Call<'_>, rank: usize) -> Result<Vec<usize>, String> {
    let order = call.ints("perm")?;
    let order = order.unwrap_or_else(|| (0..rank as i64).rev().collect());
    axes(&order, rank)
}
