//! Walking the protobuf wire format of a file that may be far larger than memory: fields are read, payloads are
//! left where they are. What fields mean is not here.

use super::{Format, LayoutError, MAX_HEADER, ReadAt};
use std::ops::Range;

/// Bytes read at a time: a few fields' worth, since payloads in between are skipped.
const WINDOW: u64 = 4096;

/// The most fields that are read from one file; each may cost a read of its own.
const MAX_FIELDS: u64 = 4 << 20;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    Varint(u64),
    /// Absolute range of a length-delimited payload: text, bytes, a message or packed numbers.
    Bytes(Range<u64>),
    /// Four or eight bytes that nothing here needs.
    Fixed,
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub number: u32,
    pub payload: Payload,
}

/// Reads fields anywhere in a file, with a budget for all of them together.
pub(super) struct Walker<'a> {
    source: &'a dyn ReadAt,
    format: Format,
    window: Vec<u8>,
    /// Where in the file the window starts.
    start: u64,
    /// Bytes of structure that may still be read.
    bytes: u64,
    /// Fields that may still be read.
    fields: u64,
}

impl<'a> Walker<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, format: Format) -> Self {
        Self {
            source,
            format,
            window: Vec::new(),
            start: 0,
            bytes: MAX_HEADER,
            fields: MAX_FIELDS,
        }
    }

    /// The field at the start of `message`, which then starts behind it; `None` at the message's end.
    ///
    /// # Errors
    /// When it is no field or does not fit into the message, and when the budget is used up.
    pub(super) fn field(&mut self, message: &mut Range<u64>) -> Result<Option<Field>, LayoutError> {
        if message.is_empty() {
            return Ok(None);
        }
        self.fields = self.fields.checked_sub(1).ok_or_else(|| self.exhausted())?;
        let tag = self.varint(message)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or_else(|| self.malformed("a field without a valid number"))?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint(message)?),
            1 => self.skip(message, 8).map(|_| Payload::Fixed)?,
            2 => {
                let len = self.varint(message)?;
                Payload::Bytes(self.skip(message, len)?)
            }
            5 => self.skip(message, 4).map(|_| Payload::Fixed)?,
            _ => return Err(self.malformed("a field of an unknown wire type")),
        };
        Ok(Some(Field { number, payload }))
    }

    /// The next number of a packed field, or of a message's start.
    pub(super) fn varint(&mut self, message: &mut Range<u64>) -> Result<u64, LayoutError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(message)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed("a number beyond 64 bits"))
    }

    /// The text in `range`, at most `limit` bytes.
    pub(super) fn text(&mut self, range: &Range<u64>, limit: usize) -> Result<String, LayoutError> {
        let len = range.end.saturating_sub(range.start);
        if len > limit as u64 {
            let what = format!("a name of {len} bytes");
            return Err(LayoutError::too_large(self.format, what));
        }
        self.bytes = self.bytes.checked_sub(len).ok_or_else(|| self.exhausted())?;
        let mut bytes = vec![0u8; len as usize];
        self.source
            .read_exact_at(&mut bytes, range.start)
            .map_err(|error| LayoutError::reading(self.format, "a name", error))?;
        String::from_utf8(bytes).map_err(|_| self.malformed("a name that is not UTF-8"))
    }

    fn malformed(&self, what: &str) -> LayoutError {
        LayoutError::malformed(self.format, what)
    }

    fn exhausted(&self) -> LayoutError {
        LayoutError::too_large(self.format, "so large a structure")
    }

    fn skip(&self, message: &mut Range<u64>, len: u64) -> Result<Range<u64>, LayoutError> {
        let end = message.start.checked_add(len).filter(|&end| end <= message.end);
        let end = end.ok_or_else(|| LayoutError::out_of_bounds(self.format, "a field of the structure"))?;
        let skipped = message.start..end;
        message.start = end;
        Ok(skipped)
    }

    fn byte(&mut self, message: &mut Range<u64>) -> Result<u8, LayoutError> {
        self.bytes = self.bytes.checked_sub(1).ok_or_else(|| self.exhausted())?;
        let at = self.skip(message, 1)?.start;
        if let Some(byte) = self.in_window(at) {
            return Ok(byte);
        }
        let len = self.source.len().saturating_sub(at).min(WINDOW);
        self.window.resize(len as usize, 0);
        self.start = at;
        self.source
            .read_exact_at(&mut self.window, at)
            .map_err(|error| LayoutError::reading(self.format, "a field of the structure", error))?;
        self.in_window(at)
            .ok_or_else(|| LayoutError::out_of_bounds(self.format, "a field of the structure"))
    }

    fn in_window(&self, at: u64) -> Option<u8> {
        let offset = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.window.get(offset).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<Field>, LayoutError> {
        let source = bytes.to_vec();
        let mut walker = Walker::new(&source, Format::Onnx);
        let mut message = 0..source.len() as u64;
        let mut fields = Vec::new();
        while let Some(field) = walker.field(&mut message)? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn fields_of_all_wire_types_are_read() {
        let bytes = b"\x08\x96\x01\x12\x03abc\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\xf8\xff\xff\xff\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let found = fields(bytes).unwrap();
        let expected = [
            (1, Payload::Varint(150)),
            (2, Payload::Bytes(5..8)),
            (3, Payload::Fixed),
            (4, Payload::Fixed),
            ((1 << 29) - 1, Payload::Varint(u64::MAX)),
        ]
        .map(|(number, payload)| Field { number, payload });
        assert_eq!(found, expected);
    }

    #[test]
    fn fields_far_apart_are_read() {
        let mut bytes = b"\x12\x90\x4e".to_vec();
        bytes.resize(bytes.len() + 10_000, 0xff);
        bytes.extend(b"\x18\x05");
        let found = fields(&bytes).unwrap();
        assert_eq!(found.last().map(|field| &field.payload), Some(&Payload::Varint(5)));
    }

    #[test]
    fn what_is_no_field_is_malformed() {
        let cases: [&[u8]; 6] = [
            b"\0",
            b"\x0b",
            b"\x0c",
            b"\x0e\0",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x80\x80\x80\x80\x10\0",
        ];
        for bytes in cases {
            let error = fields(bytes).unwrap_err();
            assert!(
                matches!(error, LayoutError::Malformed { .. }),
                "{}: {error}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn fields_beyond_their_message_are_out_of_bounds() {
        let cases: [&[u8]; 6] = [
            b"\x08",
            b"\x08\x80",
            b"\x12\x01",
            b"\x19\0\0\0\0\0\0\0",
            b"\x25\0\0\0",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ];
        for bytes in cases {
            let error = fields(bytes).unwrap_err();
            assert!(
                matches!(error, LayoutError::OutOfBounds { .. }),
                "{}: {error}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn structure_is_bounded() {
        let many = [8, 1].repeat(MAX_FIELDS as usize + 1);
        assert!(matches!(fields(&many), Err(LayoutError::TooLarge { .. })));
        let wide = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x01".repeat(MAX_HEADER as usize / 10 + 1);
        assert!(matches!(fields(&wide), Err(LayoutError::TooLarge { .. })));
    }
}
