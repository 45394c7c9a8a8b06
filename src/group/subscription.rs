//! What consumers of the classic protocol put into a group, read on a best effort.
//!
//! In:   the bytes that a member of a group of type `consumer` sends with its protocol, and
//!       those that its leader assigns.
//! Out:  topics and partitions, or nothing if the bytes are not what Kafka's consumers send.
//! Home: pure.
//!
//! Every version of the formats begins as the one before does, so a version yet to come is read
//! as the newest known. For a classic group only the topics matter; the rest is read when the
//! group is taken over into KIP-848.
//! Source: Kafka's `ConsumerProtocolSubscription` and `-Assignment`; `protocol.md` P85.

use bytes::Bytes;

/// The protocol type of consumers.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The newest version of either format.
const VERSION_MAX: i16 = 3;

/// Partitions by topic name.
pub type NamedPartitions = Vec<(Box<str>, Vec<i32>)>;

/// What a consumer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The version it was written in, 3 at most.
    pub version: i16,
    /// The topics it reads.
    pub topics: Vec<Box<str>>,
    /// The partitions that it has (version 1 and later).
    pub owned: NamedPartitions,
    /// Where it is (version 3 and later).
    pub rack: Option<Box<str>>,
}

/// What a leader assigns to a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The partitions.
    pub partitions: NamedPartitions,
    /// Whether the assignor has added bytes of its own, which only it can read.
    pub has_user_data: bool,
}

/// The topics of a subscription; `None` if it cannot be read.
pub fn topics(metadata: &[u8]) -> Option<Vec<Box<str>>> {
    let mut cursor = Cursor { rest: metadata };
    cursor.version()?;
    cursor.names()
}

/// A subscription as a whole; `None` if it cannot be read.
pub fn parse(metadata: &[u8]) -> Option<Subscription> {
    let mut cursor = Cursor { rest: metadata };
    let version = cursor.version()?;
    let topics = cursor.names()?;
    cursor.bytes()?;
    let owned = if version >= 1 { cursor.partitions()? } else { Vec::new() };
    if version >= 2 {
        cursor.int()?; // the generation in which it got them
    }
    let rack = if version >= 3 { cursor.optional_text()? } else { None };
    Some(Subscription { version, topics, owned, rack })
}

/// An assignment; `None` if it cannot be read. No bytes are an assignment of nothing.
pub fn parse_assignment(assignment: &[u8]) -> Option<Assigned> {
    if assignment.is_empty() {
        return Some(Assigned::default());
    }
    let mut cursor = Cursor { rest: assignment };
    cursor.version()?;
    let partitions = cursor.partitions()?;
    let has_user_data = cursor.bytes()?.is_some_and(|bytes| !bytes.is_empty());
    Some(Assigned { partitions, has_user_data })
}

/// An assignment as a consumer that speaks `version` reads it. Names fit 15 bits.
pub fn assignment(version: i16, partitions: &NamedPartitions) -> Bytes {
    let count = |length: usize| i32::try_from(length).expect("fewer than 2^31").to_be_bytes();
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend(count(partitions.len()));
    for (topic, indexes) in partitions {
        let length = i16::try_from(topic.len()).expect("topics have short names");
        bytes.extend(length.to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend(count(indexes.len()));
        bytes.extend(indexes.iter().flat_map(|index| index.to_be_bytes()));
    }
    bytes.extend((-1_i32).to_be_bytes()); // no user data
    bytes.into()
}

/// Reads big-endian fields; `None` where the bytes end or make no sense.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn int(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn version(&mut self) -> Option<i16> {
        self.short().filter(|version| *version >= 0).map(|version| version.min(VERSION_MAX))
    }

    /// A count of things of at least `bytes` each, so that it cannot size an allocation.
    fn count(&mut self, bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.int()?).ok()?;
        (count <= self.rest.len() / bytes).then_some(count)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let length = usize::try_from(self.short()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok().map(Box::from)
    }

    #[allow(clippy::option_option)] // unreadable, null, or a text
    fn optional_text(&mut self) -> Option<Option<Box<str>>> {
        match self.rest.first_chunk::<2>().map(|bytes| i16::from_be_bytes(*bytes)) {
            Some(-1) => self.short().map(|_| None),
            _ => self.text().map(Some),
        }
    }

    #[allow(clippy::option_option)] // unreadable, null, or bytes
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    fn names(&mut self) -> Option<Vec<Box<str>>> {
        let count = self.count(2)?;
        (0..count).map(|_| self.text()).collect()
    }

    fn partitions(&mut self) -> Option<NamedPartitions> {
        let count = self.count(6)?;
        let topic = |cursor: &mut Self| {
            let name = cursor.text()?;
            let count = cursor.count(4)?;
            let indexes = (0..count).map(|_| cursor.int()).collect::<Option<_>>()?;
            Some((name, indexes))
        };
        (0..count).map(|_| topic(self)).collect()
    }
}

/// A subscription as version `version` of Kafka's consumer writes it.
#[cfg(test)]
pub fn subscription(version: i16, topics: &[&str]) -> Bytes {
    owning_subscription(version, topics, &Vec::new())
}

/// A subscription of a consumer that has partitions.
#[cfg(test)]
pub fn owning_subscription(version: i16, topics: &[&str], owned: &NamedPartitions) -> Bytes {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes()); // no user data
    if version >= 1 {
        let partitions = assignment(0, owned);
        bytes.extend_from_slice(&partitions[2..partitions.len() - 4]);
    }
    if version >= 2 {
        bytes.extend((-1_i32).to_be_bytes());
    }
    if version >= 3 {
        bytes.extend([0, 1, b'r']);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Option<Vec<Box<str>>> {
        Some(names.iter().map(|name| Box::from(*name)).collect())
    }

    #[test]
    fn p85_topics_are_read_and_later_fields_ignored() {
        for version in [0, 1, 2, 3, 9] {
            let bytes = subscription(version, &["a", "bc"]);
            assert_eq!(topics(&bytes), names(&["a", "bc"]));
        }
        assert_eq!(topics(&subscription(1, &[])), names(&[]));
    }

    #[test]
    fn p85_what_is_no_subscription_is_no_error() {
        let good = subscription(3, &["a", "bc"]);
        let end_of_topics = 2 + 4 + 3 + 4;
        for end in 0..good.len() {
            assert_eq!(topics(&good[..end]).is_some(), end >= end_of_topics, "cut at {end}");
            assert_eq!(parse(&good[..end]), None, "cut at {end}");
        }
        for bad in [
            &[][..],
            &[0xff; 40],
            &[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1], // a huge count
            &[0, 0, 0, 0, 0, 1, 0, 1, 0xff],       // not UTF-8
        ] {
            assert_eq!(topics(bad), None);
            assert_eq!(parse(bad), None);
        }
        assert_eq!(parse_assignment(&[0xff; 40]), None);
        assert_eq!(parse_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn subscriptions_and_assignments_are_read_whole() {
        let owned: NamedPartitions = vec![("a".into(), vec![0, 2]), ("b".into(), vec![])];
        for version in 0..=9 {
            let found = parse(&owning_subscription(version, &["a"], &owned)).expect("readable");
            assert_eq!(found.version, version.min(3));
            assert_eq!(found.owned.is_empty(), version == 0);
            assert_eq!(found.rack.as_deref(), (version >= 3).then_some("r"));
            let assigned = parse_assignment(&assignment(version, &owned)).expect("readable");
            assert_eq!(assigned, Assigned { partitions: owned.clone(), has_user_data: false });
        }
        assert_eq!(parse_assignment(&[]), Some(Assigned::default()));
        let mut own = assignment(1, &owned).to_vec();
        let end = own.len() - 4;
        own.splice(end.., [0, 0, 0, 1, 7]);
        assert!(parse_assignment(&own).expect("readable").has_user_data);
    }
}
