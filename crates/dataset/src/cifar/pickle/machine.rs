//! The stack machine that a pickle is a program for: what its codes make, without calling anything.

use std::collections::HashMap;

use super::{Object, Value, bytes_of};

/// More things than this are in no such file: 50,000 images have two labels and a name each.
const MOST_VALUES: usize = 4 << 20;

/// Python's pickle machine, as far as it is needed.
pub(super) struct Machine<'a> {
    file: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value<'a>>,
    pub(super) objects: Vec<Object<'a>>,
    values: usize,
    owned: usize,
}

impl<'a> Machine<'a> {
    /// Before the first byte of `file`.
    pub(super) fn new(file: &'a [u8]) -> Machine<'a> {
        Machine {
            file,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            values: 0,
            owned: 0,
        }
    }

    /// What the file makes.
    pub(super) fn run(&mut self) -> Result<Value<'a>, String> {
        if self.file.first() != Some(&0x80) {
            return Err("it is no pickle of protocol 2 or later".into());
        }
        loop {
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => {
                self.count()?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.popped()?),
            b'N' => self.push(Value::Other)?,
            0x88 | 0x89 => self.push(Value::Bool(code == 0x88))?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let low = self.length(4)? as u32;
                self.push(Value::Int(i64::from(low as i32)))?;
            }
            0x8a => {
                let size = self.length(1)?;
                let bytes = self.take(size)?;
                let number = match size {
                    0 => Some(0),
                    1..=8 => {
                        let fill = if bytes[size - 1] & 0x80 != 0 { 0xff } else { 0 };
                        let mut wide = [fill; 8];
                        wide[..size].copy_from_slice(bytes);
                        Some(i64::from_le_bytes(wide))
                    }
                    _ => None,
                };
                self.push(number.map_or(Value::Other, Value::Int))?;
            }
            b'U' | b'C' => self.bytes(1)?,
            b'T' | b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b']' | b')' => self.object(Object::Sequence(Vec::new()))?,
            b'}' => self.object(Object::Dict(Vec::new()))?,
            b't' => {
                let items = self.popped()?;
                self.object(Object::Sequence(items))?;
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(code - 0x84))?;
                self.object(Object::Sequence(items))?;
            }
            b'a' => {
                let items = self.last(1)?;
                self.extend(items)?;
            }
            b'e' => {
                let items = self.popped()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.insert(&items)?;
            }
            b'u' => {
                let items = self.popped()?;
                self.insert(&items)?;
            }
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => {
                let (key, value) = (self.memo.len(), self.top()?);
                self.count()?;
                self.memo.insert(key, value);
            }
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name))?;
            }
            0x93 => match self.last(2)?[..] {
                [Value::Text(module), Value::Text(name)] => {
                    self.push(Value::Global(module, name))?;
                }
                _ => return Err("a Python name is no text".into()),
            },
            b'R' | 0x81 => {
                let call = self.last(2)?;
                let made = self.call(call[0], call[1])?;
                self.push(made)?;
            }
            b'b' => {
                let state = self.pop()?;
                let of = self.top()?;
                self.build(of, state)?;
            }
            other => {
                return Err(format!(
                    "pickle code 0x{other:02x} at byte {} is not read",
                    self.at - 1
                ));
            }
        }
        Ok(())
    }

    /// What a call makes: an array, its type, bytes that Python 3 wrote as text. Of others nothing is needed.
    fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<Value<'a>, String> {
        let Value::Global(module, name) = function else {
            return Ok(Value::Other);
        };
        let arguments = self.sequence(arguments).to_vec();
        let numpy = module.split('.').next() == Some("numpy");
        let made = match (name, &arguments[..]) {
            ("_reconstruct", _) if numpy => Object::Array {
                shape: Vec::new(),
                element: String::new(),
                data: Value::Other,
                columns_first: false,
            },
            ("dtype", [of, ..]) if numpy => Object::Type(self.word(*of), true),
            ("_frombuffer", [data, element, shape, order]) if numpy => Object::Array {
                shape: self.shape(*shape),
                element: self.element(*element)?,
                data: *data,
                columns_first: self.word(*order) == "F",
            },
            ("encode", [Value::Text(text), ..]) if module == "_codecs" => {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
                let bytes = bytes.ok_or("a text that stands for bytes has other letters")?;
                self.owned += bytes.len();
                if self.owned > self.file.len() {
                    return Err("it makes more bytes than it has".into());
                }
                Object::Bytes(bytes)
            }
            _ => return Ok(Value::Other),
        };
        self.objects.push(made);
        Ok(Value::Object(self.objects.len() - 1))
    }

    /// Fills an array or a type that a call made.
    fn build(&mut self, of: Value<'a>, state: Value<'a>) -> Result<(), String> {
        let Value::Object(at) = of else {
            return Ok(());
        };
        let state = self.sequence(state).to_vec();
        match (&self.objects[at], &state[..]) {
            (Object::Array { .. }, [_, shape, element, columns_first, data]) => {
                self.objects[at] = Object::Array {
                    shape: self.shape(*shape),
                    element: self.element(*element)?,
                    data: *data,
                    columns_first: *columns_first == Value::Bool(true),
                };
            }
            (Object::Type(name, _), [_, order, ..]) => {
                let usual = self.word(*order) != ">";
                self.objects[at] = Object::Type(name.clone(), usual);
            }
            _ => {}
        }
        Ok(())
    }

    fn element(&self, value: Value<'a>) -> Result<String, String> {
        match value {
            Value::Object(at) => match &self.objects[at] {
                Object::Type(_, false) => Err("an array has its bytes in the other order".into()),
                Object::Type(name, true) => Ok(name.clone()),
                _ => Ok(String::new()),
            },
            _ => Ok(String::new()),
        }
    }

    fn shape(&self, value: Value<'a>) -> Vec<i64> {
        let number = |value: &Value<'_>| match value {
            Value::Int(number) => *number,
            _ => -1,
        };
        self.sequence(value).iter().map(number).collect()
    }

    fn sequence(&self, value: Value<'a>) -> &[Value<'a>] {
        match value {
            Value::Object(at) => match &self.objects[at] {
                Object::Sequence(values) => values,
                _ => &[],
            },
            _ => &[],
        }
    }

    fn word(&self, value: Value<'a>) -> String {
        match value {
            Value::Text(text) => text.to_owned(),
            other => bytes_of(&self.objects, other)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .unwrap_or_default(),
        }
    }

    fn extend(&mut self, items: Vec<Value<'a>>) -> Result<(), String> {
        if let Value::Object(at) = self.top()?
            && let Object::Sequence(values) = &mut self.objects[at]
        {
            values.extend(items);
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Value<'a>]) -> Result<(), String> {
        if let Value::Object(at) = self.top()?
            && let Object::Dict(entries) = &mut self.objects[at]
        {
            entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn object(&mut self, object: Object<'a>) -> Result<(), String> {
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    fn count(&mut self) -> Result<(), String> {
        self.values += 1;
        match self.values > MOST_VALUES {
            true => Err(format!("it holds more than {MOST_VALUES} values")),
            false => Ok(()),
        }
    }

    fn top(&self) -> Result<Value<'a>, String> {
        self.stack.last().copied().ok_or_else(damaged)
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    /// The last `n` values.
    fn last(&mut self, n: usize) -> Result<Vec<Value<'a>>, String> {
        let from = self.stack.len().checked_sub(n).ok_or_else(damaged)?;
        Ok(self.stack.split_off(from))
    }

    /// The values behind the last mark.
    fn popped(&mut self) -> Result<Vec<Value<'a>>, String> {
        let from = self.marks.pop().ok_or_else(damaged)?;
        match from <= self.stack.len() {
            true => Ok(self.stack.split_off(from)),
            false => Err(damaged()),
        }
    }

    fn put(&mut self, size: usize) -> Result<(), String> {
        let (key, value) = (self.length(size)?, self.top()?);
        self.count()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, size: usize) -> Result<(), String> {
        let key = self.length(size)?;
        let value = self.memo.get(&key).copied().ok_or_else(damaged)?;
        self.push(value)
    }

    fn int(&mut self, size: usize) -> Result<(), String> {
        let number = self.length(size)? as i64;
        self.push(Value::Int(number))
    }

    fn bytes(&mut self, size: usize) -> Result<(), String> {
        let length = self.length(size)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes))
    }

    fn text(&mut self, size: usize) -> Result<(), String> {
        let length = self.length(size)?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| damaged())?;
        self.push(Value::Text(text))
    }

    /// A text up to the end of its line.
    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.file[self.at..];
        let length = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(damaged)?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| damaged())
    }

    /// A little-endian number of `size` bytes.
    fn length(&mut self, size: usize) -> Result<usize, String> {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(self.take(size)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| damaged())
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.file.len());
        let end = end.ok_or("it ends too early")?;
        let bytes = &self.file[self.at..end];
        self.at = end;
        Ok(bytes)
    }
}

fn damaged() -> String {
    "it is damaged".into()
}
