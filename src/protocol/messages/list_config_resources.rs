//! ListConfigResources: which resources have settings (KIP-714, KIP-1142).
//!
//! Version 0 knows client metrics alone.

use crate::protocol::message::message;

message! {
    api ListConfigResources, versions 0..=1, flexible 0..;

    /// Asks which resources have settings.
    request ListConfigResourcesRequest {
        /// Types to show; empty for all.
        resource_types: Vec<i8>, strict 1..;
    }

    /// The resources.
    response ListConfigResourcesResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// The resources.
        config_resources: Vec<ConfigResource>, strict 0..;
    }

    /// A resource.
    struct ConfigResource {
        /// Its name.
        resource_name: String, strict 0..;
        /// What it is: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 = 16, ignorable 1..;
    }
}
