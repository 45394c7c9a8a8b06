//! Topic names: which are legal, and which collide.
//!
//! Source: Kafka's `Topic.validate` (at most 249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`);
//! names that differ only in `.` and `_` collide because metrics cannot tell them apart.

use std::fmt;
use std::sync::Arc;

/// Longest legal name, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Whether clients may not write to the topic: coordinators keep their state in it.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// A legal topic name; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    /// No character at all.
    Empty,
    /// `.` or `..`.
    Dots,
    /// More than [`TOPIC_NAME_BYTES_MAX`] bytes.
    TooLong {
        /// Bytes of the refused name.
        bytes: usize,
    },
    /// A character other than ASCII letters, digits, `.`, `_` and `-`.
    BadCharacter {
        /// The first one.
        character: char,
    },
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the empty string is not allowed"),
            Self::Dots => write!(f, "'.' or '..' is not allowed"),
            Self::TooLong { bytes } => {
                write!(
                    f,
                    "the length of {bytes} is longer than the maximum of {TOPIC_NAME_BYTES_MAX}"
                )
            }
            Self::BadCharacter { character } => write!(
                f,
                "contains {character:?}: only ASCII alphanumerics, '.', '_' and '-' are allowed"
            ),
        }
    }
}

impl TopicNameError {
    /// Kafka's words for it, of the refused `name`.
    pub fn words(&self, name: &str) -> String {
        let why = match self {
            Self::Empty => "the empty string is not allowed".to_owned(),
            Self::Dots => format!("'{name}' is not allowed"),
            Self::TooLong { .. } => format!(
                "the length of '{name}' is longer than the max allowed length \
                 {TOPIC_NAME_BYTES_MAX}"
            ),
            Self::BadCharacter { .. } => format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', \
                 '_' and '-'"
            ),
        };
        format!("Topic name is invalid: {why}")
    }
}

impl TopicName {
    /// Checks `name`. Errors: [`TopicNameError`], the caller's doing.
    pub fn parse(name: &str) -> Result<TopicName, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong { bytes: name.len() });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|&c| !legal(c)) {
            Some(character) => Err(TopicNameError::BadCharacter { character }),
            None => Ok(TopicName(Arc::from(name))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the two would be one name in a metric, where `.` becomes `_`.
    pub fn collides_with(&self, other: &TopicName) -> bool {
        let plain = |c: char| if c == '.' { '_' } else { c };
        self != other && self.0.chars().map(plain).eq(other.0.chars().map(plain))
    }
}

/// Lets maps keyed by name be asked with text; equality, order and hash are those of the text.
impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kafka_checks_them() {
        let check = |name: &str, want: Result<(), TopicNameError>| {
            assert_eq!(TopicName::parse(name).map(|_| ()), want, "{name:?}");
        };
        check("flights", Ok(()));
        check("a.b_c-9", Ok(()));
        check("", Err(TopicNameError::Empty));
        check("..", Err(TopicNameError::Dots));
        check(".", Err(TopicNameError::Dots));
        check("...", Ok(()));
        check("a b", Err(TopicNameError::BadCharacter { character: ' ' }));
        check("여울", Err(TopicNameError::BadCharacter { character: '여' }));
        check(&"x".repeat(249), Ok(()));
        check(&"x".repeat(250), Err(TopicNameError::TooLong { bytes: 250 }));
    }

    #[test]
    fn dot_and_underscore_collide() {
        let name = |s| TopicName::parse(s).unwrap();
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a.b")));
        assert!(!name("a-b").collides_with(&name("a_b")));
    }
}
