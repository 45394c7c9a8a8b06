//! ListTransactions (key 66), versions 0-2: the transactional ids that this broker coordinates.
//!
//! Source: KIP-664, KIP-994 (duration), KIP-1152 (pattern); protocol.md P107.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::model::ids::ProducerId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState,
};
use crate::transaction::admin::{InvalidPattern, ListFilter, ListedTransaction, Pattern};
use crate::transaction::coordinator::TransactionCoordinator;
use crate::transaction::state::State;
use crate::transaction::step::Step;

use super::super::context::Shard;
use super::super::errors::unavailable_code;
use super::super::transactions::TRANSACTIONS_TOPIC;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let (filter, unknown) = match filter(request) {
        Ok(both) => both,
        Err(InvalidPattern) => return refused(ErrorCode::InvalidRegularExpression),
    };
    let mut asked = Vec::new();
    for partition in shard.coordinator_partitions(TRANSACTIONS_TOPIC) {
        let filter = filter.clone();
        let list =
            move |core: &mut TransactionCoordinator, now, _: &mut Step| core.list(now, &filter);
        asked.push(shard.begin_at_coordinator(partition, list).await);
    }
    let mut lists = Vec::with_capacity(asked.len());
    for list in asked {
        lists.push(list.answer().await);
    }
    response(lists, unknown)
}

/// What to list, and the names of states that are none.
fn filter(request: ListTransactionsRequest) -> Result<(ListFilter, Vec<String>), InvalidPattern> {
    let ListTransactionsRequest {
        state_filters,
        producer_id_filters,
        duration_filter,
        transactional_id_pattern,
        ..
    } = request;
    let filters_states = !state_filters.is_empty();
    let mut states = BTreeSet::new();
    let mut unknown = Vec::new();
    for name in state_filters {
        match State::from_name(&name) {
            Some(state) => drop(states.insert(state)),
            None => unknown.push(name),
        }
    }
    let pattern = transactional_id_pattern.filter(|pattern| !pattern.is_empty());
    let producers: BTreeSet<_> = producer_id_filters.into_iter().map(ProducerId).collect();
    let filter = ListFilter {
        states: filters_states.then_some(states),
        producers: (!producers.is_empty()).then_some(producers),
        longer_than_ms: (duration_filter >= 0).then_some(duration_filter),
        pattern: pattern.as_deref().map(Pattern::parse).transpose()?,
    };
    Ok((filter, unknown))
}

/// All lists as one. A coordinator elsewhere is another broker's to tell of; one that cannot
/// tell yet makes the whole list untrue.
fn response(
    lists: Vec<Result<Vec<ListedTransaction>, Unavailable>>,
    unknown_state_filters: Vec<String>,
) -> ListTransactionsResponse {
    let mut transaction_states = Vec::new();
    for list in lists {
        match list {
            Ok(list) => transaction_states.extend(list.into_iter().map(listed)),
            Err(Unavailable::NotHere) => {}
            Err(unavailable @ (Unavailable::Loading | Unavailable::NotStored)) => {
                return refused(unavailable_code(unavailable));
            }
        }
    }
    ListTransactionsResponse {
        unknown_state_filters,
        transaction_states,
        ..ListTransactionsResponse::default()
    }
}

fn refused(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse { error_code: code.code(), ..ListTransactionsResponse::default() }
}

fn listed(one: ListedTransaction) -> TransactionState {
    TransactionState {
        transactional_id: one.id.to_string(),
        producer_id: one.producer_id.0,
        transaction_state: one.state.name().to_owned(),
        ..TransactionState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str) -> ListedTransaction {
        ListedTransaction { id: id.into(), producer_id: ProducerId(3), state: State::Ongoing }
    }

    #[test]
    fn lists_of_all_coordinators_here_are_one() {
        let lists = vec![Ok(vec![one("a")]), Err(Unavailable::NotHere), Ok(vec![one("b")])];
        let told = response(lists, vec!["Odd".to_owned()]);
        let ids: Vec<&str> =
            told.transaction_states.iter().map(|one| one.transactional_id.as_str()).collect();
        assert_eq!((told.error_code, ids), (0, vec!["a", "b"]));
        assert_eq!(told.unknown_state_filters, ["Odd"]);
        assert_eq!(told.transaction_states[0].transaction_state, "Ongoing");
    }

    #[test]
    fn no_list_is_told_while_a_coordinator_loads() {
        let told = response(vec![Ok(vec![one("a")]), Err(Unavailable::Loading)], Vec::new());
        assert_eq!((told.error_code, told.transaction_states.len()), (14, 0));
    }

    #[test]
    fn a_filter_of_unknown_states_lets_nothing_through() {
        let request = ListTransactionsRequest {
            state_filters: vec!["Ongoing".to_owned(), "Odd".to_owned()],
            ..ListTransactionsRequest::default()
        };
        let (known, unknown) = filter(request).expect("no pattern");
        assert_eq!(
            (known.states, unknown),
            (Some([State::Ongoing].into()), vec!["Odd".to_owned()])
        );
        let request = ListTransactionsRequest {
            state_filters: vec!["Odd".to_owned()],
            ..ListTransactionsRequest::default()
        };
        let (none, _) = filter(request).expect("no pattern");
        assert_eq!(none.states, Some(BTreeSet::new()));
        let request = ListTransactionsRequest {
            transactional_id_pattern: Some("(".to_owned()),
            ..ListTransactionsRequest::default()
        };
        assert!(filter(request).is_err());
    }
}
