//! GGUF version 3: key-value entries, tensor descriptions, then the tensors, each aligned to 32 bytes.

use crate::{DType, Tensor};

const ALIGNMENT: usize = 32;
const TEXT: u32 = 8;

/// The file that holds `tensors`, of a model of the given architecture (`llama`).
pub fn write(architecture: &str, tensors: &[Tensor]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(1u64.to_le_bytes());
    text(&mut file, "general.architecture");
    file.extend(TEXT.to_le_bytes());
    text(&mut file, architecture);
    let mut offset = 0;
    for tensor in tensors {
        text(&mut file, &tensor.name);
        file.extend((tensor.shape.len() as u32).to_le_bytes());
        // GGUF writes the innermost dimension first.
        for dimension in tensor.shape.iter().rev() {
            file.extend((*dimension as u64).to_le_bytes());
        }
        let code: u32 = match tensor.dtype {
            DType::F32 => 0,
            DType::Bf16 => 30,
        };
        file.extend(code.to_le_bytes());
        file.extend((offset as u64).to_le_bytes());
        offset = (offset + tensor.data.len()).next_multiple_of(ALIGNMENT);
    }
    for tensor in tensors {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(&tensor.data);
    }
    file
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}
