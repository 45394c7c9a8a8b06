//! Topics that a consumer's subscription names, read on a best effort.
//!
//! In:   the bytes that a member of a group of type `consumer` sends with its protocol.
//! Out:  its topics, or nothing if the bytes are not what Kafka's consumers send.
//! Home: pure.
//!
//! Every version of the format begins as version 0 does, so that is all that is read: the
//! rest stays opaque to the broker.
//! Source: Kafka's `ConsumerProtocolSubscription`; `protocol.md` P85.

/// The protocol type of consumers.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The topics of a subscription; `None` if it cannot be read.
pub fn topics(metadata: &[u8]) -> Option<Vec<&str>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if count > rest.len() / 2 {
        return None; // each name has at least its length
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, behind) = behind.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?);
        rest = behind;
    }
    Some(topics)
}

/// A subscription as version `version` of Kafka's consumer writes its beginning.
#[cfg(test)]
pub fn subscription(version: i16, topics: &[&str]) -> bytes::Bytes {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes()); // no user data
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p85_topics_are_read_and_later_fields_ignored() {
        for version in [0, 1, 2, 3, 9] {
            let bytes = subscription(version, &["a", "bc"]);
            assert_eq!(topics(&bytes), Some(vec!["a", "bc"]));
        }
        assert_eq!(topics(&subscription(1, &[])), Some(vec![]));
    }

    #[test]
    fn p85_what_is_no_subscription_is_no_error() {
        let good = subscription(3, &["a", "bc"]);
        for end in 0..good.len() - 4 {
            assert_eq!(topics(&good[..end]), None, "cut at {end}");
        }
        assert_eq!(topics(&[]), None);
        assert_eq!(topics(&[0xff; 40]), None);
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1]), None, "a huge count");
        assert_eq!(topics(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff]), None, "not UTF-8");
    }
}
