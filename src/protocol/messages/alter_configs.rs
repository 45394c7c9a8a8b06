//! AlterConfigs: all settings of a resource are replaced (KIP-133); old clients alone send it.
//!
//! Version 2 is flexible.

use crate::protocol::message::message;

message! {
    api AlterConfigs, versions 0..=2, flexible 2..;

    /// Replaces all settings of resources.
    request AlterConfigsRequest {
        /// The resources.
        resources: Vec<AlterConfigsResource>, strict 0..;
        /// Whether to check only.
        validate_only: bool, strict 0..;
    }

    /// What became of it.
    response AlterConfigsResponse {
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
