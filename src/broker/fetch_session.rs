//! Incremental fetch sessions: what a consumer fetches, remembered between its requests.
//!
//! In:   the session id and epoch of a Fetch request with the partitions it adds, changes and
//!       forgets; then the partitions' answers.
//! Out:  which partitions to read, in order; which of the answers are worth sending.
//! Home: one shard's cache; a session lives on the shard of the connection that created it. A
//!       client that reconnects to another shard is told FETCH_SESSION_ID_NOT_FOUND and starts
//!       anew, as after an eviction.
//!
//! Invariants
//!   S1  A session never mixes topic ids and topic names.
//!   S2  The epoch a client must send next is the one it sent last plus 1; after 2^31-1 comes 1.
//!   S3  At most `slots` sessions; a new one takes the place only of one unused for
//!       [`EVICTION_MS`] or more, else the client goes without a session (which is always legal).
//!
//! Not here: reading the log (`crate::replica`), encoding (`crate::protocol`).
//! Source: KIP-227, KIP-516.

use std::collections::{BTreeMap, HashMap};

use crate::model::ids::{PartitionIndex, TopicId};
use crate::model::offset::{LeaderEpoch, Offset};
use crate::model::time::Micros;

/// Milliseconds of disuse after which a session may be evicted.
pub const EVICTION_MS: u64 = 120_000;
/// `session_id` of a request or answer without a session.
pub const NO_SESSION: i32 = 0;
/// `session_epoch` that asks for a new session.
const EPOCH_INITIAL: i32 = 0;
/// `session_epoch` that closes the session, or wants none.
const EPOCH_FINAL: i32 = -1;

/// How a request names a topic; one kind a session (S1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Fetch v12 and older. The name as the client wrote it: it may be illegal.
    Name(String),
    /// Fetch v13 and newer.
    Id(TopicId),
}

/// What names one partition within a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The topic, as the client names it.
    pub topic: TopicKey,
    /// The partition.
    pub partition: PartitionIndex,
}

/// What the client wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// First offset wanted.
    pub fetch_offset: Offset,
    /// Most bytes wanted, 0 or more.
    pub max_bytes: usize,
    /// The leader epoch the client knows, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// Epoch of the last record the client has, or [`LeaderEpoch::NONE`] (KIP-595).
    pub last_fetched_epoch: LeaderEpoch,
}

/// What the client was last told about one partition besides records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// High watermark, -1 before the first answer.
    pub high_watermark: Offset,
    /// Log start offset, -1 before the first answer.
    pub log_start: Offset,
    /// Whether the last answer was an error: such a partition is repeated until it clears.
    pub error: bool,
}

const NOTHING_TOLD: Told =
    Told { high_watermark: Offset::NONE, log_start: Offset::NONE, error: false };

/// The answer for one partition, as far as the session cares.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Whether records are in it.
    pub records: bool,
    /// Whether something besides records must reach the client (diverging epoch, preferred replica).
    pub notable: bool,
    /// What it says else.
    pub told: Told,
}

struct Entry {
    wanted: Wanted,
    told: Told,
    order: u64,
}

/// One client's session.
pub struct Session {
    epoch_next: i32,
    by_id: bool,
    entries: HashMap<SessionKey, Entry>,
    order: BTreeMap<u64, SessionKey>,
    order_next: u64,
    used_at: Micros,
}

/// What a request asks of the cache.
pub struct SessionRequest {
    /// As the client sent it.
    pub session_id: i32,
    /// As the client sent it.
    pub session_epoch: i32,
    /// Whether topics are named by id (Fetch v13 and newer).
    pub by_id: bool,
    /// Partitions added or changed, in the request's order.
    pub wanted: Vec<(SessionKey, Wanted)>,
    /// Partitions to forget.
    pub forgotten: Vec<SessionKey>,
}

/// Top-level errors of a Fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// No such session (evicted, or of another shard).
    NotFound,
    /// The epoch is not the expected one (S2).
    WrongEpoch,
    /// Ids and names mixed (S1).
    MixedTopicKeys,
}

/// What to read, and how to answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The session to name in the answer; [`NO_SESSION`] if there is none.
    pub session_id: i32,
    /// Whether the answer holds only what changed.
    pub incremental: bool,
    /// Partitions to read, in order.
    pub partitions: Vec<(SessionKey, Wanted)>,
}

/// The sessions of one shard.
pub struct SessionCache {
    sessions: HashMap<i32, Session>,
    slots: usize,
    id_next: i32,
}

impl SessionCache {
    /// A cache of at most `slots` sessions; ids start after `id_seed` so that ids of another run
    /// or another shard are unlikely to be taken for ours.
    pub fn new(slots: usize, id_seed: i32) -> SessionCache {
        SessionCache { sessions: HashMap::new(), slots, id_next: id_seed.wrapping_abs().max(1) }
    }

    /// Sessions held.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Opens, continues or closes a session and says what to read.
    ///
    /// Errors: [`SessionError`], to be answered at the top level without partitions.
    pub fn plan(&mut self, now: Micros, request: SessionRequest) -> Result<Plan, SessionError> {
        match request.session_epoch {
            EPOCH_INITIAL | EPOCH_FINAL => Ok(self.plan_full(now, request)),
            _ => self.plan_incremental(now, request),
        }
    }

    fn plan_full(&mut self, now: Micros, request: SessionRequest) -> Plan {
        if request.session_id != NO_SESSION {
            self.sessions.remove(&request.session_id);
        }
        let wants_session = request.session_epoch == EPOCH_INITIAL && !request.wanted.is_empty();
        let session_id = match wants_session && self.make_room(now) {
            true => self.create(now, &request),
            false => NO_SESSION,
        };
        Plan { session_id, incremental: false, partitions: request.wanted }
    }

    fn plan_incremental(
        &mut self,
        now: Micros,
        request: SessionRequest,
    ) -> Result<Plan, SessionError> {
        let session = self.sessions.get_mut(&request.session_id).ok_or(SessionError::NotFound)?;
        if request.session_epoch != session.epoch_next {
            return Err(SessionError::WrongEpoch);
        }
        if request.by_id != session.by_id {
            return Err(SessionError::MixedTopicKeys);
        }
        session.used_at = now;
        session.epoch_next = next_epoch(session.epoch_next);
        for key in &request.forgotten {
            session.forget(key);
        }
        for (key, wanted) in request.wanted {
            session.want(key, wanted);
        }
        if session.entries.is_empty() {
            self.sessions.remove(&request.session_id);
            return Ok(Plan { session_id: NO_SESSION, incremental: true, partitions: Vec::new() });
        }
        let partitions = session.in_order();
        Ok(Plan { session_id: request.session_id, incremental: true, partitions })
    }

    /// Notes an answer; returns which partitions must be in it.
    ///
    /// A full answer holds all of them; an incremental one those with records, news or an error.
    /// Partitions that returned records move to the end of the order, so that each gets its turn.
    pub fn answer(&mut self, plan: &Plan, answers: &[Answered]) -> Vec<bool> {
        assert!(plan.partitions.len() == answers.len(), "one answer a partition");
        let mut session = self.sessions.get_mut(&plan.session_id);
        let mut included = Vec::with_capacity(answers.len());
        for ((key, _), answer) in plan.partitions.iter().zip(answers) {
            let news = match session.as_deref_mut() {
                Some(session) => session.tell(key, answer),
                None => true,
            };
            included.push(news || !plan.incremental);
        }
        included
    }

    fn create(&mut self, now: Micros, request: &SessionRequest) -> i32 {
        let mut session = Session {
            epoch_next: next_epoch(EPOCH_INITIAL),
            by_id: request.by_id,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            order_next: 0,
            used_at: now,
        };
        for (key, wanted) in &request.wanted {
            session.want(key.clone(), *wanted);
        }
        while self.sessions.contains_key(&self.id_next) {
            self.id_next = next_epoch(self.id_next);
        }
        let id = self.id_next;
        self.id_next = next_epoch(id);
        self.sessions.insert(id, session);
        id
    }

    /// Whether a session can be added, after evicting the longest unused if it may go (S3).
    fn make_room(&mut self, now: Micros) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let oldest = self.sessions.iter().map(|(&id, s)| (s.used_at, id)).min();
        match oldest {
            Some((used_at, id)) if now.since(used_at) >= EVICTION_MS * 1000 => {
                self.sessions.remove(&id);
                true
            }
            _ => false,
        }
    }
}

impl Session {
    fn want(&mut self, key: SessionKey, wanted: Wanted) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.wanted = wanted;
            return;
        }
        let order = self.order_next;
        self.order_next += 1;
        self.order.insert(order, key.clone());
        self.entries.insert(key, Entry { wanted, told: NOTHING_TOLD, order });
    }

    fn forget(&mut self, key: &SessionKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.order);
        }
    }

    fn in_order(&self) -> Vec<(SessionKey, Wanted)> {
        let wanted = |key: &SessionKey| self.entries[key].wanted;
        self.order.values().map(|key| (key.clone(), wanted(key))).collect()
    }

    /// Notes what one partition's answer says; whether it is news to the client.
    fn tell(&mut self, key: &SessionKey, answer: &Answered) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return true; // forgotten by a later request of the same client: harmless to send
        };
        let moved = entry.told.high_watermark != answer.told.high_watermark
            || entry.told.log_start != answer.told.log_start;
        entry.told = answer.told;
        if answer.records {
            self.order.remove(&entry.order);
            entry.order = self.order_next;
            self.order_next += 1;
            self.order.insert(entry.order, key.clone());
        }
        moved || answer.records || answer.notable || answer.told.error
    }
}

/// The number after `epoch`; after 2^31-1 comes 1 (S2).
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1);

    fn key(partition: i32) -> SessionKey {
        SessionKey { topic: TopicKey::Id(TopicId([1; 16])), partition: PartitionIndex(partition) }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            fetch_offset: Offset(offset),
            max_bytes: 1 << 20,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
        }
    }

    fn request(id: i32, epoch: i32, partitions: &[i32]) -> SessionRequest {
        SessionRequest {
            session_id: id,
            session_epoch: epoch,
            by_id: true,
            wanted: partitions.iter().map(|&p| (key(p), wanted(0))).collect(),
            forgotten: Vec::new(),
        }
    }

    fn answered(records: bool, high_watermark: i64) -> Answered {
        let told =
            Told { high_watermark: Offset(high_watermark), log_start: Offset(0), error: false };
        Answered { records, notable: false, told }
    }

    #[test]
    fn a_full_request_creates_a_session_and_the_next_is_incremental() {
        let mut cache = SessionCache::new(10, 7);
        let plan = cache.plan(NOW, request(0, 0, &[0, 1])).unwrap();
        assert_eq!((plan.session_id, plan.incremental), (7, false));
        assert_eq!(cache.answer(&plan, &[answered(false, 0), answered(false, 0)]), [true, true]);
        let plan = cache.plan(NOW, request(7, 1, &[])).unwrap();
        assert!(plan.incremental);
        assert_eq!(plan.partitions.len(), 2);
        assert_eq!(cache.answer(&plan, &[answered(false, 0), answered(true, 5)]), [false, true]);
    }

    #[test]
    fn partitions_that_returned_records_go_last() {
        let mut cache = SessionCache::new(10, 1);
        let plan = cache.plan(NOW, request(0, 0, &[0, 1])).unwrap();
        cache.answer(&plan, &[answered(true, 1), answered(false, 0)]);
        let plan = cache.plan(NOW, request(1, 1, &[])).unwrap();
        let order: Vec<i32> = plan.partitions.iter().map(|(k, _)| k.partition.0).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn wrong_epochs_and_ids_are_top_level_errors() {
        let mut cache = SessionCache::new(10, 1);
        cache.plan(NOW, request(0, 0, &[0])).unwrap();
        assert_eq!(cache.plan(NOW, request(1, 2, &[])), Err(SessionError::WrongEpoch));
        assert_eq!(cache.plan(NOW, request(9, 1, &[])), Err(SessionError::NotFound));
        let mut by_name = request(1, 1, &[]);
        by_name.by_id = false;
        assert_eq!(cache.plan(NOW, by_name), Err(SessionError::MixedTopicKeys));
        assert!(cache.plan(NOW, request(1, 1, &[])).is_ok(), "an error leaves the epoch alone");
    }

    #[test]
    fn an_error_is_repeated_until_it_clears() {
        let mut cache = SessionCache::new(10, 1);
        let plan = cache.plan(NOW, request(0, 0, &[0])).unwrap();
        let mut failed = answered(false, -1);
        failed.told.error = true;
        cache.answer(&plan, &[failed]);
        for epoch in 1..4 {
            let plan = cache.plan(NOW, request(1, epoch, &[])).unwrap();
            assert_eq!(cache.answer(&plan, &[failed]), [true]);
        }
        let plan = cache.plan(NOW, request(1, 4, &[])).unwrap();
        assert_eq!(cache.answer(&plan, &[answered(false, 3)]), [true], "the recovery is news");
        let plan = cache.plan(NOW, request(1, 5, &[])).unwrap();
        assert_eq!(cache.answer(&plan, &[answered(false, 3)]), [false]);
    }

    #[test]
    fn a_full_cache_serves_without_session_until_one_is_stale() {
        let mut cache = SessionCache::new(1, 1);
        assert_eq!(cache.plan(NOW, request(0, 0, &[0])).unwrap().session_id, 1);
        assert_eq!(cache.plan(NOW, request(0, 0, &[0])).unwrap().session_id, NO_SESSION);
        let later = Micros(EVICTION_MS * 1000 + 1);
        assert_eq!(cache.plan(later, request(0, 0, &[0])).unwrap().session_id, 2);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_final_epoch_closes_and_forgetting_all_ends_the_session() {
        let mut cache = SessionCache::new(10, 1);
        cache.plan(NOW, request(0, 0, &[0])).unwrap();
        assert_eq!(cache.plan(NOW, request(1, -1, &[0])).unwrap().session_id, NO_SESSION);
        assert!(cache.is_empty());
        let plan = cache.plan(NOW, request(0, 0, &[0])).unwrap();
        let mut forget = request(plan.session_id, 1, &[]);
        forget.forgotten = vec![key(0)];
        assert_eq!(cache.plan(NOW, forget).unwrap().session_id, NO_SESSION);
        assert!(cache.is_empty());
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        assert_eq!(next_epoch(i32::MAX), 1);
        assert_eq!(next_epoch(0), 1);
    }
}
