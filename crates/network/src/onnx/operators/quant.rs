//! QONNX's node Quant: a quantizer from real numbers to real numbers, with its number of bits as an operand.

use std::rc::Rc;

use super::{Call, one};
use crate::onnx::constant::{self, Constant, Data};
use crate::onnx::import::{Import, Known};

/// Whose operators are called so, QONNX's and, before it, Brevitas'.
pub(super) fn is_domain(domain: &str) -> bool {
    ["qonnx.custom_op.general", "onnx.brevitas"].contains(&domain)
}

/// An activation's: left out, so that the network is read in float.
pub(super) fn quantize(import: &mut Import, call: &Call<'_>) -> Result<Vec<Known>, String> {
    let quant = Quant::new(call, None)?;
    let view = call.view(0)?.clone();
    let (&[scale], &[zero_point]) = (&quant.scales[..], &quant.zero_points[..]) else {
        return Err("an activation with several scales".to_owned());
    };
    import.note("quantizers of activations count with method = stored alone".to_owned());
    let code = engine::Code {
        scale,
        zero_point: zero_point as i32,
        quant_min: quant.low as i32,
        quant_max: quant.high as i32,
    };
    import.quantized(view.value, code);
    one(view)
}

/// `scale (round(clamp(x / scale + zero_point)) - zero_point)` of a constant.
pub(super) fn values(call: &Call<'_>) -> Result<Constant, String> {
    let from = call.floats(0)?;
    let quant = Quant::new(call, Some(&from.shape))?;
    let each = from.len() / quant.scales.len();
    let value = |(i, &x): (usize, &f32)| {
        let group = i / each.max(1);
        let (scale, zero) = (quant.scales[group], quant.zero_points[group]);
        let code = (x / scale + zero).clamp(quant.low as f32, quant.high as f32);
        (code.round_ties_even() - zero) * scale
    };
    let numbers = from.floats().unwrap_or_default();
    let known = constant::Grid {
        scales: quant.scales.clone(),
        axis: 0,
        bits: quant.bits,
    };
    Ok(Constant {
        kind: 1,
        shape: from.shape.clone(),
        data: Data::Float(numbers.iter().enumerate().map(value).collect()),
        grid: Some(Rc::new(known)),
    })
}

struct Quant {
    /// One, or one for each place along the first axis.
    scales: Vec<f32>,
    zero_points: Vec<f32>,
    low: i64,
    high: i64,
    bits: u32,
}

impl Quant {
    /// Of a constant of that shape, or of an activation.
    fn new(call: &Call<'_>, shape: Option<&[usize]>) -> Result<Self, String> {
        call.at_most(4)?;
        let mode = call.text("rounding_mode")?.unwrap_or("ROUND".to_owned());
        if !["ROUND", "HALF_EVEN"].contains(&mode.to_uppercase().as_str()) {
            return Err(format!("rounding_mode {mode:.20}; ROUND is read"));
        }
        let scales = along(call, 1, shape)?;
        let usable = |s: &f32| s.is_normal() && *s > 0.0 && (1.0 / s).is_finite();
        if let Some(wrong) = scales.iter().find(|s| !usable(s)) {
            return Err(format!("a scale of {wrong:e}"));
        }
        let mut zero_points = along(call, 2, shape)?;
        let whole = |z: &f32| z.fract() == 0.0 && z.abs() < 1e6;
        if let Some(wrong) = zero_points.iter().find(|z| !whole(z)) {
            return Err(format!("a zero point of {wrong}"));
        }
        let n = scales.len();
        if zero_points.len() == 1 {
            zero_points = vec![zero_points[0]; n];
        }
        if zero_points.len() != n || n == 0 {
            return Err(format!("{n} scales and {} zero points", zero_points.len()));
        }
        let bits = match call.constant(3)? {
            Some(bits) => match (bits.floats(), bits.integers()) {
                (Some(&[bits]), _) => bits,
                (_, Some(&[bits])) => bits as f32,
                _ => return Err("several numbers of bits".to_owned()),
            },
            None => return Err("no number of bits".to_owned()),
        };
        if bits.fract() != 0.0 || !(1.0..=32.0).contains(&bits) {
            return Err(format!("{bits} bits; 1 to 32 are read"));
        }
        let bits = bits as u32;
        let narrow = i64::from(call.int("narrow", 0)? != 0);
        let (low, high) = match call.int("signed", 1)? {
            0 => (0, (1_i64 << bits) - 1 - narrow),
            _ => (-(1_i64 << (bits - 1)) + narrow, (1_i64 << (bits - 1)) - 1),
        };
        if shape.is_none() && bits > 16 {
            return Err(format!("an activation of {bits} bits; 1 to 16 are read"));
        }
        Ok(Self {
            scales,
            zero_points,
            low,
            high,
            bits,
        })
    }
}

/// An operand with one number, or one for each place along the first axis of `shape`.
fn along(call: &Call<'_>, index: usize, shape: Option<&[usize]>) -> Result<Vec<f32>, String> {
    let operand = call.floats(index)?;
    let numbers = operand.floats().unwrap_or_default();
    let first = shape.and_then(|shape| shape.first().copied());
    let own = &operand.shape;
    let along_first = own.len() == shape.map_or(0, <[usize]>::len)
        && own.first().copied() == first
        && own.iter().skip(1).all(|&extent| extent == 1);
    match numbers.len() == 1 || along_first {
        true => Ok(numbers.to_vec()),
        false => Err(format!(
            "operand {index} of extents {own:?}, neither one number nor one for each channel"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::Shape;

    use crate::onnx::{Attribute, Writer, read};

    const DOMAIN: &str = "qonnx.custom_op.general";

    /// What the images are rounded to in a file with one Quant node, or why it is refused.
    fn quant(
        (domain, mode): (&str, &'static str),
        [scale, zero, bits]: [f32; 3],
        [signed, narrow]: [i64; 2],
    ) -> Result<engine::Code, String> {
        let mut writer = Writer::new("test", "images", Shape::new(3, 2, 2));
        for (name, value) in [("scale", scale), ("zero", zero), ("bits", bits)] {
            writer.floats(name, &[], &[value]);
        }
        let attributes = vec![
            ("signed", Attribute::Int(signed)),
            ("narrow", Attribute::Int(narrow)),
            ("rounding_mode", Attribute::Text(mode)),
        ];
        let inputs = ["images", "scale", "zero", "bits"];
        writer.node_of(domain, "Quant", &inputs, "x", attributes);
        writer.node("GlobalAveragePool", &["x"], "pool", Vec::new());
        writer.node("Flatten", &["pool"], "y", vec![("axis", Attribute::Int(1))]);
        let file = writer.finish(("y", 3), 13, &[(DOMAIN, 1)], &BTreeMap::new());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, file).unwrap();
        let found = read(&path).map_err(|error| error.to_string())?;
        Ok(found.codes[engine::INPUT])
    }

    #[test]
    fn the_codes_of_an_activation_follow_from_bits_sign_and_narrowness() {
        let ends = |bits, sign| {
            let code = quant((DOMAIN, "ROUND"), [0.5, 1.0, bits], sign).unwrap();
            assert_eq!((code.scale, code.zero_point), (0.5, 1));
            (code.quant_min, code.quant_max)
        };
        assert_eq!(ends(4.0, [0, 0]), (0, 15));
        assert_eq!(ends(4.0, [0, 1]), (0, 14));
        assert_eq!(ends(4.0, [1, 0]), (-8, 7));
        assert_eq!(ends(4.0, [1, 1]), (-7, 7));
        assert_eq!(ends(16.0, [0, 0]), (0, 65_535));
    }

    #[test]
    fn what_is_no_quantizer_that_is_read_is_refused_in_one_line() {
        let usual = (DOMAIN, "ROUND");
        for (kind, numbers, part) in [
            ((DOMAIN, "CEIL"), [0.5, 0.0, 8.0], "rounding_mode CEIL"),
            (("elsewhere", "ROUND"), [0.5, 0.0, 8.0], "domain"),
            (usual, [0.0, 0.0, 8.0], "a scale of 0"),
            (usual, [0.5, 0.25, 8.0], "a zero point of 0.25"),
            (usual, [0.5, 0.0, 2.5], "2.5 bits"),
            (usual, [0.5, 0.0, 17.0], "an activation of 17 bits"),
        ] {
            let line = quant(kind, numbers, [1, 0]).unwrap_err();
            assert!(line.contains(part) && !line.contains('\n'), "{line}");
        }
    }
}
