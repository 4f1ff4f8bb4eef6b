//! ONNX: a `ModelProto` whose graph holds the tensors as initializers, in protobuf's wire format.

use crate::{DType, Tensor};

/// The model with `tensors` as the initializers of a graph without nodes.
pub fn write(tensors: &[Tensor]) -> Vec<u8> {
    let mut graph = Vec::new();
    bytes(&mut graph, 2, b"graph");
    for tensor in tensors {
        let mut initializer = Vec::new();
        for dimension in &tensor.shape {
            number(&mut initializer, 1, *dimension as u64);
        }
        let code = match tensor.dtype {
            DType::F32 => 1,
            DType::Bf16 => 16,
        };
        number(&mut initializer, 2, code);
        bytes(&mut initializer, 8, tensor.name.as_bytes());
        bytes(&mut initializer, 9, &tensor.data);
        bytes(&mut graph, 5, &initializer);
    }
    let mut operators = Vec::new();
    bytes(&mut operators, 1, b"");
    number(&mut operators, 2, 17);
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    bytes(&mut model, 2, b"fai-testkit");
    bytes(&mut model, 7, &graph);
    bytes(&mut model, 8, &operators);
    model
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}
