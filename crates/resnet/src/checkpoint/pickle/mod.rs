//! Pickles, read in order and in bounded memory, without running anything.
//!
//! A pickle is a program for a stack machine. Here every object that it makes is a node of one arena ([`Tree`]), and the
//! stack, the memo and the containers hold node numbers. So a memo lookup copies a number where Python copies a
//! reference, a tree that is looked up twice is there once, and cycles neither leak nor recurse. What is left to bound is
//! the number of nodes, the bytes of their text, and the walks over the tree, in which a node may be met many times: all
//! of them are paid for out of one [`Budget`] before anything is allocated.
//!
//! Calls are never made. Those that `torch.save` writes for tensors, parameters, ordered dictionaries and modules are
//! known and become what they stand for; any other becomes an [`Value::Object`] with a class name, which is passed over,
//! so that a scheduler or a pruning recipe beside the weights does not matter. Functions that only an attack has a use for
//! are named and refused.
//!
//! Opcodes: `Lib/pickletools.py` of CPython 3.13. Dictionaries keep their order, which for a state dict is the order in
//! which the modules were made.

mod budget;
mod calls;
mod dangerous;
mod machine;

use std::rc::Rc;

pub(super) use budget::{Budget, Refusal};
pub(super) use calls::MODULE_TABLES;
pub(super) use machine::read;

use super::values::Element;

/// A node's number in its [`Tree`].
pub(super) type Id = u32;

/// Everything that one pickle makes, by number.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Value>,
    /// What the persistent ids of the pickle name, in the order in which they come up.
    pub storages: Vec<StorageRef>,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// None, a number with a fraction, bytes, a number that is too long: nothing that a weight is found by.
    Other,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    /// Keys and values in the order in which they were put in; a later value of the same key replaces the earlier one.
    Dict(Vec<(Id, Id)>),
    /// A class or a function by its dotted name.
    Class(Rc<str>),
    /// A number into [`Tree::storages`].
    Storage(usize),
    Tensor(Rc<TensorRef>),
    /// The attributes of a `torch.nn.Module`, whose tables hold parameters, buffers and children.
    Module(Vec<(Id, Id)>),
    /// Something else: the class, and what it was made from.
    Object {
        class: Rc<str>,
        parts: Vec<Id>,
    },
}

/// A storage as a persistent id declares it.
#[derive(Clone, Debug)]
pub(super) struct StorageRef {
    /// Its key in the container.
    pub key: String,
    /// Type of its elements; untyped storages have none.
    pub element: Option<Element>,
    /// Bytes of one element.
    pub item: u64,
    /// Elements declared for the whole storage.
    pub count: u64,
    /// First element that may be used, and the one behind the last: the whole storage but in very old files.
    pub view: (u64, u64),
}

/// A tensor as the pickle declares it, checked against its storage's declaration.
#[derive(Debug)]
pub(super) struct TensorRef {
    /// A number into [`Tree::storages`].
    pub storage: usize,
    pub element: Element,
    /// Bytes of one element.
    pub item: u64,
    /// First element in the storage.
    pub offset: u64,
    /// One behind the last element in the storage that it reaches.
    pub end: u64,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

impl Tree {
    /// The node `id`.
    pub fn get(&self, id: Id) -> &Value {
        // Numbers are only handed out by `add`, and nothing is ever taken out: there is such a node.
        &self.nodes[id as usize]
    }

    /// The text of a node that is text, or of a whole number: what a dictionary's key may be.
    pub fn key(&self, id: Id) -> Option<Rc<str>> {
        match self.get(id) {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// What lies under `key` in a dictionary's entries; the last one counts.
    pub fn entry(&self, entries: &[(Id, Id)], key: &str) -> Option<Id> {
        let is = |id: Id| matches!(self.get(id), Value::Text(text) if **text == *key);
        let found = entries.iter().rev().find(|&&(k, _)| is(k));
        found.map(|&(_, value)| value)
    }

    fn add(&mut self, value: Value, budget: &mut Budget) -> Result<Id, Refusal> {
        budget.object()?;
        self.nodes.push(value);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Value> {
        self.nodes.get_mut(id as usize)
    }
}
