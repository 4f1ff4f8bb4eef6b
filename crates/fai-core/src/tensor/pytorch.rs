//! The ZIP archives of `torch.save` and TorchScript: a pickle that describes tensors, and one member for each
//! storage. Files of PyTorch before 1.6 are one pickle stream and not read here.

mod view;
mod walk;

use super::names::Names;
use super::pickle::Pickle;
use super::zip::{self, Entry};
use super::{Format, Layout, LayoutError, MAX_HEADER, MAX_TENSORS, ReadAt, Tensor};
use std::collections::{BTreeMap, HashMap};
use view::View;

const FORMAT: Format = Format::PyTorch;

/// The longest of the small members whose text is metadata.
const MAX_NOTE: u64 = 64;

/// The name of a tensor that was saved alone and has no path.
const UNNAMED: &str = "tensor";

/// Finds the tensors of a PyTorch archive; `Ok(None)` when the file is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    // Every member lies in one directory, named after the file that was saved.
    let Some(first) = zip::first_name(source, FORMAT)? else {
        return Ok(None);
    };
    let Some((prefix, _)) = first.split_once('/').filter(|_| !first.ends_with(".npy")) else {
        return Ok(None);
    };
    let entries = zip::entries(source, FORMAT)?;
    let mut archive = Archive {
        source,
        prefix,
        entries: entries.iter().map(|entry| (entry.name.as_str(), entry)).collect(),
        names: Names::new(FORMAT),
        tensors: Vec::new(),
    };
    if archive.entry("data.pkl").is_none() {
        return Ok(None);
    }

    let byte_order = archive.note("byteorder")?;
    if byte_order.as_ref().is_some_and(|order| order != "little") {
        return Err(LayoutError::malformed(FORMAT, "the storages are not little-endian"));
    }
    archive.read("data.pkl", "data", "")?;
    // TorchScript's constants have storages of their own.
    if archive.entry("constants.pkl").is_some_and(|entry| entry.stored) {
        archive.read("constants.pkl", "constants", "constants")?;
    }

    let mut metadata = BTreeMap::new();
    metadata.extend(byte_order.map(|order| ("byteorder".to_owned(), order)));
    metadata.extend(archive.note("version")?.map(|version| ("version".to_owned(), version)));
    let code = format!("{prefix}/code/");
    if entries.iter().any(|entry| entry.name.starts_with(&code)) {
        metadata.insert("torchscript".to_owned(), "true".to_owned());
    }
    Ok(Some(Layout {
        format: FORMAT,
        tensors: archive.tensors,
        metadata,
    }))
}

/// An archive while its tensors are being collected.
struct Archive<'a> {
    source: &'a dyn ReadAt,
    prefix: &'a str,
    entries: HashMap<&'a str, &'a Entry>,
    names: Names,
    tensors: Vec<Tensor>,
}

impl<'a> Archive<'a> {
    fn entry(&self, path: &str) -> Option<&'a Entry> {
        let name = format!("{}/{path}", self.prefix);
        self.entries.get(name.as_str()).copied()
    }

    /// The text of a small member, if it is there and stored.
    fn note(&self, path: &str) -> Result<Option<String>, LayoutError> {
        let entry = self.entry(path).filter(|entry| entry.stored && entry.len() <= MAX_NOTE);
        let bytes = entry
            .map(|entry| entry.read(self.source, MAX_NOTE, FORMAT))
            .transpose()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Adds the tensors that the pickle at `path` describes, whose storages lie in `storages/`.
    fn read(&mut self, path: &str, storages: &str, base: &str) -> Result<(), LayoutError> {
        let Some(entry) = self.entry(path) else {
            return Ok(());
        };
        let bytes = entry.read(self.source, MAX_HEADER, FORMAT)?;
        let pickle = Pickle::parse(&bytes)?;
        walk::tensors(
            &pickle,
            base,
            &mut |name, rebuild| match View::new(&pickle, &rebuild)? {
                Some(view) => self.add(if name.is_empty() { UNNAMED } else { name }, storages, &view),
                None => Ok(()),
            },
        )
    }

    fn add(&mut self, name: &str, storages: &str, view: &View<'_>) -> Result<(), LayoutError> {
        let storage = format!("{storages}/{}", view.key);
        let outside = || LayoutError::out_of_bounds(FORMAT, format!("tensor {name:?} in storage {storage:?}"));
        let entry = self.entry(&storage).ok_or_else(outside)?;
        if !entry.stored {
            return Ok(());
        }
        let mut range = view.range().ok_or_else(outside)?;
        if range.is_empty() {
            // PyTorch keeps the offset of empty tensors, which may lie anywhere.
            range = 0..0;
        }
        if range.end > entry.len() {
            return Err(outside());
        }
        if self.tensors.len() >= MAX_TENSORS {
            let what = format!("a file of more than {MAX_TENSORS} tensors");
            return Err(LayoutError::too_large(FORMAT, what));
        }
        self.tensors.push(Tensor {
            name: self.names.claim(name)?,
            dtype: view.dtype,
            shape: view.shape.clone(),
            range: entry.range.start + range.start..entry.range.start + range.end,
            contiguous: view.is_contiguous(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::hostile::{Sparse, flips, truncations};
    use super::super::zip_writer::{DEFLATED, STORED, Writer, archive};
    use super::super::{DType, Plain, detect};
    use super::*;

    // Pickle fragments, each of which leaves one value on the stack.

    fn text(text: &str) -> Vec<u8> {
        [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
    }

    fn int(int: u64) -> Vec<u8> {
        [b"\x8a\x09".as_slice(), &int.to_le_bytes(), b"\0"].concat()
    }

    fn small(int: i32) -> Vec<u8> {
        [b"J".as_slice(), &int.to_le_bytes()].concat()
    }

    fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        [b"](".to_vec(), items.concat(), b"e".to_vec()].concat()
    }

    fn dict(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let pairs: Vec<u8> = pairs
            .iter()
            .flat_map(|(key, value)| [text(key), value.clone()].concat())
            .collect();
        [b"}(".to_vec(), pairs, b"u".to_vec()].concat()
    }

    fn call(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
        [global(module, name), tuple(args), b"R".to_vec()].concat()
    }

    fn object(module: &str, name: &str, state: Vec<u8>) -> Vec<u8> {
        [global(module, name), b")\x81".to_vec(), state, b"b".to_vec()].concat()
    }

    fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    fn ordered_dict() -> Vec<u8> {
        [global("collections", "OrderedDict"), b")R".to_vec()].concat()
    }

    fn storage(class: (&str, &str), key: &str) -> Vec<u8> {
        let id = [
            text("storage"),
            global(class.0, class.1),
            text(key),
            text("cpu"),
            small(0),
        ];
        [tuple(&id), b"Q".to_vec()].concat()
    }

    /// The first four arguments of every rebuilding function.
    fn view(class: (&str, &str), key: &str, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<Vec<u8>> {
        let dimensions = |values: &[i32]| tuple(&values.iter().map(|&value| small(value)).collect::<Vec<_>>());
        vec![
            storage(class, key),
            small(offset),
            dimensions(shape),
            dimensions(strides),
        ]
    }

    fn v2_args(mut view: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        view.extend([b"\x89".to_vec(), ordered_dict()]);
        view
    }

    fn v2(class: &str, key: &str, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
        let view = view(("torch", class), key, offset, shape, strides);
        call("torch._utils", "_rebuild_tensor_v2", &v2_args(view))
    }

    fn floats(shape: &[i32], strides: &[i32]) -> Vec<u8> {
        v2("FloatStorage", "0", 0, shape, strides)
    }

    fn pickle(root: &[u8]) -> Vec<u8> {
        [b"\x80\x02", root, b"."].concat()
    }

    /// An archive with storages `0` of 64 bytes and `1` of 16.
    fn saved(root: &[u8]) -> Vec<u8> {
        archive(&[
            ("m/data.pkl", &pickle(root)),
            ("m/byteorder", b"little"),
            ("m/data/0", &[7; 64]),
            ("m/data/1", &[9; 16]),
            ("m/version", b"3\n"),
        ])
    }

    fn offset_of(bytes: &[u8], part: &[u8]) -> u64 {
        bytes.windows(part.len()).position(|window| window == part).unwrap() as u64
    }

    fn read(root: &[u8]) -> Vec<Tensor> {
        parse(&saved(root)).unwrap().unwrap().tensors
    }

    fn names(root: &[u8]) -> Vec<String> {
        read(root).into_iter().map(|tensor| tensor.name).collect()
    }

    fn refused(root: &[u8]) -> LayoutError {
        parse(&saved(root)).unwrap_err()
    }

    #[test]
    fn a_checkpoint_gives_its_tensors() {
        let states = [
            small(0),
            dict(&[("exp_avg", v2("BFloat16Storage", "1", 1, &[2, 3], &[3, 1]))]),
        ]
        .concat();
        let states = [b"}(".to_vec(), states, b"u".to_vec()].concat();
        let root = dict(&[
            (
                "model",
                dict(&[
                    ("layers.0.weight", floats(&[4, 4], &[4, 1])),
                    ("step", v2("LongStorage", "1", 1, &[], &[])),
                ]),
            ),
            (
                "optimizer",
                dict(&[("state", states), ("param_groups", list(&[dict(&[("lr", small(1))])]))]),
            ),
            ("epoch", small(3)),
        ]);
        let bytes = saved(&root);
        let layout = detect(&bytes).unwrap().unwrap();
        let (first, second) = (offset_of(&bytes, &[7; 64]), offset_of(&bytes, &[9; 16]));
        let expected = |name: &str, plain, shape: &[u64], range| Tensor {
            name: name.to_owned(),
            dtype: DType::Plain(plain),
            shape: shape.to_vec(),
            range,
            contiguous: true,
        };
        assert_eq!(layout.format, Format::PyTorch);
        assert_eq!(
            layout.tensors,
            [
                expected("model.layers.0.weight", Plain::F32, &[4, 4], first..first + 64),
                expected("model.step", Plain::I64, &[], second + 8..second + 16),
                expected(
                    "optimizer.state.0.exp_avg",
                    Plain::BF16,
                    &[2, 3],
                    second + 2..second + 14
                ),
            ]
        );
        let metadata: Vec<_> = layout
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(metadata, [("byteorder", "little"), ("version", "3")]);
    }

    #[test]
    fn strided_views_cover_what_they_touch() {
        type Case = (&'static [i32], &'static [i32], i32, u64, bool);
        let cases: [Case; 8] = [
            (&[4, 4], &[4, 1], 0, 64, true),
            (&[4, 4], &[1, 4], 0, 64, false),
            (&[2, 2], &[4, 1], 1, 24, false),
            (&[3], &[2], 0, 20, false),
            (&[1, 4], &[99, 1], 0, 16, true),
            (&[4, 1], &[1, 99], 0, 16, true),
            (&[1000], &[0], 3, 4, false),
            (&[3, 0], &[1, 1], 9000, 0, true),
        ];
        for (shape, strides, offset, len, contiguous) in cases {
            let tensor = read(&v2("FloatStorage", "0", offset, shape, strides)).remove(0);
            let found = (tensor.range.end - tensor.range.start, tensor.contiguous);
            assert_eq!(found, (len, contiguous), "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn storages_and_arguments_tell_the_type() {
        let dtype = |root: &[u8]| read(root).first().map(|tensor| tensor.dtype.name());
        for (class, expected) in [
            ("HalfStorage", "f16"),
            ("DoubleStorage", "f64"),
            ("ByteStorage", "u8"),
            ("CharStorage", "i8"),
            ("ShortStorage", "i16"),
            ("IntStorage", "i32"),
            ("BoolStorage", "bool"),
            ("ComplexFloatStorage", "c64"),
            ("QInt8Storage", "i8"),
            ("QUInt8Storage", "u8"),
            ("QInt32Storage", "i32"),
            ("Float8_e4m3fnStorage", "f8_e4m3"),
            ("Float8_e5m2Storage", "f8_e5m2"),
        ] {
            let root = v2(class, "0", 0, &[2], &[1]);
            assert_eq!(dtype(&root).as_deref(), Some(expected), "{class}");
        }
        for (name, expected) in [
            ("uint16", Some("u16")),
            ("float8_e8m0fnu", Some("f8_e8m0")),
            ("surprise", None),
        ] {
            let mut args = v2_args(view(("torch.storage", "UntypedStorage"), "0", 2, &[4], &[1]));
            args.push(global("torch", name));
            let root = call("torch._utils", "_rebuild_tensor_v3", &args);
            assert_eq!(dtype(&root).as_deref(), expected, "{name}");
        }
        assert_eq!(dtype(&v2("QUInt4x2Storage", "0", 0, &[2], &[1])), None);
        let foreign = v2_args(view(("os", "FloatStorage"), "0", 0, &[2], &[1]));
        assert_eq!(dtype(&call("torch._utils", "_rebuild_tensor_v2", &foreign)), None);
    }

    #[test]
    fn wrapped_tensors_keep_their_path() {
        let tensor = || floats(&[2], &[1]);
        let args = || v2_args(view(("torch", "FloatStorage"), "0", 0, &[2], &[1]));
        let subclass = [
            global("torch._utils", "_rebuild_tensor_v2"),
            global("mine", "Tensor"),
            tuple(&args()),
            dict(&[("scale", tensor())]),
        ];
        let parameter = || [tensor(), b"\x88".to_vec(), ordered_dict()];
        let with_state = [&parameter()[..], &[dict(&[("grad", tensor())])]].concat();
        let module = object(
            "torch.nn",
            "Linear",
            dict(&[
                ("_parameters", dict(&[("weight", tensor())])),
                ("_modules", dict(&[("sub", tensor())])),
            ]),
        );
        let root = dict(&[
            ("parameter", call("torch._utils", "_rebuild_parameter", &parameter())),
            (
                "stateful",
                call("torch._utils", "_rebuild_parameter_with_state", &with_state),
            ),
            ("subclass", call("torch._tensor", "_rebuild_from_type_v2", &subclass)),
            ("old", call("torch._utils", "_rebuild_tensor", &args()[..4])),
            ("module", module),
            ("script", object("__torch__.Net", "Layer", dict(&[("bias", tensor())]))),
            (
                "list",
                call("torch.jit._pickle", "build_tensorlist", &[list(&[tensor(), tensor()])]),
            ),
            ("unknown", call("some.where", "rebuild", &[small(1), tensor()])),
            (
                "counter",
                [
                    call("collections", "defaultdict", &[]),
                    text("k"),
                    tensor(),
                    b"s".to_vec(),
                ]
                .concat(),
            ),
        ]);
        let expected = [
            "parameter",
            "stateful",
            "stateful.grad",
            "subclass",
            "subclass.scale",
            "old",
            "module.weight",
            "module.sub",
            "script.bias",
            "list.0",
            "list.1",
            "unknown.1",
            "counter.k",
        ];
        assert_eq!(names(&root), expected);
    }

    #[test]
    fn a_tensor_has_one_name_and_a_name_one_tensor() {
        let shared = [floats(&[2], &[1]), b"q\x01".to_vec()].concat();
        let root = dict(&[
            ("a", shared),
            ("again", b"h\x01".to_vec()),
            ("b.c", floats(&[2], &[1])),
            ("b", dict(&[("c", floats(&[2], &[1]))])),
        ]);
        assert_eq!(names(&root), ["a", "b.c", "b.c#2"]);
        assert_eq!(names(&floats(&[2], &[1])), ["tensor"]);
    }

    #[test]
    fn torchscript_constants_have_their_own_storages() {
        let bytes = archive(&[
            ("net/data/0", &[1; 8]),
            (
                "net/data.pkl",
                &pickle(&object("__torch__", "Net", dict(&[("w", floats(&[2], &[1]))]))),
            ),
            ("net/code/__torch__.py", b"pass"),
            ("net/constants/0", &[2; 4]),
            ("net/constants.pkl", &pickle(&tuple(&[floats(&[1], &[1])]))),
        ]);
        let layout = parse(&bytes).unwrap().unwrap();
        let found: Vec<_> = layout
            .tensors
            .iter()
            .map(|tensor| {
                (
                    tensor.name.as_str(),
                    &bytes[tensor.range.start as usize..tensor.range.end as usize],
                )
            })
            .collect();
        let expected: [(_, &[u8]); 2] = [("w", &[1; 8]), ("constants.0", &[2; 4])];
        assert_eq!(found, expected);
        assert_eq!(layout.metadata.get("torchscript").map(String::as_str), Some("true"));
    }

    #[test]
    fn views_outside_their_storage_are_refused() {
        for root in [
            floats(&[17], &[1]),
            floats(&[2, 2], &[15, 1]),
            v2("FloatStorage", "0", 1, &[16], &[1]),
            v2("FloatStorage", "2", 0, &[1], &[1]),
            v2("FloatStorage", "../1", 0, &[1], &[1]),
        ] {
            let error = refused(&root);
            assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{error}");
        }
        for value in [1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX] {
            for position in 1..4 {
                let mut args = view(("torch", "DoubleStorage"), "0", 0, &[2, 2], &[2, 1]);
                args[position] = match position {
                    1 => int(value),
                    _ => tuple(&[int(value), int(value)]),
                };
                let error = refused(&call("torch._utils", "_rebuild_tensor", &args));
                let fits = matches!(error, LayoutError::OutOfBounds { .. } | LayoutError::Malformed { .. });
                assert!(fits, "{error}");
            }
        }
    }

    #[test]
    fn views_that_make_no_sense_are_refused() {
        for root in [
            floats(&[-1], &[1]),
            floats(&[2], &[-1]),
            v2("FloatStorage", "0", -1, &[2], &[1]),
            floats(&[2, 2], &[1]),
            call("torch._utils", "_rebuild_tensor_v2", &[small(1)]),
            call(
                "torch._utils",
                "_rebuild_tensor",
                &[storage(("torch", "IntStorage"), "0"), small(0), small(1), small(1)],
            ),
        ] {
            let error = refused(&root);
            assert!(matches!(error, LayoutError::Malformed { .. }), "{error}");
        }
        for root in [
            floats(&[1; 33], &[1; 33]),
            v2("IntStorage", &"0".repeat(300), 0, &[1], &[1]),
        ] {
            let error = refused(&root);
            assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn hostile_pickles_are_inert() {
        let marker = tempfile::tempdir().unwrap();
        let path = marker.path().join("called");
        let touch = text(&format!("touch {}", path.display()));
        let open = text(&format!("open({:?}, 'w')", path.display().to_string()));
        let root = dict(&[
            ("a", call("os", "system", std::slice::from_ref(&touch))),
            ("b", call("builtins", "eval", std::slice::from_ref(&open))),
            ("c", object("os", "system", tuple(&[touch]))),
            (
                "d",
                call(
                    "torch._tensor",
                    "_rebuild_from_type_v2",
                    &[global("builtins", "eval"), small(0), tuple(&[open])],
                ),
            ),
            ("weight", floats(&[2], &[1])),
        ]);
        assert_eq!(names(&root), ["weight"]);
        assert!(!path.exists());
    }

    #[test]
    fn depth_sharing_and_cycles_end_soon() {
        let depth = 1_000_000;
        let nested = [b"(".repeat(depth), floats(&[2], &[1]), b"l".repeat(depth)].concat();
        assert_eq!(names(&nested), Vec::<String>::new());

        // Each list holds the one before ten times: 10^200 paths lead to the tensor.
        let mut shared = [floats(&[2], &[1]), b"q\0".to_vec()].concat();
        for level in 0..200u8 {
            shared.extend(b"](");
            shared.extend([b'h', level].repeat(10));
            shared.extend([b'e', b'q', level + 1]);
        }
        assert_eq!(names(&shared).len(), 1);

        let cycle = [
            b"]q\0(".to_vec(),
            floats(&[2], &[1]),
            b"h\0}q\x01h\x01h\x01sh\0e".to_vec(),
        ]
        .concat();
        assert_eq!(names(&cycle), ["0"]);

        let parameter = [global("torch._utils", "_rebuild_parameter"), b"q\x010".to_vec()].concat();
        let calls = 100_000;
        let wrapped = [b"h\x01".repeat(calls), floats(&[2], &[1]), b"\x85R".repeat(calls)].concat();
        assert_eq!(names(&[parameter, wrapped].concat()), ["tensor"]);
    }

    #[test]
    fn long_paths_and_keys_are_left_out() {
        let long = "k".repeat(2000);
        let root = dict(&[(&long, floats(&[2], &[1])), ("short", floats(&[2], &[1]))]);
        assert_eq!(names(&root), ["short"]);
    }

    #[test]
    fn archives_that_cannot_be_used_are_refused() {
        let good = pickle(&floats(&[2], &[1]));
        let big_endian = archive(&[("m/data.pkl", &good), ("m/byteorder", b"big"), ("m/data/0", &[0; 8])]);
        let mut deflated = Writer::default();
        deflated.add("m/data.pkl", DEFLATED, &good);
        let no_pickle = archive(&[("m/data.pkl", b"")]);
        for bytes in [big_endian, deflated.finish(), no_pickle] {
            let error = parse(&bytes).unwrap_err();
            assert!(matches!(error, LayoutError::Malformed { .. }), "{error}");
        }
        let long = vec![b'N'; MAX_HEADER as usize + 1];
        let error = parse(&archive(&[("m/data.pkl", &long)])).unwrap_err();
        assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn compressed_storages_are_left_out() {
        let root = list(&[floats(&[2], &[1]), v2("IntStorage", "1", 0, &[2], &[1])]);
        let mut writer = Writer::default();
        writer.add("m/data.pkl", STORED, &pickle(&root));
        writer.add("m/data/0", DEFLATED, &[0; 64]);
        writer.add("m/data/1", STORED, &[0; 64]);
        let layout = parse(&writer.finish()).unwrap().unwrap();
        let names: Vec<_> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["1"]);
    }

    #[test]
    fn other_files_are_not_pytorch() {
        for bytes in [
            archive(&[("META-INF/MANIFEST.MF", b"")]),
            archive(&[("data.pkl", &pickle(b"N"))]),
            pickle(&floats(&[2], &[1])),
            Vec::new(),
        ] {
            assert_eq!(parse(&bytes).unwrap(), None);
        }
        let zeros = Sparse {
            head: Vec::new(),
            len: 1 << 40,
        };
        assert_eq!(parse(&zeros).unwrap(), None);
    }

    #[test]
    fn damaged_files_are_refused_or_harmless() {
        let root = dict(&[
            ("a", floats(&[4, 4], &[4, 1])),
            ("b", v2("BFloat16Storage", "1", 1, &[2, 3], &[3, 1])),
        ]);
        let bytes = saved(&root);
        truncations(parse, &bytes);
        flips(parse, &bytes, bytes.len(), 20_000);
    }
}
