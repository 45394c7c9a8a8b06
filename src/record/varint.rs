//! Zigzag varints, the numbers inside a record: 32 and 64 bits.
//!
//! In:   bytes that nobody vouches for. Out: a number and how many bytes it took.
//! Source: Kafka's `ByteUtils.readVarint` (Protocol Buffers' sint32 and sint64).

/// Longest encoding of 64 bits, in bytes.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Takes a signed 32-bit number from the front of `bytes`; `None` if cut or out of range.
#[inline]
pub fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = match take_u64(bytes, 5) {
        Some(raw) => u32::try_from(raw).ok()?,
        None => return None,
    };
    Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

/// Takes a signed 64-bit number from the front of `bytes`; `None` if cut or out of range.
#[inline]
pub fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = take_u64(bytes, VARLONG_BYTES_MAX)?;
    Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

/// Seven bits a byte, lowest first; one byte is by far the usual case.
#[inline]
fn take_u64(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    take_u64_long(bytes, bytes_max)
}

fn take_u64_long(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(bytes_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index;
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends `value` to `out`, at most [`VARLONG_BYTES_MAX`] bytes.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value << 1 ^ value >> 63).cast_unsigned();
    while raw >= 0x80 {
        out.push(low_byte(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_byte(raw));
}

/// Appends `value` to `out`, at most 5 bytes. Its form is that of the same 64-bit number.
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_i64(out, i64::from(value));
}

/// Bytes that [`put_i64`] writes for `value`.
pub fn bytes_of_i64(value: i64) -> usize {
    let raw = (value << 1 ^ value >> 63).cast_unsigned();
    let bits = 64 - (raw | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).expect("at most 10")
}

fn low_byte(raw: u64) -> u8 {
    u8::try_from(raw & 0x7f).expect("seven bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prng::Prng;

    #[test]
    fn known_forms() {
        let check = |value: i64, want: &[u8]| {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            assert_eq!(out, want, "{value}");
            assert_eq!(bytes_of_i64(value), want.len(), "{value}");
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[126]);
        check(64, &[0x80, 1]);
        check(-64, &[127]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut prng = Prng::new(1);
        for _ in 0..10_000 {
            let value = (prng.next_u64() >> prng.below(64)).cast_signed();
            let mut out = Vec::new();
            put_i64(&mut out, value);
            let mut bytes = &out[..];
            assert_eq!(take_i64(&mut bytes), Some(value));
            assert!(bytes.is_empty());
            let mut bytes = &out[..];
            assert_eq!(take_i32(&mut bytes), i32::try_from(value).ok(), "{value}");
        }
    }

    #[test]
    fn cut_and_oversized_numbers_are_refused() {
        let check = |bytes: &[u8]| {
            assert_eq!(take_i64(&mut &bytes[..]), None, "{bytes:?}");
            assert_eq!(take_i32(&mut &bytes[..]), None, "{bytes:?}");
        };
        check(&[]);
        check(&[0x80]);
        check(&[0xff; 9]);
        check(&[0xff; 11]);
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]);
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), None);
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]), Some(i32::MIN));
    }
}
