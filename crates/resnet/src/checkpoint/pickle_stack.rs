//! The stack machine of a pickle on sizes alone: a slot holds the estimated bytes of the object that would lie there.
//!
//! A container's size is that of its contents and its own; a memo entry is a copy. [`Machine::total`] only grows: it is
//! the sum of everything that would ever be allocated, an upper bound of what is alive at once.

use std::collections::HashMap;
use std::rc::Rc;

/// Bytes that one file's pickles may take in memory. ResNet-152 with Adam's state takes 42 MB by this count.
const BUDGET: u64 = 128 << 20;

/// Estimated bytes of an object besides its text: the enum, a slot in a vector or a hash map that grew by doubling.
const OBJECT: u64 = 192;

/// The slot of one object: what copying it would allocate.
#[derive(Clone, Default)]
pub(super) struct Slot {
    /// Bytes of the object and all it holds.
    pub bytes: u64,
    /// Tensors in it, at most.
    pub tensors: u64,
    /// Bytes of the flat names that those tensors get below this object.
    pub names: u64,
    /// Bytes of text, if it is text.
    pub text: u64,
    /// Text directly inside, if it is a sequence: a key ahead of its value, as in `OrderedDict([[key, value]])`.
    pub keys: u64,
    /// Short text, or the dotted name of a class.
    pub name: Option<Rc<str>>,
    /// The memo entry that holds a copy of it.
    pub memo: Option<u32>,
}

/// Why a pickle is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// Too much memory.
    Bomb,
    /// It calls this function.
    Code(String),
    /// Not a pickle, or cut off.
    Damaged(&'static str),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bomb => {
                write!(
                    f,
                    "its pickle would take more than {} MiB in memory: a memory bomb",
                    BUDGET >> 20
                )
            }
            Self::Code(function) => write!(
                f,
                "its pickle calls {function}: code to run in place of weights (nothing was run); do not load this file in Python"
            ),
            Self::Damaged(what) => write!(f, "damaged or truncated pickle ({what})"),
        }
    }
}

/// Stack, marks and memo of one pickle; the total is that of its file.
pub(super) struct Machine<'a> {
    pub total: &'a mut u64,
    pub stack: Vec<Slot>,
    pub marks: Vec<usize>,
    pub memo: HashMap<u32, Slot>,
}

const STACK: Refusal = Refusal::Damaged("its stack runs empty");

impl Machine<'_> {
    pub fn charge(&mut self, bytes: u64) -> Result<(), Refusal> {
        *self.total = self.total.saturating_add(bytes);
        if *self.total > BUDGET {
            Err(Refusal::Bomb)
        } else {
            Ok(())
        }
    }

    /// Pushes an object with `text` bytes of text and nothing inside.
    pub fn scalar(&mut self, text: u64, name: Option<Rc<str>>) -> Result<(), Refusal> {
        let bytes = OBJECT.saturating_add(text.saturating_mul(2));
        self.charge(bytes)?;
        self.stack.push(Slot {
            bytes,
            text,
            name,
            ..Slot::default()
        });
        Ok(())
    }
    /// Moves objects into the sequence on top of the stack. Their bytes were charged when they were made.
    pub fn put_in(&mut self, items: Vec<Slot>) -> Result<(), Refusal> {
        const INDEX: u64 = 11;
        let top = self.top_mut()?;
        for item in items {
            top.bytes = top.bytes.saturating_add(item.bytes);
            let prefix = item.tensors.saturating_mul(top.keys.saturating_add(INDEX));
            top.names = top.names.saturating_add(item.names).saturating_add(prefix);
            top.tensors = top.tensors.saturating_add(item.tensors);
            top.keys = top.keys.saturating_add(item.text);
        }
        Ok(())
    }

    /// Moves key and value by turns into the dictionary on top of the stack.
    pub fn put_pairs(&mut self, items: Vec<Slot>) -> Result<(), Refusal> {
        let top = self.top_mut()?;
        for pair in items.chunks(2) {
            let [key, value] = pair else {
                return Err(Refusal::Damaged("a dictionary key without a value"));
            };
            top.bytes = top
                .bytes
                .saturating_add(key.bytes)
                .saturating_add(value.bytes);
            // A whole number is a key as well; it has at most twenty digits.
            let prefix = value.tensors.saturating_mul(key.text.saturating_add(21));
            top.names = top.names.saturating_add(value.names).saturating_add(prefix);
            top.tensors = top.tensors.saturating_add(value.tensors);
        }
        Ok(())
    }

    pub fn fetch(&mut self, index: u32) -> Result<(), Refusal> {
        let slot = self
            .memo
            .get(&index)
            .cloned()
            .ok_or(Refusal::Damaged("an unknown memo index"))?;
        self.charge(slot.bytes)?;
        self.stack.push(slot);
        Ok(())
    }

    pub fn memoize(&mut self, index: u32) -> Result<(), Refusal> {
        let top = self.top_mut()?;
        top.memo = Some(index);
        let copy = top.clone();
        self.charge(copy.bytes)?;
        self.memo.insert(index, copy);
        Ok(())
    }

    pub fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub fn take(&mut self, count: usize) -> Result<Vec<Slot>, Refusal> {
        let from = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|&from| from >= self.floor())
            .ok_or(STACK)?;
        Ok(self.stack.split_off(from))
    }

    pub fn take_to_mark(&mut self) -> Result<Vec<Slot>, Refusal> {
        let mark = self.marks.pop().ok_or(STACK)?;
        Ok(self.stack.split_off(mark))
    }

    pub fn top(&self) -> Result<&Slot, Refusal> {
        if self.stack.len() > self.floor() {
            self.stack.last().ok_or(STACK)
        } else {
            Err(STACK)
        }
    }

    pub fn top_mut(&mut self) -> Result<&mut Slot, Refusal> {
        if self.stack.len() > self.floor() {
            self.stack.last_mut().ok_or(STACK)
        } else {
            Err(STACK)
        }
    }
}
