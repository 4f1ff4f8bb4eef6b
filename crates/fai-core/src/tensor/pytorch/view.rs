//! Tensors as PyTorch describes them: a view with an offset, a size and strides into a storage. Where storages
//! lie in a file is not here.

use super::FORMAT;
use super::walk::Rebuild;
use crate::tensor::pickle::{Id, Pickle, Value};
use crate::tensor::{Block, DType, LayoutError, MAX_RANK, Plain, element_count};
use std::ops::Range;

/// Storage keys are counters or short hashes.
const MAX_KEY: usize = 256;

/// A strided view of a storage. Offset and strides count elements.
pub(super) struct View<'p> {
    /// Which storage.
    pub key: &'p str,
    pub dtype: DType,
    pub shape: Vec<u64>,
    strides: Vec<u64>,
    offset: u64,
}

impl<'p> View<'p> {
    /// Reads the arguments of a rebuilding function; `Ok(None)` for tensors without a storage in the file and
    /// for element types unknown here.
    pub(super) fn new(pickle: &'p Pickle<'_>, rebuild: &Rebuild<'p>) -> Result<Option<Self>, LayoutError> {
        let &[storage, offset, shape, strides, ..] = rebuild.args else {
            return Err(malformed("has too few arguments"));
        };
        let Value::Persistent(persistent) = *pickle.get(storage) else {
            return Ok(None);
        };
        let &[kind, class, key, ..] = pickle.sequence(persistent) else {
            return Ok(None);
        };
        let (Some("storage"), Some((module, class)), Some(key)) =
            (pickle.text(kind), pickle.global(class), pickle.text(key))
        else {
            return Ok(None);
        };
        let dtype = match rebuild.dtype.map(|id| pickle.global(id)) {
            None => storage_dtype(class),
            Some(Some(("torch", name))) => dtype_named(name),
            Some(_) => None,
        };
        let Some(dtype) = dtype.filter(|_| module.starts_with("torch")) else {
            return Ok(None);
        };
        if key.len() > MAX_KEY {
            let what = format!("a storage key of {} bytes", key.len());
            return Err(LayoutError::too_large(FORMAT, what));
        }
        let view = Self {
            key,
            dtype,
            shape: dimensions(pickle, shape)?,
            strides: dimensions(pickle, strides)?,
            offset: number(pickle, offset)?,
        };
        if view.shape.len() != view.strides.len() {
            return Err(malformed("has a size and a stride of different ranks"));
        }
        if element_count(&view.shape)
            .and_then(|count| view.dtype.byte_len(count))
            .is_none()
        {
            return Err(malformed("has an impossible size"));
        }
        Ok(Some(view))
    }

    /// The bytes of the storage that the view touches, or `None` when that overflows.
    pub(super) fn range(&self) -> Option<Range<u64>> {
        let start = self.dtype.byte_len(self.offset)?;
        if self.shape.contains(&0) {
            return Some(start..start);
        }
        let mut last = self.offset;
        for (&size, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        Some(start..self.dtype.byte_len(last.checked_add(1)?)?)
    }

    /// True when the elements lie in row-major order without gaps. The strides of dimensions of one element say
    /// nothing.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = Some(1u64);
        let mut dimensions = self.shape.iter().zip(&self.strides).rev();
        self.shape.contains(&0)
            || dimensions.all(|(&size, &stride)| {
                let fits = size == 1 || expected == Some(stride);
                expected = expected.and_then(|expected| expected.checked_mul(size));
                fits
            })
    }
}

fn malformed(what: &str) -> LayoutError {
    LayoutError::malformed(FORMAT, format!("a tensor {what}"))
}

fn number(pickle: &Pickle<'_>, id: Id) -> Result<u64, LayoutError> {
    match *pickle.get(id) {
        Value::Int(int) => u64::try_from(int).map_err(|_| malformed("has a negative size, stride or offset")),
        _ => Err(malformed("has a size, stride or offset that is no number")),
    }
}

fn dimensions(pickle: &Pickle<'_>, id: Id) -> Result<Vec<u64>, LayoutError> {
    let (Value::Tuple(items) | Value::List(items)) = pickle.get(id) else {
        return Err(malformed("has a size or stride that is no tuple"));
    };
    if items.len() > MAX_RANK {
        let what = format!("a tensor of {} dimensions", items.len());
        return Err(LayoutError::too_large(FORMAT, what));
    }
    items.iter().map(|&item| number(pickle, item)).collect()
}

const fn opaque(name: &'static str, bytes: u32) -> DType {
    let elements = 1;
    DType::Block(Block { name, elements, bytes })
}

/// The element type of a storage class.
fn storage_dtype(class: &str) -> Option<DType> {
    Some(DType::Plain(match class.strip_suffix("Storage")? {
        "Untyped" | "Byte" | "QUInt8" => Plain::U8,
        "Char" | "QInt8" => Plain::I8,
        "Bool" => Plain::Bool,
        "Short" => Plain::I16,
        "Int" | "QInt32" => Plain::I32,
        "Long" => Plain::I64,
        "UInt16" => Plain::U16,
        "UInt32" => Plain::U32,
        "UInt64" => Plain::U64,
        "Half" => Plain::F16,
        "BFloat16" => Plain::BF16,
        "Float" => Plain::F32,
        "Double" => Plain::F64,
        "ComplexFloat" => Plain::C64,
        "ComplexDouble" => Plain::C128,
        "ComplexHalf" => return Some(opaque("C32", 4)),
        // TorchScript names storages of newer types after the type.
        other => return dtype_named(&other.to_ascii_lowercase()),
    }))
}

/// The element type that PyTorch calls `torch.NAME`.
fn dtype_named(name: &str) -> Option<DType> {
    Some(DType::Plain(match name {
        "bool" => Plain::Bool,
        "uint8" | "quint8" => Plain::U8,
        "int8" | "qint8" => Plain::I8,
        "uint16" => Plain::U16,
        "int16" => Plain::I16,
        "uint32" => Plain::U32,
        "int32" | "qint32" => Plain::I32,
        "uint64" => Plain::U64,
        "int64" => Plain::I64,
        "float8_e4m3fn" => Plain::F8E4M3,
        "float8_e4m3fnuz" => Plain::F8E4M3Fnuz,
        "float8_e5m2" => Plain::F8E5M2,
        "float8_e5m2fnuz" => Plain::F8E5M2Fnuz,
        "float8_e8m0fnu" => Plain::F8E8M0,
        "float16" => Plain::F16,
        "bfloat16" => Plain::BF16,
        "float32" => Plain::F32,
        "float64" => Plain::F64,
        "complex64" => Plain::C64,
        "complex128" => Plain::C128,
        "complex32" => return Some(opaque("C32", 4)),
        // Each of its elements is a byte that holds two numbers.
        "float4_e2m1fn_x2" => return Some(opaque("F4_E2M1_X2", 1)),
        _ => return None,
    }))
}
