//! ApiVersions (key 18), versions 0-4: what this broker serves.
//!
//! Source: KIP-35, KIP-511 (client names, the fallback), KIP-584 (features).

use crate::metadata::features::{FEATURES, Feature};
use crate::metadata::image::MetadataImage;
use crate::net::service::Admitted;
use crate::protocol::api::ApiKey;
use crate::protocol::error::ErrorCode;
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::super::context::Shard;
use super::super::dispatch::{self, Head};

/// Version from which the client names itself.
const NAMED_VERSION: i16 = 3;

/// Version from which a feature may begin at level 0.
const LEVEL_0_VERSION: i16 = 4;

/// Answers one request.
pub fn handle(
    image: &MetadataImage,
    request: &ApiVersionsRequest,
    version: i16,
) -> ApiVersionsResponse {
    let named = version < NAMED_VERSION
        || is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if !named {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
    }
    let is_on = |(_, level): &(&String, &i16)| **level > 0;
    let finalized =
        image.features().iter().filter(is_on).map(|(name, &level)| FinalizedFeatureKey {
            name: name.clone(),
            max_version_level: level,
            min_version_level: level,
            ..FinalizedFeatureKey::default()
        });
    ApiVersionsResponse {
        api_keys: ApiKey::ALL.iter().filter_map(|&api| served(api)).collect(),
        supported_features: FEATURES.iter().filter_map(|one| supported(one, version)).collect(),
        // Grows with every entry of the metadata log, as in Kafka.
        finalized_features_epoch: i64::try_from(image.applied_index()).unwrap_or(i64::MAX),
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

/// A feature as clients of `version` may see it: older ones do not know of a level 0.
fn supported(feature: &Feature, version: i16) -> Option<SupportedFeatureKey> {
    (feature.min > 0 || version >= LEVEL_0_VERSION).then(|| SupportedFeatureKey {
        name: feature.name.to_owned(),
        min_version: feature.min,
        max_version: feature.max,
        ..SupportedFeatureKey::default()
    })
}

/// Answers a version that is not served: in version 0, with the range that is.
pub fn unsupported(shard: &Shard, head: Head) -> Admitted {
    let head = Head { version: 0, ..head };
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: served(ApiKey::ApiVersions).into_iter().collect(),
        ..ApiVersionsResponse::default()
    };
    let reply = dispatch::answer(shard, head, &response);
    Admitted::Reply(Box::pin(std::future::ready(reply)))
}

fn served(api: ApiKey) -> Option<ApiVersion> {
    let versions = api.advertised()?;
    Some(ApiVersion {
        api_key: api.key(),
        min_version: *versions.start(),
        max_version: *versions.end(),
        ..ApiVersion::default()
    })
}

/// Letters and digits, with dots and dashes between them. Source: KIP-511.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_names_are_held_against_kafkas_pattern() {
        let check = |name: &str, want: bool| assert_eq!(is_name(name), want, "{name:?}");
        check("apache-kafka-java", true);
        check("4.3.1", true);
        check("x", true);
        check("", false);
        check("-x", false);
        check("x.", false);
        check("a b", false);
        check("a_b", false);
    }

    #[test]
    fn a_feature_that_may_be_off_is_hidden_from_old_clients() {
        let check = |min, version, want| {
            let feature = Feature { name: "a", min, max: 2 };
            assert_eq!(supported(&feature, version).is_some(), want, "{min} {version}");
        };
        check(1, 3, true);
        check(0, 3, false);
        check(0, 4, true);
    }

    #[test]
    fn what_is_advertised_contains_the_points_that_old_clients_test() {
        let request = ApiVersionsRequest::default();
        let response = handle(&MetadataImage::empty(), &request, 0);
        let has = |key: ApiKey, version: i16| {
            let range = response.api_keys.iter().find(|api| api.api_key == key.key());
            range.is_some_and(|api| (api.min_version..=api.max_version).contains(&version))
        };
        for (key, version) in [
            (ApiKey::ApiVersions, 0),
            (ApiKey::Produce, 0),
            (ApiKey::Produce, 3),
            (ApiKey::Produce, 7),
            (ApiKey::Fetch, 4),
            (ApiKey::Fetch, 10),
            (ApiKey::ListOffsets, 1),
            (ApiKey::InitProducerId, 0),
        ] {
            assert!(has(key, version), "{key:?} {version}");
        }
    }
}
