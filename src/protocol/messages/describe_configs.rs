//! DescribeConfigs: settings of topics, brokers and other resources.
//!
//! Version 1 adds synonyms (KIP-226), 3 types and documentation (KIP-569), 4 is flexible.

use crate::protocol::message::message;

message! {
    api DescribeConfigs, versions 1..=4, flexible 4..;

    /// Asks for settings.
    request DescribeConfigsRequest {
        /// The resources.
        resources: Vec<DescribeConfigsResource>, strict 0..;
        /// Whether to show where else a setting could come from.
        include_synonyms: bool, strict 1..;
        /// Whether to add documentation.
        include_documentation: bool, strict 3..;
    }

    /// Settings.
    response DescribeConfigsResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The resources.
        results: Vec<DescribeConfigsResult>, strict 0..;
    }

    /// A resource asked for.
    struct DescribeConfigsResource {
        /// Its type: 2 topic, 4 broker, 8 logger, 16 client metrics, 32 group.
        resource_type: i8, strict 0..;
        /// Its name.
        resource_name: String, strict 0..;
        /// Names of the settings; null is all of them.
        configuration_keys: Option<Vec<String>>, strict 0..;
    }

    /// Settings of one resource.
    struct DescribeConfigsResult {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String>, strict 0..;
        /// Its type: 2 topic, 4 broker, 8 logger, 16 client metrics, 32 group.
        resource_type: i8, strict 0..;
        /// Its name.
        resource_name: String, strict 0..;
        /// The settings.
        configs: Vec<DescribeConfigsResourceResult>, strict 0..;
    }

    /// A setting.
    struct DescribeConfigsResourceResult {
        /// Its name.
        name: String, strict 0..;
        /// Its value; null if withheld or not set.
        value: Option<String>, strict 0..;
        /// Whether it cannot be changed.
        read_only: bool, strict 0..;
        /// Where it was set: 1 topic, 2 broker, 3 all brokers, 4 file, 5 default; -1 if not known.
        config_source: i8 = -1, ignorable 1..;
        /// Whether the value is withheld.
        is_sensitive: bool, strict 0..;
        /// Where else it could come from.
        synonyms: Vec<DescribeConfigsSynonym>, ignorable 1..;
        /// Type of the value: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8, ignorable 3..;
        /// What it does.
        documentation: Option<String>, ignorable 3..;
    }

    /// Another place the setting could come from.
    struct DescribeConfigsSynonym {
        /// Its name.
        name: String, strict 1..;
        /// Its value.
        value: Option<String>, strict 1..;
        /// That place, as in `config_source`.
        source: i8, strict 1..;
    }
}
