//! Reads the one shape of Python pickle that CIFAR's Python version has: a dictionary with an array of bytes and lists of
//! numbers. Nothing is executed: names of Python functions are compared with the few that rebuild a numpy array.
//!
//! Protocols 2 to 5 (the published files have 2, written by Python 2; people write them anew with Python 3). Everything that
//! is made on the way lies in one list and refers to the rest by index, so nesting costs no stack; the number of things and
//! the bytes they own are bounded by constants and by the length of the file.

mod machine;

use std::borrow::Cow;

use machine::Machine;

/// A Python value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// A function or class by module and name.
    Global(&'a str, &'a str),
    /// Index of an [`Object`].
    Object(usize),
    /// Anything that images and labels do not need.
    Other,
}

/// What can hold others, or owns memory.
#[derive(Debug)]
enum Object<'a> {
    Sequence(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Bytes(Vec<u8>),
    /// A numpy type, such as `u1`, and whether its bytes stand in the usual order.
    Type(String, bool),
    Array {
        shape: Vec<i64>,
        element: String,
        data: Value<'a>,
        /// Whether it lies column by column, as Fortran has it.
        columns_first: bool,
    },
}

/// A dictionary read from a file.
pub(super) struct Dict<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    objects: Vec<Object<'a>>,
}

impl<'a> Dict<'a> {
    /// Reads a whole file.
    pub fn read(file: &'a [u8]) -> Result<Dict<'a>, String> {
        let mut machine = Machine::new(file);
        let Value::Object(top) = machine.run()? else {
            return Err("it holds no dictionary".into());
        };
        match std::mem::replace(&mut machine.objects[top], Object::Bytes(Vec::new())) {
            Object::Dict(entries) => Ok(Dict {
                entries,
                objects: machine.objects,
            }),
            _ => Err("it holds no dictionary".into()),
        }
    }

    fn get(&self, key: &str) -> Result<Value<'a>, String> {
        let is_key = |found: &Value<'_>| match found {
            Value::Bytes(bytes) => *bytes == key.as_bytes(),
            Value::Text(text) => *text == key,
            Value::Object(at) => {
                matches!(&self.objects[*at], Object::Bytes(bytes) if bytes == key.as_bytes())
            }
            _ => false,
        };
        let found = self.entries.iter().find(|(found, _)| is_key(found));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("there is no `{key}` in it"))
    }

    /// The bytes of an array `[n, row]` of 8-bit numbers.
    pub fn rows(&self, key: &str, row: usize) -> Result<Cow<'_, [u8]>, String> {
        let wrong = || format!("`{key}` is no array of rows of {row} bytes");
        let Value::Object(at) = self.get(key)? else {
            return Err(wrong());
        };
        let Object::Array {
            shape,
            element,
            data,
            columns_first,
        } = &self.objects[at]
        else {
            return Err(wrong());
        };
        let data = self.bytes(*data).ok_or_else(wrong)?;
        let n = data.len() / row;
        if element != "u1" || shape[..] != [n as i64, row as i64] || n * row != data.len() {
            return Err(wrong());
        }
        if !columns_first {
            return Ok(Cow::Borrowed(data));
        }
        let turned = (0..data.len()).map(|i| data[i % row * n + i / row]);
        Ok(Cow::Owned(turned.collect()))
    }

    /// A list, or an array, of whole numbers.
    pub fn numbers(&self, key: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("`{key}` is no list of whole numbers");
        let Value::Object(at) = self.get(key)? else {
            return Err(wrong());
        };
        let number = |value: &Value<'_>| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        match &self.objects[at] {
            Object::Sequence(values) => values.iter().map(number).collect::<Option<_>>(),
            Object::Array { element, data, .. } => self
                .bytes(*data)
                .and_then(|data| whole_numbers(element, data)),
            _ => None,
        }
        .ok_or_else(wrong)
    }

    fn bytes(&self, value: Value<'a>) -> Option<&[u8]> {
        bytes_of(&self.objects, value)
    }
}

fn bytes_of<'b>(objects: &'b [Object<'_>], value: Value<'b>) -> Option<&'b [u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Object(at) => match &objects[at] {
            Object::Bytes(bytes) => Some(bytes),
            _ => None,
        },
        _ => None,
    }
}

/// Little-endian numbers of a numpy type.
fn whole_numbers(element: &str, data: &[u8]) -> Option<Vec<i64>> {
    let (signed, size) = match element {
        "u1" => (false, 1),
        "i1" => (true, 1),
        "i2" => (true, 2),
        "i4" => (true, 4),
        "i8" => (true, 8),
        "u2" => (false, 2),
        "u4" => (false, 4),
        _ => return None,
    };
    let number = |bytes: &[u8]| {
        let negative = signed && bytes[size - 1] & 0x80 != 0;
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        wide[..size].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    data.len()
        .is_multiple_of(size)
        .then(|| data.chunks_exact(size).map(number).collect())
}
