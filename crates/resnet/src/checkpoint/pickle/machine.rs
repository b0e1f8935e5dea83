//! The stack machine: opcodes in, nodes out.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::dangerous::is_dangerous;
use super::{Budget, Id, Refusal, Tree, Value};
use crate::error::quoted;

/// Reads one pickle up to its end; `input` is left just behind it. Returns the tree and its root.
pub(in super::super) fn read(
    input: &mut impl BufRead,
    budget: &mut Budget,
) -> Result<(Tree, Id), Refusal> {
    let mut machine = Machine {
        tree: Tree::default(),
        budget,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    machine.run(input)?;
    let root = machine.top()?;
    Ok((machine.tree, root))
}

/// Stack, marks and memo of one pickle.
pub(super) struct Machine<'a> {
    pub tree: Tree,
    pub budget: &'a mut Budget,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

fn cut() -> Refusal {
    Refusal::damaged("it ends early")
}

fn empty() -> Refusal {
    Refusal::damaged("its stack runs empty")
}

impl Machine<'_> {
    fn run(&mut self, input: &mut impl BufRead) -> Result<(), Refusal> {
        loop {
            let [op] = bytes(input)?;
            match op {
                b'.' => return Ok(()),
                0x80 => {
                    bytes::<1>(input)?;
                }
                0x95 => {
                    bytes::<8>(input)?;
                }
                // Scalars.
                b'N' => self.push(Value::Other)?,
                0x88 | 0x89 => self.push(Value::Bool(op == 0x88))?,
                b'K' => {
                    let [byte] = bytes(input)?;
                    self.push(Value::Int(byte.into()))?;
                }
                b'M' => {
                    let number = u16::from_le_bytes(bytes(input)?);
                    self.push(Value::Int(number.into()))?;
                }
                b'J' => {
                    let number = i32::from_le_bytes(bytes(input)?);
                    self.push(Value::Int(number.into()))?;
                }
                b'G' => {
                    bytes::<8>(input)?;
                    self.push(Value::Other)?;
                }
                b'F' => {
                    self.line(input)?;
                    self.push(Value::Other)?;
                }
                b'I' | b'L' => {
                    let line = self.line(input)?;
                    let value = whole(&line)?;
                    self.push(value)?;
                }
                0x8a => {
                    let len = u64::from(bytes::<1>(input)?[0]);
                    self.long(input, len)?;
                }
                0x8b => {
                    let len = u64::from(u32::from_le_bytes(bytes(input)?));
                    self.long(input, len)?;
                }
                // Text, and bytes, which only legacy text is made of.
                b'V' => {
                    let line = self.line(input)?;
                    self.text(&line)?;
                }
                b'U' | 0x8c => {
                    let len = u64::from(bytes::<1>(input)?[0]);
                    self.counted_text(input, len)?;
                }
                b'T' | b'X' => {
                    let len = u64::from(u32::from_le_bytes(bytes(input)?));
                    self.counted_text(input, len)?;
                }
                0x8d => {
                    let len = u64::from_le_bytes(bytes(input)?);
                    self.counted_text(input, len)?;
                }
                b'C' => {
                    let len = u64::from(bytes::<1>(input)?[0]);
                    self.skip(input, len)?;
                }
                b'B' => {
                    let len = u64::from(u32::from_le_bytes(bytes(input)?));
                    self.skip(input, len)?;
                }
                0x8e | 0x96 => {
                    let len = u64::from_le_bytes(bytes(input)?);
                    self.skip(input, len)?;
                }
                // Containers.
                b'(' => {
                    self.budget.charge(8)?;
                    self.marks.push(self.stack.len());
                }
                b')' | b']' | 0x8f => self.push(Value::Sequence(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b't' | b'l' | 0x91 => {
                    let items = self.take_to_mark()?;
                    self.push(Value::Sequence(items))?;
                }
                0x85..=0x87 => {
                    let items = self.take(usize::from(op - 0x84))?;
                    self.push(Value::Sequence(items))?;
                }
                b'd' => {
                    let items = self.take_to_mark()?;
                    self.push(Value::Dict(Vec::new()))?;
                    self.put_pairs(items)?;
                }
                b'a' => {
                    let items = self.take(1)?;
                    self.put_items(items)?;
                }
                b'e' | 0x90 => {
                    let items = self.take_to_mark()?;
                    self.put_items(items)?;
                }
                b's' => {
                    let items = self.take(2)?;
                    self.put_pairs(items)?;
                }
                b'u' => {
                    let items = self.take_to_mark()?;
                    self.put_pairs(items)?;
                }
                // The stack and the memo.
                b'0' if self.marks.last() == Some(&self.stack.len()) => {
                    self.marks.pop();
                }
                b'0' => {
                    self.take(1)?;
                }
                b'1' => {
                    self.take_to_mark()?;
                }
                b'2' => {
                    let top = self.top()?;
                    self.push_id(top)?;
                }
                b'g' => {
                    let index = index(&self.line(input)?)?;
                    self.fetch(index)?;
                }
                b'h' => {
                    let index = u32::from(bytes::<1>(input)?[0]);
                    self.fetch(index)?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(bytes(input)?);
                    self.fetch(index)?;
                }
                b'p' => {
                    let index = index(&self.line(input)?)?;
                    self.memoize(index)?;
                }
                b'q' => {
                    let index = u32::from(bytes::<1>(input)?[0]);
                    self.memoize(index)?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(bytes(input)?);
                    self.memoize(index)?;
                }
                0x94 => {
                    let index = u32::try_from(self.memo.len()).map_err(|_| Refusal::Bomb)?;
                    self.memoize(index)?;
                }
                // Classes, persistent ids and calls.
                b'c' => {
                    let (module, name) = (self.line(input)?, self.line(input)?);
                    self.class(
                        &String::from_utf8_lossy(&module),
                        &String::from_utf8_lossy(&name),
                    )?;
                }
                0x93 => {
                    let items = self.take(2)?;
                    let (Value::Text(module), Value::Text(name)) = (
                        self.tree.get(items[0]).clone(),
                        self.tree.get(items[1]).clone(),
                    ) else {
                        return Err(Refusal::damaged("a class whose name is no text"));
                    };
                    self.class(&module, &name)?;
                }
                b'P' => {
                    self.line(input)?;
                    return Err(Refusal::damaged("a persistent id that is no storage"));
                }
                b'Q' => {
                    let id = self.take(1)?[0];
                    let storage = self.storage(id)?;
                    self.push(storage)?;
                }
                b'R' | 0x81 => {
                    let items = self.take(2)?;
                    let made = self.call(items[0], items[1])?;
                    self.push_made(made)?;
                }
                0x92 => {
                    let items = self.take(3)?;
                    let made = self.call(items[0], items[1])?;
                    self.push_made(made)?;
                }
                b'b' => {
                    let state = self.take(1)?[0];
                    let object = self.top()?;
                    self.build(object, state)?;
                }
                _ => return Err(Refusal::damaged("an unknown opcode")),
            }
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Refusal> {
        let id = self.tree.add(value, self.budget)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_id(&mut self, id: Id) -> Result<(), Refusal> {
        self.budget.charge(16)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_made(&mut self, made: Made) -> Result<(), Refusal> {
        match made {
            Made::New(value) => self.push(value),
            Made::Same(id) => self.push_id(id),
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Refusal> {
        // A byte that is no UTF-8 may take three.
        self.budget.charge(3 * text.len() as u64)?;
        self.push(Value::Text(String::from_utf8_lossy(text).into()))
    }

    /// Text of a declared length, which is paid for before it is read.
    fn counted_text(&mut self, input: &mut impl Read, len: u64) -> Result<(), Refusal> {
        let text = self.counted(input, len)?;
        self.text(&text)
    }

    fn counted(&mut self, input: &mut impl Read, len: u64) -> Result<Vec<u8>, Refusal> {
        self.budget.charge(len)?;
        let mut text = Vec::new();
        input.take(len).read_to_end(&mut text).map_err(|_| cut())?;
        if text.len() as u64 != len {
            return Err(cut());
        }
        Ok(text)
    }

    fn skip(&mut self, input: &mut impl Read, len: u64) -> Result<(), Refusal> {
        self.budget.charge(len)?;
        match std::io::copy(&mut input.take(len), &mut std::io::sink()) {
            Ok(skipped) if skipped == len => self.push(Value::Other),
            _ => Err(cut()),
        }
    }

    /// A whole number as little-endian bytes in two's complement.
    fn long(&mut self, input: &mut impl Read, len: u64) -> Result<(), Refusal> {
        let bytes = self.counted(input, len)?;
        let sign = if bytes.last().is_some_and(|&byte| byte & 0x80 != 0) {
            0xff
        } else {
            0
        };
        let mut low = [sign; 8];
        let fits = bytes.iter().skip(8).all(|&byte| byte == sign);
        for (to, &from) in low.iter_mut().zip(&bytes) {
            *to = from;
        }
        let number = i64::from_le_bytes(low);
        let same_sign = (number < 0) == (sign == 0xff);
        self.push(if fits && same_sign {
            Value::Int(number)
        } else {
            Value::Other
        })
    }

    /// A line of text without its end. No line of a pickle is long: numbers, class names, protocol 0 text.
    fn line(&mut self, input: &mut impl BufRead) -> Result<Vec<u8>, Refusal> {
        const LONGEST: u64 = 1 << 20;
        let mut line = Vec::new();
        let read = input.take(LONGEST).read_until(b'\n', &mut line);
        self.budget.charge(line.len() as u64)?;
        if read.is_err() || line.pop() != Some(b'\n') {
            return Err(cut());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn class(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        let dotted = format!("{module}.{name}");
        if is_dangerous(module, name) {
            return Err(Refusal::Code(quoted(&dotted)));
        }
        self.budget.charge(dotted.len() as u64)?;
        self.push(Value::Class(dotted.into()))
    }

    fn put_items(&mut self, items: Vec<Id>) -> Result<(), Refusal> {
        let top = self.top()?;
        match self.tree.get_mut(top) {
            Some(Value::Sequence(into)) => into.extend(items),
            Some(Value::Object { parts, .. }) => parts.extend(items),
            _ => return Err(Refusal::damaged("items for something that is no list")),
        }
        Ok(())
    }

    fn put_pairs(&mut self, items: Vec<Id>) -> Result<(), Refusal> {
        if !items.len().is_multiple_of(2) {
            return Err(Refusal::damaged("a dictionary key without a value"));
        }
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let top = self.top()?;
        match self.tree.get_mut(top) {
            Some(Value::Dict(into) | Value::Module(into)) => into.extend(pairs),
            // A class of its own that is filled as a dictionary is one: defaultdict and its like.
            Some(object @ Value::Object { .. }) => *object = Value::Dict(pairs.collect()),
            _ => return Err(Refusal::damaged("keys for something that is no dictionary")),
        }
        Ok(())
    }

    fn fetch(&mut self, index: u32) -> Result<(), Refusal> {
        let id = self.memo.get(&index).copied();
        self.push_id(id.ok_or_else(|| Refusal::damaged("an unknown memo index"))?)
    }

    fn memoize(&mut self, index: u32) -> Result<(), Refusal> {
        self.budget.charge(32)?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn take(&mut self, count: usize) -> Result<Vec<Id>, Refusal> {
        let from = self.stack.len().checked_sub(count);
        let from = from
            .filter(|&from| from >= self.floor())
            .ok_or_else(empty)?;
        Ok(self.stack.split_off(from))
    }

    fn take_to_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        let mark = self.marks.pop().ok_or_else(empty)?;
        if mark > self.stack.len() {
            return Err(empty());
        }
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Id, Refusal> {
        let top = self
            .stack
            .last()
            .filter(|_| self.stack.len() > self.floor());
        top.copied().ok_or_else(empty)
    }
}

/// What a call gives: a new object or one of its arguments.
pub(super) enum Made {
    New(Value),
    Same(Id),
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|_| cut())?;
    Ok(bytes)
}

fn index(line: &[u8]) -> Result<u32, Refusal> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.parse()
        .map_err(|_| Refusal::damaged("a memo index that is no number"))
}

/// A whole number as text, with or without Python 2's `L`; 00 and 01 are protocol 0's booleans.
fn whole(line: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    match text {
        "00" => return Ok(Value::Bool(false)),
        "01" => return Ok(Value::Bool(true)),
        _ => {}
    }
    let digits = text.strip_suffix('L').unwrap_or(text);
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::damaged("a number that is none"));
    }
    Ok(digits.parse().map_or(Value::Other, Value::Int))
}

#[cfg(test)]
mod tests;
