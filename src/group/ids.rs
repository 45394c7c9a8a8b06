//! Names of groups, members and instances, and the number of a parked request.
//!
//! In:   strings from clients, or from records.
//! Out:  cheap clones; each name is its own type so that two neighbours cannot be swapped.
//! Home: pure.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name, in bytes: records hold it behind a 16-bit length. Longer ones are refused.
pub const NAME_BYTES_MAX: usize = i16::MAX as usize;

macro_rules! name {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A group's id, `group.id` of its members.
    GroupId
}

name! {
    /// A member's id; empty where the wire means "I have none yet".
    MemberId
}

name! {
    /// A static member's `group.instance.id`. Source: KIP-345.
    InstanceId
}

impl MemberId {
    /// What a member is called before it has an id.
    pub fn none() -> MemberId {
        MemberId::from("")
    }
}

/// The driver's number of one request whose reply may come later; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
