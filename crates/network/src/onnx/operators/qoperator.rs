//! Operators on integers, ONNX Runtime's QOperator format: each stands for a real operator with a DequantizeLinear in front of every
//! operand and a QuantizeLinear behind it, and is read as these.
//!
//! An operand is followed by its scale and zero point. A bias has int32 codes in the scale of the sums and zero at 0. ONNX Runtime leaves
//! a ReLU out where the quantizer behind it cuts at zero, because its zero point is the least code: it is put back, which changes no code
//! and makes the network right in float, too.

use std::rc::Rc;

use super::{Call, Operator, arithmetic, layers, parts, pointwise, pools, quantizers};
use crate::onnx::constant::Constant;
use crate::onnx::import::{Import, Known};

/// The real operator of one on integers; none for others.
pub(super) fn real(op_type: &str) -> Option<&str> {
    match op_type {
        "QGemm" => Some("Gemm"),
        other => other.strip_prefix("QLinear"),
    }
}

/// Whose operators are called so: some are ONNX's own.
pub(super) fn is_domain(domain: &str) -> bool {
    domain == "com.microsoft"
}

pub(super) fn conv(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(9)?;
    let operands = vec![
        Some(read(import, call, 0, 1)?),
        Some(read(import, call, 3, 0)?),
        bias(call, 8)?,
    ];
    let made = layers::conv(import, &call.with(operands))?;
    rounded(import, call, made, (6, true))
}

pub(super) fn matmul(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(8)?;
    let operands = vec![
        Some(read(import, call, 0, 1)?),
        Some(read(import, call, 3, 1)?),
    ];
    let made = layers::matmul(import, &call.with(operands))?;
    rounded(import, call, made, (6, true))
}

pub(super) fn gemm(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    call.at_most(9)?;
    let alpha = call.float("alpha", 1.0)?;
    if alpha != 1.0 {
        return Err(format!("alpha {alpha}; 1 is read"));
    }
    let axis = i64::from(call.int("transB", 0)? == 0);
    let operands = vec![
        Some(read(import, call, 0, 1)?),
        Some(read(import, call, 3, axis)?),
        bias(call, 6)?,
    ];
    let made = layers::gemm(import, &call.with(operands))?;
    match call.known(7) {
        Some(_) => rounded(import, call, made, (7, true)),
        None => Ok(made),
    }
}

pub(super) fn add(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_two(import, call, arithmetic::add, true)
}

pub(super) fn multiply(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_two(import, call, arithmetic::multiply, false)
}

pub(super) fn average(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_one(import, call, pools::average)
}

pub(super) fn global_average(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_one(import, call, pools::global_average)
}

pub(super) fn leaky_relu(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_one(import, call, pointwise::leaky_relu)
}

pub(super) fn sigmoid(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    of_one(import, call, pointwise::sigmoid)
}

/// Its result's scale and zero point come first.
pub(super) fn concat(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let parts = (2..call.operands.len()).step_by(3);
    let operands = parts.map(|at| read(import, call, at, 1).map(Some));
    let operands = operands.collect::<Result<Vec<_>, _>>()?;
    let made = parts::concat(import, &call.with(operands))?;
    rounded(import, call, made, (0, false))
}

fn of_one(import: &mut Import, call: &Call<'_>, operator: Operator) -> Result<Vec<Known>, String> {
    call.at_most(5)?;
    if call.int("channels_last", 0)? != 0 {
        return Err("channels_last is not read".to_owned());
    }
    let operands = vec![Some(read(import, call, 0, 1)?)];
    let made = operator(import, &call.with(operands))?;
    rounded(import, call, made, (3, false))
}

fn of_two(
    import: &mut Import,
    call: &Call<'_>,
    operator: Operator,
    cuts: bool,
) -> Result<Vec<Known>, String> {
    call.at_most(8)?;
    let operands = vec![
        Some(read(import, call, 0, 1)?),
        Some(read(import, call, 3, 1)?),
    ];
    let made = operator(import, &call.with(operands))?;
    rounded(import, call, made, (6, cuts))
}

/// The real operand at `at`; of a constant, several scales lie along `axis`.
fn read(import: &mut Import, call: &Call<'_>, at: usize, axis: i64) -> Result<Known, String> {
    let quantizer = call.with((at..at + 3).map(|i| call.known(i).cloned()).collect());
    let made = match quantizer.known(0) {
        Some(Known::Constant(_)) => {
            let values = quantizers::values_along(&quantizer, axis);
            values.map(|values| Known::Constant(Rc::new(values)))
        }
        Some(Known::View(view)) => {
            let view = Known::View(view.clone());
            quantizers::dequantize(import, &quantizer).map(|_| view)
        }
        None => return Err(format!("operand {at} is missing")),
    };
    made.map_err(|problem| format!("the quantizer of operand {at}: {problem}"))
}

/// The real bias at `at`, of an operator that reads images at 0 and weights at 3.
fn bias(call: &Call<'_>, at: usize) -> Result<Option<Known>, String> {
    let Some(codes) = call.constant(at)? else {
        return Ok(None);
    };
    let integers = codes.integers().ok_or("a bias of real numbers")?;
    let (images, weights) = (call.floats(1)?, call.floats(4)?);
    let (Some(&[images]), Some(weights)) = (images.floats(), weights.floats()) else {
        return Err("an activation with several scales".to_owned());
    };
    let scale = |i: usize| match weights {
        [one] => Ok(images * one),
        all if all.len() == integers.len() => Ok(images * all[i]),
        all => Err(format!(
            "{} scales for a bias of {}",
            all.len(),
            integers.len()
        )),
    };
    let value = |(i, &q): (usize, &i64)| Ok(q as f32 * scale(i)?);
    let values = integers.iter().enumerate().map(value);
    let values = values.collect::<Result<Vec<f32>, String>>()?;
    let bias = Constant::float(codes.shape.clone(), values);
    Ok(Some(Known::Constant(Rc::new(bias))))
}

/// What was made, rounded to the scale and zero point at `at`; `cuts`: a ReLU may have been left out in front.
fn rounded(
    import: &mut Import,
    call: &Call<'_>,
    made: Vec<Known>,
    (at, cuts): (usize, bool),
) -> Result<Vec<Known>, String> {
    let quantizer = |made: Vec<Known>| {
        let scale = (at..at + 2).map(|i| call.known(i).cloned());
        call.with(made.into_iter().map(Some).chain(scale).collect())
    };
    let mut quantizer = quantizer(made);
    if cuts && quantizers::cuts_at_zero(&quantizer)? {
        let relu = Call {
            name: format!("{}.relu", call.name),
            ..quantizer.with(vec![quantizer.known(0).cloned()])
        };
        quantizer.operands[0] = pointwise::relu(import, &relu)?.pop();
    }
    quantizers::quantize(import, &quantizer)
        .map_err(|problem| format!("the quantizer of its result: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::{Code, Shape};

    use crate::onnx::{Attribute, Imported, Integer, Writer, read};

    /// A file with scales and zero points of some values, and weights.
    fn writer() -> Writer {
        let mut writer = Writer::new("test", "images", Shape::new(3, 4, 4));
        for (name, scale, zero) in [
            ("x", 0.5, 128),
            ("y", 0.25, 0),
            ("z", 0.125, 100),
            ("sum", 0.75, 0),
            ("mean", 0.0625, 3),
            ("out", 2.0, 120),
        ] {
            writer.floats(&format!("{name}.s"), &[], &[scale]);
            writer.integers(&format!("{name}.z"), Integer::Uint8, &[], &[zero]);
        }
        let codes: Vec<i32> = (0..27).map(|i| i * 5 % 23 - 11).collect();
        writer.integers("w", Integer::Int8, &[3, 3, 3, 1], &codes);
        writer.floats("w.s", &[3], &[0.5, 0.25, 0.125]);
        writer.integers("w.z", Integer::Int8, &[3], &[0; 3]);
        writer.integers("b", Integer::Int32, &[3], &[7, -9, 11]);
        writer.floats("b.s", &[3], &[0.25, 0.125, 0.0625]);
        let codes: Vec<i32> = (0..12).map(|i| i * 7 % 19 - 9).collect();
        writer.integers("v", Integer::Int8, &[2, 6], &codes);
        writer.integers("v.turned", Integer::Int8, &[6, 2], &turned(&codes));
        writer.floats("v.s", &[2], &[0.5, 0.25]);
        writer.integers("v.z", Integer::Int8, &[2], &[1, -1]);
        writer.integers("c", Integer::Int32, &[2], &[100, -100]);
        writer.floats("c.s", &[2], &[0.03125, 0.015625]);
        writer
    }

    fn turned(codes: &[i32]) -> Vec<i32> {
        let column = |c: usize| codes.iter().skip(c).step_by(6).copied();
        (0..6).flat_map(column).collect()
    }

    fn pads() -> Vec<(&'static str, Attribute)> {
        vec![("pads", Attribute::Ints(vec![1, 0, 1, 0]))]
    }

    fn file(writer: Writer, classes: usize) -> Result<Imported, String> {
        let domains = [("com.microsoft", 1)];
        let file = writer.finish(("result", classes), 17, &domains, &BTreeMap::new());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, file).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    /// Operands, each followed by its scale and zero point.
    fn quantized<'a>(names: &[&'a str], more: &[&'a str]) -> Vec<String> {
        let each = |name: &&str| {
            let (codes, of) = name.split_once('@').unwrap_or((name, name));
            [codes.to_owned(), format!("{of}.s"), format!("{of}.z")]
        };
        let more = more.iter().map(|&name| name.to_owned());
        names.iter().flat_map(each).chain(more).collect()
    }

    /// A network of every operator, its classifier by `last`, on integers.
    fn on_integers(last: &str) -> Result<Imported, String> {
        let mut writer = writer();
        let mut node = |op: &str, inputs: &[String], output: &str, attributes| {
            let domain = match op {
                "QGemm" | "QLinearAdd" | "QLinearConcat" | "QLinearGlobalAveragePool" => {
                    "com.microsoft"
                }
                _ => "",
            };
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            writer.node_of(domain, op, &inputs, output, attributes);
        };
        let to = |y: &'static str| [format!("{y}.s"), format!("{y}.z")];
        let with = |mut inputs: Vec<String>, y: &'static str| {
            inputs.extend(to(y));
            inputs
        };
        node(
            "QuantizeLinear",
            &with(vec!["images".into()], "x"),
            "q",
            vec![],
        );
        let mut inputs = with(quantized(&["q@x", "w"], &[]), "y");
        inputs.push("b".into());
        node("QLinearConv", &inputs, "conv", pads());
        inputs = with(quantized(&["q@x", "w"], &[]), "z");
        node("QLinearConv", &inputs, "other", pads());
        let inputs = with(quantized(&["conv@y", "other@z"], &[]), "sum");
        node("QLinearAdd", &inputs, "added", vec![]);
        let inputs = [to("sum").to_vec(), quantized(&["added@sum", "conv@y"], &[])].concat();
        node(
            "QLinearConcat",
            &inputs,
            "both",
            vec![("axis", Attribute::Int(1))],
        );
        let inputs = with(quantized(&["both@sum"], &[]), "mean");
        node("QLinearGlobalAveragePool", &inputs, "mean", vec![]);
        node(
            "Flatten",
            &["mean".into()],
            "flat",
            vec![("axis", Attribute::Int(1))],
        );
        match last {
            "QGemm" => {
                let inputs = with(quantized(&["flat@mean", "v"], &["c"]), "out");
                node(last, &inputs, "codes", vec![("transB", Attribute::Int(1))]);
            }
            _ => {
                let inputs = with(quantized(&["flat@mean", "v.turned@v"], &[]), "out");
                node(last, &inputs, "codes", vec![]);
            }
        }
        node(
            "DequantizeLinear",
            &quantized(&["codes@out"], &[]),
            "result",
            vec![],
        );
        file(writer, 2)
    }

    /// The same network of real operators between quantizers, with the ReLUs that cutting at zero means.
    fn of_pairs(last: &str) -> Imported {
        let mut writer = writer();
        let mut pair = |x: &str, of: &str| -> String {
            let [scale, zero] = ["s", "z"].map(|part| format!("{of}.{part}"));
            let (codes, out) = (format!("{x}.codes"), format!("{x}.back"));
            writer.node("QuantizeLinear", &[x, &scale, &zero], &codes, vec![]);
            writer.node("DequantizeLinear", &[&codes, &scale, &zero], &out, vec![]);
            out
        };
        let x = pair("images", "x");
        let (y, z) = (pair("conv.relu", "y"), pair("other", "z"));
        let (sum, both) = (pair("added.relu", "sum"), pair("both", "sum"));
        let (mean, _) = (pair("mean", "mean"), pair("codes", "out"));
        let axis = |axis| vec![("axis", Attribute::Int(axis))];
        let along = |op: &str| i64::from(op != "QGemm");
        writer.node("DequantizeLinear", &["w", "w.s", "w.z"], "w.real", axis(0));
        writer.node("DequantizeLinear", &["b", "b.s"], "b.real", axis(0));
        writer.node("DequantizeLinear", &["c", "c.s"], "c.real", axis(0));
        let v = if last == "QGemm" { "v" } else { "v.turned" };
        writer.node(
            "DequantizeLinear",
            &[v, "v.s", "v.z"],
            "v.real",
            axis(along(last)),
        );
        writer.node("Conv", &[&x, "w.real", "b.real"], "conv", pads());
        writer.node("Relu", &["conv"], "conv.relu", vec![]);
        writer.node("Conv", &[&x, "w.real"], "other", pads());
        writer.node("Add", &[&y, &z], "added", vec![]);
        writer.node("Relu", &["added"], "added.relu", vec![]);
        writer.node("Concat", &[&sum, &y], "both", axis(1));
        writer.node("GlobalAveragePool", &[&both], "mean", vec![]);
        writer.node("Flatten", &[&mean], "flat", axis(1));
        match last {
            "QGemm" => {
                let inputs = ["flat", "v.real", "c.real"];
                writer.node(
                    "Gemm",
                    &inputs,
                    "codes",
                    vec![("transB", Attribute::Int(1))],
                );
            }
            _ => writer.node("MatMul", &["flat", "v.real"], "codes", vec![]),
        }
        writer.node("Identity", &["codes.back"], "result", vec![]);
        file(writer, 2).unwrap()
    }

    #[test]
    fn operators_on_integers_are_read_as_the_pairs_that_they_stand_for() {
        for last in ["QGemm", "QLinearMatMul"] {
            let (found, expected) = (on_integers(last).unwrap(), of_pairs(last));
            assert_eq!(found.network.topology(), expected.network.topology());
            assert_eq!(found.network.tensors(), expected.network.tensors());
            assert_eq!(found.codes, expected.codes);
            assert_eq!(found.weights, expected.weights);
            assert_eq!(found.codes.len(), 7, "{last}");
            assert_eq!(found.weights["conv"], (vec![0.5, 0.25, 0.125], 8));
            let least = Code {
                scale: 0.25,
                zero_point: 0,
                quant_min: 0,
                quant_max: 255,
            };
            assert_eq!(found.codes["conv.relu"], least);
            assert!(!found.codes.contains_key("conv"));
        }
    }

    #[test]
    fn what_is_rounded_again_after_it_was_moved_has_a_node_of_its_own_and_what_is_not_has_none() {
        let again = |behind: &str| {
            let mut writer = writer();
            writer.node("QuantizeLinear", &["images", "x.s", "x.z"], "q", vec![]);
            writer.node("DequantizeLinear", &["q", "x.s", "x.z"], "real", vec![]);
            let kernel = vec![("kernel_shape", Attribute::Ints(vec![2, 2]))];
            writer.node("MaxPool", &["real"], "moved", kernel);
            let [scale, zero] = ["s", "z"].map(|part| format!("{behind}.{part}"));
            writer.node("QuantizeLinear", &["moved", &scale, &zero], "p", vec![]);
            writer.node("DequantizeLinear", &["p", &scale, &zero], "back", vec![]);
            writer.node("GlobalAveragePool", &["back"], "mean", vec![]);
            writer.node("Flatten", &["mean"], "result", vec![]);
            file(writer, 3).unwrap()
        };
        let (same, other) = (again("x"), again("z"));
        let nodes = |found: &Imported| found.network.topology().nodes().len();
        assert_eq!(nodes(&other), nodes(&same) + 1);
        let code = other.codes["p.again"];
        assert_eq!((code.scale, code.zero_point), (0.125, 100));
        assert_eq!(other.codes[engine::INPUT], same.codes[engine::INPUT]);
    }

    #[test]
    fn what_is_not_read_of_them_is_refused_in_one_line() {
        let one = |op: &str, inputs: &[&str], attributes| {
            let mut writer = writer();
            writer.node("QuantizeLinear", &["images", "x.s", "x.z"], "q", vec![]);
            writer.node_of("com.microsoft", op, inputs, "result", attributes);
            file(writer, 3).unwrap_err()
        };
        let pool = ["q", "x.s", "x.z", "y.s", "y.z"];
        let last = |last| vec![("channels_last", Attribute::Int(last))];
        let line = one("QLinearGlobalAveragePool", &pool, last(1));
        assert!(
            line.contains("channels_last") && !line.contains('\n'),
            "{line}"
        );
        let line = one(
            "QLinearGlobalAveragePool",
            &["q", "w.s", "x.z", "y.s", "y.z"],
            vec![],
        );
        assert!(line.contains("the quantizer of operand 0"), "{line}");
        let line = one("QLinearSoftmax", &pool, vec![]);
        assert!(
            line.contains("QLinearSoftmax") && line.contains("not read"),
            "{line}"
        );
        let gemm = ["q", "x.s", "x.z", "v", "v.s", "v.z"];
        let line = one("QGemm", &gemm, vec![("alpha", Attribute::Float(0.5))]);
        assert!(line.contains("alpha 0.5"), "{line}");
        let conv = ["q", "x.s", "x.z", "w", "w.s", "w.z", "y.s", "y.z", "c"];
        let line = one("QLinearConv", &conv, vec![]);
        assert!(line.contains("3 scales for a bias of 2"), "{line}");
    }
}
