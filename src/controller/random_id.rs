//! Fresh random ids of clusters, directories and topics.
//!
//! Source: Kafka's `Uuid.randomUuid`: version 4, never a reserved value, and never one whose
//! text starts with `-`, which a command line would take for an option.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::ids::TopicId;

/// Characters of an id as text.
pub const ID_TEXT_BYTES: usize = 22;

/// 128 fresh random bits as a UUID of version 4.
pub fn random_id() -> [u8; 16] {
    loop {
        let id = *uuid::Uuid::new_v4().as_bytes();
        if !id_text(id).starts_with('-') {
            return id;
        }
    }
}

/// A fresh topic id.
pub fn random_topic_id() -> TopicId {
    TopicId(random_id())
}

/// The id in Kafka's form: URL-safe base64 without padding, 22 characters.
pub fn id_text(id: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

/// The id whose text this is, if it is one.
pub fn parse_id(text: &str) -> Option<[u8; 16]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_22_characters_and_read_back() {
        for _ in 0..1_000 {
            let id = random_id();
            let text = id_text(id);
            assert_eq!(text.len(), ID_TEXT_BYTES);
            assert!(!text.starts_with('-'));
            assert_eq!(parse_id(&text), Some(id));
        }
        assert_eq!(parse_id("short"), None);
        assert_eq!(parse_id("not base64 at all !!!!"), None);
    }
}
