//! ApiVersions: which requests a broker understands.
//!
//! Its response always has header 0 (`crate::protocol::header`), and an unknown version is answered in
//! version 0. Version 3 is flexible and adds the client's name and the features (KIP-511, KIP-584),
//! version 4 lets a feature begin at 0 (KIP-1022's fix of KAFKA-17011).

use crate::protocol::message::message;

message! {
    api ApiVersions, versions 0..=4, flexible 3..;

    /// Asks for the versions of every API.
    request ApiVersionsRequest {
        /// Name of the client library.
        client_software_name: String, ignorable 3..;
        /// Version of the client library.
        client_software_version: String, ignorable 3..;
    }

    /// The versions of every API, and the cluster's features.
    response ApiVersionsResponse {
        /// 0, or why there is no answer.
        error_code: i16, strict 0..;
        /// The APIs.
        api_keys: Vec<ApiVersion>, strict 0..;
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, ignorable 1..;
        /// Features the broker could run with.
        supported_features: Vec<SupportedFeatureKey>, ignorable 3.., tag 0;
        /// Grows with each change of the finalized features; -1 if not known.
        finalized_features_epoch: i64 = -1, ignorable 3.., tag 1;
        /// Features the whole cluster runs with.
        finalized_features: Vec<FinalizedFeatureKey>, ignorable 3.., tag 2;
        /// Always false since ZooKeeper is gone.
        zk_migration_ready: bool, ignorable 3.., tag 3;
    }

    /// The versions of one API.
    struct ApiVersion {
        /// The API's key.
        api_key: i16, strict 0..;
        /// The oldest version, inclusive.
        min_version: i16, strict 0..;
        /// The newest version, inclusive.
        max_version: i16, strict 0..;
    }

    /// A feature the broker could run with.
    struct SupportedFeatureKey {
        /// Name of the feature.
        name: String, strict 3..;
        /// The lowest level, inclusive.
        min_version: i16, strict 3..;
        /// The highest level, inclusive.
        max_version: i16, strict 3..;
    }

    /// A feature the whole cluster runs with.
    struct FinalizedFeatureKey {
        /// Name of the feature.
        name: String, strict 3..;
        /// The level in force.
        max_version_level: i16, strict 3..;
        /// The lowest level, inclusive.
        min_version_level: i16, strict 3..;
    }
}
