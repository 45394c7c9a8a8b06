//! Kafka's error codes: one table of number, name, whether to try again, and meaning.
//!
//! In:   -
//! Out:  [`ErrorCode`].
//! Home: pure.
//!
//! Not here: which error a client gets (`crate::broker`'s error map). The meaning is what a client is
//! shown as error message where the protocol has a place for one and nothing better is known.
//!
//! Source: the Kafka protocol guide, "Error Codes", as of 4.3.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal, $variant:ident, $name:literal, $again:ident, $message:literal;)*) => {
        /// What went wrong, in Kafka's numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(
                #[doc = concat!($name, ": ", $message, ".")]
                $variant = $code,
            )*
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The error of number `code`, if there is one.
            #[must_use]
            pub fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Its name in Kafka's documents, such as `UNKNOWN_TOPIC_OR_PARTITION`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// Whether the same request may succeed later or elsewhere.
            #[must_use]
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => again!($again),)*
                }
            }

            /// What it means, as the middle of a sentence.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)*
                }
            }
        }
    };
}

macro_rules! again {
    (retriable) => {
        true
    };
    (fatal) => {
        false
    };
}

impl ErrorCode {
    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.code(), self.message())
    }
}

error_codes! {
    -1, UnknownServerError, "UNKNOWN_SERVER_ERROR", fatal, "the broker met an error it did not expect";
    0, None, "NONE", fatal, "no error";
    1, OffsetOutOfRange, "OFFSET_OUT_OF_RANGE", fatal, "the offset lies outside what the partition holds";
    2, CorruptMessage, "CORRUPT_MESSAGE", retriable, "the batch fails its checksum, is cut short, or is malformed";
    3, UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION", retriable, "this broker has no such topic or partition";
    4, InvalidFetchSize, "INVALID_FETCH_SIZE", fatal, "the fetch size is not valid";
    5, LeaderNotAvailable, "LEADER_NOT_AVAILABLE", retriable, "the partition has no leader at the moment";
    6, NotLeaderOrFollower, "NOT_LEADER_OR_FOLLOWER", retriable, "this broker does not lead the partition, or holds no replica of it";
    7, RequestTimedOut, "REQUEST_TIMED_OUT", retriable, "the time allowed ran out";
    8, BrokerNotAvailable, "BROKER_NOT_AVAILABLE", fatal, "the broker cannot be reached";
    9, ReplicaNotAvailable, "REPLICA_NOT_AVAILABLE", retriable, "the replica cannot be reached";
    10, MessageTooLarge, "MESSAGE_TOO_LARGE", fatal, "the batch is larger than max.message.bytes";
    11, StaleControllerEpoch, "STALE_CONTROLLER_EPOCH", fatal, "the controller is another broker by now";
    12, OffsetMetadataTooLarge, "OFFSET_METADATA_TOO_LARGE", fatal, "the metadata beside the offset is too long";
    13, NetworkException, "NETWORK_EXCEPTION", retriable, "the connection ended before the answer";
    14, CoordinatorLoadInProgress, "COORDINATOR_LOAD_IN_PROGRESS", retriable, "the coordinator is still loading";
    15, CoordinatorNotAvailable, "COORDINATOR_NOT_AVAILABLE", retriable, "the coordinator cannot be reached";
    16, NotCoordinator, "NOT_COORDINATOR", retriable, "this broker does not coordinate the group or transaction";
    17, InvalidTopicException, "INVALID_TOPIC_EXCEPTION", fatal, "the topic name is not legal, or the topic is closed to this operation";
    18, RecordListTooLarge, "RECORD_LIST_TOO_LARGE", fatal, "the batch is larger than a segment";
    19, NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", retriable, "too few replicas are in sync to accept the records";
    20, NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable, "the records are in the log, but too few replicas in sync have them";
    21, InvalidRequiredAcks, "INVALID_REQUIRED_ACKS", fatal, "acks must be 0, 1 or -1";
    22, IllegalGeneration, "ILLEGAL_GENERATION", fatal, "the generation of the group is not the current one";
    23, InconsistentGroupProtocol, "INCONSISTENT_GROUP_PROTOCOL", fatal, "the member's protocols do not fit those of the group";
    24, InvalidGroupId, "INVALID_GROUP_ID", fatal, "the group id is not valid";
    25, UnknownMemberId, "UNKNOWN_MEMBER_ID", fatal, "the coordinator does not know this member";
    26, InvalidSessionTimeout, "INVALID_SESSION_TIMEOUT", fatal, "the session timeout is outside the range the broker allows";
    27, RebalanceInProgress, "REBALANCE_IN_PROGRESS", fatal, "the group is rebalancing: join again";
    28, InvalidCommitOffsetSize, "INVALID_COMMIT_OFFSET_SIZE", fatal, "the offset commit is too large";
    29, TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", fatal, "no permission for the topic";
    30, GroupAuthorizationFailed, "GROUP_AUTHORIZATION_FAILED", fatal, "no permission for the group";
    31, ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED", fatal, "no permission for the cluster";
    32, InvalidTimestamp, "INVALID_TIMESTAMP", fatal, "the timestamp is outside the range the topic allows";
    33, UnsupportedSaslMechanism, "UNSUPPORTED_SASL_MECHANISM", fatal, "the SASL mechanism is not enabled here";
    34, IllegalSaslState, "ILLEGAL_SASL_STATE", fatal, "the request does not fit the state of the SASL exchange";
    35, UnsupportedVersion, "UNSUPPORTED_VERSION", fatal, "this version of the API is not served";
    36, TopicAlreadyExists, "TOPIC_ALREADY_EXISTS", fatal, "a topic of this name exists";
    37, InvalidPartitions, "INVALID_PARTITIONS", fatal, "the number of partitions is not valid";
    38, InvalidReplicationFactor, "INVALID_REPLICATION_FACTOR", fatal, "the replication factor is below 1 or above the number of brokers";
    39, InvalidReplicaAssignment, "INVALID_REPLICA_ASSIGNMENT", fatal, "the replica assignment is not valid";
    40, InvalidConfig, "INVALID_CONFIG", fatal, "a setting is not valid";
    41, NotController, "NOT_CONTROLLER", retriable, "this broker is not the controller";
    42, InvalidRequest, "INVALID_REQUEST", fatal, "the request is malformed or contradicts itself";
    43, UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", fatal, "the format of the stored records does not allow this";
    44, PolicyViolation, "POLICY_VIOLATION", fatal, "a policy of the broker forbids it";
    45, OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER", fatal, "the producer's sequence number is not the next one";
    46, DuplicateSequenceNumber, "DUPLICATE_SEQUENCE_NUMBER", fatal, "the producer's sequence number was seen before";
    47, InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", fatal, "the producer's epoch is older than the current one";
    48, InvalidTxnState, "INVALID_TXN_STATE", fatal, "the transaction is in a state that does not allow this";
    49, InvalidProducerIdMapping, "INVALID_PRODUCER_ID_MAPPING", fatal, "the producer id does not belong to this transactional id";
    50, InvalidTransactionTimeout, "INVALID_TRANSACTION_TIMEOUT", fatal, "the transaction timeout is longer than the broker allows";
    51, ConcurrentTransactions, "CONCURRENT_TRANSACTIONS", retriable, "the last operation on this transaction is not finished";
    52, TransactionCoordinatorFenced, "TRANSACTION_COORDINATOR_FENCED", fatal, "the coordinator that sent this is no longer the current one";
    53, TransactionalIdAuthorizationFailed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", fatal, "no permission for the transactional id";
    54, SecurityDisabled, "SECURITY_DISABLED", fatal, "security is switched off";
    55, OperationNotAttempted, "OPERATION_NOT_ATTEMPTED", fatal, "not attempted, because another part of the request failed";
    56, KafkaStorageError, "KAFKA_STORAGE_ERROR", retriable, "the log could not be read or written";
    57, LogDirNotFound, "LOG_DIR_NOT_FOUND", fatal, "there is no such log directory";
    58, SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", fatal, "the credentials were not accepted";
    59, UnknownProducerId, "UNKNOWN_PRODUCER_ID", fatal, "the broker no longer knows this producer id";
    60, ReassignmentInProgress, "REASSIGNMENT_IN_PROGRESS", fatal, "the partition is being reassigned";
    61, DelegationTokenAuthDisabled, "DELEGATION_TOKEN_AUTH_DISABLED", fatal, "delegation tokens are switched off";
    62, DelegationTokenNotFound, "DELEGATION_TOKEN_NOT_FOUND", fatal, "there is no such delegation token";
    63, DelegationTokenOwnerMismatch, "DELEGATION_TOKEN_OWNER_MISMATCH", fatal, "the principal neither owns nor may renew the token";
    64, DelegationTokenRequestNotAllowed, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", fatal, "delegation tokens cannot be asked for over this connection";
    65, DelegationTokenAuthorizationFailed, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", fatal, "no permission for the delegation token";
    66, DelegationTokenExpired, "DELEGATION_TOKEN_EXPIRED", fatal, "the delegation token has expired";
    67, InvalidPrincipalType, "INVALID_PRINCIPAL_TYPE", fatal, "the type of principal is not supported";
    68, NonEmptyGroup, "NON_EMPTY_GROUP", fatal, "the group has members";
    69, GroupIdNotFound, "GROUP_ID_NOT_FOUND", fatal, "there is no such group";
    70, FetchSessionIdNotFound, "FETCH_SESSION_ID_NOT_FOUND", retriable, "there is no such fetch session";
    71, InvalidFetchSessionEpoch, "INVALID_FETCH_SESSION_EPOCH", retriable, "the epoch of the fetch session is not the next one";
    72, ListenerNotFound, "LISTENER_NOT_FOUND", retriable, "the leader has no listener of the name this request came in on";
    73, TopicDeletionDisabled, "TOPIC_DELETION_DISABLED", fatal, "topics may not be deleted here";
    74, FencedLeaderEpoch, "FENCED_LEADER_EPOCH", retriable, "the leader epoch in the request is older than the broker's";
    75, UnknownLeaderEpoch, "UNKNOWN_LEADER_EPOCH", retriable, "the leader epoch in the request is newer than the broker's";
    76, UnsupportedCompressionType, "UNSUPPORTED_COMPRESSION_TYPE", fatal, "the client's version does not know this compression";
    77, StaleBrokerEpoch, "STALE_BROKER_EPOCH", fatal, "the broker's epoch has changed";
    78, OffsetNotAvailable, "OFFSET_NOT_AVAILABLE", retriable, "the new leader does not know its high watermark yet";
    79, MemberIdRequired, "MEMBER_ID_REQUIRED", fatal, "join again with the member id given here";
    80, PreferredLeaderNotAvailable, "PREFERRED_LEADER_NOT_AVAILABLE", retriable, "the preferred leader is not available";
    81, GroupMaxSizeReached, "GROUP_MAX_SIZE_REACHED", fatal, "the group is full";
    82, FencedInstanceId, "FENCED_INSTANCE_ID", fatal, "another member took over this group.instance.id";
    83, EligibleLeadersNotAvailable, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable, "no replica that may lead is available";
    84, ElectionNotNeeded, "ELECTION_NOT_NEEDED", retriable, "the partition needs no election";
    85, NoReassignmentInProgress, "NO_REASSIGNMENT_IN_PROGRESS", fatal, "no reassignment is under way";
    86, GroupSubscribedToTopic, "GROUP_SUBSCRIBED_TO_TOPIC", fatal, "the group is subscribed to the topic";
    87, InvalidRecord, "INVALID_RECORD", fatal, "a record breaks a rule of its topic";
    88, UnstableOffsetCommit, "UNSTABLE_OFFSET_COMMIT", retriable, "offsets of an open transaction must be settled first";
    89, ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", retriable, "the quota is used up: wait and try again";
    90, ProducerFenced, "PRODUCER_FENCED", fatal, "a newer producer of the same transactional id has taken over";
    91, ResourceNotFound, "RESOURCE_NOT_FOUND", fatal, "there is no such resource";
    92, DuplicateResource, "DUPLICATE_RESOURCE", fatal, "the request names a resource twice";
    93, UnacceptableCredential, "UNACCEPTABLE_CREDENTIAL", fatal, "the credential is not acceptable";
    94, InconsistentVoterSet, "INCONSISTENT_VOTER_SET", fatal, "sender or receiver is not one of the expected voters";
    95, InvalidUpdateVersion, "INVALID_UPDATE_VERSION", fatal, "the version of the update is not valid";
    96, FeatureUpdateFailed, "FEATURE_UPDATE_FAILED", fatal, "a feature could not be updated";
    97, PrincipalDeserializationFailure, "PRINCIPAL_DESERIALIZATION_FAILURE", fatal, "the principal of the forwarded request cannot be read";
    98, SnapshotNotFound, "SNAPSHOT_NOT_FOUND", fatal, "there is no such snapshot";
    99, PositionOutOfRange, "POSITION_OUT_OF_RANGE", fatal, "the position lies outside the snapshot";
    100, UnknownTopicId, "UNKNOWN_TOPIC_ID", retriable, "this broker has no topic of this id";
    101, DuplicateBrokerRegistration, "DUPLICATE_BROKER_REGISTRATION", fatal, "the broker id is in use";
    102, BrokerIdNotRegistered, "BROKER_ID_NOT_REGISTERED", fatal, "the broker id is not registered";
    103, InconsistentTopicId, "INCONSISTENT_TOPIC_ID", retriable, "the topic's id is not the one in the request";
    104, InconsistentClusterId, "INCONSISTENT_CLUSTER_ID", fatal, "the cluster's id is not the one in the request";
    105, TransactionalIdNotFound, "TRANSACTIONAL_ID_NOT_FOUND", fatal, "there is no such transactional id";
    106, FetchSessionTopicIdError, "FETCH_SESSION_TOPIC_ID_ERROR", retriable, "the fetch session mixes topic ids and names";
    107, IneligibleReplica, "INELIGIBLE_REPLICA", fatal, "a replica of the new ISR may not be in it";
    108, NewLeaderElected, "NEW_LEADER_ELECTED", fatal, "a new leader was elected";
    109, OffsetMovedToTieredStorage, "OFFSET_MOVED_TO_TIERED_STORAGE", fatal, "the offset has moved to tiered storage";
    110, FencedMemberEpoch, "FENCED_MEMBER_EPOCH", fatal, "the member's epoch is fenced: give up all partitions and join again";
    111, UnreleasedInstanceId, "UNRELEASED_INSTANCE_ID", fatal, "another member still holds this instance id";
    112, UnsupportedAssignor, "UNSUPPORTED_ASSIGNOR", fatal, "no assignor of this name and version";
    113, StaleMemberEpoch, "STALE_MEMBER_EPOCH", fatal, "the member's epoch is stale: take the new one and try again";
    114, MismatchedEndpointType, "MISMATCHED_ENDPOINT_TYPE", fatal, "this endpoint is of another type";
    115, UnsupportedEndpointType, "UNSUPPORTED_ENDPOINT_TYPE", fatal, "this type of endpoint is not supported";
    116, UnknownControllerId, "UNKNOWN_CONTROLLER_ID", fatal, "there is no such controller";
    117, UnknownSubscriptionId, "UNKNOWN_SUBSCRIPTION_ID", fatal, "the telemetry subscription is unknown or outdated";
    118, TelemetryTooLarge, "TELEMETRY_TOO_LARGE", fatal, "the telemetry is larger than the broker accepts";
    119, InvalidRegistration, "INVALID_REGISTRATION", fatal, "the registration is not valid";
    120, TransactionAbortable, "TRANSACTION_ABORTABLE", fatal, "the transaction failed; abort it and the transactional id can be used on";
    121, InvalidRecordState, "INVALID_RECORD_STATE", fatal, "the record is in a state that does not allow this";
    122, ShareSessionNotFound, "SHARE_SESSION_NOT_FOUND", retriable, "there is no such share session";
    123, InvalidShareSessionEpoch, "INVALID_SHARE_SESSION_EPOCH", retriable, "the epoch of the share session is not the next one";
    124, FencedStateEpoch, "FENCED_STATE_EPOCH", fatal, "the epoch of the share group's state is fenced";
    125, InvalidVoterKey, "INVALID_VOTER_KEY", fatal, "the voter's key is not the replica's";
    126, DuplicateVoter, "DUPLICATE_VOTER", fatal, "the voter is in the set already";
    127, VoterNotFound, "VOTER_NOT_FOUND", fatal, "the voter is not in the set";
    128, InvalidRegularExpression, "INVALID_REGULAR_EXPRESSION", fatal, "the regular expression is not valid";
    129, RebootstrapRequired, "REBOOTSTRAP_REQUIRED", fatal, "the client's view is too old: start again from its bootstrap servers";
    130, StreamsInvalidTopology, "STREAMS_INVALID_TOPOLOGY", fatal, "the topology is not valid";
    131, StreamsInvalidTopologyEpoch, "STREAMS_INVALID_TOPOLOGY_EPOCH", fatal, "the epoch of the topology is not valid";
    132, StreamsTopologyFenced, "STREAMS_TOPOLOGY_FENCED", fatal, "the epoch of the topology is outdated";
    133, ShareSessionLimitReached, "SHARE_SESSION_LIMIT_REACHED", retriable, "no more share sessions fit";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_errors_are_one_to_one() {
        for code in i16::MIN..=i16::MAX {
            if let Some(error) = ErrorCode::from_code(code) {
                assert_eq!(error.code(), code);
            }
        }
        for pair in ErrorCode::ALL.windows(2) {
            assert_eq!(pair[0].code() + 1, pair[1].code(), "a gap after {}", pair[0]);
        }
        assert_eq!(ErrorCode::ALL.first(), Some(&ErrorCode::UnknownServerError));
        assert_eq!(ErrorCode::ALL.last(), Some(&ErrorCode::ShareSessionLimitReached));
    }

    #[test]
    fn names_are_those_of_the_variants() {
        for error in ErrorCode::ALL {
            let plain = error.name().replace('_', "").to_lowercase();
            assert_eq!(format!("{error:?}").to_lowercase(), plain);
        }
    }
}
