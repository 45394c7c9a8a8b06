//! What administrators ask of transactions: list, describe.
//!
//! In:   `ListTransactions`, `DescribeTransactions`.
//! Out:  descriptions.
//! Home: pure; part of the transaction coordinator.
//!
//! Source: KIP-664, KIP-994 (duration), KIP-1152 (pattern); `protocol.md` P107.

use std::collections::BTreeSet;

use crate::model::ids::ProducerId;
use crate::model::time::Timestamp;
use crate::transaction::coordinator::{Transaction, TransactionCoordinator};
use crate::transaction::ids::TransactionalId;
use crate::transaction::record::TransactionValue;
use crate::transaction::state::State;

/// Longest expression, in bytes; a longer one is refused as invalid.
const PATTERN_BYTES_MAX: usize = 4_096;
/// What a compiled expression may weigh, in bytes; a heavier one is refused as invalid.
const PATTERN_COMPILED_BYTES_MAX: usize = 1 << 20;

/// An expression that matches transactional ids as a whole.
#[derive(Clone, Debug)]
pub struct Pattern(regex::Regex);

/// The expression cannot be read, or is too heavy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPattern;

impl Pattern {
    /// Compiles an expression. Errors: [`InvalidPattern`].
    pub fn parse(expression: &str) -> Result<Pattern, InvalidPattern> {
        if expression.len() > PATTERN_BYTES_MAX {
            return Err(InvalidPattern);
        }
        // On its own first, so that unbalanced brackets cannot pair with those put around it.
        let build = |text: &str| {
            regex::RegexBuilder::new(text)
                .size_limit(PATTERN_COMPILED_BYTES_MAX)
                .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
                .build()
                .map_err(|_| InvalidPattern)
        };
        build(expression)?;
        build(&format!("^(?:{expression})$")).map(Pattern)
    }
}

/// Which ids to list; what is `None` is not looked at.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// In one of these states; in none if it is empty.
    pub states: Option<BTreeSet<State>>,
    /// Of one of these producers.
    pub producers: Option<BTreeSet<ProducerId>>,
    /// Begun longer ago than this, in milliseconds.
    pub longer_than_ms: Option<i64>,
    /// With a matching id.
    pub pattern: Option<Pattern>,
}

/// An id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The id.
    pub id: TransactionalId,
    /// Its producer.
    pub producer_id: ProducerId,
    /// Where it stands.
    pub state: State,
}

impl TransactionCoordinator {
    /// The ids that `filter` lets through, by name.
    pub fn list(&self, now: Timestamp, filter: &ListFilter) -> Vec<ListedTransaction> {
        let mut listed = Vec::new();
        for (id, Transaction { value, .. }) in &self.transactions {
            if filter.lets_through(now, id, value) {
                let (producer_id, state) = (value.producer_id, value.state);
                listed.push(ListedTransaction { id: id.clone(), producer_id, state });
            }
        }
        listed
    }

    /// How an id stands; `None` if it is not known.
    pub fn describe(&self, id: &TransactionalId) -> Option<TransactionValue> {
        self.transactions.get(id).map(|known| known.value.clone())
    }
}

impl ListFilter {
    fn lets_through(&self, now: Timestamp, id: &TransactionalId, value: &TransactionValue) -> bool {
        // One that has not begun counts as begun at -1, as in Kafka.
        let age_ms = now.0.saturating_sub(value.start.0);
        self.producers.as_ref().is_none_or(|of| of.contains(&value.producer_id))
            && self.states.as_ref().is_none_or(|of| of.contains(&value.state))
            && self.longer_than_ms.is_none_or(|ms| age_ms > ms)
            && self.pattern.as_ref().is_none_or(|Pattern(regex)| regex.is_match(id.as_str()))
    }
}
