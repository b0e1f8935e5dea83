//! Writes `.pth` files, honest and dishonest, without PyTorch.

// Not every test file uses all of it.
#![allow(dead_code)]

/// A tensor as `torch._utils._rebuild_tensor_v2` is told of it; nothing here has to be true.
#[derive(Clone)]
pub struct Declared {
    pub name: String,
    /// The storage's key and the element count declared for it.
    pub storage: (usize, u64),
    pub offset: u64,
    pub shape: Vec<u64>,
    pub stride: Vec<u64>,
}

impl Declared {
    /// A contiguous float32 tensor with a storage of its own.
    pub fn contiguous(name: &str, key: usize, shape: &[usize]) -> Self {
        let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
        let stride = (0..shape.len())
            .map(|axis| shape[axis + 1..].iter().product())
            .collect();
        let numel = shape.iter().product();
        Self {
            name: name.to_owned(),
            storage: (key, numel),
            offset: 0,
            shape,
            stride,
        }
    }

    /// One number, seen `count` times through a stride of 0.
    pub fn expanded(name: &str, count: u64) -> Self {
        Self {
            name: name.to_owned(),
            storage: (0, 1),
            offset: 0,
            shape: vec![count],
            stride: vec![0],
        }
    }
}

/// The pickle of a dictionary of tensors, protocol 2.
pub fn state_dict(tensors: &[Declared]) -> Vec<u8> {
    whole(&tensor_dict(tensors))
}

/// A pickle of protocol 2 around an object.
pub fn whole(object: &[u8]) -> Vec<u8> {
    [b"\x80\x02", object, b"."].concat()
}

/// A dictionary of objects.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"}(".to_vec();
    for (key, value) in entries {
        text(&mut out, key);
        out.extend(value);
    }
    out.push(b'u');
    out
}

/// A call of `module.name` with one argument.
pub fn call(module: &str, name: &str, argument: &[u8]) -> Vec<u8> {
    [
        format!("c{module}\n{name}\n").as_bytes(),
        argument,
        b"\x85R",
    ]
    .concat()
}

/// A dictionary of tensors.
pub fn tensor_dict(tensors: &[Declared]) -> Vec<u8> {
    let mut out = b"}(".to_vec();
    for tensor in tensors {
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &tensor.storage.0.to_string());
        text(&mut out, "cpu");
        integer(&mut out, tensor.storage.1);
        out.extend(b"tQ");
        integer(&mut out, tensor.offset);
        for numbers in [&tensor.shape, &tensor.stride] {
            out.push(b'(');
            numbers.iter().for_each(|&number| integer(&mut out, number));
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.push(b'u');
    out
}

/// BINUNICODE.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// LONG1 of nine bytes: any u64.
fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend([0x8a, 9]);
    out.extend(number.to_le_bytes());
    out.push(0);
}

/// The legacy container around `pickle`, with these storages.
pub fn legacy(pickle: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    out.extend(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.");
    out.extend(pickle);
    out.extend(b"\x80\x02](");
    storages.iter().for_each(|(key, _)| text(&mut out, key));
    out.extend(b"e.");
    for (_, values) in storages {
        out.extend((values.len() as u64).to_le_bytes());
        out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    out
}

/// How an entry of an archive says that it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// Compressed. The bytes given are written as they are all the same: nobody gets as far as to unpack them.
    Deflated,
}

/// A zip archive of these entries without zip64 records, as other programs than PyTorch write small ones.
pub fn archive(entries: &[(&str, &[u8])], method: Method) -> Vec<u8> {
    zip(entries, method, false)
}

/// The same with PyTorch's 76 bytes of zip64 end records.
pub fn torch_archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    zip(entries, Method::Stored, true)
}

fn zip(entries: &[(&str, &[u8])], method: Method, zip64: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    let count = entries.len();
    for (name, bytes) in entries {
        let header = out.len() as u32;
        // Version, flags, method, time, date, checksum, packed size, size, length of the name, of the extra field.
        let mut fields = vec![20, 0, 0, 0];
        fields.extend((if method == Method::Deflated { 8u16 } else { 0 }).to_le_bytes());
        fields.extend([0; 4]);
        fields.extend(crc32fast::hash(bytes).to_le_bytes());
        fields.extend((bytes.len() as u32).to_le_bytes());
        fields.extend((bytes.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0; 2]);
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        // Comment, disk, attributes.
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = out.len();
    out.extend(&directory);
    let end = out.len();
    if zip64 {
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([0x1e, 0x03, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, directory.len(), start] {
            out.extend((number as u64).to_le_bytes());
        }
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend((end as u64).to_le_bytes());
        out.extend(1u32.to_le_bytes());
    }
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((count as u16).to_le_bytes());
    out.extend((count as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend((start as u32).to_le_bytes());
    out.extend([0, 0]);
    out
}
