//! ListGroups (key 16), versions 0-5: the groups that this broker coordinates.
//!
//! Source: KIP-518 (states), KIP-848 (types); protocol.md P89.

use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::group::admin;
use crate::group::coordinator::GroupCoordinator;
use crate::group::step::Step;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::super::context::Shard;
use super::super::errors::unavailable_code;

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: ListGroupsRequest) -> ListGroupsResponse {
    let filter =
        |names: Vec<String>| -> Rc<[Box<str>]> { names.into_iter().map(Into::into).collect() };
    let (states, kinds) = (filter(request.states_filter), filter(request.types_filter));
    let mut asked = Vec::new();
    for partition in shard.group_partitions() {
        let (states, kinds) = (states.to_vec(), kinds.to_vec());
        let list =
            move |core: &mut GroupCoordinator, _, _: &mut Step| core.list_groups(&states, &kinds);
        asked.push(shard.begin_at_coordinator(partition, list).await);
    }
    let mut lists = Vec::with_capacity(asked.len());
    for list in asked {
        lists.push(list.answer().await);
    }
    response(lists)
}

/// All lists as one. A coordinator elsewhere is another broker's to tell of; one that cannot
/// tell yet makes the whole list untrue.
fn response(lists: Vec<Result<Vec<admin::ListedGroup>, Unavailable>>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for list in lists {
        match list {
            Ok(list) => groups.extend(list.into_iter().map(listed)),
            Err(Unavailable::NotHere) => {}
            Err(unavailable @ (Unavailable::Loading | Unavailable::NotStored)) => {
                let error_code = unavailable_code(unavailable).code();
                return ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
            }
        }
    }
    let error_code = ErrorCode::None.code();
    ListGroupsResponse { error_code, groups, ..ListGroupsResponse::default() }
}

fn listed(group: admin::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.id.as_str().to_owned(),
        protocol_type: group.protocol_type.into(),
        group_state: group.state.to_owned(),
        group_type: group.kind.name().to_owned(),
        ..ListedGroup::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::admin::GroupType;

    fn one(id: &str) -> admin::ListedGroup {
        admin::ListedGroup {
            id: id.into(),
            protocol_type: "consumer".into(),
            state: "Stable",
            kind: GroupType::Classic,
        }
    }

    #[test]
    fn lists_of_all_coordinators_here_are_one() {
        let lists = vec![Ok(vec![one("a")]), Err(Unavailable::NotHere), Ok(vec![one("b")])];
        let told = response(lists);
        let names: Vec<&str> = told.groups.iter().map(|group| group.group_id.as_str()).collect();
        assert_eq!((told.error_code, names), (0, vec!["a", "b"]));
        let group = &told.groups[0];
        assert_eq!((group.group_state.as_str(), group.group_type.as_str()), ("Stable", "classic"));
        assert_eq!(group.protocol_type, "consumer");
    }

    #[test]
    fn no_list_is_told_while_a_coordinator_loads() {
        let told = response(vec![Ok(vec![one("a")]), Err(Unavailable::Loading)]);
        assert_eq!((told.error_code, told.groups.len()), (14, 0));
    }
}
