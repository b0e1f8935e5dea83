//! A tensor that can be quantized: named, whole, not empty, finite. Checked once, here, so that nothing later has to.

use crate::Error;

/// A borrowed row-major float32 tensor; axis 0 is the output channel.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    name: &'a str,
    data: &'a [f32],
    shape: Vec<usize>,
}

impl<'a> Values<'a> {
    /// The tensor `name` of `shape` with `data` in row-major order. An empty shape is a scalar.
    ///
    /// # Errors
    /// [`Error::Empty`] when an axis is 0, [`Error::Shape`] when the shape asks for another number of values,
    /// [`Error::NotFinite`] for the first NaN or infinity. Each names the tensor.
    pub fn new(name: &'a str, data: &'a [f32], shape: &[usize]) -> Result<Values<'a>, Error> {
        if shape.contains(&0) {
            return Err(Error::Empty {
                name: name.to_owned(),
                shape: shape.to_vec(),
            });
        }
        let asked = shape
            .iter()
            .try_fold(1_usize, |n, &axis| n.checked_mul(axis));
        if asked != Some(data.len()) {
            return Err(Error::Shape {
                name: name.to_owned(),
                shape: shape.to_vec(),
                found: data.len(),
            });
        }
        // A block at a time, so that the common case is a loop without an exit, which vectorizes.
        for (block, values) in data.chunks(4096).enumerate() {
            if !values.iter().fold(true, |ok, v| ok & v.is_finite()) {
                let inside = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
                let index = block * 4096 + inside;
                return Err(Error::NotFinite {
                    name: name.to_owned(),
                    index,
                    value: values[inside],
                });
            }
        }
        Ok(Values {
            name,
            data,
            shape: shape.to_vec(),
        })
    }

    /// Its name, for messages.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its values in row-major order.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_or_an_infinity_is_named_with_its_tensor_and_place() {
        let mut data = vec![0.5; 5000];
        data[4999] = f32::NEG_INFINITY;
        assert_eq!(
            Values::new("layer1.0.conv1.weight", &data, &[50, 100])
                .unwrap_err()
                .to_string(),
            "tensor \"layer1.0.conv1.weight\" has the value -inf at index 4999; only finite values can be quantized"
        );
        data[17] = f32::NAN;
        assert!(matches!(
            Values::new("w", &data, &[5000]),
            Err(Error::NotFinite { index: 17, .. })
        ));
    }

    #[test]
    fn empty_and_misshapen_tensors_are_refused_by_name() {
        assert!(matches!(
            Values::new("w", &[], &[0]),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            Values::new("w", &[], &[3, 0]),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            Values::new("w", &[1.0], &[2]),
            Err(Error::Shape { found: 1, .. })
        ));
        assert!(matches!(
            Values::new("w", &[1.0], &[usize::MAX, 2]),
            Err(Error::Shape { .. })
        ));
        assert!(Values::new("w", &[1.0], &[]).is_ok());
    }
}
