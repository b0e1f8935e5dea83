//! Stored bytes to float32 values.
//!
//! float16 and bfloat16 are widened exactly; float64 is rounded to the nearest float32, as `tensor.float()` does.
//! Every value must be finite before and after.

use half::{bf16, f16};

use crate::error::{Error, quoted};

/// The element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// Anything else, by name: no weight has it.
    Other(&'static str),
}

impl Element {
    /// Bytes of one value; 0 for types that are not read.
    pub fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_) => 0,
        }
    }
}

/// Converts the little-endian `bytes` of the tensor `name`.
pub(super) fn to_f32(name: &str, element: Element, bytes: &[u8]) -> Result<Vec<f32>, Error> {
    match element {
        Element::F64 => convert(name, bytes, f64::from_le_bytes),
        Element::F32 => convert(name, bytes, |b| f64::from(f32::from_le_bytes(b))),
        Element::F16 => convert(name, bytes, |b| f16::from_le_bytes(b).to_f64()),
        Element::Bf16 => convert(name, bytes, |b| bf16::from_le_bytes(b).to_f64()),
        Element::Other(dtype) => Err(Error::ElementType {
            tensor: quoted(name),
            dtype: dtype.to_owned(),
        }),
    }
}

// Passing through f64 keeps one code path: it holds every value of the other three types, and rounding it to f32
// gives those back unchanged.
fn convert<const N: usize>(
    name: &str,
    bytes: &[u8],
    value: impl Fn([u8; N]) -> f64,
) -> Result<Vec<f32>, Error> {
    let (chunks, _) = bytes.as_chunks::<N>();
    let mut out = Vec::with_capacity(chunks.len());
    for (index, &chunk) in chunks.iter().enumerate() {
        let stored = value(chunk);
        let rounded = stored as f32;
        if !rounded.is_finite() {
            return Err(Error::NonFinite {
                tensor: quoted(name),
                index,
                value: stored,
            });
        }
        out.push(rounded);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_type_gives_its_own_values() {
        let values = [0.0, -0.0, 1.0, -1.5, 0.000_061_035_156_25, 448.0];
        let bytes =
            |f: &dyn Fn(f64) -> Vec<u8>| values.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
        let expected: Vec<u32> = values.iter().map(|&v| (v as f32).to_bits()).collect();
        for (element, bytes) in [
            (Element::F64, bytes(&|v| v.to_le_bytes().to_vec())),
            (Element::F32, bytes(&|v| (v as f32).to_le_bytes().to_vec())),
            (
                Element::F16,
                bytes(&|v| f16::from_f64(v).to_le_bytes().to_vec()),
            ),
            (
                Element::Bf16,
                bytes(&|v| bf16::from_f64(v).to_le_bytes().to_vec()),
            ),
        ] {
            let read = to_f32("t", element, &bytes).unwrap();
            assert_eq!(
                read.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                expected,
                "{element:?}"
            );
        }
    }

    #[test]
    fn subnormal_float32_values_survive() {
        let value = f32::from_bits(1);
        assert_eq!(
            to_f32("t", Element::F32, &value.to_le_bytes()).unwrap()[0].to_bits(),
            1
        );
    }

    #[test]
    fn a_value_that_is_no_finite_float32_is_named_with_its_place() {
        let bytes: Vec<u8> = [1.0f32, f32::NAN]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let message = to_f32("fc.bias", Element::F32, &bytes)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("'fc.bias'") && message.contains("index 1"),
            "{message}"
        );
        assert!(to_f32("t", Element::F64, &1e300f64.to_le_bytes()).is_err());
        assert!(to_f32("t", Element::F16, &f16::INFINITY.to_le_bytes()).is_err());
    }

    #[test]
    fn integers_are_refused_by_name() {
        let message = to_f32("conv1.weight", Element::Other("int64"), &[0; 8])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("'conv1.weight'") && message.contains("int64"),
            "{message}"
        );
    }
}
