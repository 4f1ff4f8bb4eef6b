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
