//! Features of the cluster: which there are, at which levels, and how a level changes.
//!
//! In:   what UpdateFeatures asks for, and the current image.
//! Out:  records, or the first refusal: all updates of a request happen or none.
//! Home: pure.
//!
//! Serving one more feature is one more row of [`FEATURES`]. A new cluster starts at the highest
//! level of each, and so does one that never had a level of it, when a broker that has the feature
//! registers; no release raises or lowers a level that was set, be it to 0.
//!
//! Source: KIP-584, KIP-1022; levels as of Kafka 4.3.

use std::collections::BTreeMap;

use crate::metadata::image::MetadataImage;
use crate::metadata::record::Record;
use crate::model::ids::BrokerId;

/// A feature that this release has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The lowest level that may be finalized; 0: it may be off.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

/// Every feature that this release has, by name. Level 30 of `metadata.version` is Kafka's
/// 4.3-IV0: this broker answers as brokers of that level do, and cannot answer as older ones.
pub const FEATURES: &[Feature] = &[
    Feature { name: GROUP_VERSION, min: 0, max: 1 },
    Feature { name: "metadata.version", min: 30, max: 30 },
    Feature { name: TRANSACTION_VERSION, min: 0, max: 2 },
];

/// Whether there are groups of the consumer protocol (KIP-848): at 0 none is heard or described.
pub const GROUP_VERSION: &str = "group.version";

/// How transactions are spoken of: 1 for records of a newer form, 2 for KIP-890.
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// The levels that a new cluster starts with.
pub fn new_cluster_levels() -> BTreeMap<String, i16> {
    FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.max)).collect()
}

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up only.
    Upgrade,
    /// Down too, if nothing is lost.
    SafeDowngrade,
    /// Down too, whatever is lost.
    UnsafeDowngrade,
    /// A number that no release knows.
    Unknown,
}

/// The level that a feature is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature, by Kafka's name.
    pub name: String,
    /// The level; 0 turns it off.
    pub level: i16,
    /// Which way it may go.
    pub upgrade_type: UpgradeType,
}

/// Why no level changes: one update is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureError {
    /// The refused update.
    pub update: FeatureUpdate,
    /// Why.
    pub reason: FeatureRefusal,
}

/// Why an update is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureRefusal {
    /// The kind of change is none.
    UpgradeType,
    /// A level below 0.
    Negative,
    /// This release does not have the feature.
    NotSupported,
    /// This release has it at other levels.
    OutOfRange {
        /// The lowest.
        min: i16,
        /// The highest.
        max: i16,
    },
    /// It is at a higher level, and the update only allows to go up.
    Downgrade,
}

impl FeatureError {
    /// Kafka's words, of the controller `id`.
    pub fn words(&self, id: BrokerId) -> String {
        let (name, level, id) = (&self.update.name, self.update.level, id.0);
        let reason = match self.reason {
            FeatureRefusal::UpgradeType => {
                "The controller does not support the given upgrade type.".to_owned()
            }
            FeatureRefusal::Negative => "A feature version cannot be less than 0.".to_owned(),
            FeatureRefusal::NotSupported => {
                format!("Local controller {id} does not support this feature.")
            }
            FeatureRefusal::OutOfRange { min, max } => {
                format!("Local controller {id} only supports versions {min}-{max}")
            }
            FeatureRefusal::Downgrade => "Can't downgrade the version of this feature without \
                                          setting the upgrade type to either safe or unsafe \
                                          downgrade."
                .to_owned(),
        };
        format!("Invalid update version {level} for feature {name}. {reason}")
    }
}

impl MetadataImage {
    /// Levels for the features that the cluster never had one of.
    pub(super) fn missing_levels(&self) -> Vec<Record> {
        let missing = FEATURES.iter().filter(|one| !self.features().contains_key(one.name));
        missing
            .map(|one| Record::FeatureLevel { name: one.name.to_owned(), level: one.max })
            .collect()
    }

    /// Whether the cluster has groups of the consumer protocol.
    pub fn has_consumer_groups(&self) -> bool {
        self.features().get(GROUP_VERSION).is_some_and(|level| *level >= 1)
    }

    pub(super) fn update_features(
        &self,
        updates: &[FeatureUpdate],
    ) -> Result<Vec<Record>, FeatureError> {
        let mut levels = self.features().clone();
        let mut records = Vec::new();
        for update in updates {
            let has = levels.get(&update.name).copied().unwrap_or(0);
            if let Some(reason) = refusal(has, update, FEATURES) {
                return Err(FeatureError { update: update.clone(), reason });
            }
            if has != update.level {
                levels.insert(update.name.clone(), update.level);
                let (name, level) = (update.name.clone(), update.level);
                records.push(Record::FeatureLevel { name, level });
            }
        }
        Ok(records)
    }
}

/// Why a feature at level `has` cannot be updated so, if it cannot.
fn refusal(has: i16, update: &FeatureUpdate, known: &[Feature]) -> Option<FeatureRefusal> {
    if update.upgrade_type == UpgradeType::Unknown {
        return Some(FeatureRefusal::UpgradeType);
    }
    if update.level < 0 {
        return Some(FeatureRefusal::Negative);
    }
    let Some(feature) = known.iter().find(|feature| feature.name == update.name) else {
        return Some(FeatureRefusal::NotSupported);
    };
    let (min, max) = (feature.min, feature.max);
    if !(min..=max).contains(&update.level) {
        return Some(FeatureRefusal::OutOfRange { min, max });
    }
    let down = update.level < has && update.upgrade_type == UpgradeType::Upgrade;
    down.then_some(FeatureRefusal::Downgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Feature] = &[Feature { name: "a", min: 0, max: 2 }];

    fn update(name: &str, level: i16, upgrade_type: UpgradeType) -> FeatureUpdate {
        FeatureUpdate { name: name.to_owned(), level, upgrade_type }
    }

    #[test]
    fn levels_go_up_and_down_only_where_allowed() {
        use UpgradeType::{SafeDowngrade, Unknown, UnsafeDowngrade, Upgrade};
        let check = |has, level, upgrade_type, want| {
            assert_eq!(refusal(has, &update("a", level, upgrade_type), KNOWN), want);
        };
        check(0, 2, Upgrade, None);
        check(2, 2, Upgrade, None);
        check(2, 1, Upgrade, Some(FeatureRefusal::Downgrade));
        check(2, 1, SafeDowngrade, None);
        check(2, 0, UnsafeDowngrade, None);
        check(0, 1, Unknown, Some(FeatureRefusal::UpgradeType));
        check(0, -1, Upgrade, Some(FeatureRefusal::Negative));
        check(0, 3, Upgrade, Some(FeatureRefusal::OutOfRange { min: 0, max: 2 }));
        let unknown = refusal(0, &update("b", 1, Upgrade), KNOWN);
        assert_eq!(unknown, Some(FeatureRefusal::NotSupported));
    }

    #[test]
    fn one_refused_update_refuses_all() {
        let image = MetadataImage::empty();
        let fine = update("metadata.version", 30, UpgradeType::Upgrade);
        let record = Record::FeatureLevel { name: "metadata.version".into(), level: 30 };
        assert_eq!(image.update_features(std::slice::from_ref(&fine)), Ok(vec![record]));
        let bad = update("nope", 1, UpgradeType::Upgrade);
        let error = image.update_features(&[fine, bad]).unwrap_err();
        let words = "Invalid update version 1 for feature nope. Local controller 3 does not \
                     support this feature.";
        assert_eq!(error.words(BrokerId(3)), words);
    }

    #[test]
    fn a_level_that_was_set_to_0_stays_where_it_is() {
        let mut image = MetadataImage::empty();
        assert_eq!(image.missing_levels().len(), FEATURES.len());
        for record in image.missing_levels() {
            image.apply(&record).expect("a level");
        }
        assert_eq!(image.missing_levels(), []);
        let off = update(TRANSACTION_VERSION, 0, UpgradeType::UnsafeDowngrade);
        for record in image.update_features(&[off]).expect("it may be off") {
            image.apply(&record).expect("a level");
        }
        assert_eq!(
            (image.features().get(TRANSACTION_VERSION), image.missing_levels()),
            (Some(&0), vec![])
        );
    }

    #[test]
    fn a_new_cluster_starts_at_the_highest_levels() {
        assert!(FEATURES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(FEATURES.iter().all(|feature| feature.min <= feature.max && 0 <= feature.min));
        assert_eq!(new_cluster_levels().len(), FEATURES.len());
    }
}
