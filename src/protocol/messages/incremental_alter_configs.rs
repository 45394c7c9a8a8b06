//! IncrementalAlterConfigs: single settings are changed (KIP-339).
//!
//! Version 1 is flexible.

use crate::protocol::message::message;

message! {
    api IncrementalAlterConfigs, versions 0..=1, flexible 1..;

    /// Changes single settings.
    request IncrementalAlterConfigsRequest {
        /// The resources.
        resources: Vec<AlterConfigsResource>, strict 0..;
        /// Whether to check only.
        validate_only: bool, strict 0..;
    }

    /// What became of it.
    response IncrementalAlterConfigsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// What became of each.
        responses: Vec<AlterConfigsResourceResponse>, strict 0..;
    }

    /// A resource and what to change.
    struct AlterConfigsResource {
        /// What it is: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, strict 0..;
        /// Its name, or a broker's id; empty for all brokers.
        resource_name: String, strict 0..;
        /// The settings.
        configs: Vec<AlterableConfig>, strict 0..;
    }

    /// A setting.
    struct AlterableConfig {
        /// Its name.
        name: String, strict 0..;
        /// What to do: 0 set, 1 delete, 2 append, 3 subtract.
        config_operation: i8, strict 0..;
        /// The value.
        value: Option<String>, strict 0..;
    }

    /// What became of one resource.
    struct AlterConfigsResourceResponse {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
        /// What it is: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, strict 0..;
        /// Its name, or a broker's id; empty for all brokers.
        resource_name: String, strict 0..;
    }
}
