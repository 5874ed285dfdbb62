//! The serialized form of header maps in the ABI: the number of fields, the sizes of each name and
//! value (all 32-bit little-endian), then names and values, each ended by a NUL.

use wardgate_core::gate::intake::{Field, MAX_FIELDS};

/// The fields in `bytes`, borrowed; `None` if the sizes do not fit the bytes or there are more than
/// [`MAX_FIELDS`].
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let count = number(bytes, 0)?;
    if count > MAX_FIELDS {
        return None;
    }
    let mut sizes = 4_usize;
    let mut data = count.checked_mul(8)?.checked_add(4)?;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let name_end = data.checked_add(number(bytes, sizes)?)?;
        let value = name_end.checked_add(1)?;
        let value_end = value.checked_add(number(bytes, sizes.checked_add(4)?)?)?;
        fields.push((bytes.get(data..name_end)?, bytes.get(value..value_end)?));
        data = value_end.checked_add(1)?;
        sizes = sizes.checked_add(8)?;
    }
    Some(fields)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
}

/// Serializes `fields`; a field whose sizes need more than 32 bits cannot exist in this memory.
pub(crate) fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_number(&mut bytes, fields.len());
    for (name, value) in fields {
        append_number(&mut bytes, name.len());
        append_number(&mut bytes, value.len());
    }
    for (name, value) in fields {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}

fn append_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}
