//! The header of a safetensors file that is made here: reading them is in `safetensors`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{DType, MAX_HEADER, Tensor};

/// The data begins at a multiple of this many bytes, as the reference writer has it.
const ALIGNMENT: usize = 8;

/// The first bytes of a file with these tensors, one after the other in this order, whatever their ranges are; the data of the
/// first one follows. `None` when it would be longer than readers accept.
pub fn safetensors_header(tensors: &[Tensor], metadata: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let mut table = Map::new();
    if !metadata.is_empty() {
        table.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut at = 0u64;
    for tensor in tensors {
        let end = at.checked_add(tensor.range.end.checked_sub(tensor.range.start)?)?;
        let entry = json!({ "dtype": dtype(tensor.dtype), "shape": tensor.shape, "data_offsets": [at, end] });
        table.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut text = serde_json::to_vec(&Value::Object(table)).ok()?;
    let padded = text.len().next_multiple_of(ALIGNMENT);
    text.resize(padded, b' ');
    let len = text.len() as u64;
    let mut header = len.to_le_bytes().to_vec();
    header.append(&mut text);
    (len <= MAX_HEADER).then_some(header)
}

/// The format's name of a dtype that was read from it.
fn dtype(dtype: DType) -> String {
    match dtype {
        DType::Plain(plain) => plain.name().to_ascii_uppercase(),
        DType::Block(block) => block.name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Plain, detect};
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let tensor = |name: &str, dtype, shape: &[u64], range| Tensor {
            name: name.to_owned(),
            dtype: DType::Plain(dtype),
            shape: shape.to_vec(),
            range,
            contiguous: true,
        };
        let plains = [
            Plain::Bool,
            Plain::I8,
            Plain::F8E4M3,
            Plain::F8E5M2,
            Plain::F8E8M0,
            Plain::U8,
        ];
        let mut tensors: Vec<Tensor> = (0..)
            .zip(plains)
            .map(|(at, plain)| tensor(plain.name(), plain, &[], at..at + 1))
            .collect();
        tensors.push(tensor("empty", Plain::F32, &[0, 7], 9..9));
        tensors.push(tensor("\"quoted\" \u{1f600}", Plain::BF16, &[2, 3], 100..112));
        tensors.push(tensor("wide", Plain::F64, &[1], 50..58));
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut file = safetensors_header(&tensors, &metadata).unwrap();
        let start = file.len() as u64;
        file.resize(file.len() + 26, 7);
        let layout = detect(&file).unwrap().unwrap();
        assert_eq!(layout.metadata, metadata);
        let mut at = start;
        for tensor in &mut tensors {
            let len = tensor.range.end - tensor.range.start;
            tensor.range = at..at + len;
            at += len;
        }
        assert_eq!(layout.tensors, tensors);
        assert_eq!(at, file.len() as u64);
    }
}
