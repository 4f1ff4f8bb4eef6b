//! The machine that runs a pickle's opcodes. It builds values and does nothing else; what values are is not here.

use super::scan::Scan;
use super::{Id, Object, Value, malformed};
use crate::tensor::{Format, LayoutError};
use std::collections::HashMap;

/// The most values that one pickle may build.
pub(super) const MAX_VALUES: usize = 2 << 20;

/// The most values that may wait on the interpreter's stack, and the most marks.
pub(super) const MAX_STACK: usize = 1 << 20;

const HIGHEST_PROTOCOL: u8 = 5;

/// The value that stands for everything inert.
const OTHER: Id = Id(0);

fn too_large(what: &str) -> LayoutError {
    LayoutError::too_large(Format::PyTorch, format!("a pickle with so many {what}"))
}

/// A stack with marks, and a memo.
pub(super) struct Machine<'a> {
    scan: Scan<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Stack heights at which marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Runs the first pickle in `bytes` to its end. Returns all values and the one that it leaves on the stack.
    pub(super) fn run(bytes: &'a [u8]) -> Result<(Vec<Value<'a>>, Id), LayoutError> {
        let mut machine = Machine {
            scan: Scan::new(bytes),
            values: vec![Value::Other],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while let Some(opcode) = machine.scan.opcode()? {
            machine.step(opcode)?;
        }
        let root = machine.pop()?;
        Ok((machine.values, root))
    }

    /// Carries out one opcode. The letters are those of Python's `pickletools`.
    fn step(&mut self, opcode: u8) -> Result<(), LayoutError> {
        match opcode {
            // PROTO, FRAME
            0x80 => match self.scan.byte()? {
                0..=HIGHEST_PROTOCOL => Ok(()),
                _ => Err(malformed("is of an unknown protocol")),
            },
            0x95 => self.scan.skip(8),

            // NONE, NEWTRUE, NEWFALSE, FLOAT, BINFLOAT, NEXT_BUFFER; READONLY_BUFFER leaves its buffer in place
            b'N' | 0x88 | 0x89 | 0x97 => self.push(OTHER),
            0x98 => Ok(()),
            b'F' => self.scan.line().and_then(|_| self.push(OTHER)),
            b'G' => self.scan.skip(8).and_then(|()| self.push(OTHER)),
            // EXT1, EXT2, EXT4: numbers of a registry that only a running Python has
            0x82 => self.scan.skip(1).and_then(|()| self.push(OTHER)),
            0x83 => self.scan.skip(2).and_then(|()| self.push(OTHER)),
            0x84 => self.scan.skip(4).and_then(|()| self.push(OTHER)),

            // BININT, BININT1, BININT2, LONG1, LONG4, INT, LONG
            b'J' => self.scan.u32().and_then(|bits| self.int(i64::from(bits as i32))),
            b'K' => self.scan.byte().and_then(|int| self.int(i64::from(int))),
            b'M' => self.scan.u16().and_then(|int| self.int(i64::from(int))),
            0x8a => self.scan.byte().and_then(|len| self.long(u64::from(len))),
            0x8b => self.scan.u32().and_then(|len| self.long(u64::from(len))),
            b'I' | b'L' => {
                let line = self.scan.line()?;
                let digits = line.strip_suffix(b"L").unwrap_or(line);
                // 00 and 01 are booleans.
                let int = str::from_utf8(digits).ok().filter(|_| !matches!(digits, b"00" | b"01"));
                match int.and_then(|text| text.parse().ok()) {
                    Some(int) => self.int(int),
                    None => self.push(OTHER),
                }
            }

            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8 and the text of Python 2: SHORT_BINSTRING, BINSTRING
            0x8c | b'U' => self.scan.byte().and_then(|len| self.text(u64::from(len))),
            b'X' | b'T' => self.scan.u32().and_then(|len| self.text(u64::from(len))),
            0x8d => self.scan.u64().and_then(|len| self.text(len)),
            // UNICODE, STRING
            b'V' => self.scan.line().and_then(|line| self.text_value(line)),
            b'S' => {
                let line = self.scan.line()?.trim_ascii();
                let quoted = |quote: &[u8]| line.strip_prefix(quote)?.strip_suffix(quote);
                let text = quoted(b"'").or_else(|| quoted(b"\""));
                self.text_value(text.ok_or_else(|| malformed("has a string without quotes"))?)
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.scan.byte().and_then(|len| self.bytes(u64::from(len))),
            b'B' => self.scan.u32().and_then(|len| self.bytes(u64::from(len))),
            0x8e | 0x96 => self.scan.u64().and_then(|len| self.bytes(len)),

            // MARK, POP, POP_MARK, DUP
            b'(' => self.mark(),
            b'0' => match self.stack.len() > self.floor() {
                true => self.pop().map(|_| ()),
                false => self.pop_mark().map(|_| ()),
            },
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => self.top().and_then(|id| self.push(id)),

            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.push_new(Value::Tuple(Vec::new())),
            b't' => self.pop_mark().and_then(|items| self.push_new(Value::Tuple(items))),
            0x85..=0x87 => self
                .pop_many(usize::from(opcode - 0x84))
                .and_then(|items| self.push_new(Value::Tuple(items))),

            // EMPTY_LIST, LIST, APPEND, APPENDS; EMPTY_SET, ADDITEMS, FROZENSET
            b']' | 0x8f => self.push_new(Value::List(Vec::new())),
            b'l' | 0x91 => self.pop_mark().and_then(|items| self.push_new(Value::List(items))),
            b'a' => self.pop_many(1).and_then(|items| self.extend(items)),
            b'e' | 0x90 => self.pop_mark().and_then(|items| self.extend(items)),

            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push_new(Value::Dict(Vec::new())),
            b'd' => {
                let pairs = self.pop_mark().and_then(pairs)?;
                self.push_new(Value::Dict(pairs))
            }
            b's' => self.pop_many(2).and_then(pairs).and_then(|pairs| self.set_items(pairs)),
            b'u' => self.pop_mark().and_then(pairs).and_then(|pairs| self.set_items(pairs)),

            // PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'p' => self.scan.number().and_then(|key| self.memoize(key)),
            b'q' => self.scan.byte().and_then(|key| self.memoize(u32::from(key))),
            b'r' => self.scan.u32().and_then(|key| self.memoize(key)),
            0x94 => self.memoize(self.memo.len() as u32),
            // GET, BINGET, LONG_BINGET
            b'g' => self.scan.number().and_then(|key| self.recall(key)),
            b'h' => self.scan.byte().and_then(|key| self.recall(u32::from(key))),
            b'j' => self.scan.u32().and_then(|key| self.recall(key)),

            // GLOBAL, STACK_GLOBAL
            b'c' => self.global().and_then(|id| self.push(id)),
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                self.push_new(Value::Global { module, name })
            }
            // PERSID, BINPERSID
            b'P' => {
                let line = self.scan.line()?;
                let id = self.text_id(line)?;
                self.push_new(Value::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.push_new(Value::Persistent(id))
            }

            // REDUCE, NEWOBJ; NEWOBJ_EX, whose keyword arguments are dropped; OBJ and INST of Python 2
            b'R' | 0x81 => {
                let args = self.pop()?;
                let class = self.pop()?;
                self.construct(class, args)
            }
            0x92 => {
                self.pop()?;
                let args = self.pop()?;
                let class = self.pop()?;
                self.construct(class, args)
            }
            b'o' => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(malformed("makes an object of no class"));
                }
                let class = items.remove(0);
                let args = self.new_value(Value::Tuple(items))?;
                self.construct(class, args)
            }
            b'i' => {
                let class = self.global()?;
                let items = self.pop_mark()?;
                let args = self.new_value(Value::Tuple(items))?;
                self.construct(class, args)
            }
            // BUILD
            b'b' => self.pop().and_then(|state| self.build(state)),

            _ => Err(malformed(&format!("has the unknown opcode {opcode:#04x}"))),
        }
    }

    fn new_value(&mut self, value: Value<'a>) -> Result<Id, LayoutError> {
        if self.values.len() >= MAX_VALUES {
            return Err(too_large("values"));
        }
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        Ok(id)
    }

    fn push(&mut self, id: Id) -> Result<(), LayoutError> {
        if self.stack.len() >= MAX_STACK {
            return Err(too_large("values on its stack"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn push_new(&mut self, value: Value<'a>) -> Result<(), LayoutError> {
        let id = self.new_value(value)?;
        self.push(id)
    }

    /// The stack's height at the last mark: what lies below waits for that mark's own opcode.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, LayoutError> {
        let above = self.stack.get(self.floor()..).unwrap_or_default();
        above
            .last()
            .copied()
            .ok_or_else(|| malformed("takes from an empty stack"))
    }

    fn pop(&mut self) -> Result<Id, LayoutError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, LayoutError> {
        let at = self.stack.len().checked_sub(count).filter(|&at| at >= self.floor());
        let at = at.ok_or_else(|| malformed("takes from an empty stack"))?;
        Ok(self.stack.drain(at..).collect())
    }

    fn mark(&mut self) -> Result<(), LayoutError> {
        if self.marks.len() >= MAX_STACK {
            return Err(too_large("marks"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Takes the last mark and everything above it.
    fn pop_mark(&mut self) -> Result<Vec<Id>, LayoutError> {
        let mark = self.marks.pop().ok_or_else(|| malformed("lacks a mark"))?;
        Ok(self.stack.drain(mark.min(self.stack.len())..).collect())
    }

    fn int(&mut self, int: i64) -> Result<(), LayoutError> {
        self.push_new(Value::Int(int))
    }

    /// An integer of `len` little-endian bytes in two's complement.
    fn long(&mut self, len: u64) -> Result<(), LayoutError> {
        let bytes = self.scan.take(len)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                self.int(i64::from_le_bytes(wide))
            }
            None => self.push(OTHER),
        }
    }

    fn bytes(&mut self, len: u64) -> Result<(), LayoutError> {
        self.scan.take(len)?;
        self.push(OTHER)
    }

    fn text(&mut self, len: u64) -> Result<(), LayoutError> {
        let bytes = self.scan.take(len)?;
        self.text_value(bytes)
    }

    fn text_value(&mut self, bytes: &'a [u8]) -> Result<(), LayoutError> {
        let id = self.text_id(bytes)?;
        self.push(id)
    }

    /// Text that is not UTF-8 (lone surrogates, bytes of Python 2) names nothing and is inert.
    fn text_id(&mut self, bytes: &'a [u8]) -> Result<Id, LayoutError> {
        match str::from_utf8(bytes) {
            Ok(text) => self.new_value(Value::Text(text)),
            Err(_) => Ok(OTHER),
        }
    }

    fn global(&mut self) -> Result<Id, LayoutError> {
        let module = self.scan.line().and_then(|line| self.text_id(line))?;
        let name = self.scan.line().and_then(|line| self.text_id(line))?;
        self.new_value(Value::Global { module, name })
    }

    fn memoize(&mut self, key: u32) -> Result<(), LayoutError> {
        if self.memo.len() >= MAX_VALUES {
            return Err(too_large("memo entries"));
        }
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), LayoutError> {
        match self.memo.get(&key) {
            Some(&id) => self.push(id),
            None => Err(malformed("recalls what it never memoised")),
        }
    }

    fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id.index()).unwrap_or(&Value::Other)
    }

    fn construct(&mut self, class: Id, args: Id) -> Result<(), LayoutError> {
        let is_text = |id, expected| matches!(self.value(id), Value::Text(text) if *text == expected);
        let is_ordered_dict = matches!(*self.value(class), Value::Global { module, name }
            if is_text(module, "collections") && is_text(name, "OrderedDict"));
        let no_args = matches!(self.value(args), Value::Tuple(args) if args.is_empty());
        if is_ordered_dict && no_args {
            return self.push_new(Value::Dict(Vec::new()));
        }
        self.push_new(Value::Object(Object {
            class,
            args,
            state: OTHER,
            contents: OTHER,
        }))
    }

    /// Only objects keep their state: what an ordered dict carries besides its items holds no tensors.
    fn build(&mut self, state: Id) -> Result<(), LayoutError> {
        let id = self.top()?;
        if let Some(Value::Object(object)) = self.values.get_mut(id.index()) {
            object.state = state;
        }
        Ok(())
    }

    fn extend(&mut self, new: Vec<Id>) -> Result<(), LayoutError> {
        match self.container(Value::List(Vec::new()))? {
            Value::List(items) => items.extend(new),
            _ => return Err(malformed("appends to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, new: Vec<(Id, Id)>) -> Result<(), LayoutError> {
        match self.container(Value::Dict(Vec::new()))? {
            Value::Dict(pairs) => pairs.extend(new),
            _ => return Err(malformed("sets items of something that is no dict")),
        }
        Ok(())
    }

    /// The value on top of the stack, or for an object its contents, which start out as `empty`.
    fn container(&mut self, empty: Value<'a>) -> Result<&mut Value<'a>, LayoutError> {
        let mut id = self.top()?;
        if let Value::Object(object) = *self.value(id) {
            let owner = id;
            id = object.contents;
            if id == OTHER {
                id = self.new_value(empty)?;
                if let Some(Value::Object(object)) = self.values.get_mut(owner.index()) {
                    object.contents = id;
                }
            }
        }
        self.values
            .get_mut(id.index())
            .ok_or_else(|| malformed("is inconsistent"))
    }
}

fn pairs(items: Vec<Id>) -> Result<Vec<(Id, Id)>, LayoutError> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(malformed("has a key without a value")),
    }
}
