//! safetensors: a JSON header of offsets, then the tensors one after the other.

use serde_json::{Map, json};

use crate::{DType, Tensor};

/// The file that holds `tensors` in their order. The header is padded so that the data starts at a multiple of 8.
pub fn write(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut end = 0;
    for tensor in tensors {
        let start = end;
        end += tensor.data.len();
        let dtype = match tensor.dtype {
            DType::F32 => "F32",
            DType::Bf16 => "BF16",
        };
        let entry = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] });
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(tensors.iter().flat_map(|tensor| &tensor.data));
    file
}
