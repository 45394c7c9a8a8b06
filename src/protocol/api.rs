//! The table of APIs: key, name, first flexible version, and the versions this broker serves.
//!
//! In:   -
//! Out:  [`ApiKey`]; what ApiVersions advertises.
//! Home: pure.
//!
//! Invariants
//!   K1  A version is in `served` only if its messages are declared and its handler does all of it.
//!   K2  What is advertised contains what is served, and more only where real clients need it.
//!
//! Serving one more API is one more range in this table. Keys 4 to 7 have no version since Kafka 4.0.
//!
//! Source: Kafka 4.3's message schemas; KIP-896 (minimum versions); KAFKA-18659.

use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($($name:ident = $key:literal, $flexible:expr, $served:expr;)*) => {
        /// A kind of request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("`", stringify!($name), "`, key ", stringify!($key), ".")]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// Every API of Kafka 4.3, by key.
            pub const ALL: &'static [ApiKey] = &[$(ApiKey::$name),*];

            /// The API of number `key`, if there is one.
            #[must_use]
            pub fn from_key(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of it, such as `ListOffsets`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }

            /// The first version with compact lengths and tag sections, if any has them.
            #[must_use]
            pub fn flexible_from(self) -> Option<i16> {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }

            /// The versions this broker serves; `None` if it does not serve the API.
            #[must_use]
            pub fn served(self) -> Option<RangeInclusive<i16>> {
                match self {
                    $(ApiKey::$name => $served,)*
                }
            }
        }
    };
}

// Name, key, first flexible version, versions served.
api_keys! {
    Produce = 0, Some(9), Some(3..=13);
    Fetch = 1, Some(12), Some(4..=18);
    ListOffsets = 2, Some(6), Some(1..=11);
    Metadata = 3, Some(9), Some(0..=13);
    OffsetCommit = 8, Some(8), Some(2..=10);
    OffsetFetch = 9, Some(6), Some(1..=10);
    FindCoordinator = 10, Some(3), Some(0..=6);
    JoinGroup = 11, Some(6), Some(0..=9);
    Heartbeat = 12, Some(4), Some(0..=4);
    LeaveGroup = 13, Some(4), Some(0..=5);
    SyncGroup = 14, Some(4), Some(0..=5);
    DescribeGroups = 15, Some(5), Some(0..=6);
    ListGroups = 16, Some(3), Some(0..=5);
    SaslHandshake = 17, None, None;
    ApiVersions = 18, Some(3), Some(0..=4);
    CreateTopics = 19, Some(5), Some(2..=7);
    DeleteTopics = 20, Some(4), Some(1..=6);
    DeleteRecords = 21, Some(2), Some(0..=2);
    InitProducerId = 22, Some(2), Some(0..=5);
    OffsetForLeaderEpoch = 23, Some(4), Some(2..=4);
    AddPartitionsToTxn = 24, Some(3), Some(0..=5);
    AddOffsetsToTxn = 25, Some(3), Some(0..=4);
    EndTxn = 26, Some(3), Some(0..=5);
    WriteTxnMarkers = 27, Some(1), Some(1..=2);
    TxnOffsetCommit = 28, Some(3), Some(0..=5);
    DescribeAcls = 29, Some(2), None;
    CreateAcls = 30, Some(2), None;
    DeleteAcls = 31, Some(2), None;
    DescribeConfigs = 32, Some(4), Some(1..=4);
    AlterConfigs = 33, Some(2), Some(0..=2);
    AlterReplicaLogDirs = 34, Some(2), None;
    DescribeLogDirs = 35, Some(2), Some(1..=5);
    SaslAuthenticate = 36, Some(2), None;
    CreatePartitions = 37, Some(2), Some(0..=3);
    CreateDelegationToken = 38, Some(2), None;
    RenewDelegationToken = 39, Some(2), None;
    ExpireDelegationToken = 40, Some(2), None;
    DescribeDelegationToken = 41, Some(2), None;
    DeleteGroups = 42, Some(2), Some(0..=2);
    ElectLeaders = 43, Some(2), Some(0..=2);
    IncrementalAlterConfigs = 44, Some(1), Some(0..=1);
    AlterPartitionReassignments = 45, Some(0), Some(0..=1);
    ListPartitionReassignments = 46, Some(0), Some(0..=0);
    OffsetDelete = 47, None, Some(0..=0);
    DescribeClientQuotas = 48, Some(1), None;
    AlterClientQuotas = 49, Some(1), None;
    DescribeUserScramCredentials = 50, Some(0), None;
    AlterUserScramCredentials = 51, Some(0), None;
    Vote = 52, Some(0), None;
    BeginQuorumEpoch = 53, Some(1), None;
    EndQuorumEpoch = 54, Some(1), None;
    DescribeQuorum = 55, Some(0), Some(0..=2);
    AlterPartition = 56, Some(0), None;
    UpdateFeatures = 57, Some(0), Some(0..=2);
    Envelope = 58, Some(0), None;
    FetchSnapshot = 59, Some(0), None;
    DescribeCluster = 60, Some(0), Some(0..=2);
    DescribeProducers = 61, Some(0), Some(0..=0);
    BrokerRegistration = 62, Some(0), None;
    BrokerHeartbeat = 63, Some(0), None;
    UnregisterBroker = 64, Some(0), None;
    DescribeTransactions = 65, Some(0), Some(0..=0);
    ListTransactions = 66, Some(0), Some(0..=2);
    AllocateProducerIds = 67, Some(0), None;
    ConsumerGroupHeartbeat = 68, Some(0), Some(0..=1);
    ConsumerGroupDescribe = 69, Some(0), Some(0..=1);
    ControllerRegistration = 70, Some(0), None;
    GetTelemetrySubscriptions = 71, Some(0), None;
    PushTelemetry = 72, Some(0), None;
    AssignReplicasToDirs = 73, Some(0), None;
    ListConfigResources = 74, Some(0), Some(0..=1);
    DescribeTopicPartitions = 75, Some(0), Some(0..=0);
    ShareGroupHeartbeat = 76, Some(0), None;
    ShareGroupDescribe = 77, Some(0), None;
    ShareFetch = 78, Some(0), None;
    ShareAcknowledge = 79, Some(0), None;
    AddRaftVoter = 80, Some(0), None;
    RemoveRaftVoter = 81, Some(0), None;
    UpdateRaftVoter = 82, Some(0), None;
    InitializeShareGroupState = 83, Some(0), None;
    ReadShareGroupState = 84, Some(0), None;
    WriteShareGroupState = 85, Some(0), None;
    DeleteShareGroupState = 86, Some(0), None;
    ReadShareGroupStateSummary = 87, Some(0), None;
    StreamsGroupHeartbeat = 88, Some(0), None;
    StreamsGroupDescribe = 89, Some(0), None;
    DescribeShareGroupOffsets = 90, Some(0), None;
    AlterShareGroupOffsets = 91, Some(0), None;
    DeleteShareGroupOffsets = 92, Some(0), None;
}

impl ApiKey {
    /// Its number on the wire.
    #[must_use]
    pub fn key(self) -> i16 {
        self as i16
    }

    /// Whether this broker serves `version` of it.
    #[must_use]
    pub fn serves(self, version: i16) -> bool {
        self.served().is_some_and(|served| served.contains(&version))
    }

    /// Whether `version` has compact lengths and tag sections; also of versions yet to come.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|first| first <= version)
    }

    /// The versions ApiVersions names for it; `None` if it is not served.
    ///
    /// Produce is named from version 0 although 0 to 2 are refused: librdkafka before 2.11.1 stops
    /// compressing, silently, when a broker does not name version 0.
    #[must_use]
    pub fn advertised(self) -> Option<RangeInclusive<i16>> {
        let served = self.served()?;
        Some(match self {
            ApiKey::Produce => 0..=*served.end(),
            _ => served,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_to_one() {
        for key in i16::MIN..=i16::MAX {
            if let Some(api) = ApiKey::from_key(key) {
                assert_eq!(api.key(), key);
            }
        }
        assert!(ApiKey::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((4..=7).all(|key| ApiKey::from_key(key).is_none()));
    }

    /// K2, and the single versions that librdkafka before 2.11.1 looks for.
    #[test]
    fn what_is_advertised_covers_what_is_served_and_what_old_clients_probe() {
        for api in ApiKey::ALL {
            let (Some(served), Some(advertised)) = (api.served(), api.advertised()) else {
                assert_eq!(api.served(), api.advertised());
                continue;
            };
            assert!(served.clone().all(|version| advertised.contains(&version)), "{api:?}");
        }
        let probed = [
            (ApiKey::ApiVersions, &[0][..]),
            (ApiKey::Produce, &[0, 3, 7]),
            (ApiKey::Fetch, &[4, 10]),
            (ApiKey::ListOffsets, &[1]),
            (ApiKey::InitProducerId, &[0]),
        ];
        for (api, versions) in probed {
            let advertised = api.advertised().unwrap();
            assert!(versions.iter().all(|version| advertised.contains(version)), "{api:?}");
        }
        assert!(!ApiKey::Produce.serves(2));
    }

    #[test]
    fn versions_yet_to_come_are_flexible_too() {
        assert!(ApiKey::ApiVersions.is_flexible(99));
        assert!(!ApiKey::ApiVersions.is_flexible(2));
        assert!(!ApiKey::SaslHandshake.is_flexible(99));
    }
}
