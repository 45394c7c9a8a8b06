//! The one place where what happened becomes the code that a client is told.
//!
//! In:   typed errors of replicas, logs, records and the controller.
//! Out:  an [`ErrorCode`], and words where the API has room for them.
//! Home: pure.
//!
//! No match has a `_` arm: a new variant does not compile until someone has chosen between a
//! retriable code (the client refreshes its metadata and tries again) and a final one.

use crate::controller::driver::ExecuteError;
use crate::controller::quorum::ProposeError;
use crate::coordinator::call::Unavailable;
use crate::group::admin::DeleteGroupError;
use crate::group::classic::join::JoinError;
use crate::group::classic::sync::{HeartbeatError, MemberError, SyncError};
use crate::group::commit::{
    CommitError, DeleteOffsetsError, FetchError, MetadataTooLarge, SubscribedToTopic,
};
use crate::group::consumer::heartbeat::ConsumerError;
use crate::metadata::alter::{ConfigChangeError, CreatePartitionsError, DeleteTopicError};
use crate::metadata::commands::CommandError;
use crate::metadata::create_topics::CreateTopicError;
use crate::metadata::features::FeatureError;
use crate::metadata::reassign::{ElectionError, ReassignmentError};
use crate::model::ids::BrokerId;
use crate::model::topic_name::TopicNameError;
use crate::partition::leader::{AppendError, EpochMismatch};
use crate::partition::producers::ProducerError;
use crate::protocol::error::ErrorCode;
use crate::replica::request::{AppendFailure, DeleteRecordsFailure, MarkerFailure, ReadFailure};
use crate::transaction::partitions::TransactionError;
use crate::transaction::producer::InitError;

use super::fetch_session::SessionError;
use super::verification::JoinFailure;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The code.
    pub code: ErrorCode,
    /// Words beside it; `None` is null.
    pub message: Option<String>,
}

impl Told {
    /// A code with words of this case.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Told {
        Told { code, message: Some(message.into()) }
    }

    /// A code with its general words.
    pub fn code(code: ErrorCode) -> Told {
        Told::new(code, code.message())
    }

    /// A code with empty words, where Kafka says nothing.
    pub fn silent(code: ErrorCode) -> Told {
        Told::new(code, "")
    }
}

impl From<&CreateTopicError> for Told {
    fn from(error: &CreateTopicError) -> Told {
        use CreateTopicError as E;
        let code = match error {
            E::DuplicateInRequest
            | E::PartitionsWithAssignment
            | E::ReplicationFactorWithAssignment => ErrorCode::InvalidRequest,
            E::BadName(
                TopicNameError::Empty
                | TopicNameError::Dots
                | TopicNameError::TooLong { .. }
                | TopicNameError::BadCharacter { .. },
            ) => ErrorCode::InvalidTopicException,
            E::Exists { .. } => ErrorCode::TopicAlreadyExists,
            E::Collides { .. } => ErrorCode::InvalidTopicException,
            E::IdTaken => ErrorCode::RequestTimedOut,
            E::BadPartitions { .. } | E::TooManyPartitions { .. } => ErrorCode::InvalidPartitions,
            E::BadReplicationFactor { .. } | E::TooFewBrokers { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            E::BadAssignment(_) => ErrorCode::InvalidReplicaAssignment,
            E::BadConfig(_) | E::ConfigTooLong { .. } | E::NoValue { .. } => {
                ErrorCode::InvalidConfig
            }
        };
        Told::new(code, error.to_string())
    }
}

impl From<&CreatePartitionsError> for Told {
    fn from(error: &CreatePartitionsError) -> Told {
        use CreatePartitionsError as E;
        let code = match error {
            E::UnknownName => ErrorCode::UnknownTopicOrPartition,
            E::DuplicateInRequest => ErrorCode::InvalidRequest,
            E::NotMore { .. } | E::TooMany { .. } => ErrorCode::InvalidPartitions,
            E::TooFewBrokers { .. } => ErrorCode::InvalidReplicationFactor,
            E::AssignmentCount { .. } | E::BadAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        };
        match error {
            E::UnknownName => Told { code, message: None },
            _ => Told::new(code, error.to_string()),
        }
    }
}

impl From<&ConfigChangeError> for Told {
    fn from(error: &ConfigChangeError) -> Told {
        use ConfigChangeError as E;
        let code = match error {
            E::UnknownTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            E::UnknownBroker { .. } | E::DuplicateInRequest | E::BadBrokerConfig(_) => {
                ErrorCode::InvalidRequest
            }
            E::ConfigTooLong { .. } | E::TooMany { .. } | E::BadConfig(_) => {
                ErrorCode::InvalidConfig
            }
            E::TooManyGroups => ErrorCode::PolicyViolation,
        };
        Told::new(code, error.to_string())
    }
}

/// For UpdateFeatures, of the controller `id`.
pub fn features_told(error: &FeatureError, id: BrokerId) -> Told {
    let words = error.words(id);
    let words = format!(
        "The update failed for all features since the following feature had an error: {words}"
    );
    Told::new(ErrorCode::InvalidUpdateVersion, words)
}

impl From<&ReassignmentError> for Told {
    fn from(error: &ReassignmentError) -> Told {
        use ReassignmentError as E;
        let code = match error {
            E::UnknownTopic { .. } | E::UnknownPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            E::NotInProgress => ErrorCode::NoReassignmentInProgress,
            E::BadAssignment(_) | E::NotSupported => ErrorCode::InvalidReplicaAssignment,
        };
        match error {
            E::NotInProgress => Told { code, message: None },
            _ => Told::new(code, error.to_string()),
        }
    }
}

impl From<&DeleteTopicError> for Told {
    fn from(error: &DeleteTopicError) -> Told {
        let code = match error {
            DeleteTopicError::UnknownName => ErrorCode::UnknownTopicOrPartition,
            DeleteTopicError::UnknownId => ErrorCode::UnknownTopicId,
            DeleteTopicError::DuplicateInRequest => ErrorCode::InvalidRequest,
        };
        Told::new(code, error.to_string())
    }
}

impl From<&CommandError> for Told {
    fn from(error: &CommandError) -> Told {
        let code = match error {
            CommandError::TooManyTopics { .. } | CommandError::TooManyPartitions { .. } => {
                ErrorCode::PolicyViolation
            }
            CommandError::ClusterIdMismatch { .. } => ErrorCode::InconsistentClusterId,
            CommandError::StaleBroker(_) => ErrorCode::StaleBrokerEpoch,
            CommandError::ProducerIdsExhausted => ErrorCode::UnknownServerError,
        };
        Told::new(code, error.to_string())
    }
}

impl From<&ExecuteError> for Told {
    fn from(error: &ExecuteError) -> Told {
        match error {
            ExecuteError::Refused(refused) => Told::from(refused),
            ExecuteError::Propose(ProposeError::TooLarge { .. }) => {
                Told::new(ErrorCode::PolicyViolation, error.to_string())
            }
            // The quorum has no leader or is going down: another try may find it.
            ExecuteError::Propose(ProposeError::NotLeader { .. } | ProposeError::Stopped)
            | ExecuteError::Stopped => Told::code(ErrorCode::NotController),
        }
    }
}

/// For Produce: why a partition did not take a batch.
pub fn append_code(failure: &AppendFailure) -> ErrorCode {
    match failure {
        AppendFailure::NotHere => ErrorCode::NotLeaderOrFollower,
        AppendFailure::Refused { error, .. } => match error {
            AppendError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            AppendError::LogFull => ErrorCode::UnknownServerError,
            AppendError::Producer(error) => producer_code(error),
        },
        // Retriable, and no refresh of metadata helps: the producer waits and tries again.
        AppendFailure::DiskFull | AppendFailure::Offline => ErrorCode::KafkaStorageError,
    }
}

fn producer_code(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::TransactionOpen { .. } => ErrorCode::InvalidTxnState,
        ProducerError::TooManyProducers => ErrorCode::NotEnoughReplicas,
        ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        ProducerError::MarkerNotNewer { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::NotVerified { .. } => ErrorCode::InvalidTxnState,
    }
}

/// For WriteTxnMarkers.
pub fn marker_code(failure: MarkerFailure) -> ErrorCode {
    match failure {
        // As Kafka says, too, while a group coordinator reads its log.
        MarkerFailure::NotHere => ErrorCode::NotLeaderOrFollower,
        MarkerFailure::Fenced(error) => producer_code(&error),
        MarkerFailure::Retriable => ErrorCode::NotEnoughReplicas,
        MarkerFailure::Offline => ErrorCode::KafkaStorageError,
    }
}

/// For all that asks a coordinator: why there is none now.
pub fn unavailable_code(unavailable: Unavailable) -> ErrorCode {
    match unavailable {
        Unavailable::NotHere => ErrorCode::NotCoordinator,
        Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
        Unavailable::NotStored => ErrorCode::CoordinatorNotAvailable,
    }
}

/// For JoinGroup.
pub fn join_code(error: JoinError) -> ErrorCode {
    match error {
        JoinError::InvalidGroupId => ErrorCode::InvalidGroupId,
        JoinError::NameTooLong => ErrorCode::InvalidRequest,
        JoinError::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        JoinError::MemberIdRequired => ErrorCode::MemberIdRequired,
        JoinError::UnknownMember => ErrorCode::UnknownMemberId,
        JoinError::FencedInstance => ErrorCode::FencedInstanceId,
        JoinError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        JoinError::GroupFull => ErrorCode::GroupMaxSizeReached,
        JoinError::MetadataTooLarge => ErrorCode::UnknownServerError,
        JoinError::Busy => ErrorCode::CoordinatorNotAvailable,
        JoinError::Superseded => ErrorCode::RebalanceInProgress,
        JoinError::Unloaded => ErrorCode::NotCoordinator,
    }
}

/// For SyncGroup.
pub fn sync_code(error: SyncError) -> ErrorCode {
    match error {
        SyncError::InvalidGroupId => ErrorCode::InvalidGroupId,
        SyncError::UnknownMember => ErrorCode::UnknownMemberId,
        SyncError::FencedInstance => ErrorCode::FencedInstanceId,
        SyncError::IllegalGeneration => ErrorCode::IllegalGeneration,
        SyncError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        SyncError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        SyncError::GroupTooLarge => ErrorCode::UnknownServerError,
        SyncError::Unloaded => ErrorCode::NotCoordinator,
    }
}

/// For Heartbeat.
pub fn heartbeat_code(error: HeartbeatError) -> ErrorCode {
    match error {
        HeartbeatError::InvalidGroupId => ErrorCode::InvalidGroupId,
        HeartbeatError::UnknownMember => ErrorCode::UnknownMemberId,
        HeartbeatError::FencedInstance => ErrorCode::FencedInstanceId,
        HeartbeatError::IllegalGeneration => ErrorCode::IllegalGeneration,
        HeartbeatError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
    }
}

/// For ConsumerGroupHeartbeat.
impl From<&ConsumerError> for Told {
    fn from(error: &ConsumerError) -> Told {
        match error {
            ConsumerError::Invalid(reason) => Told::new(ErrorCode::InvalidRequest, *reason),
            ConsumerError::NoGroup => Told::code(ErrorCode::GroupIdNotFound),
            ConsumerError::UnknownMember => Told::code(ErrorCode::UnknownMemberId),
            ConsumerError::FencedEpoch => Told::code(ErrorCode::FencedMemberEpoch),
            ConsumerError::UnreleasedInstance => Told::code(ErrorCode::UnreleasedInstanceId),
            ConsumerError::FencedInstance => Told::code(ErrorCode::FencedInstanceId),
            ConsumerError::UnsupportedAssignor => Told::code(ErrorCode::UnsupportedAssignor),
            ConsumerError::InvalidRegex => Told::code(ErrorCode::InvalidRegularExpression),
            ConsumerError::GroupFull => Told::code(ErrorCode::GroupMaxSizeReached),
            ConsumerError::Busy => Told::code(ErrorCode::CoordinatorNotAvailable),
        }
    }
}

/// For LeaveGroup.
pub fn member_code(error: MemberError) -> ErrorCode {
    match error {
        MemberError::UnknownMember => ErrorCode::UnknownMemberId,
        MemberError::FencedInstance => ErrorCode::FencedInstanceId,
    }
}

/// For OffsetFetch: consumers before Kafka 3.9 give up on COORDINATOR_NOT_AVAILABLE, but look
/// for a coordinator that is not this one.
pub fn fetch_unavailable_code(unavailable: Unavailable) -> ErrorCode {
    match unavailable {
        Unavailable::NotHere | Unavailable::NotStored => ErrorCode::NotCoordinator,
        Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
    }
}

impl From<Unavailable> for Told {
    fn from(unavailable: Unavailable) -> Told {
        Told::code(unavailable_code(unavailable))
    }
}

/// For what is asked of transactions: the newest code of each error.
pub fn transaction_code(error: TransactionError) -> ErrorCode {
    match error {
        TransactionError::InvalidPidMapping => ErrorCode::InvalidProducerIdMapping,
        TransactionError::ProducerFenced => ErrorCode::ProducerFenced,
        TransactionError::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        TransactionError::InvalidTxnState => ErrorCode::InvalidTxnState,
        TransactionError::TransactionAbortable => ErrorCode::TransactionAbortable,
        TransactionError::TooManyPartitions => ErrorCode::UnknownServerError,
        TransactionError::Busy => ErrorCode::CoordinatorNotAvailable,
    }
}

/// `code`, or what clients of `version` were told before PRODUCER_FENCED was known to them, which
/// is from `fenced_from` on. Source: KIP-588; protocol.md P101.
pub fn understood(code: ErrorCode, version: i16, fenced_from: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < fenced_from => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

/// For Produce in `version`: why a partition's first write in a transaction is refused.
/// Source: Kafka's `AddPartitionsToTxnManager` and `ReplicaManager`; `protocol.md` P101, P102.
pub fn produce_join_code(failure: JoinFailure, version: i16) -> ErrorCode {
    match failure {
        // Old clients, too, know this one as retriable.
        JoinFailure::Unavailable(
            Unavailable::NotHere | Unavailable::Loading | Unavailable::NotStored,
        )
        | JoinFailure::Refused(TransactionError::Busy) => ErrorCode::NotEnoughReplicas,
        JoinFailure::Refused(TransactionError::ConcurrentTransactions) if version < 12 => {
            ErrorCode::NotEnoughReplicas
        }
        JoinFailure::Refused(error) => joined_code(error, version >= 11),
    }
}

/// For TxnOffsetCommit in `version`: why it is not part of the transaction.
pub fn offsets_join_code(failure: JoinFailure, version: i16) -> ErrorCode {
    match failure {
        JoinFailure::Unavailable(unavailable) => unavailable_code(unavailable),
        JoinFailure::Refused(error) => joined_code(error, version >= 4),
    }
}

fn joined_code(error: TransactionError, abortable: bool) -> ErrorCode {
    match error {
        TransactionError::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        TransactionError::TransactionAbortable if !abortable => ErrorCode::InvalidTxnState,
        TransactionError::InvalidPidMapping
        | TransactionError::ConcurrentTransactions
        | TransactionError::InvalidTxnState
        | TransactionError::TransactionAbortable
        | TransactionError::TooManyPartitions
        | TransactionError::Busy => transaction_code(error),
    }
}

/// For TxnOffsetCommit: why the group's log does not take it.
pub fn offsets_append_code(failure: &AppendFailure) -> ErrorCode {
    match append_code(failure) {
        ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        code => code,
    }
}

/// For InitProducerId with a transactional id: the newest code of each error.
pub fn init_code(error: InitError) -> ErrorCode {
    match error {
        InitError::BadTimeout => ErrorCode::InvalidTransactionTimeout,
        InitError::Fenced => ErrorCode::ProducerFenced,
        InitError::Concurrent => ErrorCode::ConcurrentTransactions,
        InitError::Busy => ErrorCode::CoordinatorNotAvailable,
    }
}

/// For OffsetFetch: why a member is not told.
pub fn fetch_code(error: FetchError) -> ErrorCode {
    match error {
        FetchError::UnknownMember => ErrorCode::UnknownMemberId,
        FetchError::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
    }
}

/// For OffsetCommit and TxnOffsetCommit; `no_group` and `stale` are what this version calls a
/// group that is not there, and an epoch of a member that is not the current one.
pub fn commit_code(error: CommitError, no_group: ErrorCode, stale: ErrorCode) -> ErrorCode {
    match error {
        CommitError::InvalidGroupId => ErrorCode::InvalidGroupId,
        CommitError::NoGroup => no_group,
        CommitError::UnknownMember => ErrorCode::UnknownMemberId,
        CommitError::FencedInstance => ErrorCode::FencedInstanceId,
        CommitError::IllegalGeneration => ErrorCode::IllegalGeneration,
        CommitError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        CommitError::StaleMemberEpoch => stale,
        CommitError::Clings => ErrorCode::CoordinatorLoadInProgress,
        CommitError::Busy => ErrorCode::CoordinatorNotAvailable,
    }
}

impl From<MetadataTooLarge> for ErrorCode {
    fn from(MetadataTooLarge: MetadataTooLarge) -> ErrorCode {
        ErrorCode::OffsetMetadataTooLarge
    }
}

impl From<SubscribedToTopic> for ErrorCode {
    fn from(SubscribedToTopic: SubscribedToTopic) -> ErrorCode {
        ErrorCode::GroupSubscribedToTopic
    }
}

/// For OffsetDelete: the top-level code.
pub fn delete_offsets_code(error: DeleteOffsetsError) -> ErrorCode {
    match error {
        DeleteOffsetsError::NoGroup => ErrorCode::GroupIdNotFound,
        DeleteOffsetsError::NonEmpty => ErrorCode::NonEmptyGroup,
    }
}

/// For DeleteGroups.
pub fn delete_group_code(error: DeleteGroupError) -> ErrorCode {
    match error {
        DeleteGroupError::NoGroup => ErrorCode::GroupIdNotFound,
        DeleteGroupError::NonEmpty => ErrorCode::NonEmptyGroup,
    }
}

/// For reads and look-ups.
pub fn read_code(failure: ReadFailure) -> ErrorCode {
    match failure {
        ReadFailure::NotHere => ErrorCode::NotLeaderOrFollower,
        ReadFailure::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        ReadFailure::Epoch(EpochMismatch::Fenced { .. }) => ErrorCode::FencedLeaderEpoch,
        ReadFailure::Epoch(EpochMismatch::Unknown { .. }) => ErrorCode::UnknownLeaderEpoch,
        ReadFailure::NotAvailable(_) => ErrorCode::OffsetNotAvailable,
        ReadFailure::Storage => ErrorCode::KafkaStorageError,
    }
}

/// For ElectLeaders.
pub fn election_told(error: ElectionError, topic: &str, partition: i32) -> Told {
    match error {
        ElectionError::UnknownTopic => {
            let words = format!("No such topic as {topic}");
            Told::new(ErrorCode::UnknownTopicOrPartition, words)
        }
        ElectionError::UnknownPartition => {
            let words = format!("No such partition as {topic}-{partition}");
            Told::new(ErrorCode::UnknownTopicOrPartition, words)
        }
        ElectionError::NotNeeded => Told::new(
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.",
        ),
        ElectionError::PreferredNotAvailable => {
            Told { code: ErrorCode::PreferredLeaderNotAvailable, message: None }
        }
    }
}

/// For DeleteRecords.
pub fn delete_records_code(failure: DeleteRecordsFailure) -> ErrorCode {
    match failure {
        DeleteRecordsFailure::NotHere => ErrorCode::NotLeaderOrFollower,
        DeleteRecordsFailure::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        DeleteRecordsFailure::Storage => ErrorCode::KafkaStorageError,
    }
}

/// For Fetch: the top-level code.
pub fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::WrongEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::MixedTopicKeys => ErrorCode::FetchSessionTopicIdError,
    }
}
