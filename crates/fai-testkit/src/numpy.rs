//! NumPy: `.npy` with one array, `.npz` with several. NumPy has no bf16, so tensors here are `F32`.

use crate::zip::Archive;
use crate::{DType, Tensor};

/// The `.npy` file of a tensor, whose name it does not hold. A bf16 tensor is written as NumPy sees it: 16-bit
/// integers.
pub fn npy(tensor: &Tensor) -> Vec<u8> {
    let shape: String = tensor.shape.iter().map(|dimension| format!("{dimension},")).collect();
    let kind = match tensor.dtype {
        DType::F32 => "<f4",
        DType::Bf16 => "<u2",
    };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; the data starts at a multiple of 64.
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(&tensor.data);
    file
}

/// The `.npz` archive that `numpy.savez` writes.
pub fn npz(tensors: &[Tensor]) -> Vec<u8> {
    let mut archive = Archive::default();
    for tensor in tensors {
        archive.add(&format!("{}.npy", tensor.name), 1, &npy(tensor));
    }
    archive.finish()
}
