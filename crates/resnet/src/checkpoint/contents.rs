//! What a pickle's tree holds: every tensor under its flat name, in the order of the file, and what could not be read.
//!
//! A flat name is the keys that lead to a tensor, joined by dots. A `torch.nn.Module` is read as its `state_dict()`: its
//! parameters and persistent buffers under the names that PyTorch gives them, whatever lies in its other attributes.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::pickle::{Budget, Id, MODULE_TABLES, Refusal, TensorRef, Tree, Value};
use crate::error::quoted;

/// Deeper than this no network nests.
const DEEPEST: usize = 500;

/// At most so many names of what cannot be read are kept.
const MOST_UNREAD: usize = 16;

/// A tensor under its name.
#[derive(Debug)]
pub(super) struct Leaf {
    pub name: String,
    /// Length of the part of the name that leads to the dictionary, or to the module, that the tensor belongs to.
    pub holder: usize,
    pub tensor: Rc<TensorRef>,
}

/// Everything found.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub leaves: Vec<Leaf>,
    /// Objects that stand where tensors could: name, class.
    pub unread: Vec<(String, String)>,
}

/// Walks over the tree from its root.
///
/// # Errors
/// Two tensors with one name, where one would silently hide the other; a tree that is too deep or too large to walk.
pub(super) fn contents(tree: &Tree, root: Id, budget: &mut Budget) -> Result<Contents, Refusal> {
    let mut walk = Walk {
        tree,
        budget,
        path: String::new(),
        names: BTreeSet::new(),
        found: Contents::default(),
    };
    walk.visit(root, 0, false, 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    tree: &'a Tree,
    budget: &'a mut Budget,
    path: String,
    names: BTreeSet<String>,
    found: Contents,
}

impl Walk<'_> {
    /// `holder` is that of a tensor that lies here; `module`: whether this is a part of a module.
    fn visit(&mut self, id: Id, holder: usize, module: bool, depth: usize) -> Result<(), Refusal> {
        self.budget.charge(64)?;
        if depth > DEEPEST {
            return Err(Refusal::damaged(format!("nested more than {DEEPEST} deep")));
        }
        match self.tree.get(id) {
            Value::Tensor(tensor) => self.tensor(tensor, holder),
            Value::Dict(entries) => {
                for (key, value) in self.unique(entries)? {
                    self.descend(&key, value, !module, holder, depth)?;
                }
                Ok(())
            }
            Value::Sequence(items) => {
                for (index, &item) in items.iter().enumerate() {
                    self.descend(&index.to_string(), item, true, holder, depth)?;
                }
                Ok(())
            }
            Value::Module(attributes) => self.module(attributes, holder, module, depth),
            Value::Object { class, .. } => {
                if self.found.unread.len() < MOST_UNREAD {
                    self.budget.charge(self.path.len() as u64)?;
                    self.found
                        .unread
                        .push((self.path.clone(), class.to_string()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Goes on below `key`; `dictionary`: what lies there is held by the dictionary that this key belongs to.
    fn descend(
        &mut self,
        key: &str,
        value: Id,
        dictionary: bool,
        holder: usize,
        depth: usize,
    ) -> Result<(), Refusal> {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        let holder = if dictionary { self.path.len() } else { holder };
        self.path.push_str(key);
        let done = self.visit(value, holder, !dictionary, depth + 1);
        self.path.truncate(len);
        done
    }

    fn module(
        &mut self,
        attributes: &[(Id, Id)],
        holder: usize,
        inside: bool,
        depth: usize,
    ) -> Result<(), Refusal> {
        // The outermost module is what holds everything below it.
        let holder = match (inside, self.path.len()) {
            (true, _) => holder,
            (false, 0) => 0,
            (false, len) => len + 1,
        };
        // They are searched four times, each time that the module is met.
        self.budget.charge(8 * attributes.len() as u64)?;
        let hidden = self.tree.entry(attributes, "_non_persistent_buffers_set");
        let hidden: BTreeSet<Rc<str>> = match hidden.map(|id| self.tree.get(id)) {
            Some(Value::Sequence(names)) => self.names_in(names)?,
            _ => BTreeSet::new(),
        };
        for table in MODULE_TABLES {
            let entries = self.tree.entry(attributes, table);
            let Some(Value::Dict(entries)) = entries.map(|id| self.tree.get(id)) else {
                continue;
            };
            for (key, value) in self.unique(entries)? {
                let is_hidden = table == "_buffers" && hidden.contains(&key);
                if !is_hidden {
                    self.descend(&key, value, false, holder, depth)?;
                }
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &Rc<TensorRef>, holder: usize) -> Result<(), Refusal> {
        // The name is kept here, as a key, and while it is looked up; the shape is copied once.
        let bytes = 8 * self.path.len() + 16 * tensor.shape.len() + 256;
        self.budget.charge(bytes as u64)?;
        if !self.names.insert(self.path.clone()) {
            let name = quoted(&self.path);
            return Err(Refusal::damaged(format!(
                "two tensors are both called {name}"
            )));
        }
        self.found.leaves.push(Leaf {
            name: self.path.clone(),
            holder,
            tensor: tensor.clone(),
        });
        Ok(())
    }

    /// Entries with keys that are text, each key once with its last value, in order.
    fn unique(&mut self, entries: &[(Id, Id)]) -> Result<Vec<(Rc<str>, Id)>, Refusal> {
        self.budget.charge(64 * entries.len() as u64)?;
        let mut places = std::collections::HashMap::new();
        let mut out: Vec<(Rc<str>, Id)> = Vec::new();
        for &(key, value) in entries {
            let Some(key) = self.tree.key(key) else {
                continue;
            };
            // Looked up here, and put into the path.
            self.budget.charge(key.len() as u64)?;
            let place = *places.entry(key.clone()).or_insert(out.len());
            match out.get_mut(place) {
                Some(earlier) => earlier.1 = value,
                None => out.push((key, value)),
            }
        }
        Ok(out)
    }

    fn names_in(&mut self, names: &[Id]) -> Result<BTreeSet<Rc<str>>, Refusal> {
        self.budget.charge(64 * names.len() as u64)?;
        let mut out = BTreeSet::new();
        for &name in names {
            match self.tree.get(name) {
                // `set([names])` has one argument: the list.
                Value::Sequence(inner) => {
                    out.extend(inner.iter().filter_map(|&id| self.tree.key(id)))
                }
                _ => out.extend(self.tree.key(name)),
            }
        }
        Ok(out)
    }
}
