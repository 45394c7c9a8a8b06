//! How a field's type stands on the wire, in the classic and in the flexible layout.
//!
//! In:   a [`Reader`] or [`Writer`] and the [`Layout`] of the message around the field.
//! Out:  the field.
//! Home: pure.
//!
//! `Option<T>` is a nullable T. Kafka's default of a nullable field that names none is empty, not null:
//! that is [`KafkaDefault`], which is why messages do not use Rust's own `Default` of `Option`.
//!
//! Source: Kafka protocol guide, "Protocol Primitive Types"; KIP-482; KIP-893 (nullable structs).

use bytes::Bytes;

use crate::model::ids::TopicId;
use crate::protocol::primitives::{DecodeError, EncodeError, RawTaggedField, Reader, Writer};

/// What the parts of a message need to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The version of the message.
    pub version: i16,
    /// Whether that version has compact lengths and tag sections.
    pub flexible: bool,
}

/// A type that a field can have.
pub trait Wire: Sized {
    /// Reads the field. Errors: [`DecodeError`], the sender's doing.
    fn read(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError>;

    /// Writes the field. Errors: [`EncodeError`], our own mistake.
    fn write(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError>;

    /// [`Wire::read`] of a field in a tag section.
    fn read_tagged(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        Self::read(reader, layout)
    }

    /// [`Wire::write`] of a field in a tag section.
    fn write_tagged(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        self.write(writer, layout)
    }
}

/// A type that has a null on the wire.
pub trait WireNullable: Wire {
    /// Reads the field or null. Errors: [`DecodeError`], the sender's doing.
    fn read_nullable(reader: &mut Reader<'_>, layout: Layout) -> Result<Option<Self>, DecodeError>;

    /// Writes the field, or null for `None`. Errors: [`EncodeError`], our own mistake.
    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError>;

    /// [`WireNullable::read_nullable`] of a field in a tag section: a struct's null is another there.
    fn read_nullable_tagged(
        reader: &mut Reader<'_>,
        layout: Layout,
    ) -> Result<Option<Self>, DecodeError> {
        Self::read_nullable(reader, layout)
    }

    /// [`WireNullable::write_nullable`] of a field in a tag section.
    fn write_nullable_tagged(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        Self::write_nullable(value, writer, layout)
    }
}

/// The value of a field for which Kafka's schema names no default.
pub trait KafkaDefault {
    /// Zero, false or empty; empty also for what can be null.
    fn kafka_default() -> Self;
}

/// Encodes `value` as a tagged field, to be put into a tag section.
/// Errors: [`EncodeError`], our own mistake.
pub fn tagged(tag: u32, value: &impl Wire, layout: Layout) -> Result<RawTaggedField, EncodeError> {
    let mut writer = Writer::new();
    value.write_tagged(&mut writer, layout)?;
    Ok(RawTaggedField { tag, data: writer.into_buffer().freeze() })
}

macro_rules! wire_integers {
    ($($type:ty: $read:ident, $write:ident, $default:expr);*) => {
        $(
            impl Wire for $type {
                fn read(reader: &mut Reader<'_>, _: Layout) -> Result<Self, DecodeError> {
                    reader.$read()
                }

                fn write(&self, writer: &mut Writer, _: Layout) -> Result<(), EncodeError> {
                    writer.$write(*self);
                    Ok(())
                }
            }

            impl KafkaDefault for $type {
                fn kafka_default() -> Self {
                    $default
                }
            }
        )*
    };
}

wire_integers!(
    i8: read_i8, write_i8, 0;
    i16: read_i16, write_i16, 0;
    i32: read_i32, write_i32, 0;
    i64: read_i64, write_i64, 0;
    u16: read_u16, write_u16, 0;
    f64: read_f64, write_f64, 0.0;
    bool: read_bool, write_bool, false
);

impl Wire for TopicId {
    fn read(reader: &mut Reader<'_>, _: Layout) -> Result<Self, DecodeError> {
        reader.read_uuid().map(TopicId)
    }

    fn write(&self, writer: &mut Writer, _: Layout) -> Result<(), EncodeError> {
        writer.write_raw(&self.0);
        Ok(())
    }
}

impl KafkaDefault for TopicId {
    fn kafka_default() -> Self {
        TopicId::ZERO
    }
}

impl Wire for String {
    fn read(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        reader.read_string(layout.flexible)
    }

    fn write(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        writer.write_string(self, layout.flexible)
    }
}

impl WireNullable for String {
    fn read_nullable(reader: &mut Reader<'_>, layout: Layout) -> Result<Option<Self>, DecodeError> {
        reader.read_nullable_string(layout.flexible)
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        writer.write_nullable_string(value.map(String::as_str), layout.flexible)
    }
}

impl KafkaDefault for String {
    fn kafka_default() -> Self {
        String::new()
    }
}

impl Wire for Bytes {
    fn read(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, layout)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        writer.write_nullable_bytes(Some(self), layout.flexible)
    }
}

impl WireNullable for Bytes {
    fn read_nullable(reader: &mut Reader<'_>, layout: Layout) -> Result<Option<Self>, DecodeError> {
        reader.read_nullable_bytes(layout.flexible)
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        writer.write_nullable_bytes(value.map(|bytes| &bytes[..]), layout.flexible)
    }
}

impl KafkaDefault for Bytes {
    fn kafka_default() -> Self {
        Bytes::new()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, layout)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn write(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        Self::write_nullable(Some(self), writer, layout)
    }
}

impl<T: Wire> WireNullable for Vec<T> {
    fn read_nullable(reader: &mut Reader<'_>, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.read_array_length(layout.flexible)? else { return Ok(None) };
        // Grows as elements really come: the count is only what the sender says.
        let mut elements = Vec::new();
        for _ in 0..count {
            reader.charge(size_of::<T>())?;
            elements.push(T::read(reader, layout)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        layout: Layout,
    ) -> Result<(), EncodeError> {
        writer.write_length(value.map(Vec::len), layout.flexible)?;
        for element in value.into_iter().flatten() {
            element.write(writer, layout)?;
        }
        Ok(())
    }
}

impl<T> KafkaDefault for Vec<T> {
    fn kafka_default() -> Self {
        Vec::new()
    }
}

impl<T: WireNullable> Wire for Option<T> {
    fn read(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        T::read_nullable(reader, layout)
    }

    fn write(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), writer, layout)
    }

    fn read_tagged(reader: &mut Reader<'_>, layout: Layout) -> Result<Self, DecodeError> {
        T::read_nullable_tagged(reader, layout)
    }

    fn write_tagged(&self, writer: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        T::write_nullable_tagged(self.as_ref(), writer, layout)
    }
}

impl<T: KafkaDefault> KafkaDefault for Option<T> {
    fn kafka_default() -> Self {
        Some(T::kafka_default())
    }
}
