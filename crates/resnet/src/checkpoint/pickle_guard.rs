//! How much memory would reading this pickle take? Answered before anything is read from it.
//!
//! A pickle is a program for a stack machine, and a few bytes of it can build gigabytes: `)` pushes an object of a
//! hundred bytes, a memo lookup copies a whole tree, a long dictionary key is repeated in the flat name of every
//! tensor below it. `pytorch-reader` 0.22 limits the values that memo lookups copy, but not dictionary keys, class
//! names, shapes, flat names, or the plain number of objects. So the same machine is run here on *sizes* alone: a
//! stack slot holds the estimated bytes of the object that would lie there, and the sum of everything that would ever
//! be allocated must stay under a budget. No object is built and nothing can be executed; on the way, the functions
//! that the pickle wants to call are looked at, and those that only an attack has a use for are named.
//!
//! Opcodes: `Lib/pickletools.py` of CPython 3.13.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::rc::Rc;

use super::pickle_stack::{Machine, Refusal};

/// Text longer than this is never looked at, only counted.
const LONGEST_NAME: usize = 200;

/// Modules whose functions run code, touch files or the network. No weight file refers to them.
const DANGEROUS: &str = "os posix nt ntpath posixpath subprocess sys commands popen2 pty platform shutil socket ssl http \
    urllib urllib2 requests ftplib smtplib telnetlib webbrowser importlib imp runpy code codeop ctypes \
    _ctypes marshal pickle _pickle dill cloudpickle multiprocessing asyncio pip pdb timeit";

/// Builtins that run code or reach it.
const DANGEROUS_BUILTINS: &str =
    "eval exec execfile compile open input raw_input __import__ breakpoint globals vars apply";

/// Adds up what the pickles of one file would take.
#[derive(Default)]
pub(super) struct Guard {
    total: u64,
}

impl Guard {
    /// Follows one pickle up to its end; `input` is left just behind it.
    pub fn check(&mut self, input: &mut impl BufRead) -> Result<(), Refusal> {
        let mut machine = Machine {
            total: &mut self.total,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        machine.run(input)
    }
}

const CUT: Refusal = Refusal::Damaged("it ends early");

impl Machine<'_> {
    fn run(&mut self, input: &mut impl BufRead) -> Result<(), Refusal> {
        loop {
            let [op] = bytes(input)?;
            match op {
                b'.' => break,
                0x80 => {
                    bytes::<1>(input)?;
                }
                0x95 => {
                    bytes::<8>(input)?;
                }
                // Numbers, None, booleans, empty containers.
                b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.scalar(0, None)?,
                b'K' => self.fixed::<1>(input)?,
                b'M' => self.fixed::<2>(input)?,
                b'J' => self.fixed::<4>(input)?,
                b'G' => self.fixed::<8>(input)?,
                b'I' | b'L' | b'F' => {
                    self.line(input)?;
                }
                0x8a => {
                    let len = u64::from(bytes::<1>(input)?[0]);
                    self.counted(input, len)?;
                }
                0x8b => {
                    let len = u64::from(u32::from_le_bytes(bytes(input)?));
                    self.counted(input, len)?;
                }
                // Text and bytes.
                b'V' => {
                    self.line(input)?;
                }
                b'U' | b'C' | 0x8c => {
                    let len = u64::from(bytes::<1>(input)?[0]);
                    self.counted(input, len)?;
                }
                b'T' | b'X' | b'B' => {
                    let len = u64::from(u32::from_le_bytes(bytes(input)?));
                    self.counted(input, len)?;
                }
                0x8d | 0x8e | 0x96 => {
                    let len = u64::from_le_bytes(bytes(input)?);
                    self.counted(input, len)?;
                }
                // Containers.
                b'(' => {
                    self.charge(8)?;
                    self.marks.push(self.stack.len());
                }
                b't' | b'l' | 0x91 => {
                    let items = self.take_to_mark()?;
                    self.scalar(0, None)?;
                    self.put_in(items)?;
                }
                b'd' => {
                    let items = self.take_to_mark()?;
                    self.scalar(0, None)?;
                    self.put_pairs(items)?;
                }
                0x85..=0x87 => {
                    let items = self.take(usize::from(op - 0x84))?;
                    self.scalar(0, None)?;
                    self.put_in(items)?;
                }
                b'a' => {
                    let items = self.take(1)?;
                    self.put_in(items)?;
                }
                b'e' | 0x90 => {
                    let items = self.take_to_mark()?;
                    self.put_in(items)?;
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
                    let copy = self.top()?.clone();
                    self.charge(copy.bytes)?;
                    self.stack.push(copy);
                }
                b'g' => {
                    let index = index(&read_line(input)?)?;
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
                    let index = index(&read_line(input)?)?;
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
                // Classes and calls.
                b'c' => {
                    let (module, name) = (read_line(input)?, read_line(input)?);
                    self.class(
                        &String::from_utf8_lossy(&module),
                        &String::from_utf8_lossy(&name),
                    )?;
                }
                0x93 => {
                    let items = self.take(2)?;
                    match (&items[0].name, &items[1].name) {
                        (Some(module), Some(name)) => self.class(module, name)?,
                        _ => {
                            let text = items[0].text + items[1].text;
                            self.scalar(text, None)?;
                        }
                    }
                }
                b'P' => {
                    self.line(input)?;
                }
                b'Q' => self.call(1)?,
                b'R' | 0x81 => self.call(2)?,
                0x92 => self.call(3)?,
                b'b' => {
                    let memo = self
                        .stack
                        .len()
                        .checked_sub(2)
                        .and_then(|at| self.stack[at].memo);
                    self.call(2)?;
                    if let Some(index) = memo {
                        self.memoize(index)?;
                    }
                }
                _ => return Err(Refusal::Damaged("an unknown opcode")),
            }
        }
        let names = self.top()?.names;
        // A name is kept by the tensor, as a key, and once more while it is looked up.
        self.charge(names.saturating_mul(4))
    }

    fn fixed<const N: usize>(&mut self, input: &mut impl Read) -> Result<(), Refusal> {
        bytes::<N>(input)?;
        self.scalar(0, None)
    }

    fn line(&mut self, input: &mut impl BufRead) -> Result<(), Refusal> {
        let line = read_line(input)?;
        self.scalar(line.len() as u64, short(&line))
    }

    /// Text or bytes of a declared length. It is paid for before it is read, and read in pieces.
    fn counted(&mut self, input: &mut impl BufRead, len: u64) -> Result<(), Refusal> {
        self.charge(len)?;
        let mut text = Vec::new();
        if len <= LONGEST_NAME as u64 {
            input.take(len).read_to_end(&mut text).map_err(|_| CUT)?;
            if text.len() as u64 != len {
                return Err(CUT);
            }
        } else if std::io::copy(&mut input.take(len), &mut std::io::sink()).map_err(|_| CUT)? != len
        {
            return Err(CUT);
        }
        self.scalar(len, short(&text))
    }

    fn class(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        let package = module.split('.').next().unwrap_or_default();
        let is_in = |list: &str, word: &str| list.split(' ').any(|listed| listed == word);
        let builtin = matches!(module, "builtins" | "__builtin__" | "__builtins__");
        if is_in(DANGEROUS, package) || builtin && is_in(DANGEROUS_BUILTINS, name) {
            return Err(Refusal::Code(crate::error::quoted(&format!(
                "{module}.{name}"
            ))));
        }
        let text = (module.len() + name.len()) as u64;
        self.scalar(text, None)
    }

    /// A call takes its operands and leaves something that holds them, perhaps a tensor.
    fn call(&mut self, operands: usize) -> Result<(), Refusal> {
        let items = self.take(operands)?;
        self.scalar(0, None)?;
        self.put_in(items)?;
        let top = self.top_mut()?;
        top.tensors = top.tensors.max(1);
        Ok(())
    }
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|_| CUT)?;
    Ok(bytes)
}

/// A line of text without its end. No line of a pickle is long: numbers, class names, protocol 0 text.
fn read_line(input: &mut impl BufRead) -> Result<Vec<u8>, Refusal> {
    const LONGEST: u64 = 1 << 20;
    let mut line = Vec::new();
    input
        .take(LONGEST)
        .read_until(b'\n', &mut line)
        .map_err(|_| CUT)?;
    if line.pop() != Some(b'\n') {
        return Err(CUT);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn index(line: &[u8]) -> Result<u32, Refusal> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.parse()
        .map_err(|_| Refusal::Damaged("a memo index that is no number"))
}

fn short(text: &[u8]) -> Option<Rc<str>> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() <= LONGEST_NAME)
        .map(Rc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut pickle: &[u8]) -> Result<(), Refusal> {
        Guard::default().check(&mut pickle)
    }

    fn text(len: usize) -> Vec<u8> {
        let mut out = vec![b'X'];
        out.extend((len as u32).to_le_bytes());
        out.extend(vec![b'k'; len]);
        out
    }

    #[test]
    fn ordinary_pickles_pass_and_the_input_stands_behind_them() {
        // pickle.dumps({'a': 1, 'b': [1.5, True, None], 'c': b'xy'}, protocol=4), then one byte more.
        let pickle = b"\x80\x04\x95\x28\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(G?\xf8\0\0\0\0\0\0\x88Ne\x8c\x01c\x94C\x02xy\x94u.!";
        let mut input = &pickle[..];
        Guard::default().check(&mut input).unwrap();
        assert_eq!(input, b"!");
        // Protocol 0.
        check(b"(dp0\nVn\np1\nI-3\nsVf\np2\nF2.5\nsVbig\np4\nL1099511627776L\ns.").unwrap();
    }

    #[test]
    fn a_call_of_the_shell_is_named() {
        // os.system("id") by __reduce__, protocol 0 and protocol 4 (the memo between name and use).
        assert_eq!(
            check(b"cposix\nsystem\n(Vid\ntR."),
            Err(Refusal::Code("'posix.system'".into()))
        );
        assert_eq!(
            check(
                b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."
            ),
            Err(Refusal::Code("'posix.system'".into()))
        );
        assert_eq!(
            check(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93)R."),
            Err(Refusal::Code("'os.system'".into()))
        );
        assert_eq!(
            check(b"c__builtin__\neval\n(V1\ntR."),
            Err(Refusal::Code("'__builtin__.eval'".into()))
        );
        check(b"c__builtin__\nset\n(]tR.").unwrap();
        check(b"ccollections\nOrderedDict\n)R.").unwrap();
    }

    #[test]
    fn memo_and_dup_bombs_are_refused() {
        let mut lookups = b"\x89q\x00".to_vec();
        for _ in 0..40 {
            lookups.extend(b"h\x00h\x00\x86q\x00");
        }
        assert_eq!(check(&lookups), Err(Refusal::Bomb));
        let mut doubling = b"K\x01".to_vec();
        for _ in 0..60 {
            doubling.extend(b"2\x86");
        }
        assert_eq!(check(&doubling), Err(Refusal::Bomb));
    }

    #[test]
    fn copies_of_a_dictionary_with_a_long_key_are_counted() {
        let mut pickle = b"}".to_vec();
        pickle.extend(text(1 << 20));
        pickle.extend(b"Nsq\x00");
        pickle.extend(b"h\x00".repeat(200));
        assert_eq!(check(&pickle), Err(Refusal::Bomb));
    }

    #[test]
    fn copies_of_a_long_class_name_are_counted() {
        let mut pickle = b"c".to_vec();
        pickle.extend(vec![b'm'; 900_000]);
        pickle.extend(b"\nC\nq\x00");
        pickle.extend(b"h\x00".repeat(200));
        assert_eq!(check(&pickle), Err(Refusal::Bomb));
    }

    #[test]
    fn a_long_key_above_many_tensors_is_counted_once_for_each() {
        for as_pairs in [false, true] {
            let mut pickle = if as_pairs {
                b"c__main__\nf\n](]".to_vec()
            } else {
                b"}".to_vec()
            };
            if as_pairs {
                pickle.push(b'(');
            }
            pickle.extend(text(1 << 20));
            pickle.extend(b"}(");
            for n in 0..200u8 {
                pickle.extend([b'K', n]);
                pickle.extend(b"c__main__\nf\n)R");
            }
            pickle.push(b'u');
            pickle.extend(if as_pairs {
                &b"ee\x85R."[..]
            } else {
                &b"s."[..]
            });
            assert_eq!(check(&pickle), Err(Refusal::Bomb), "{as_pairs}");
        }
    }

    #[test]
    fn a_million_small_objects_are_refused() {
        assert_eq!(check(&[b')'; 1 << 20]), Err(Refusal::Bomb));
    }

    #[test]
    fn declared_lengths_reserve_nothing() {
        assert_eq!(check(b"X\xff\xff\xff\xffhi."), Err(Refusal::Bomb));
        assert_eq!(check(b"X\xff\xff\x00\x00hi."), Err(CUT));
        assert_eq!(
            check(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi."),
            Err(Refusal::Bomb)
        );
    }

    #[test]
    fn cut_and_senseless_pickles_are_damaged() {
        for pickle in [
            &b""[..],
            b"K",
            b".",
            b"R.",
            b"(.",
            b"h\x05.",
            b"\xff.",
            b"I12",
            b"}K\x01u.",
            b"(K\x01d.",
        ] {
            assert!(
                matches!(check(pickle), Err(Refusal::Damaged(_))),
                "{pickle:?}"
            );
        }
    }
}
