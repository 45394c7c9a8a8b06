//! DeleteGroups (key 42), versions 0-2: groups without members go, with their positions.
//!
//! Source: KIP-229; protocol.md P89.

use std::collections::HashSet;
use std::rc::Rc;

use crate::coordinator::call::Unavailable;
use crate::group::admin::DeleteGroupError;
use crate::group::ids::GroupId;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use super::super::context::Shard;
use super::super::errors::{delete_group_code, unavailable_code};

/// Answers one request.
pub async fn handle(shard: &Rc<Shard>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let names = once_each(request.groups_names);
    let asked = names.iter().map(|name| (GroupId::from(name.as_str()), ())).collect();
    let deleted = shard.ask_groups(asked, |core, group, (), step| core.delete_group(group, step));
    let results = names.into_iter().zip(deleted.await);
    let results = results.map(|(name, deleted)| result(name, deleted)).collect();
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}

fn once_each(mut names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn result(
    group_id: String,
    deleted: Result<Result<(), DeleteGroupError>, Unavailable>,
) -> DeletableGroupResult {
    let code = match deleted {
        Ok(Ok(())) => ErrorCode::None,
        Ok(Err(error)) => delete_group_code(error),
        Err(unavailable) => unavailable_code(unavailable),
    };
    let error_code = code.code();
    DeletableGroupResult { group_id, error_code, ..DeletableGroupResult::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_named_twice_is_deleted_once() {
        assert_eq!(once_each(["b", "a", "b"].map(String::from).to_vec()), ["b", "a"]);
    }

    #[test]
    fn p89_each_group_has_its_own_code() {
        let code = |deleted| result("g".into(), deleted).error_code;
        assert_eq!(code(Ok(Ok(()))), 0);
        assert_eq!(code(Ok(Err(DeleteGroupError::NoGroup))), 69);
        assert_eq!(code(Ok(Err(DeleteGroupError::NonEmpty))), 68);
        assert_eq!(code(Err(Unavailable::NotHere)), 16);
    }
}
