//! PyTorch: the ZIP archive that `torch.save` writes for a state dict. The pickle is put together opcode by opcode.

use crate::zip::Archive;
use crate::{DType, Tensor};

/// `torch.save(OrderedDict(tensors), "archive.pt")`: each tensor is contiguous in a storage of its own.
pub fn write(tensors: &[Tensor]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.add("archive/data.pkl", 64, &pickle(tensors));
    archive.add("archive/byteorder", 64, b"little");
    for (index, tensor) in tensors.iter().enumerate() {
        archive.add(&format!("archive/data/{index}"), 64, &tensor.data);
    }
    archive.add("archive/version", 64, b"3\n");
    archive.finish()
}

/// The pickle of such an archive.
pub fn pickle(tensors: &[Tensor]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (index, tensor) in tensors.iter().enumerate() {
        let storage = match tensor.dtype {
            DType::F32 => "FloatStorage",
            DType::Bf16 => "BFloat16Storage",
        };
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{storage}\n").bytes());
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.data.len() / tensor.dtype.width());
        // The storage's id is complete (`t`, `Q`); offset, shape and stride follow.
        out.extend(b"tQ");
        int(&mut out, 0);
        let mut strides: Vec<usize> = Vec::new();
        let mut step = 1;
        for dimension in tensor.shape.iter().rev() {
            strides.insert(0, step);
            step *= dimension;
        }
        for numbers in [&tensor.shape, &strides] {
            out.push(b'(');
            numbers.iter().for_each(|number| int(&mut out, *number));
            out.push(b't');
        }
        // requires_grad = False, no backward hooks.
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: usize) {
    out.push(b'J');
    out.extend((value as i32).to_le_bytes());
}
