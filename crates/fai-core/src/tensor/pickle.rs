//! Python pickles as inert data: an interpreter of the opcodes that builds a graph of values and calls,
//! imports and evaluates nothing.
//!
//! What Python would look up or call is kept as a [`Value::Global`] or an [`Object`] that says so. Values live
//! in one arena and refer to each other by [`Id`], so neither cycles nor depth cost recursion. What the values
//! mean is not here.

mod machine;
mod scan;

use super::{Format, LayoutError};
use machine::Machine;

/// A value's place in its pickle. Two places that are the same Python object have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

impl Id {
    /// The place in the arena, for tables with an entry for each value.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that a pickle builds.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Anything that no layout depends on: none, booleans, floats, bytes, integers beyond 64 bits. All of them are one value.
    Other,
    Int(i64),
    /// Protocol 0 escapes are left as they are.
    Text(&'a str),
    /// The name of a class or function, never looked up: two texts.
    Global {
        module: Id,
        name: Id,
    },
    Tuple(Vec<Id>),
    /// Lists and sets.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A reference to something outside the pickle, with what identifies it.
    Persistent(Id),
    /// A call or construction that never happened.
    Object(Object),
}

/// What a call or construction would have been. Parts that were not given are [`Value::Other`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    /// What would have been called; any value, mostly a global.
    pub class: Id,
    /// The positional arguments, mostly a tuple.
    pub args: Id,
    /// What would have been set as its state.
    pub state: Id,
    /// The list of what would have been appended to it, or the dict of what would have been set as its items.
    pub contents: Id,
}

/// A pickle's values and the one that it stands for.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the first pickle in `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// When it is no complete pickle, or would build more than this reader accepts.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let (values, root) = Machine::run(bytes)?;
        Ok(Self { values, root })
    }

    /// The value that unpickling would return.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id.index()).unwrap_or(&Value::Other)
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Module and name of a global.
    pub(super) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match *self.get(id) {
            Value::Global { module, name } => Some((self.text(module)?, self.text(name)?)),
            _ => None,
        }
    }

    /// What a list or tuple holds; nothing for any other value.
    pub(super) fn sequence(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => items,
            _ => &[],
        }
    }

    /// How many values there are; every [`Id::index`] is below.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

fn malformed(what: &str) -> LayoutError {
    LayoutError::malformed(Format::PyTorch, format!("the pickle {what}"))
}

#[cfg(test)]
mod tests {
    use super::machine::{MAX_STACK, MAX_VALUES};
    use super::*;

    fn parse(bytes: &[u8]) -> Pickle<'_> {
        Pickle::parse(bytes).unwrap()
    }

    fn refused(bytes: &[u8]) -> LayoutError {
        match Pickle::parse(bytes) {
            Err(error) => error,
            Ok(pickle) => panic!("{:?} is accepted", pickle.get(pickle.root())),
        }
    }

    /// The root, written as Python would.
    fn show(bytes: &[u8]) -> String {
        let pickle = parse(bytes);
        display(&pickle, pickle.root())
    }

    fn display(pickle: &Pickle<'_>, id: Id) -> String {
        let all = |ids: &[Id]| ids.iter().map(|&id| display(pickle, id)).collect::<Vec<_>>().join(", ");
        match pickle.get(id) {
            Value::Other => "_".to_owned(),
            Value::Int(int) => int.to_string(),
            Value::Text(text) => format!("'{text}'"),
            Value::Global { .. } => {
                let (module, name) = pickle.global(id).unwrap();
                format!("{module}.{name}")
            }
            Value::Tuple(items) => format!("({})", all(items)),
            Value::List(items) => format!("[{}]", all(items)),
            Value::Dict(pairs) => {
                let pair = |&(key, value)| format!("{}: {}", display(pickle, key), display(pickle, value));
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Value::Persistent(id) => format!("<{}>", display(pickle, *id)),
            Value::Object(object) => [object.class, object.args, object.state, object.contents]
                .map(|id| display(pickle, id))
                .join("|"),
        }
    }

    #[test]
    fn opcodes_of_all_protocols_build_their_values() {
        let cases: [(&[u8], &str); 32] = [
            (b"\x80\x02}.", "{}"),
            (b"\x80\x05\x95\x01\0\0\0\0\0\0\0N.", "_"),
            (
                b"(I3\nL-70000000000L\nI01\nF1.5\nV\xc3\xa9\nS'a'\nS\"b\"\nt.",
                "(3, -70000000000, _, _, '\u{e9}', 'a', 'b')",
            ),
            (
                b"(K\xffM\xff\xffJ\xff\xff\xff\xff\x8a\0\x8a\x01\x80\x8a\x02\xff\0t.",
                "(255, 65535, -1, 0, -128, 255)",
            ),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", "9223372036854775807"),
            (b"\x8a\x09\0\0\0\0\0\0\0\x80\0.", "_"),
            (b"\x8b\x03\0\0\0\x01\x02\x03.", "197121"),
            (b"(G12345678\x88\x89Nt.", "(_, _, _, _)"),
            (
                b"(\x8c\x01aX\x02\0\0\0bc\x8d\x01\0\0\0\0\0\0\0dU\x01eT\x01\0\0\0ft.",
                "('a', 'bc', 'd', 'e', 'f')",
            ),
            (b"X\x01\0\0\0\xff.", "_"),
            (
                b"(C\x01aB\x01\0\0\0b\x8e\x01\0\0\0\0\0\0\0c\x96\x01\0\0\0\0\0\0\0d\x97\x98t.",
                "(_, _, _, _, _)",
            ),
            (b"K\x01K\x02K\x03\x87.", "(1, 2, 3)"),
            (b"K\x01K\x02\x86\x85.", "((1, 2))"),
            (b").", "()"),
            (b"]K\x01a(K\x02K\x03e.", "[1, 2, 3]"),
            (b"(K\x01K\x02l.", "[1, 2]"),
            (b"\x8f(K\x01\x90.", "[1]"),
            (b"(K\x01\x91.", "[1]"),
            (b"}K\x01K\x02s(K\x03K\x04u.", "{1: 2, 3: 4}"),
            (b"(K\x01K\x02d.", "{1: 2}"),
            (b"K\x01K\x020.", "1"),
            (b"K\x01(K\x02K\x031.", "1"),
            (b"K\x01(0.", "1"),
            (b"(K\x012t.", "(1, 1)"),
            (
                b"(K\x01q\x05K\x02r\x06\0\0\0K\x03p7\nh\x05j\x06\0\0\0g7\nt.",
                "(1, 2, 3, 1, 2, 3)",
            ),
            (b"(K\x01\x94K\x02\x94h\0h\x01t.", "(1, 2, 1, 2)"),
            (b"cos\nsystem\n.", "os.system"),
            (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
            (b"(P12\nK\x01Qt.", "(<'12'>, <1>)"),
            (b"cm\nC\n)\x81}K\x01K\x02sbK\x07K\x08s.", "m.C|()|{1: 2}|{7: 8}"),
            (b"cm\nC\n)RK\x05a.", "m.C|()|_|[5]"),
            (b"ccollections\nOrderedDict\n)RK\x01K\x02s.", "{1: 2}"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(show(bytes), expected, "{}", bytes.escape_ascii());
        }
        assert_eq!(show(b"(K\x01im\nC\n."), "m.C|(1)|_|_");
        assert_eq!(show(b"(cm\nC\nK\x01o."), "m.C|(1)|_|_");
        assert_eq!(show(b"cm\nC\n)}\x92."), "m.C|()|_|_");
        assert_eq!(show(b"\x82\x01."), "_");
    }

    #[test]
    fn calls_are_kept_and_never_made() {
        let marker = tempfile::tempdir().unwrap();
        let path = marker.path().join("called");
        let touch = format!("touch {}", path.display());
        let open = format!("open({:?}, 'w')", path.display().to_string());
        for (module, name, argument) in [
            ("os", "system", &touch),
            ("posix", "system", &touch),
            ("subprocess", "getoutput", &touch),
            ("builtins", "eval", &open),
            ("builtins", "exec", &open),
        ] {
            let call = format!("c{module}\n{name}\n(V{argument}\ntR.");
            assert_eq!(show(call.as_bytes()), format!("{module}.{name}|('{argument}')|_|_"));
            let instance = format!("(V{argument}\ni{module}\n{name}\n.");
            assert_eq!(show(instance.as_bytes()), format!("{module}.{name}|('{argument}')|_|_"));
        }
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_pickle_is_malformed() {
        let cases: [&[u8]; 25] = [
            b"",
            b".",
            b"N",
            b"0.",
            b"\x80\x06N.",
            b"\xff.",
            b"?N.",
            b"t.",
            b"1.",
            b"2.",
            b"\x85.",
            b"K\x01\x86.",
            b"K\x01(\x85.",
            b"K\x01(R.",
            b"h\0.",
            b"gx\n.",
            b"q\0.",
            b"(N(.",
            b"(K\x01d.",
            b"NK\x01a.",
            b"]K\x01K\x02s.",
            b"(o.",
            b"Sabc\n.",
            b"cos\n.",
            b"\x95\0.",
        ];
        for bytes in cases {
            let error = refused(bytes);
            assert!(
                matches!(error, LayoutError::Malformed { .. }),
                "{}: {error}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn lengths_beyond_the_pickle_are_refused_unallocated() {
        for opcode in [
            b"X\xff\xff\xff\xffab.".as_slice(),
            b"B\xff\xff\xff\x7f",
            b"\x8b\xff\xff\xff\xff.",
            b"\x8c\x09a.",
        ] {
            assert!(matches!(refused(opcode), LayoutError::Malformed { .. }));
        }
        for opcode in [0x8d, 0x8e, 0x96] {
            let mut bytes = vec![opcode];
            bytes.extend(u64::MAX.to_le_bytes());
            bytes.extend(b"abc.");
            assert!(matches!(refused(&bytes), LayoutError::Malformed { .. }));
        }
    }

    #[test]
    fn values_stack_marks_and_memo_are_bounded() {
        let memo: Vec<u8> = (0..=MAX_VALUES as u32)
            .flat_map(|key| [b"r".as_slice(), &key.to_le_bytes()].concat())
            .collect();
        for flood in [
            b")0".repeat(MAX_VALUES),
            b"N".repeat(MAX_STACK + 1),
            b"(".repeat(MAX_STACK + 1),
            [b"N".as_slice(), &memo].concat(),
        ] {
            let error = refused(&flood);
            assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn depth_and_cycles_cost_no_recursion() {
        let depth = 1_000_000;
        let nested = [b"(".repeat(depth), b"l".repeat(depth), b".".to_vec()].concat();
        assert_eq!(parse(&nested).len(), depth + 1);

        let cycle = parse(b"]\x94h\0a.");
        assert_eq!(cycle.sequence(cycle.root()), [cycle.root()]);
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = b"\x80\x04(cos\nsystem\nV1\ntq\0}h\0K\x05sX\x02\0\0\0abI3\n\x85\x86.";
        parse(whole);
        for len in 0..whole.len() {
            refused(&whole[..len]);
        }
    }

    #[test]
    fn random_programs_do_no_harm() {
        let opcodes = b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu})]\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\0\x01\x02\n";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            // Something to work on, so that not every program dies of an empty stack.
            let mut program = b"\x8c\x01m\x94\x8c\x01C\x94\x93\x94)]}(".to_vec();
            program.extend((0..random() % 24).map(|_| opcodes[random() % opcodes.len()]));
            program.push(b'.');
            accepted += usize::from(Pickle::parse(&program).is_ok());
        }
        assert!((1..200_000).contains(&accepted), "{accepted}");
    }
}
