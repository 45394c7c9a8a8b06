//! `message!`: one declaration gives an API's structs, their defaults, decoder and encoder.
//!
//! In:   a declaration in the words of Kafka's schema (field, type, default, versions).
//! Out:  `pub` structs with Kafka's defaults, [`Message`], [`Request`] and [`Wire`] for them.
//! Home: pure.
//!
//! ```text
//! message! {
//!     api Metadata, versions 0..=13, flexible 9..;
//!     /// What it asks.
//!     request MetadataRequest { topics: Option<Vec<T>>, strict 0.., nullable 1..; ... }
//!     response MetadataResponse { ... }
//!     struct T { rack: Option<String> = None, ignorable 1..; epoch: i64 = -1, strict 3.., tag 1; ... }
//! }
//! ```
//!
//! A field says its type, its default where that is not Kafka's for the type, and the versions that
//! have it. `ignorable`: a value is dropped where the version has no place for it; `strict`: that is an
//! error. `nullable`: the versions of an `Option` that allow null, all of them if it does not say.
//! `tag`: in flexible versions it stands in the tag section, and only if it is not the default.
//! Unknown tagged fields are kept in `unknown_tagged_fields` of the struct they came in.
//!
//! Source: the grammar of Kafka's message schemas; KIP-482.

use std::ops::RangeInclusive;

use crate::protocol::api::ApiKey;
use crate::protocol::primitives::{DecodeError, EncodeError, Reader, Writer};
use crate::protocol::wire::{Layout, Wire};

/// Flexible versions of an API that has none.
pub const NEVER: std::ops::Range<i16> = 0..0;

/// A request or a response: the outermost struct of a body.
pub trait Message: Sized {
    /// The API it belongs to.
    const KEY: ApiKey;
    /// The versions that can be decoded and encoded.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether `version` has compact lengths and tag sections.
    fn is_flexible(version: i16) -> bool;

    /// Reads a body; bytes after it are left unread. Errors: [`DecodeError`], the sender's doing.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>;

    /// Writes a body. Errors: [`EncodeError`], our own mistake.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request, which knows what answers it.
pub trait Request: Message {
    /// What answers it.
    type Response: Message;
}

/// The layout of `version` of `M`; `None` if it has no such version.
#[must_use]
pub fn layout<M: Message>(version: i16) -> Option<Layout> {
    M::VERSIONS.contains(&version).then(|| Layout { version, flexible: M::is_flexible(version) })
}

/// [`Message::decode`] for a struct that is also [`Wire`].
pub(crate) fn decode<M: Message + Wire>(
    reader: &mut Reader<'_>,
    version: i16,
) -> Result<M, DecodeError> {
    let layout = layout::<M>(version).ok_or(DecodeError::UnsupportedVersion { version })?;
    M::read(reader, layout)
}

/// [`Message::encode`] for a struct that is also [`Wire`].
pub(crate) fn encode<M: Message + Wire>(
    message: &M,
    writer: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    let layout = layout::<M>(version).ok_or(EncodeError::UnsupportedVersion { version })?;
    message.write(writer, layout)
}

/// `!=`, for two values of a type that only the first one names.
pub(crate) fn differs<T: PartialEq>(value: &T, default: &T) -> bool {
    value != default
}

/// Declares the messages of one API; see the module's head.
macro_rules! message {
    (
        api $key:ident, versions $versions:expr, flexible $flexible:expr;
        $(
            $(#[$meta:meta])*
            $kind:ident $name:ident $body:tt
        )*
    ) => {
        $(
            $crate::protocol::message::message_struct! { $(#[$meta])* $name $body }
            $crate::protocol::message::message_kind! { $kind $name $key ($versions) ($flexible) }
        )*
        $crate::protocol::message::message_pair! { $($kind $name)* }
    };
}

/// `Message` for what is a request or a response.
macro_rules! message_kind {
    (struct $name:ident $key:ident ($versions:expr) ($flexible:expr)) => {};
    ($kind:ident $name:ident $key:ident ($versions:expr) ($flexible:expr)) => {
        impl $crate::protocol::message::Message for $name {
            const KEY: $crate::protocol::api::ApiKey = $crate::protocol::api::ApiKey::$key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;

            fn is_flexible(version: i16) -> bool {
                ($flexible).contains(&version)
            }

            fn decode(
                reader: &mut $crate::protocol::primitives::Reader<'_>,
                version: i16,
            ) -> Result<Self, $crate::protocol::primitives::DecodeError> {
                $crate::protocol::message::decode(reader, version)
            }

            fn encode(
                &self,
                writer: &mut $crate::protocol::primitives::Writer,
                version: i16,
            ) -> Result<(), $crate::protocol::primitives::EncodeError> {
                $crate::protocol::message::encode(self, writer, version)
            }
        }

        impl $name {
            /// Reads a body; bytes after it are left unread. Errors: the sender's doing.
            pub fn decode(
                reader: &mut $crate::protocol::primitives::Reader<'_>,
                version: i16,
            ) -> Result<Self, $crate::protocol::primitives::DecodeError> {
                $crate::protocol::message::decode(reader, version)
            }

            /// Writes a body. Errors: our own mistake.
            pub fn encode(
                &self,
                writer: &mut $crate::protocol::primitives::Writer,
                version: i16,
            ) -> Result<(), $crate::protocol::primitives::EncodeError> {
                $crate::protocol::message::encode(self, writer, version)
            }
        }
    };
}

/// `Request` for a request that is declared right before its response.
macro_rules! message_pair {
    (request $request:ident response $response:ident $($rest:tt)*) => {
        impl $crate::protocol::message::Request for $request {
            type Response = $response;
        }
    };
    ($($other:tt)*) => {};
}

/// One struct of a message.
macro_rules! message_struct {
    ($(#[$meta:meta])* $name:ident {
        $(
            $(#[$field_meta:meta])*
            $field:ident: $type:ty $(= $default:expr)?, $rule:ident $versions:expr
            $(, nullable $nullable:expr)? $(, tag $tag:literal)?;
        )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("In versions `", stringify!($versions), "`.")]
                pub $field: $type,
            )*
            /// Tagged fields that are not known here, as they came.
            pub unknown_tagged_fields: Vec<$crate::protocol::primitives::RawTaggedField>,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: $crate::protocol::message::message_default!($($default)?),)*
                    unknown_tagged_fields: Vec::new(),
                }
            }
        }

        impl $crate::protocol::wire::KafkaDefault for $name {
            fn kafka_default() -> Self {
                Self::default()
            }
        }

        impl $crate::protocol::wire::Wire for $name {
            fn read(
                reader: &mut $crate::protocol::primitives::Reader<'_>,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<Self, $crate::protocol::primitives::DecodeError> {
                let mut this = Self::default();
                $(
                    $crate::protocol::message::message_read! {
                        [$($tag)?] [$($nullable)?] this.$field, reader, layout, $versions
                    }
                )*
                if layout.flexible {
                    this.unknown_tagged_fields = reader.read_tagged_fields(|tag, reader| {
                        let _ = &reader;
                        match tag {
                            $($(
                                $tag if ($versions).contains(&layout.version) => {
                                    this.$field = $crate::protocol::wire::Wire::read_tagged(reader, layout)?;
                                    Ok(true)
                                }
                            )?)*
                            _ => Ok(false),
                        }
                    })?;
                }
                Ok(this)
            }

            fn write(
                &self,
                writer: &mut $crate::protocol::primitives::Writer,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<(), $crate::protocol::primitives::EncodeError> {
                $(
                    $crate::protocol::message::message_write! {
                        $rule [$($tag)?] [$($nullable)?] [$($default)?]
                        self.$field, writer, layout, $versions
                    }
                )*
                if layout.flexible {
                    #[allow(unused_mut)]
                    let mut known = Vec::new();
                    $(
                        $crate::protocol::message::message_write_tag! {
                            [$($tag)?] [$($default)?] self.$field, known, layout, $versions
                        }
                    )*
                    writer.write_tagged_fields(known, &self.unknown_tagged_fields)?;
                }
                Ok(())
            }
        }

        #[cfg(test)]
        impl $crate::protocol::probe::Probe for $name {
            fn to_json(&self, layout: $crate::protocol::wire::Layout) -> serde_json::Value {
                let mut object = serde_json::Map::new();
                $(
                    if ($versions).contains(&layout.version)
                        && $crate::protocol::message::message_shown!(
                            [$($tag)?] self.$field,
                            $crate::protocol::message::message_default!($($default)?)
                        )
                    {
                        object.insert(
                            $crate::protocol::probe::camel(stringify!($field)),
                            $crate::protocol::probe::Probe::to_json(&self.$field, layout),
                        );
                    }
                )*
                serde_json::Value::Object(object)
            }

            fn arbitrary(
                prng: &mut $crate::protocol::probe::Prng,
                layout: $crate::protocol::wire::Layout,
            ) -> Self {
                let mut this = Self::default();
                $(
                    if ($versions).contains(&layout.version) {
                        this.$field = $crate::protocol::probe::Probe::arbitrary(prng, layout);
                        $(
                            if !($nullable).contains(&layout.version) && this.$field.is_none() {
                                this.$field = $crate::protocol::wire::KafkaDefault::kafka_default();
                            }
                        )?
                    }
                )*
                this
            }
        }

        $crate::protocol::message::message_nullable! { $name }
    };
}

/// A nullable struct has a byte before it: -1 for null, 1 for a struct; in a tag section a varint, 0 or 1.
/// Source: KIP-893, and the bytes of Kafka 4.3.
macro_rules! message_nullable {
    ($name:ident) => {
        impl $crate::protocol::wire::WireNullable for $name {
            fn read_nullable(
                reader: &mut $crate::protocol::primitives::Reader<'_>,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<Option<Self>, $crate::protocol::primitives::DecodeError> {
                if reader.read_i8()? < 0 {
                    return Ok(None);
                }
                $crate::protocol::wire::Wire::read(reader, layout).map(Some)
            }

            fn write_nullable(
                value: Option<&Self>,
                writer: &mut $crate::protocol::primitives::Writer,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<(), $crate::protocol::primitives::EncodeError> {
                let Some(value) = value else {
                    writer.write_i8(-1);
                    return Ok(());
                };
                writer.write_i8(1);
                $crate::protocol::wire::Wire::write(value, writer, layout)
            }

            fn read_nullable_tagged(
                reader: &mut $crate::protocol::primitives::Reader<'_>,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<Option<Self>, $crate::protocol::primitives::DecodeError> {
                if reader.read_unsigned_varint()? == 0 {
                    return Ok(None);
                }
                $crate::protocol::wire::Wire::read(reader, layout).map(Some)
            }

            fn write_nullable_tagged(
                value: Option<&Self>,
                writer: &mut $crate::protocol::primitives::Writer,
                layout: $crate::protocol::wire::Layout,
            ) -> Result<(), $crate::protocol::primitives::EncodeError> {
                writer.write_unsigned_varint(u32::from(value.is_some()));
                value.map_or(Ok(()), |value| {
                    $crate::protocol::wire::Wire::write(value, writer, layout)
                })
            }
        }
    };
}

/// The default that a field names, or that of its type.
macro_rules! message_default {
    () => {
        $crate::protocol::wire::KafkaDefault::kafka_default()
    };
    ($default:expr) => {
        $default
    };
}

/// Reads a field that is not in the tag section.
macro_rules! message_read {
    ([$tag:literal] [$($nullable:expr)?] $this:ident.$field:ident, $($rest:tt)*) => {};
    (
        [] [$($nullable:expr)?]
        $this:ident.$field:ident, $reader:ident, $layout:ident, $versions:expr
    ) => {
        if ($versions).contains(&$layout.version) {
            $this.$field = $crate::protocol::wire::Wire::read($reader, $layout)?;
            $(
                if $this.$field.is_none() && !($nullable).contains(&$layout.version) {
                    return Err($crate::protocol::primitives::DecodeError::UnexpectedNull);
                }
            )?
        }
    };
}

/// Writes a field that is not in the tag section, or complains that this version has no place for it.
macro_rules! message_write {
    (
        $rule:ident [$($tag:literal)?] [$($nullable:expr)?] [$($default:expr)?]
        $this:ident.$field:ident, $writer:ident, $layout:ident, $versions:expr
    ) => {
        if ($versions).contains(&$layout.version) {
            $crate::protocol::message::message_write_body! {
                [$($tag)?] [$($nullable)?] $this.$field, $writer, $layout
            }
        } else if $crate::protocol::message::message_is_strict!($rule)
            && $crate::protocol::message::differs(
                &$this.$field,
                &$crate::protocol::message::message_default!($($default)?),
            )
        {
            return Err($crate::protocol::primitives::EncodeError::FieldNotInVersion {
                field: stringify!($field),
                version: $layout.version,
            });
        }
    };
}

/// The bytes of a field outside the tag section.
macro_rules! message_write_body {
    ([$tag:literal] $($rest:tt)*) => {};
    ([] [$($nullable:expr)?] $this:ident.$field:ident, $writer:ident, $layout:ident) => {
        $(
            if $this.$field.is_none() && !($nullable).contains(&$layout.version) {
                return Err($crate::protocol::primitives::EncodeError::UnexpectedNull {
                    field: stringify!($field),
                });
            }
        )?
        $crate::protocol::wire::Wire::write(&$this.$field, $writer, $layout)?;
    };
}

/// Adds a tagged field that is not the default to those of the tag section.
macro_rules! message_write_tag {
    ([] $($rest:tt)*) => {};
    (
        [$tag:literal] [$($default:expr)?]
        $this:ident.$field:ident, $known:ident, $layout:ident, $versions:expr
    ) => {
        if ($versions).contains(&$layout.version)
            && $crate::protocol::message::differs(
                &$this.$field,
                &$crate::protocol::message::message_default!($($default)?),
            )
        {
            $known.push($crate::protocol::wire::tagged($tag, &$this.$field, $layout)?);
        }
    };
}

/// Whether a value that the version has no place for is an error.
macro_rules! message_is_strict {
    (strict) => {
        true
    };
    (ignorable) => {
        false
    };
}

/// Whether a field shows in JSON: a tagged field with its default does not.
#[cfg(test)]
macro_rules! message_shown {
    ([] $($rest:tt)*) => {
        true
    };
    ([$tag:literal] $value:expr, $default:expr) => {
        $crate::protocol::message::differs(&$value, &$default)
    };
}

#[cfg(test)]
pub(crate) use message_shown;
pub(crate) use {
    message, message_default, message_is_strict, message_kind, message_nullable, message_pair,
    message_read, message_struct, message_write, message_write_body, message_write_tag,
};
