//! UpdateFeatures (key 57), versions 0-2: levels of the cluster's features, all of a request or
//! none.
//!
//! Source: KIP-584, KIP-1022.

use std::rc::Rc;

use crate::metadata::commands::{Answer, Command, Mode};
use crate::metadata::features::{FeatureUpdate, UpgradeType};
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::super::context::Shard;
use super::super::errors::{Told, features_told};

/// Version from which the kind of change is told by a number.
const UPGRADE_TYPE_VERSION: i16 = 1;
/// Last version that answers each feature by itself.
const RESULTS_VERSION_MAX: i16 = 1;

/// Answers one request.
pub async fn handle(
    shard: &Rc<Shard>,
    request: UpdateFeaturesRequest,
    version: i16,
) -> UpdateFeaturesResponse {
    let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Commit };
    let updates: Vec<FeatureUpdate> =
        request.feature_updates.iter().map(|update| asked(update, version)).collect();
    let told = match shard.execute(Command::UpdateFeatures { updates, mode }).await {
        Ok(Answer::FeaturesUpdated(Ok(()))) => Told { code: ErrorCode::None, message: None },
        Ok(Answer::FeaturesUpdated(Err(error))) => {
            features_told(&error, shard.static_config.node_id)
        }
        Ok(other) => panic!("the controller answers what was asked, not {other:?}"),
        Err(told) => told,
    };
    let each = told.code == ErrorCode::None && version <= RESULTS_VERSION_MAX;
    let results = request.feature_updates.iter().filter(|_| each).map(|update| {
        UpdatableFeatureResult {
            feature: update.feature.clone(),
            error_code: ErrorCode::None.code(),
            error_message: Some("NONE".to_owned()), // as Kafka writes it
            ..UpdatableFeatureResult::default()
        }
    });
    UpdateFeaturesResponse {
        error_code: told.code.code(),
        error_message: told.message,
        results: results.collect(),
        ..UpdateFeaturesResponse::default()
    }
}

fn asked(update: &FeatureUpdateKey, version: i16) -> FeatureUpdate {
    let upgrade_type = match update.upgrade_type {
        _ if version < UPGRADE_TYPE_VERSION && update.allow_downgrade => UpgradeType::SafeDowngrade,
        1 => UpgradeType::Upgrade,
        2 => UpgradeType::SafeDowngrade,
        3 => UpgradeType::UnsafeDowngrade,
        _ => UpgradeType::Unknown,
    };
    FeatureUpdate { name: update.feature.clone(), level: update.max_version_level, upgrade_type }
}
