//! Kafka's primitive types: a bounded reader over bytes and a writer into a buffer.
//!
//! In:   bytes nobody vouches for.
//! Out:  values, or a [`DecodeError`] that says what was wrong; bytes, or an [`EncodeError`].
//! Home: pure.
//!
//! Invariants
//!   R1  The reader never looks past its end; `position <= end <= data.len()`.
//!   R2  A length or count is compared with the remaining bytes before it is used for anything.
//!   R3  Elements, strings and byte strings are charged to a memory budget that grows with the input,
//!       so that many tiny elements cannot become gigabytes of structs.
//!
//! Text that is not UTF-8 is decoded with U+FFFD in place of the bad bytes, as Kafka's own String
//! decoding does: such a topic name then fails the check of legal names and is answered as invalid.
//!
//! Source: Kafka protocol guide, "Protocol Primitive Types"; KIP-482 (compact types, tagged fields).

use bytes::{BufMut as _, Bytes, BytesMut};

/// Memory that decoding may take whatever the size of its input, in bytes.
const MEMORY_BYTES_FLOOR: usize = 64 * 1024;
/// Memory that decoding may take for each byte of its input.
const MEMORY_BYTES_PER_INPUT_BYTE: usize = 32;
/// Memory that decoding one message may take at most, in bytes.
const MEMORY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Longest string with a 16-bit length.
const STRING_BYTES_MAX: usize = 32_767;

/// How many bytes of structs, text and byte strings a reader over `input_bytes` may hand out.
///
/// Vectors double as they grow, so the heap in use can reach three times as much for a moment.
#[must_use]
pub fn memory_limit(input_bytes: usize) -> usize {
    input_bytes
        .saturating_mul(MEMORY_BYTES_PER_INPUT_BYTE)
        .saturating_add(MEMORY_BYTES_FLOOR)
        .min(MEMORY_BYTES_MAX)
}

/// Why bytes could not be decoded: always the sender's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A value ends after the last byte.
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A length below -1, or below 0 where null has no meaning.
    NegativeLength {
        /// The length as it came.
        length: i32,
    },
    /// An array that says it has more elements than bytes are left.
    TooManyElements {
        /// Elements announced.
        count: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// The decoded form would take more memory than its input justifies.
    MemoryLimit {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A variable-length integer that does not end in time.
    VarintTooLong,
    /// Null in a field, or in a version of it, that has no null.
    UnexpectedNull,
    /// A version that this message does not have.
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
}

/// Why a value could not be encoded: a mistake of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// Text longer than its 16-bit length can say.
    StringTooLong {
        /// Bytes of the text.
        bytes: usize,
    },
    /// More elements or bytes than a length of 31 bits can say.
    TooLarge {
        /// How many.
        length: usize,
    },
    /// Null in a field, or in a version of it, that has no null.
    UnexpectedNull {
        /// Name of the field.
        field: &'static str,
    },
    /// A field that must not be dropped has a value, but this version has no place for it.
    FieldNotInVersion {
        /// Name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A version that this message does not have.
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
    },
    /// The same tag twice in one tag section.
    DuplicateTag {
        /// The tag.
        tag: u32,
    },
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Truncated { needed, remaining } => {
                write!(f, "a value of {needed} bytes where {remaining} are left")
            }
            Self::NegativeLength { length } => write!(f, "a length of {length}"),
            Self::TooManyElements { count, remaining } => {
                write!(f, "{count} elements where {remaining} bytes are left")
            }
            Self::MemoryLimit { limit } => {
                write!(f, "would take more than {limit} bytes of memory")
            }
            Self::VarintTooLong => f.write_str("a variable-length integer without an end"),
            Self::UnexpectedNull => f.write_str("null where a value is required"),
            Self::UnsupportedVersion { version } => write!(f, "no such version: {version}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::StringTooLong { bytes } => write!(f, "a string of {bytes} bytes"),
            Self::TooLarge { length } => write!(f, "a length of {length}"),
            Self::UnexpectedNull { field } => write!(f, "{field} is null"),
            Self::FieldNotInVersion { field, version } => {
                write!(f, "version {version} has no {field}")
            }
            Self::UnsupportedVersion { version } => write!(f, "no such version: {version}"),
            Self::DuplicateTag { tag } => write!(f, "tag {tag} twice"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A tagged field nobody here knows, kept as it came. Source: KIP-482.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    /// The tag.
    pub tag: u32,
    /// The field's bytes, without its length.
    pub data: Bytes,
}

/// Reads primitives from bytes, front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    position: usize,
    /// The buffer that `data` is a view of, so that byte strings can share it.
    source: Option<&'a Bytes>,
    memory_limit: usize,
    memory_left: usize,
}

macro_rules! read_integers {
    ($($name:ident: $type:ty),*) => {
        $(
            #[doc = concat!("Reads a big-endian `", stringify!($type), "`. Errors: truncated.")]
            pub fn $name(&mut self) -> Result<$type, DecodeError> {
                Ok(<$type>::from_be_bytes(self.array()?))
            }
        )*
    };
}

impl<'a> Reader<'a> {
    /// A reader over `data`; byte strings it hands out are copies.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Reader<'a> {
        let memory_limit = memory_limit(data.len());
        Reader { data, position: 0, source: None, memory_limit, memory_left: memory_limit }
    }

    /// A reader over `data`; byte strings it hands out share the buffer.
    #[must_use]
    pub fn shared(data: &'a Bytes) -> Reader<'a> {
        Reader { source: Some(data), ..Reader::new(data) }
    }

    /// The same reader with another memory budget than [`memory_limit`] gives, in bytes.
    #[must_use]
    pub fn with_memory_limit(self, limit: usize) -> Reader<'a> {
        Reader { memory_limit: limit, memory_left: limit, ..self }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.data.len() - self.position
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads `length` bytes as they are. Errors: truncated.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let remaining = self.remaining();
        if length > remaining {
            return Err(DecodeError::Truncated { needed: length, remaining });
        }
        let taken = &self.data[self.position..self.position + length];
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take gives the length asked for"))
    }

    read_integers!(read_i8: i8, read_i16: i16, read_i32: i32, read_i64: i64, read_u16: u16, read_u32: u32, read_f64: f64);

    /// Reads a boolean: any byte but 0 is true. Errors: truncated.
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.read_i8()? != 0)
    }

    /// Reads 16 bytes of a UUID. Errors: truncated.
    pub fn read_uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    /// Reads an unsigned variable-length integer of up to 5 bytes; bits above the 32nd are dropped,
    /// as Kafka does. Errors: truncated, no end.
    pub fn read_unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for index in 0..5 {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// Reads an unsigned variable-length integer of up to 10 bytes. Errors: truncated, no end.
    pub fn read_unsigned_varlong(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for index in 0..10 {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// Reads a zigzag variable-length 32-bit integer. Errors: truncated, no end.
    pub fn read_varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.read_unsigned_varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a zigzag variable-length 64-bit integer. Errors: truncated, no end.
    pub fn read_varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.read_unsigned_varlong()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The length before a string: 16 bits, or a varint of length + 1. `None` is null.
    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.read_i16()?;
        length_or_null(i32::from(length))
    }

    /// The length before bytes or an array: 32 bits, or a varint of length + 1. `None` is null.
    ///
    /// The length is not checked yet: a caller that wants to allocate compares it with what is left.
    pub fn read_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.read_i32()?;
        length_or_null(length)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let coded = self.read_unsigned_varint()?;
        // 2^31 and above would be a negative length in Kafka's own integers.
        let length = coded.wrapping_sub(1).cast_signed();
        length_or_null(length)
    }

    /// Reads the count before an array, checked against the remaining bytes; `None` is null.
    /// Errors: truncated, negative, more elements than bytes.
    pub fn read_array_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.read_length(flexible)? else { return Ok(None) };
        let remaining = self.remaining();
        if count > remaining {
            return Err(DecodeError::TooManyElements { count, remaining });
        }
        Ok(Some(count))
    }

    /// Takes `bytes` out of the memory budget (R3). Errors: [`DecodeError::MemoryLimit`].
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.memory_left.checked_sub(bytes) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(DecodeError::MemoryLimit { limit: self.memory_limit }),
        }
    }

    /// Reads text, `None` if null; see the head for text that is not UTF-8.
    /// Errors: truncated, negative, memory.
    pub fn read_nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.string_length(flexible)? else { return Ok(None) };
        let bytes = self.take(length)?;
        self.charge(length)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Reads text that may not be null. Errors: truncated, negative, memory, null.
    pub fn read_string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.read_nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads a byte string, `None` if null. Errors: truncated, negative, memory.
    pub fn read_nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.read_length(flexible)? else { return Ok(None) };
        self.bytes(length).map(Some)
    }

    /// Reads `length` bytes as a byte string: shared if the buffer allows it, else copied.
    fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let taken = self.take(length)?;
        match self.source {
            Some(source) => Ok(source.slice_ref(taken)),
            None => {
                self.charge(length)?;
                Ok(Bytes::copy_from_slice(taken))
            }
        }
    }

    /// Reads a tag section: `known` is asked to read each field and says whether it knew the tag;
    /// fields it does not know are returned. A field read in part is skipped to its end.
    /// Errors: truncated, memory, or what `known` gives.
    pub fn read_tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<Vec<RawTaggedField>, DecodeError> {
        let mut unknown = Vec::new();
        let count = self.read_unsigned_varint()?;
        for _ in 0..count {
            let tag = self.read_unsigned_varint()?;
            let size = usize::try_from(self.read_unsigned_varint()?).expect("32 bits fit");
            let remaining = self.remaining();
            if size > remaining {
                return Err(DecodeError::Truncated { needed: size, remaining });
            }
            let whole = self.data;
            let start = self.position;
            self.data = &whole[..start + size];
            let was_known = known(tag, self)?;
            self.data = whole;
            self.position = start;
            if was_known {
                self.take(size)?;
            } else {
                self.charge(size_of::<RawTaggedField>())?;
                unknown.push(RawTaggedField { tag, data: self.bytes(size)? });
            }
        }
        Ok(unknown)
    }

    /// Reads a tag section and forgets it. Errors: truncated.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.read_unsigned_varint()? {
            self.read_unsigned_varint()?;
            let size = usize::try_from(self.read_unsigned_varint()?).expect("32 bits fit");
            self.take(size)?;
        }
        Ok(())
    }
}

/// -1 is null, anything below is an error.
fn length_or_null(length: i32) -> Result<Option<usize>, DecodeError> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength { length }),
    }
}

/// Writes primitives to the end of a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
}

macro_rules! write_integers {
    ($($name:ident: $type:ty => $put:ident),*) => {
        $(
            #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
            pub fn $name(&mut self, value: $type) {
                self.buffer.$put(value);
            }
        )*
    };
}

impl Writer {
    /// A writer into a new buffer.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer that goes on at the end of `buffer`.
    #[must_use]
    pub fn append_to(buffer: BytesMut) -> Writer {
        Writer { buffer }
    }

    /// The buffer with all that was written.
    #[must_use]
    pub fn into_buffer(self) -> BytesMut {
        self.buffer
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buffer
    }

    /// Overwrites four bytes at `at`, which were written before. Panics: if they were not.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    write_integers!(
        write_i8: i8 => put_i8, write_i16: i16 => put_i16, write_i32: i32 => put_i32,
        write_i64: i64 => put_i64, write_u16: u16 => put_u16, write_u32: u32 => put_u32,
        write_f64: f64 => put_f64
    );

    /// Writes a boolean as 0 or 1.
    pub fn write_bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// Writes bytes as they are.
    pub fn write_raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Writes an unsigned variable-length integer.
    pub fn write_unsigned_varint(&mut self, value: u32) {
        self.write_unsigned_varlong(u64::from(value));
    }

    /// Writes an unsigned variable-length integer of 64 bits.
    pub fn write_unsigned_varlong(&mut self, mut value: u64) {
        while value > 0x7f {
            self.buffer.put_u8(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(u8::try_from(value).expect("seven bits"));
    }

    /// Writes a zigzag variable-length integer.
    pub fn write_varint(&mut self, value: i32) {
        self.write_unsigned_varint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// Writes a zigzag variable-length integer of 64 bits.
    pub fn write_varlong(&mut self, value: i64) {
        self.write_unsigned_varlong(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Writes the length before bytes or an array; `None` is null. Errors: above 2^31 - 2.
    pub fn write_length(
        &mut self,
        length: Option<usize>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.write_unsigned_varint(0);
            } else {
                self.write_i32(-1);
            }
            return Ok(());
        };
        let fits = i32::try_from(length).ok().filter(|&fits| fits < i32::MAX);
        let fits = fits.ok_or(EncodeError::TooLarge { length })?;
        if flexible {
            self.write_unsigned_varint(fits.cast_unsigned() + 1);
        } else {
            self.write_i32(fits);
        }
        Ok(())
    }

    /// Writes text; `None` is null. Errors: too long.
    pub fn write_nullable_string(
        &mut self,
        text: Option<&str>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        if flexible {
            self.write_length(text.map(str::len), true)?;
        } else if let Some(text) = text {
            let bytes = text.len();
            let length = i16::try_from(bytes).map_err(|_| EncodeError::StringTooLong { bytes })?;
            assert!(bytes <= STRING_BYTES_MAX, "an i16 says no more");
            self.write_i16(length);
        } else {
            self.write_i16(-1);
        }
        self.write_raw(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Writes text. Errors: too long.
    pub fn write_string(&mut self, text: &str, flexible: bool) -> Result<(), EncodeError> {
        self.write_nullable_string(Some(text), flexible)
    }

    /// Writes a byte string; `None` is null. Errors: above 2^31 - 2 bytes.
    pub fn write_nullable_bytes(
        &mut self,
        bytes: Option<&[u8]>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.write_length(bytes.map(<[u8]>::len), flexible)?;
        self.write_raw(bytes.unwrap_or_default());
        Ok(())
    }

    /// Writes a tag section: `known` fields in ascending order, merged with `unknown` ones.
    /// Errors: a tag twice, a field above 2^31 - 2 bytes.
    pub fn write_tagged_fields(
        &mut self,
        mut known: Vec<RawTaggedField>,
        unknown: &[RawTaggedField],
    ) -> Result<(), EncodeError> {
        known.extend_from_slice(unknown);
        known.sort_by_key(|field| field.tag);
        if let Some(pair) = known.windows(2).find(|pair| pair[0].tag == pair[1].tag) {
            return Err(EncodeError::DuplicateTag { tag: pair[0].tag });
        }
        let count = known.len();
        let too_large = |length| EncodeError::TooLarge { length };
        self.write_unsigned_varint(u32::try_from(count).map_err(|_| too_large(count))?);
        for RawTaggedField { tag, data } in &known {
            self.write_unsigned_varint(*tag);
            let size = i32::try_from(data.len()).map_err(|_| too_large(data.len()))?;
            self.write_unsigned_varint(size.cast_unsigned());
            self.write_raw(data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_kafkas() {
        let check = |value: i32, bytes: &[u8]| {
            let mut writer = Writer::new();
            writer.write_varint(value);
            assert_eq!(writer.written(), bytes, "{value}");
            assert_eq!(Reader::new(bytes).read_varint(), Ok(value));
            assert_eq!(Reader::new(bytes).read_varlong(), Ok(i64::from(value)));
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 1]);
        check(8191, &[0xfe, 0x7f]);
        check(i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        for value in [i64::MIN, i64::MAX, -1, 1 << 40] {
            let mut writer = Writer::new();
            writer.write_varlong(value);
            assert_eq!(Reader::new(writer.written()).read_varlong(), Ok(value));
        }
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        assert_eq!(Reader::new(&[0xff; 9]).read_varint(), Err(DecodeError::VarintTooLong));
        assert_eq!(Reader::new(&[0xff; 11]).read_varlong(), Err(DecodeError::VarintTooLong));
        let cut = Err(DecodeError::Truncated { needed: 1, remaining: 0 });
        assert_eq!(Reader::new(&[0xff; 4]).read_varint(), cut);
    }

    #[test]
    fn lengths_are_checked_before_they_are_used() {
        let long = [0x7f, 0xff, 0xff, 0xff, 1, 2];
        let truncated = DecodeError::Truncated { needed: 0x7fff_ffff, remaining: 2 };
        assert_eq!(Reader::new(&long).read_nullable_bytes(false), Err(truncated));
        let many = DecodeError::TooManyElements { count: 0x7fff_ffff, remaining: 2 };
        assert_eq!(Reader::new(&long).read_array_length(false), Err(many));
        let negative = DecodeError::NegativeLength { length: -2 };
        assert_eq!(Reader::new(&[0xff, 0xfe]).read_nullable_string(false), Err(negative));
        // 2^31 + 1 as a compact length is -2^31 to Kafka.
        let compact = [0x81, 0x80, 0x80, 0x80, 0x08];
        let negative = DecodeError::NegativeLength { length: i32::MIN };
        assert_eq!(Reader::new(&compact).read_nullable_string(true), Err(negative));
    }

    #[test]
    fn null_and_empty_are_two_things() {
        for flexible in [false, true] {
            for text in [None, Some(""), Some("여울")] {
                let mut writer = Writer::new();
                writer.write_nullable_string(text, flexible).unwrap();
                writer.write_nullable_bytes(text.map(str::as_bytes), flexible).unwrap();
                let bytes = writer.into_buffer().freeze();
                let mut reader = Reader::shared(&bytes);
                let read = reader.read_nullable_string(flexible).unwrap();
                assert_eq!(read.as_deref(), text);
                let read = reader.read_nullable_bytes(flexible).unwrap();
                assert_eq!(read.as_deref(), text.map(str::as_bytes));
                assert_eq!(reader.remaining(), 0);
            }
            let mut writer = Writer::new();
            writer.write_nullable_string(None, flexible).unwrap();
            let null = Reader::new(writer.written()).read_string(flexible);
            assert_eq!(null, Err(DecodeError::UnexpectedNull));
        }
    }

    #[test]
    fn text_that_is_not_utf_8_can_still_be_named() {
        let read = Reader::new(&[0, 4, b'a', 0xff, 0xfe, b'b']).read_string(false).unwrap();
        assert_eq!(read, "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn text_too_long_for_its_length_is_our_mistake() {
        let text = "x".repeat(40_000);
        let error = Writer::new().write_string(&text, false).unwrap_err();
        assert_eq!(error, EncodeError::StringTooLong { bytes: 40_000 });
        Writer::new().write_string(&text, true).unwrap();
    }

    #[test]
    fn byte_strings_share_the_buffer_if_they_can() {
        let buffer = Bytes::from_static(&[0, 0, 0, 2, 8, 9]);
        let shared = Reader::shared(&buffer).read_nullable_bytes(false).unwrap().unwrap();
        assert_eq!(shared.as_ptr(), buffer[4..].as_ptr());
        let copied = Reader::new(&buffer).read_nullable_bytes(false).unwrap().unwrap();
        assert_eq!(copied, shared);
        assert_ne!(copied.as_ptr(), shared.as_ptr());
    }

    #[test]
    fn tagged_fields_are_told_apart_and_skipped_to_their_end() {
        // Tag 1 is longer than what its reader takes, tag 5 is unknown.
        let bytes = [2, 1, 3, 7, 8, 9, 5, 1, 0xaa, 0x77];
        let mut reader = Reader::new(&bytes);
        let mut first = 0;
        let unknown = reader
            .read_tagged_fields(|tag, reader| {
                assert!(reader.remaining() <= 3, "a field sees no further than its end");
                if tag == 1 {
                    first = reader.read_i8()?;
                }
                Ok(tag == 1)
            })
            .unwrap();
        assert_eq!(first, 7);
        assert_eq!(unknown, [RawTaggedField { tag: 5, data: Bytes::from_static(&[0xaa]) }]);
        assert_eq!(reader.read_i8(), Ok(0x77));
        let mut skipping = Reader::new(&bytes);
        skipping.skip_tagged_fields().unwrap();
        assert_eq!(skipping.position(), 9);
    }

    #[test]
    fn tags_are_written_in_order_and_once() {
        let field = |tag| RawTaggedField { tag, data: Bytes::from_static(b"x") };
        let mut writer = Writer::new();
        writer.write_tagged_fields(vec![field(0), field(3)], &[field(9), field(1)]).unwrap();
        assert_eq!(writer.written(), b"\x04\x00\x01x\x01\x01x\x03\x01x\x09\x01x");
        let error = Writer::new().write_tagged_fields(vec![field(1)], &[field(1)]).unwrap_err();
        assert_eq!(error, EncodeError::DuplicateTag { tag: 1 });
    }

    #[test]
    fn the_memory_budget_ends() {
        let mut reader = Reader::new(&[]);
        let limit = memory_limit(0);
        reader.charge(limit).unwrap();
        assert_eq!(reader.charge(1), Err(DecodeError::MemoryLimit { limit }));
        assert_eq!(memory_limit(usize::MAX), MEMORY_BYTES_MAX);
    }
}
