//! Tensors that a file holds or that follow from those it holds.

use std::rc::Rc;

use half::f16;

use super::file::Folder;
use super::proto;
use crate::error::{Error, quoted};

/// Row-major numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    /// ONNX's number of the type that the file has.
    pub kind: i32,
    pub shape: Vec<usize>,
    pub data: Data,
    /// Where the numbers are codes times a scale.
    pub grid: Option<Rc<Grid>>,
}

/// Scales of codes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid {
    /// One, or one for each place along the axis.
    pub scales: Vec<f32>,
    pub axis: usize,
    /// Of a code.
    pub bits: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Float(Vec<f32>),
    /// Integers of any width; whether they are codes of 8 bits or indices, their operator says.
    Int(Vec<i64>),
}

/// Numbers that a constant may have; the largest networks have a tenth of it in one tensor.
pub(crate) const LARGEST: usize = 1 << 29;

/// Extents beside one of 0 may not be larger: lists are made along each axis.
const LARGEST_OF_NONE: usize = 1 << 16;

/// The product of extents, if it is no larger than [`LARGEST`].
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) && shape.iter().any(|&extent| extent > LARGEST_OF_NONE) {
        return None;
    }
    let n = shape
        .iter()
        .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
    n.filter(|&n| n <= LARGEST)
}

impl Constant {
    pub fn float(shape: Vec<usize>, data: Vec<f32>) -> Self {
        let data = Data::Float(data);
        let kind = 1;
        Self {
            kind,
            shape,
            data,
            grid: None,
        }
    }

    pub fn ints(data: Vec<i64>) -> Self {
        Self {
            kind: 7,
            shape: vec![data.len()],
            data: Data::Int(data),
            grid: None,
        }
    }

    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    /// Its numbers as float32; none where they are integers.
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Float(values) => Some(values),
            Data::Int(_) => None,
        }
    }

    /// Its integers; none where it holds real numbers.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Float(_) => None,
            Data::Int(values) => Some(values),
        }
    }

    /// Reads a tensor of a file.
    pub fn read(tensor: &proto::Tensor, folder: &Folder<'_>) -> Result<Self, Error> {
        let fail =
            |problem: String| Error::onnx(format!("tensor {}: {problem}", quoted(&tensor.name)));
        let shape: Option<Vec<usize>> = tensor
            .dims
            .iter()
            .map(|&extent| usize::try_from(extent).ok())
            .collect();
        let shape = shape.ok_or_else(|| fail(format!("extents {:?}", tensor.dims)))?;
        let n = elements(&shape).ok_or_else(|| fail(format!("extents {shape:?} are too large")))?;
        let kind = Kind::of(tensor.data_type)
            .ok_or_else(|| fail(format!("numbers of type {} are not read", tensor.data_type)))?;
        let outside;
        let raw = match tensor.data_location {
            0 => &tensor.raw_data,
            _ => {
                let wanted = kind.bytes(n);
                outside = folder
                    .external(&tensor.external_data, wanted)
                    .map_err(fail)?;
                &outside
            }
        };
        let typed = [
            tensor.float_data.len(),
            tensor.int32_data.len(),
            tensor.int64_data.len(),
            tensor.double_data.len(),
        ];
        let in_fields: usize = typed.iter().sum();
        if !raw.is_empty() && in_fields > 0 {
            return Err(fail("its numbers are there twice".to_owned()));
        }
        let data = match raw.is_empty() && tensor.data_location == 0 {
            true => kind.fields(tensor),
            false if raw.len() == kind.bytes(n) => Some(kind.raw(raw, n)),
            false => {
                return Err(fail(format!(
                    "{} bytes, not {} for extents {shape:?}",
                    raw.len(),
                    kind.bytes(n)
                )));
            }
        };
        let kind = tensor.data_type;
        let found = data.map(|data| Self {
            kind,
            shape,
            data,
            grid: None,
        });
        match found {
            Some(constant) if constant.len() == n => Ok(constant),
            Some(constant) => Err(fail(format!(
                "{} numbers for extents {:?}",
                constant.len(),
                constant.shape
            ))),
            None => Err(fail(
                "numbers of that type in that field are not read".to_owned(),
            )),
        }
    }
}

/// The number types that are read, by ONNX's number.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F16,
    F64,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    Bool,
    U4,
    I4,
}

impl Kind {
    fn of(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            21 => Self::U4,
            22 => Self::I4,
            _ => return None,
        })
    }

    /// What `n` numbers take.
    fn bytes(self, n: usize) -> usize {
        match self {
            Self::U4 | Self::I4 => n.div_ceil(2),
            Self::U8 | Self::I8 | Self::Bool => n,
            Self::F16 | Self::U16 | Self::I16 => 2 * n,
            Self::F32 | Self::I32 => 4 * n,
            Self::F64 | Self::I64 => 8 * n,
        }
    }

    /// Little-endian numbers.
    fn raw(self, raw: &[u8], n: usize) -> Data {
        fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
            raw.as_chunks::<N>().0.iter().copied()
        }
        match self {
            Self::F32 => Data::Float(words(raw).map(f32::from_le_bytes).collect()),
            Self::F16 => Data::Float(words(raw).map(|w| f16::from_le_bytes(w).to_f32()).collect()),
            Self::F64 => Data::Float(words(raw).map(|w| f64::from_le_bytes(w) as f32).collect()),
            Self::U8 | Self::Bool => Data::Int(raw.iter().map(|&b| b.into()).collect()),
            Self::I8 => Data::Int(raw.iter().map(|&b| (b as i8).into()).collect()),
            Self::U16 => Data::Int(words(raw).map(|w| u16::from_le_bytes(w).into()).collect()),
            Self::I16 => Data::Int(words(raw).map(|w| i16::from_le_bytes(w).into()).collect()),
            Self::I32 => Data::Int(words(raw).map(|w| i32::from_le_bytes(w).into()).collect()),
            Self::I64 => Data::Int(words(raw).map(i64::from_le_bytes).collect()),
            // The low half first.
            Self::U4 | Self::I4 => {
                let halves = raw.iter().flat_map(|b| [b & 15, b >> 4]).take(n);
                let signed = |half: u8| match self == Self::I4 && half > 7 {
                    true => i64::from(half) - 16,
                    false => half.into(),
                };
                Data::Int(halves.map(signed).collect())
            }
        }
    }

    /// Numbers in the fields of their type.
    fn fields(self, tensor: &proto::Tensor) -> Option<Data> {
        Some(match self {
            Self::F32 => Data::Float(tensor.float_data.clone()),
            Self::F64 => Data::Float(tensor.double_data.iter().map(|&x| x as f32).collect()),
            Self::F16 => {
                let half = |&bits: &i32| f16::from_bits(bits as u16).to_f32();
                Data::Float(tensor.int32_data.iter().map(half).collect())
            }
            Self::I64 => Data::Int(tensor.int64_data.clone()),
            Self::U4 | Self::I4 => return None,
            _ => Data::Int(tensor.int32_data.iter().map(|&x| x.into()).collect()),
        })
    }
}
