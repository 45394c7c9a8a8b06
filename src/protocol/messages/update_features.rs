//! UpdateFeatures: levels of features (KIP-584).
//!
//! Version 1 adds kinds of change and a check only, 2 answers for all features at once.

use crate::protocol::message::message;

message! {
    api UpdateFeatures, versions 0..=2, flexible 0..;

    /// Changes levels of features.
    request UpdateFeaturesRequest {
        /// How long to wait for it to be done, in milliseconds.
        timeout_ms: i32 = 60000, strict 0..;
        /// The features.
        feature_updates: Vec<FeatureUpdateKey>, strict 0..;
        /// Whether to check only.
        validate_only: bool, strict 1..;
    }

    /// What became of it.
    response UpdateFeaturesResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
        /// What became of each.
        results: Vec<UpdatableFeatureResult>, ignorable 0..=1;
    }

    /// The level a feature shall have.
    struct FeatureUpdateKey {
        /// The feature's name.
        feature: String, strict 0..;
        /// The level it shall have; below 1 to remove it.
        max_version_level: i16, strict 0..;
        /// Whether a lower level is allowed.
        allow_downgrade: bool, strict 0..=0;
        /// 1 only upward, 2 also downward without loss, 3 also with loss.
        upgrade_type: i8 = 1, strict 1..;
    }

    /// What became of one feature.
    struct UpdatableFeatureResult {
        /// The feature's name.
        feature: String, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
    }
}
