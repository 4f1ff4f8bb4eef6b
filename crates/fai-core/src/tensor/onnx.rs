//! ONNX `ModelProto`: initializers and the tensors of constant nodes that lie in the model's own file.
//!
//! The format has no magic, so a file counts as ONNX when all of it reads as a `ModelProto` at the top level.
//! Weights in external files are those files' bytes and not here.

use super::names::{MAX_NAME, Names};
use super::protobuf::{Payload, Walker};
use super::{Block, DType, Format, Layout, LayoutError, MAX_RANK, MAX_TENSORS, Plain, ReadAt, Tensor, element_count};
use std::collections::BTreeMap;
use std::ops::Range;

const FORMAT: Format = Format::Onnx;

/// Fields at the top level: a dozen, and one for each function and operator set.
const MAX_TOP_LEVEL: usize = 100_000;

/// Far above today's version; what is higher was not meant as one.
const MAX_IR_VERSION: u64 = 1000;

/// Graphs inside of nodes inside of graphs. Deeper ones are left out.
const MAX_DEPTH: usize = 16;

/// The longest text that becomes metadata, in bytes, and the most operator sets that do.
const MAX_NOTE: u64 = 256;
const MAX_OPERATOR_SETS: usize = 64;

type Message = Range<u64>;

/// Finds the tensors of an ONNX model; `Ok(None)` when the file is none.
pub(super) fn parse(source: &dyn ReadAt) -> Result<Option<Layout>, LayoutError> {
    let mut walker = Walker::new(source, FORMAT);
    let model = match outline(&mut walker, 0..source.len()) {
        Ok(Some(model)) => model,
        Err(error @ LayoutError::Io { .. }) => return Err(error),
        Ok(None) | Err(_) => return Ok(None),
    };
    let mut found = Found {
        walker,
        names: Names::new(FORMAT),
        tensors: Vec::new(),
        external: 0,
        graph_name: None,
    };
    found.graph(model.graph, 0)?;
    for function in model.functions {
        found.function(function)?;
    }

    let mut metadata = BTreeMap::new();
    metadata.insert("ir_version".to_owned(), model.ir_version.to_string());
    for (key, range) in [
        ("producer_name", model.producer_name),
        ("producer_version", model.producer_version),
        ("graph_name", found.graph_name.take()),
    ] {
        let text = range.map(|range| found.note(&range)).transpose()?.flatten();
        metadata.extend(text.map(|text| (key.to_owned(), text)));
    }
    for set in model.operator_sets.into_iter().take(MAX_OPERATOR_SETS) {
        metadata.extend(found.operator_set(set)?);
    }
    if found.external > 0 {
        metadata.insert("external_tensors".to_owned(), found.external.to_string());
    }
    Ok(Some(Layout {
        format: FORMAT,
        tensors: found.tensors,
        metadata,
    }))
}

/// The top level of a model.
struct Model {
    ir_version: u64,
    graph: Message,
    functions: Vec<Message>,
    operator_sets: Vec<Message>,
    producer_name: Option<Message>,
    producer_version: Option<Message>,
}

/// Reads the top level; `None` as soon as something there does not belong to a model.
fn outline(walker: &mut Walker<'_>, mut file: Message) -> Result<Option<Model>, LayoutError> {
    let (mut ir_version, mut graph) = (None, None);
    let (mut producer_name, mut producer_version) = (None, None);
    let (mut functions, mut operator_sets) = (Vec::new(), Vec::new());
    for _ in 0..MAX_TOP_LEVEL {
        let Some(field) = walker.field(&mut file)? else {
            let model = ir_version.zip(graph).map(|(ir_version, graph)| Model {
                ir_version,
                graph,
                functions,
                operator_sets,
                producer_name,
                producer_version,
            });
            return Ok(model);
        };
        match (field.number, field.payload) {
            (1, Payload::Varint(version @ 1..=MAX_IR_VERSION)) => ir_version = Some(version),
            (2, Payload::Bytes(range)) => producer_name = Some(range),
            (3, Payload::Bytes(range)) => producer_version = Some(range),
            (7, Payload::Bytes(range)) if graph.is_none() => graph = Some(range),
            (8, Payload::Bytes(range)) => operator_sets.push(range),
            (25, Payload::Bytes(range)) => functions.push(range),
            // model_version; domain, doc_string, metadata_props, training_info, configuration
            (5, Payload::Varint(_)) | (4 | 6 | 14 | 20 | 26, Payload::Bytes(_)) => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The tensors found so far.
struct Found<'a> {
    walker: Walker<'a>,
    names: Names,
    tensors: Vec<Tensor>,
    /// Tensors whose data lies in other files.
    external: u64,
    graph_name: Option<Message>,
}

impl Found<'_> {
    /// Text short enough for metadata.
    fn note(&mut self, range: &Message) -> Result<Option<String>, LayoutError> {
        match range.end - range.start {
            1..=MAX_NOTE => self.walker.text(range, MAX_NOTE as usize).map(Some),
            _ => Ok(None),
        }
    }

    /// `OperatorSetIdProto`: `opset` or `opset.DOMAIN`, and its version.
    fn operator_set(&mut self, mut message: Message) -> Result<Option<(String, String)>, LayoutError> {
        let (mut key, mut version) = ("opset".to_owned(), None);
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                (1, Payload::Bytes(range)) => {
                    if let Some(domain) = self.note(&range)? {
                        key = format!("opset.{domain}");
                    }
                }
                (2, Payload::Varint(number)) => version = Some(number),
                _ => {}
            }
        }
        Ok(version.map(|version| (key, version.to_string())))
    }

    /// `GraphProto`: nodes, initializers and sparse initializers.
    fn graph(&mut self, mut message: Message, depth: usize) -> Result<(), LayoutError> {
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                (1, Payload::Bytes(node)) => self.node(node, depth)?,
                (2, Payload::Bytes(name)) if depth == 0 => self.graph_name = Some(name),
                (5, Payload::Bytes(tensor)) => self.tensor(tensor, "initializer").map(|_| ())?,
                (15, Payload::Bytes(sparse)) => self.sparse(sparse)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `FunctionProto`: its nodes.
    fn function(&mut self, mut message: Message) -> Result<(), LayoutError> {
        while let Some(field) = self.walker.field(&mut message)? {
            if let (7, Payload::Bytes(node)) = (field.number, field.payload) {
                self.node(node, 0)?;
            }
        }
        Ok(())
    }

    /// `NodeProto`: tensors and graphs among its attributes. A constant is known by its node's output.
    fn node(&mut self, mut message: Message, depth: usize) -> Result<(), LayoutError> {
        let mut output = None;
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                (2, Payload::Bytes(range)) if output.is_none() => output = Some(range),
                (5, Payload::Bytes(attribute)) => self.attribute(attribute, output.as_ref(), depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `AttributeProto` of the node that computes `output`.
    fn attribute(&mut self, mut message: Message, output: Option<&Message>, depth: usize) -> Result<(), LayoutError> {
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                // Its tensor, or one of several.
                (5 | 10, Payload::Bytes(tensor)) => {
                    let output = output.map(|output| self.walker.text(output, MAX_NAME)).transpose()?;
                    self.tensor(tensor, output.as_deref().unwrap_or("constant"))?;
                }
                // Its graph, or one of several.
                (6 | 11, Payload::Bytes(graph)) if depth < MAX_DEPTH => self.graph(graph, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `SparseTensorProto`: values, whose name is the whole's, and their indices.
    fn sparse(&mut self, mut message: Message) -> Result<(), LayoutError> {
        let mut name = "initializer".to_owned();
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                (1, Payload::Bytes(values)) => name = self.tensor(values, &name)?,
                (2, Payload::Bytes(indices)) => {
                    self.tensor(indices, &format!("{name}.indices"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `TensorProto`: adds it to the table if its data lies here in a form that can be used. Returns its name,
    /// which is `unnamed` where it has none itself.
    fn tensor(&mut self, mut message: Message, unnamed: &str) -> Result<String, LayoutError> {
        let mut name = unnamed.to_owned();
        let mut shape = Vec::new();
        let mut code = 0;
        let mut external = false;
        let mut data = Data::Missing;
        while let Some(field) = self.walker.field(&mut message)? {
            match (field.number, field.payload) {
                (1, Payload::Varint(size)) => push_dimension(&mut shape, size)?,
                (1, Payload::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        push_dimension(&mut shape, self.walker.varint(&mut packed)?)?;
                    }
                }
                (2, Payload::Varint(number)) => code = number,
                (8, Payload::Bytes(range)) if !range.is_empty() => name = self.walker.text(&range, MAX_NAME)?,
                (9, Payload::Bytes(range)) => data = data.and(Data::Raw(range)),
                (4, Payload::Bytes(range)) => data = data.and(Data::Floats(range)),
                (10, Payload::Bytes(range)) => data = data.and(Data::Doubles(range)),
                // Numbers one by one: float_data, double_data; and those stored as varints: int32_data,
                // int64_data, uint64_data. Also strings, and segments of a tensor.
                (3 | 4 | 5 | 6 | 7 | 10 | 11, _) => data = Data::Unusable,
                (14, Payload::Varint(location)) => external = location == 1,
                _ => {}
            }
        }
        if external {
            self.external += 1;
            return Ok(name);
        }
        if matches!(data, Data::Missing) && shape.contains(&0) {
            // Writers leave out the data of tensors without elements.
            data = Data::Raw(message);
        }
        if let Some((range, dtype)) = data.typed(code) {
            self.add(&name, dtype, shape, range)?;
        }
        Ok(name)
    }

    fn add(&mut self, name: &str, dtype: DType, shape: Vec<u64>, range: Message) -> Result<(), LayoutError> {
        let len = element_count(&shape).and_then(|count| dtype.byte_len(count));
        if len != Some(range.end - range.start) {
            let what = format!(
                "tensor {name:?} of shape {shape:?} has {} bytes",
                range.end - range.start
            );
            return Err(LayoutError::malformed(FORMAT, what));
        }
        if self.tensors.len() >= MAX_TENSORS {
            let what = format!("a model of more than {MAX_TENSORS} tensors");
            return Err(LayoutError::too_large(FORMAT, what));
        }
        self.tensors.push(Tensor {
            name: self.names.claim(name)?,
            dtype,
            shape,
            range,
            contiguous: true,
        });
        Ok(())
    }
}

/// Where a tensor's elements are.
enum Data {
    Missing,
    /// Little-endian elements one after another, of any type.
    Raw(Message),
    /// Packed 32-bit floats.
    Floats(Message),
    /// Packed 64-bit floats.
    Doubles(Message),
    /// In a form that is no plain array, or in several places.
    Unusable,
}

impl Data {
    fn and(self, more: Data) -> Data {
        match self {
            Data::Missing => more,
            _ => Data::Unusable,
        }
    }

    /// The elements' range and type, given the tensor's `data_type`. `None` for types unknown here.
    fn typed(self, code: u64) -> Option<(Message, DType)> {
        let dtype = dtype(code)?;
        let is = |one, other| dtype == DType::Plain(one) || dtype == DType::Plain(other);
        match self {
            Data::Raw(range) => Some((range, dtype)),
            Data::Floats(range) if is(Plain::F32, Plain::C64) => Some((range, dtype)),
            Data::Doubles(range) if is(Plain::F64, Plain::C128) => Some((range, dtype)),
            Data::Missing | Data::Floats(_) | Data::Doubles(_) | Data::Unusable => None,
        }
    }
}

fn push_dimension(shape: &mut Vec<u64>, size: u64) -> Result<(), LayoutError> {
    if shape.len() >= MAX_RANK {
        let what = format!("a tensor of more than {MAX_RANK} dimensions");
        return Err(LayoutError::too_large(FORMAT, what));
    }
    if i64::try_from(size).is_err() {
        return Err(LayoutError::malformed(FORMAT, "a tensor has a negative dimension"));
    }
    shape.push(size);
    Ok(())
}

/// `TensorProto.DataType`. Strings and types that do not pack into whole bytes alone have none here.
fn dtype(code: u64) -> Option<DType> {
    let packed = |name, elements| {
        DType::Block(Block {
            name,
            elements,
            bytes: 1,
        })
    };
    Some(DType::Plain(match code {
        1 => Plain::F32,
        2 => Plain::U8,
        3 => Plain::I8,
        4 => Plain::U16,
        5 => Plain::I16,
        6 => Plain::I32,
        7 => Plain::I64,
        9 => Plain::Bool,
        10 => Plain::F16,
        11 => Plain::F64,
        12 => Plain::U32,
        13 => Plain::U64,
        14 => Plain::C64,
        15 => Plain::C128,
        16 => Plain::BF16,
        17 => Plain::F8E4M3,
        18 => Plain::F8E4M3Fnuz,
        19 => Plain::F8E5M2,
        20 => Plain::F8E5M2Fnuz,
        21 => return Some(packed("U4", 2)),
        22 => return Some(packed("I4", 2)),
        23 => return Some(packed("F4_E2M1", 2)),
        24 => Plain::F8E8M0,
        25 => return Some(packed("U2", 4)),
        26 => return Some(packed("I2", 4)),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::detect;
    use super::super::hostile::{Sparse, flips, truncations};
    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn bytes(field: u64, payload: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(payload.len() as u64), payload.to_vec()].concat()
    }

    fn message(field: u64, fields: &[Vec<u8>]) -> Vec<u8> {
        bytes(field, &fields.concat())
    }

    fn dims(dims: &[u64]) -> Vec<u8> {
        dims.iter().flat_map(|&size| number(1, size)).collect()
    }

    /// The fields of a `TensorProto`.
    fn tensor(name: &str, code: u64, shape: &[u64], data: &[u8]) -> Vec<u8> {
        [dims(shape), number(2, code), bytes(8, name.as_bytes()), bytes(9, data)].concat()
    }

    fn initializer(name: &str, code: u64, shape: &[u64], data: &[u8]) -> Vec<u8> {
        bytes(5, &tensor(name, code, shape, data))
    }

    fn constant(output: &str, tensor: &[u8]) -> Vec<u8> {
        let attribute = [bytes(1, b"value"), bytes(5, tensor), number(20, 4)];
        message(
            1,
            &[
                bytes(2, output.as_bytes()),
                bytes(4, b"Constant"),
                message(5, &attribute),
            ],
        )
    }

    fn model(graph: &[Vec<u8>]) -> Vec<u8> {
        [
            number(1, 8),
            bytes(2, b"tester"),
            message(7, &[graph, &[bytes(2, b"main")]].concat()),
            message(8, &[bytes(1, b""), number(2, 17)]),
            message(8, &[bytes(1, b"ai.onnx.ml"), number(2, 3)]),
        ]
        .concat()
    }

    fn read(graph: &[Vec<u8>]) -> Vec<Tensor> {
        parse(&model(graph)).unwrap().unwrap().tensors
    }

    fn names(graph: &[Vec<u8>]) -> Vec<String> {
        read(graph).into_iter().map(|tensor| tensor.name).collect()
    }

    fn refused(graph: &[Vec<u8>]) -> LayoutError {
        parse(&model(graph)).unwrap_err()
    }

    #[test]
    fn initializers_and_constants_are_found() {
        let file = model(&[
            constant("c_out", &tensor("", 7, &[2], &[5; 16])),
            initializer("weight", 1, &[2, 3], &[7; 24]),
            initializer("scale", 10, &[], &[9; 2]),
            initializer("none", 1, &[0, 4], &[]),
        ]);
        let layout = detect(&file).unwrap().unwrap();
        let at = |part: &[u8]| {
            let start = file.windows(part.len()).position(|window| window == part).unwrap() as u64;
            start..start + part.len() as u64
        };
        let found: Vec<_> = layout
            .tensors
            .iter()
            .filter(|tensor| tensor.elements() > 0)
            .map(|tensor| {
                (
                    tensor.name.as_str(),
                    tensor.dtype,
                    tensor.shape.as_slice(),
                    tensor.range.clone(),
                )
            })
            .collect();
        let expected: [(_, _, &[u64], _); 3] = [
            ("c_out", DType::Plain(Plain::I64), &[2], at(&[5; 16])),
            ("weight", DType::Plain(Plain::F32), &[2, 3], at(&[7; 24])),
            ("scale", DType::Plain(Plain::F16), &[], at(&[9; 2])),
        ];
        assert_eq!(found, expected);
        assert_eq!(layout.format, Format::Onnx);
        assert_eq!(layout.tensors.last().map(|tensor| tensor.name.as_str()), Some("none"));
        let metadata: Vec<_> = layout
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("graph_name", "main"),
            ("ir_version", "8"),
            ("opset", "17"),
            ("opset.ai.onnx.ml", "3"),
            ("producer_name", "tester"),
        ];
        assert_eq!(metadata, expected);
    }

    #[test]
    fn all_types_are_known_by_their_codes() {
        let expected = [
            (1, "f32", 20),
            (2, "u8", 5),
            (3, "i8", 5),
            (4, "u16", 10),
            (5, "i16", 10),
            (6, "i32", 20),
            (7, "i64", 40),
            (9, "bool", 5),
            (10, "f16", 10),
            (11, "f64", 40),
            (12, "u32", 20),
            (13, "u64", 40),
            (14, "c64", 40),
            (15, "c128", 80),
            (16, "bf16", 10),
            (17, "f8_e4m3", 5),
            (18, "f8_e4m3fnuz", 5),
            (19, "f8_e5m2", 5),
            (20, "f8_e5m2fnuz", 5),
            (21, "u4", 3),
            (22, "i4", 3),
            (23, "f4_e2m1", 3),
            (24, "f8_e8m0", 5),
            (25, "u2", 2),
            (26, "i2", 2),
        ];
        for (code, name, len) in expected {
            let found = read(&[initializer("t", code, &[5], &vec![0; len])]);
            assert_eq!(found.first().map(|tensor| tensor.dtype.name()).as_deref(), Some(name));
        }
        for code in [0, 8, 27, u64::MAX] {
            assert_eq!(names(&[initializer("t", code, &[5], &[0; 20])]), Vec::<String>::new());
        }
    }

    #[test]
    fn typed_fields_count_when_they_are_plain_arrays() {
        let data = |code, field| message(5, &[dims(&[2]), number(2, code), bytes(8, b"t"), field]);
        let found = |code, field| {
            read(&[data(code, field)])
                .into_iter()
                .map(|tensor| tensor.dtype.name())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(1, bytes(4, &[0; 8])), ["f32"]);
        assert_eq!(found(14, bytes(4, &[0; 16])), ["c64"]);
        assert_eq!(found(11, bytes(10, &[0; 16])), ["f64"]);
        let nothing = Vec::<String>::new();
        assert_eq!(found(7, bytes(7, &[0; 2])), nothing);
        assert_eq!(found(6, bytes(5, &[0; 2])), nothing);
        assert_eq!(found(6, bytes(4, &[0; 8])), nothing);
        assert_eq!(found(1, [bytes(4, &[0; 4]), bytes(4, &[0; 4])].concat()), nothing);
        let one_by_one = [0x25, 0, 0, 0, 0].repeat(2);
        assert_eq!(found(1, one_by_one), nothing);
    }

    #[test]
    fn packed_dimensions_are_read() {
        let packed = [
            bytes(1, &[2, 0x80, 0x01]),
            number(2, 2),
            bytes(8, b"t"),
            bytes(9, &[0; 256]),
        ];
        assert_eq!(read(&[message(5, &packed)]).remove(0).shape, [2, 128]);
    }

    #[test]
    fn external_data_is_counted_and_left_out() {
        let location = message(13, &[bytes(1, b"location"), bytes(2, b"weights.bin")]);
        let external = message(
            5,
            &[
                dims(&[1 << 40]),
                number(2, 1),
                bytes(8, b"big"),
                location,
                number(14, 1),
            ],
        );
        let layout = parse(&model(&[external, initializer("small", 1, &[1], &[0; 4])]))
            .unwrap()
            .unwrap();
        let names: Vec<_> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["small"]);
        assert_eq!(layout.metadata.get("external_tensors").map(String::as_str), Some("1"));
    }

    #[test]
    fn names_become_unique() {
        let graph = [
            initializer("a", 2, &[1], &[0]),
            initializer("a", 2, &[1], &[0]),
            initializer("", 2, &[1], &[0]),
            initializer("", 2, &[1], &[0]),
            constant("a", &tensor("", 2, &[1], &[0])),
            constant("b", &tensor("inner", 2, &[1], &[0])),
        ];
        assert_eq!(
            names(&graph),
            ["a", "a#2", "initializer", "initializer#2", "a#3", "inner"]
        );
    }

    #[test]
    fn sparse_initializers_functions_and_subgraphs_are_searched() {
        let sparse = message(
            15,
            &[
                bytes(1, &tensor("s", 1, &[1], &[0; 4])),
                bytes(2, &tensor("", 7, &[1], &[0; 8])),
                dims(&[9]),
            ],
        );
        let branch = [
            initializer("inner", 2, &[1], &[0]),
            constant("c", &tensor("", 2, &[1], &[0])),
        ]
        .concat();
        let node = message(
            1,
            &[
                bytes(2, b"out"),
                message(5, &[bytes(1, b"then_branch"), bytes(6, &branch)]),
            ],
        );
        let mut file = model(&[sparse, node]);
        let constant = constant("f", &tensor("", 2, &[1], &[0]));
        // The same node, as field 7 of a function.
        file.extend(message(
            25,
            &[bytes(1, b"fn"), [vec![7 << 3 | 2], constant[1..].to_vec()].concat()],
        ));
        let layout = parse(&file).unwrap().unwrap();
        let names: Vec<_> = layout.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["s", "s.indices", "inner", "c", "f"]);
    }

    #[test]
    fn graphs_nested_without_end_are_cut_off() {
        let nest = |depth| {
            (0..depth).fold(initializer("deep", 2, &[1], &[0]), |graph, _| {
                message(1, &[message(5, &[bytes(6, &graph)])])
            })
        };
        assert_eq!(names(&[nest(MAX_DEPTH)]), ["deep"]);
        assert_eq!(names(&[nest(MAX_DEPTH + 1)]), Vec::<String>::new());
        assert_eq!(names(&[nest(2000)]), Vec::<String>::new());
    }

    #[test]
    fn data_that_contradicts_the_shape_is_refused() {
        for shape in [
            &[2][..],
            &[1, 1, 3],
            &[1 << 62, 4],
            &[1 << 63],
            &[u64::MAX],
            &[1 << 32, 1 << 32],
            &[0],
        ] {
            let error = refused(&[initializer("t", 1, shape, &[0; 4])]);
            assert!(matches!(error, LayoutError::Malformed { .. }), "{shape:?}: {error}");
        }
    }

    #[test]
    fn structures_beyond_the_limits_are_refused() {
        let long = "n".repeat(MAX_NAME + 1);
        let empty = bytes(5, b"").repeat(5 << 20);
        for graph in [
            initializer("t", 1, &[1; 33], &[0; 4]),
            initializer(&long, 1, &[1], &[0; 4]),
            empty,
        ] {
            let error = refused(&[graph]);
            assert!(matches!(error, LayoutError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn fields_beyond_their_message_are_refused() {
        let outside = [varint(9 << 3 | 2), varint(1 << 50)].concat();
        for graph in [bytes(5, &outside), bytes(1, &outside), bytes(1, &bytes(5, &outside))] {
            let error = refused(&[graph]);
            assert!(matches!(error, LayoutError::OutOfBounds { .. }), "{error}");
        }
    }

    #[test]
    fn only_whole_models_count_as_onnx() {
        let whole = model(&[]);
        assert!(parse(&whole).unwrap().is_some());
        let graph = bytes(7, b"");
        for file in [
            Vec::new(),
            b"# A text about \x08 models\n".to_vec(),
            graph.clone(),
            number(1, 8),
            [number(1, 0), graph.clone()].concat(),
            [number(1, 5000), graph.clone()].concat(),
            [bytes(1, b"8"), graph.clone()].concat(),
            [number(1, 8), graph.clone(), graph.clone()].concat(),
            [number(1, 8), graph.clone(), number(9, 1)].concat(),
            [number(1, 8), graph.clone(), number(15, 1)].concat(),
            [whole.clone(), vec![0]].concat(),
            [number(1, 8), varint(7 << 3 | 2), varint(1 << 60)].concat(),
        ] {
            assert_eq!(parse(&file).unwrap(), None, "{}", file.escape_ascii());
        }
    }

    #[test]
    fn a_sparse_terabyte_ends_soon() {
        let len = 1 << 40;
        let zeros = Sparse { head: Vec::new(), len };
        assert_eq!(parse(&zeros).unwrap(), None);

        let start = [number(1, 8), varint(7 << 3 | 2)].concat();
        let rest = len - start.len() as u64 - varint(len).len() as u64;
        let head = [start, varint(rest)].concat();
        let error = parse(&Sparse { head, len }).unwrap_err();
        assert!(matches!(error, LayoutError::Malformed { .. }), "{error}");
    }

    #[test]
    fn damaged_files_are_refused_or_harmless() {
        let file = model(&[
            constant("c", &tensor("", 7, &[2], &[5; 16])),
            initializer("weight", 1, &[2, 3], &[7; 24]),
        ]);
        // A model cut between two of its fields is a model: here, as its graph comes last, without a graph.
        let opset = message(8, &[bytes(1, b""), number(2, 17)]);
        let graph = initializer("weight", 1, &[2, 3], &[7; 24]);
        truncations(parse, &[number(1, 8), opset, bytes(7, &graph)].concat());
        flips(parse, &file, file.len(), 20_000);
    }
}
