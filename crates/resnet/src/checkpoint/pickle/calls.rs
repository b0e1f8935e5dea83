//! What the calls of a pickle stand for. None is made.

use std::rc::Rc;

use super::machine::{Machine, Made};
use super::{Id, Refusal, StorageRef, TensorRef, Value};
use crate::checkpoint::values::Element;

/// The tables that every `torch.nn.Module` keeps in its `__dict__`.
pub(in super::super) const MODULE_TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

impl Machine<'_> {
    /// `callable(*arguments)`.
    pub(super) fn call(&mut self, callable: Id, arguments: Id) -> Result<Made, Refusal> {
        let class = match self.tree.get(callable) {
            Value::Class(class) | Value::Object { class, .. } => class.clone(),
            _ => "an unnamed object".into(),
        };
        let fields = match self.tree.get(arguments) {
            Value::Sequence(fields) => fields.clone(),
            _ => return Err(Refusal::damaged("a call without arguments")),
        };
        // The copy of the arguments is short-lived, but a long one may be asked for many times.
        self.budget.charge(4 * fields.len() as u64)?;
        let object = || Value::Object {
            class: class.clone(),
            parts: fields.clone(),
        };
        Ok(match (&*class, fields.as_slice()) {
            ("collections.OrderedDict" | "builtins.dict" | "__builtin__.dict", []) => {
                Made::New(Value::Dict(Vec::new()))
            }
            ("collections.OrderedDict", [items]) => Made::New(self.ordered(*items)?),
            (
                "builtins.set" | "builtins.frozenset" | "__builtin__.set" | "__builtin__.frozenset",
                _,
            ) => Made::New(Value::Sequence(fields)),
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                [data, ..],
            ) => Made::Same(*data),
            // A subclass of Tensor: what its function gives, unless it keeps other tensors (a scale, a mask) beside it.
            ("torch._tensor._rebuild_from_type_v2", [function, _, arguments, rest @ ..]) => {
                if rest.iter().try_fold(false, |any, &id| {
                    Ok::<_, Refusal>(any | self.holds_tensors(id, 0)?)
                })? {
                    Made::New(object())
                } else {
                    let (function, arguments) = (*function, *arguments);
                    // Also by an object that was made by calling it: a list that holds itself would go round for ever.
                    let is_itself = match self.tree.get(function) {
                        Value::Class(inner) | Value::Object { class: inner, .. } => *inner == class,
                        _ => false,
                    };
                    if is_itself {
                        return Err(Refusal::damaged("a tensor that is made of itself"));
                    }
                    self.call(function, arguments)?
                }
            }
            ("torch._utils._rebuild_tensor", [storage, offset, shape, stride])
            | ("torch._utils._rebuild_tensor_v2", [storage, offset, shape, stride, _, _, ..]) => {
                Made::New(
                    self.tensor([*storage, *offset, *shape, *stride], None)?
                        .unwrap_or_else(object),
                )
            }
            (
                "torch._utils._rebuild_tensor_v3",
                [storage, offset, shape, stride, _, _, dtype, ..],
            ) => Made::New(
                self.tensor([*storage, *offset, *shape, *stride], Some(*dtype))?
                    .unwrap_or_else(object),
            ),
            _ => Made::New(object()),
        })
    }

    /// `object.__setstate__(state)`: makes a module of an object that has a module's tables; an ordered dictionary's own
    /// attributes and those of tensors do not matter here.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), Refusal> {
        let attributes = match self.tree.get(state) {
            Value::Dict(entries) => Some(entries.clone()),
            _ => None,
        };
        self.budget
            .charge(8 * attributes.as_ref().map_or(0, Vec::len) as u64)?;
        let is_module = attributes.as_ref().is_some_and(|entries| {
            MODULE_TABLES.iter().all(|table| {
                let table = self.tree.entry(entries, table);
                table.is_some_and(|id| matches!(self.tree.get(id), Value::Dict(_)))
            })
        });
        match (self.tree.get_mut(object), attributes) {
            (Some(value @ Value::Object { .. }), Some(entries)) if is_module => {
                *value = Value::Module(entries);
            }
            (Some(Value::Object { parts, .. }), _) => parts.push(state),
            _ => {}
        }
        Ok(())
    }

    /// `('storage', type, key, location, count[, view])`.
    pub(super) fn storage(&mut self, id: Id) -> Result<Value, Refusal> {
        let fields = match self.tree.get(id) {
            Value::Sequence(fields) => fields.clone(),
            _ => Vec::new(),
        };
        let wrong = || Refusal::damaged("a persistent id that is no storage");
        let [tag, class, key, _location, count, view @ ..] = fields.as_slice() else {
            return Err(wrong());
        };
        if !matches!(self.tree.get(*tag), Value::Text(tag) if **tag == *"storage") {
            return Err(wrong());
        }
        let class = match self.tree.get(*class) {
            Value::Class(class) | Value::Text(class) => class.clone(),
            _ => return Err(wrong()),
        };
        let (element, item) = storage_type(class.rsplit('.').next().unwrap_or_default());
        let key = self.tree.key(*key).ok_or_else(wrong)?;
        let count = self.natural(*count)?;
        count
            .checked_mul(item)
            .ok_or_else(|| Refusal::damaged("a storage of more bytes than can be counted"))?;
        let view = match view.first().map(|&view| self.tree.get(view)) {
            Some(Value::Sequence(fields)) if fields.len() == 3 => {
                let (from, len) = (self.natural(fields[1])?, self.natural(fields[2])?);
                let to = from.checked_add(len).filter(|&to| to <= count);
                (
                    from,
                    to.ok_or_else(|| Refusal::damaged("a view beyond its storage"))?,
                )
            }
            _ => (0, count),
        };
        self.budget.charge(128 + key.len() as u64)?;
        self.tree.storages.push(StorageRef {
            key: key.to_string(),
            element,
            item,
            count,
            view,
        });
        Ok(Value::Storage(self.tree.storages.len() - 1))
    }

    /// The tensor on a storage; none where what should be a storage is something else.
    fn tensor(&mut self, fields: [Id; 4], dtype: Option<Id>) -> Result<Option<Value>, Refusal> {
        let [storage, offset, shape, stride] = fields;
        let &Value::Storage(number) = self.tree.get(storage) else {
            return Ok(None);
        };
        let storage = &self.tree.storages[number];
        let (element, item) = match dtype.map(|id| self.tree.get(id)) {
            Some(Value::Class(class)) => dtype_named(class.rsplit('.').next().unwrap_or_default()),
            Some(_) => return Err(Refusal::damaged("a tensor whose type is no type")),
            None => (
                storage
                    .element
                    .ok_or_else(|| Refusal::damaged("a tensor without a type"))?,
                storage.item,
            ),
        };
        let view = storage.view;
        // In elements of the tensor, which for an untyped storage are not the storage's.
        let reach = (view.1.saturating_mul(storage.item)) / item;
        let offset = self
            .natural(offset)?
            .checked_add(view.0)
            .ok_or_else(|| Refusal::damaged("an offset that overflows"))?;
        let (shape, stride) = (self.extents(shape)?, self.extents(stride)?);
        self.budget
            .charge(16 * (shape.len() + stride.len()) as u64)?;
        let end = end(&shape, &stride, offset)
            .filter(|&end| end <= reach)
            .ok_or_else(|| Refusal::damaged("a tensor that reaches beyond its storage"))?;
        Ok(Some(Value::Tensor(Rc::new(TensorRef {
            storage: number,
            element,
            item,
            offset,
            end,
            shape,
            stride,
        }))))
    }

    /// `OrderedDict([(key, value), ...])`.
    fn ordered(&mut self, items: Id) -> Result<Value, Refusal> {
        let pairs = match self.tree.get(items) {
            Value::Sequence(items) => items.clone(),
            Value::Dict(entries) => {
                self.budget.charge(8 * entries.len() as u64)?;
                return Ok(Value::Dict(entries.clone()));
            }
            _ => return Err(Refusal::damaged("a dictionary of no pairs")),
        };
        self.budget.charge(16 * pairs.len() as u64)?;
        let pair = |&id: &Id| match self.tree.get(id) {
            Value::Sequence(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(Refusal::damaged("a dictionary of no pairs")),
        };
        Ok(Value::Dict(
            pairs.iter().map(pair).collect::<Result<_, _>>()?,
        ))
    }

    /// Whether a tensor or storage lies anywhere in `id`.
    fn holds_tensors(&mut self, id: Id, depth: usize) -> Result<bool, Refusal> {
        const DEEPEST: usize = 100;
        self.budget.charge(16)?;
        let children = match self.tree.get(id) {
            Value::Tensor(_) | Value::Storage(_) | Value::Module(_) => return Ok(true),
            Value::Sequence(items) | Value::Object { parts: items, .. } => items.clone(),
            Value::Dict(entries) => entries.iter().map(|&(_, value)| value).collect(),
            _ => return Ok(false),
        };
        self.budget.charge(4 * children.len() as u64)?;
        if depth == DEEPEST {
            return Ok(true);
        }
        for child in children {
            if self.holds_tensors(child, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn natural(&self, id: Id) -> Result<u64, Refusal> {
        match self.tree.get(id) {
            &Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        }
        .ok_or_else(|| Refusal::damaged("an extent that is no natural number"))
    }

    fn extents(&self, id: Id) -> Result<Vec<usize>, Refusal> {
        let Value::Sequence(items) = self.tree.get(id) else {
            return Err(Refusal::damaged("a shape that is no tuple"));
        };
        let extent = |&id: &Id| {
            let extent = self.natural(id)?;
            usize::try_from(extent).map_err(|_| Refusal::damaged("an extent that overflows"))
        };
        items.iter().map(extent).collect()
    }
}

/// One behind the last element that a view reaches; none where that overflows.
fn end(shape: &[usize], stride: &[usize], offset: u64) -> Option<u64> {
    if shape.len() != stride.len() {
        return None;
    }
    let elements = shape
        .iter()
        .try_fold(1u64, |n, &e| n.checked_mul(e as u64))?;
    if elements == 0 {
        return Some(offset);
    }
    let mut steps = shape.iter().zip(stride);
    let last = steps.try_fold(offset, |at, (&extent, &step)| {
        at.checked_add((extent as u64 - 1).checked_mul(step as u64)?)
    })?;
    last.checked_add(1)
}

/// Type of a storage's elements and their bytes.
fn storage_type(name: &str) -> (Option<Element>, u64) {
    let (element, item) = match name {
        "UntypedStorage" => return (None, 1),
        "DoubleStorage" => (Element::F64, 8),
        "FloatStorage" => (Element::F32, 4),
        "HalfStorage" => (Element::F16, 2),
        "BFloat16Storage" => (Element::Bf16, 2),
        "LongStorage" => (Element::Other("int64"), 8),
        "IntStorage" => (Element::Other("int32"), 4),
        "ShortStorage" => (Element::Other("int16"), 2),
        "CharStorage" => (Element::Other("int8"), 1),
        "ByteStorage" => (Element::Other("uint8"), 1),
        "BoolStorage" => (Element::Other("bool"), 1),
        "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
            (Element::Other("quantized 8-bit"), 1)
        }
        "QInt32Storage" => (Element::Other("quantized 32-bit"), 4),
        "ComplexFloatStorage" => (Element::Other("complex64"), 8),
        "ComplexDoubleStorage" => (Element::Other("complex128"), 16),
        _ => (Element::Other("unknown"), 1),
    };
    (Some(element), item)
}

/// The same for `torch.float32` and its like.
fn dtype_named(name: &str) -> (Element, u64) {
    match name {
        "float64" | "double" => (Element::F64, 8),
        "float32" | "float" => (Element::F32, 4),
        "float16" | "half" => (Element::F16, 2),
        "bfloat16" => (Element::Bf16, 2),
        "int64" | "long" => (Element::Other("int64"), 8),
        "uint64" => (Element::Other("uint64"), 8),
        "int32" | "int" => (Element::Other("int32"), 4),
        "uint32" => (Element::Other("uint32"), 4),
        "int16" | "short" => (Element::Other("int16"), 2),
        "uint16" => (Element::Other("uint16"), 2),
        "int8" => (Element::Other("int8"), 1),
        "uint8" => (Element::Other("uint8"), 1),
        "bool" => (Element::Other("bool"), 1),
        "complex64" => (Element::Other("complex64"), 8),
        "complex128" => (Element::Other("complex128"), 16),
        _ if name.starts_with("float8") => (Element::Other("8-bit float"), 1),
        _ => (Element::Other("unknown"), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Tree, read};
    use super::*;

    fn parse(pickle: &[u8]) -> Result<(Tree, Id), Refusal> {
        read(&mut &pickle[..], &mut Budget::default())
    }

    /// A float32 storage of `count` values, then offset, shape and stride of one axis.
    fn tensor(function: &str, count: u8, offset: u8, shape: u8, stride: u8) -> Vec<u8> {
        let mut out = format!("c{}\n((", function.replace('/', "\n")).into_bytes();
        out.extend(b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK");
        out.push(count);
        out.extend(b"tQK");
        out.push(offset);
        out.extend([b'K', shape, 0x85, b'K', stride, 0x85]);
        out.extend(b"\x89}tR");
        out
    }

    const V2: &str = "torch._utils/_rebuild_tensor_v2";

    fn root(mut pickle: Vec<u8>) -> Result<Value, Refusal> {
        pickle.push(b'.');
        parse(&pickle).map(|(tree, root)| tree.get(root).clone())
    }

    #[test]
    fn a_tensor_may_not_reach_beyond_its_storage() {
        for (count, offset, shape, stride, fits) in [
            (4, 0, 4, 1, true),
            (4, 1, 4, 1, false),
            (4, 1, 2, 2, true),
            (4, 2, 2, 2, false),
            (4, 3, 200, 0, true),
            (4, 4, 0, 1, true),
        ] {
            let found = root(tensor(V2, count, offset, shape, stride));
            assert_eq!(matches!(found, Ok(Value::Tensor(_))), fits, "{found:?}");
        }
    }

    #[test]
    fn what_is_made_of_tensors_otherwise_is_an_object_with_its_name() {
        let found = root(tensor("torch._utils/_rebuild_qtensor", 4, 0, 4, 1)).unwrap();
        let Value::Object { class, parts } = found else {
            panic!("{found:?}")
        };
        assert_eq!((&*class, parts.len()), ("torch._utils._rebuild_qtensor", 6));
    }

    #[test]
    fn a_parameter_is_its_data() {
        let mut pickle = b"ctorch._utils\n_rebuild_parameter\n(".to_vec();
        pickle.extend(tensor(V2, 4, 0, 4, 1));
        pickle.extend(b"\x88}tR");
        assert!(matches!(root(pickle).unwrap(), Value::Tensor(_)));
    }

    #[test]
    fn a_dictionary_of_a_class_of_its_own_is_one() {
        let pickle = b"ccollections\ndefaultdict\n(cbuiltins\nlist\ntRX\x01\0\0\0aK\x01s".to_vec();
        assert!(matches!(root(pickle).unwrap(), Value::Dict(entries) if entries.len() == 1));
    }

    #[test]
    fn an_object_with_a_modules_tables_is_a_module() {
        let mut pickle = b"c__main__\nNet\n)\x81}(".to_vec();
        for table in MODULE_TABLES {
            pickle.extend([b'X', table.len() as u8, 0, 0, 0]);
            pickle.extend(table.as_bytes());
            pickle.push(b'}');
        }
        pickle.extend(b"ub");
        assert!(matches!(root(pickle).unwrap(), Value::Module(_)));
        assert!(matches!(
            root(b"c__main__\nNet\n)\x81}b".to_vec()).unwrap(),
            Value::Object { .. }
        ));
    }

    #[test]
    fn a_tensor_of_a_subclass_that_is_made_of_itself_ends() {
        let name = b"ctorch._tensor\n_rebuild_from_type_v2\n";
        let mut pickle = name.to_vec();
        pickle.extend([&b"("[..], name, b"N)tR"].concat());
        assert!(root(pickle).is_err());
    }
}
