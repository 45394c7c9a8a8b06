//! The rows of group settings: all that Apache Kafka 4.3.1 has, and what a group may set for itself.
//!
//! In:   what clients set for one group (name -> text), and the broker's settings.
//! Out:  whether it may stand; [`OwnGroupSettings`], which the coordinator acts on.
//! Home: pure.
//!
//! A group's settings of the consumer protocol act; those of share and streams groups are checked,
//! kept and described as Kafka does it, and change nothing, since there are no such groups here.
//!
//! Source: Kafka 4.3's `GroupConfig`; KIP-848, KIP-932, KIP-1071.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::groups::{Limits, OwnGroupSettings};
use super::keys::{Effect, Kind, Legal, Scope, Setting, Unit, find};
use super::layers::Layers;
use super::value;

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        scope: Scope::Group,
        kind,
        default: Some(default),
        legal: Legal::Any,
        unit: Unit::None,
        synonym,
        effect: Effect::Now,
        dynamic: true,
        doc,
    }
}

const fn ms(
    name: &'static str,
    default: &'static str,
    least: i64,
    synonym: &'static str,
    doc: &'static str,
) -> Setting {
    row(name, Kind::Int, default, Some(synonym), doc).legal(Legal::AtLeast(least)).unit(Unit::Ms)
}

const fn count(
    name: &'static str,
    default: &'static str,
    least: i64,
    synonym: &'static str,
    doc: &'static str,
) -> Setting {
    row(name, Kind::Int, default, Some(synonym), doc).legal(Legal::AtLeast(least)).described_only()
}

/// Every setting of a group.
pub const GROUP_SETTINGS: &[Setting] = &[
    ms(
        "consumer.assignment.interval.ms",
        "1000",
        0,
        "group.consumer.assignment.interval.ms",
        "How often a consumer group's assignment is computed at most.",
    ),
    ms(
        "consumer.heartbeat.interval.ms",
        "5000",
        1,
        "group.consumer.heartbeat.interval.ms",
        "How often members of a consumer group are told to be heard.",
    ),
    ms(
        "consumer.session.timeout.ms",
        "45000",
        1,
        "group.consumer.session.timeout.ms",
        "How long a member of a consumer group may be silent.",
    ),
    ms(
        "share.assignment.interval.ms",
        "1000",
        0,
        "group.share.assignment.interval.ms",
        "How often a share group's assignment is computed at most.",
    )
    .described_only(),
    row(
        SHARE_RESET,
        Kind::String,
        "latest",
        None,
        "Where a share group begins in a partition that it has not read.",
    )
    .described_only(),
    count(
        "share.delivery.count.limit",
        "5",
        2,
        "group.share.delivery.count.limit",
        "How often a record is given to a share group at most.",
    ),
    ms(
        "share.heartbeat.interval.ms",
        "5000",
        1,
        "group.share.heartbeat.interval.ms",
        "How often members of a share group are told to be heard.",
    )
    .described_only(),
    row(
        "share.isolation.level",
        Kind::String,
        "read_uncommitted",
        None,
        "Which records of transactions a share group is given.",
    )
    .legal(Legal::OneOf(&["read_committed", "read_uncommitted"]))
    .described_only(),
    count(
        "share.partition.max.record.locks",
        "2000",
        100,
        "group.share.partition.max.record.locks",
        "Records of one partition that a share group holds at once, at most.",
    ),
    ms(
        "share.record.lock.duration.ms",
        "30000",
        1_000,
        "group.share.record.lock.duration.ms",
        "How long a member of a share group may hold a record.",
    )
    .described_only(),
    row(
        "share.renew.acknowledge.enable",
        Kind::Boolean,
        "true",
        None,
        "Whether members of a share group may hold records for longer.",
    )
    .described_only(),
    ms(
        "share.session.timeout.ms",
        "45000",
        1,
        "group.share.session.timeout.ms",
        "How long a member of a share group may be silent.",
    )
    .described_only(),
    ms(
        "streams.assignment.interval.ms",
        "1000",
        0,
        "group.streams.assignment.interval.ms",
        "How often a streams group's assignment is computed at most.",
    )
    .described_only(),
    ms(
        "streams.heartbeat.interval.ms",
        "5000",
        1,
        "group.streams.heartbeat.interval.ms",
        "How often members of a streams group are told to be heard.",
    )
    .described_only(),
    ms(
        "streams.initial.rebalance.delay.ms",
        "3000",
        0,
        "group.streams.initial.rebalance.delay.ms",
        "How long a new streams group waits for more members.",
    )
    .described_only(),
    count(
        "streams.num.standby.replicas",
        "0",
        0,
        "group.streams.num.standby.replicas",
        "Standby tasks beside each task of a streams group.",
    ),
    ms(
        "streams.session.timeout.ms",
        "45000",
        1,
        "group.streams.session.timeout.ms",
        "How long a member of a streams group may be silent.",
    )
    .described_only(),
];

const SHARE_RESET: &str = "share.auto.offset.reset";

/// The broker's bounds of a group's setting: the least, and the greatest. In Kafka's order.
type Bounds = (&'static str, Option<&'static str>, Option<&'static str>);
const BOUNDS: &[Bounds] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit"),
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks"),
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms"),
    ),
];

/// A session, and the interval that must be shorter.
const SESSIONS: &[(&str, &str)] = &[
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

/// Whether a group may have exactly these settings at a broker whose own are `layers`.
///
/// Errors: the first that may not, in Kafka's order and words: names, values, the broker's bounds
/// of what the group sets, and sessions that are no longer than a heartbeat's interval.
pub fn check(overrides: &BTreeMap<String, String>, layers: &Layers) -> Result<(), ConfigError> {
    for name in overrides.keys() {
        let (scope, nearest) = (Scope::Group, None);
        let unknown = || ConfigError::Unknown { scope, name: name.clone(), nearest };
        find(scope, name).ok_or_else(unknown)?;
    }
    for (name, text) in overrides {
        value::check(find(Scope::Group, name).expect("it was just found"), text)?;
        if name == SHARE_RESET && !is_reset(text.trim()) {
            return Err(ConfigError::BadOffsetReset { value: text.trim().to_owned() });
        }
    }
    for (name, least, greatest) in BOUNDS {
        let Some(own) = overrides.get(*name) else { continue };
        let own = number(find(Scope::Group, name).expect("a name of the table"), own);
        for (bound, is_least) in [(least, true), (greatest, false)] {
            let Some(bound) = bound else { continue };
            let limit = of_broker(bound, layers);
            if if is_least { own < limit } else { limit < own } {
                return Err(ConfigError::OutsideBrokers { name, bound, is_least });
            }
        }
    }
    for (session, heartbeat) in SESSIONS {
        let is_set = overrides.contains_key(*session) || overrides.contains_key(*heartbeat);
        if is_set && of_group(session, overrides, layers) <= of_group(heartbeat, overrides, layers)
        {
            return Err(ConfigError::NotLongerThan { name: session, than: heartbeat });
        }
    }
    Ok(())
}

/// The text of a group's setting: its own, else the broker's, else the built-in one.
pub(super) fn resolve<'a>(
    setting: &Setting,
    overrides: &'a BTreeMap<String, String>,
    layers: &'a Layers,
) -> &'a str {
    assert!(setting.scope == Scope::Group, "only group settings are resolved here");
    if let Some(own) = overrides.get(setting.name) {
        return own.trim();
    }
    let of_broker = setting.synonym.and_then(|synonym| layers.get(synonym));
    of_broker.map_or(setting.default.unwrap_or(""), |set| &set.text)
}

/// What the coordinator acts on of a group's own settings. What is no number says nothing: it was
/// set under a later release.
pub fn own_settings(overrides: &BTreeMap<String, String>) -> OwnGroupSettings {
    let own = |name: &str| overrides.get(name).and_then(|text| text.trim().parse().ok());
    OwnGroupSettings {
        session_timeout_ms: own("consumer.session.timeout.ms"),
        heartbeat_interval_ms: own("consumer.heartbeat.interval.ms"),
        assignment_interval_ms: own("consumer.assignment.interval.ms"),
    }
}

/// The broker's bounds of what groups of the consumer protocol set for themselves.
pub(super) fn consumer_limits(layers: &Layers) -> Limits {
    let number = |name| i32::try_from(of_broker(name, layers)).expect("the table says so");
    let range = |place: usize| {
        let (_, least, greatest) = BOUNDS[place];
        (number(least.expect("it has both")), number(greatest.expect("it has both")))
    };
    Limits {
        heartbeat_interval_ms: range(0),
        session_timeout_ms: range(1),
        assignment_interval_ms: range(2),
    }
}

fn of_group(name: &str, overrides: &BTreeMap<String, String>, layers: &Layers) -> i64 {
    let setting = find(Scope::Group, name).expect("a name of the table");
    number(setting, resolve(setting, overrides, layers))
}

fn of_broker(name: &'static str, layers: &Layers) -> i64 {
    let setting = find(Scope::Broker, name).expect("a name of the table");
    let text = layers.get(name).map_or(setting.default.unwrap_or(""), |set| &set.text);
    number(setting, text)
}

fn number(setting: &Setting, text: &str) -> i64 {
    value::integer(setting, text).expect("it was checked before it was set")
}

/// `earliest`, `latest`, or `by_duration:` and a duration as ISO 8601 has it, not negative.
fn is_reset(text: &str) -> bool {
    matches!(text, "earliest" | "latest")
        || text.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// `PnDTnHnMn.nS`, each part but the P optional, in either case; at least one there.
fn is_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(rest) = upper.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let (Some(day_parts), Some(time_parts)) = (parts(days, "D"), parts(time, "HMS")) else {
        return false;
    };
    0 < day_parts + time_parts
}

/// How many numbers, each before one of `units`, in their order, `text` is; none: it is not that.
fn parts(mut text: &str, units: &str) -> Option<usize> {
    let mut count = 0;
    for unit in units.chars() {
        let Some((number, rest)) = text.split_once(unit) else { continue };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = fraction.len() <= 9 && (unit == 'S' || !number.contains('.'));
        // Far below what a duration of 64 bits holds.
        if whole.is_empty()
            || 12 < whole.len()
            || !is_number(whole)
            || !is_number(fraction)
            || !fits
        {
            return None;
        }
        (text, count) = (rest, count + 1);
    }
    text.is_empty().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::settings;

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    /// What Apache Kafka 4.3.1 answers, word by word.
    #[test]
    fn what_a_group_may_set_is_bounded_by_its_broker() {
        let layers = Layers::new();
        let check = |pairs: &[(&str, &str)], want: &str| {
            let checked = check(&of(pairs), &layers);
            let told = checked.err().map_or(String::new(), |error| error.to_string());
            assert_eq!(told, want, "{pairs:?}");
        };
        let (session, beat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
        check(&[], "");
        check(&[(session, " 51000 "), (beat, "6000")], "");
        check(
            &[(session, "1")],
            "consumer.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms",
        );
        check(
            &[(session, "60001")],
            "consumer.session.timeout.ms must be less than or equal to \
             group.consumer.max.session.timeout.ms",
        );
        check(
            &[(session, "0")],
            "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at \
             least 1",
        );
        check(
            &[(session, "abc")],
            "Invalid value abc for configuration consumer.session.timeout.ms: Not a number of \
             type INT",
        );
        check(&[("nope", "1"), (session, "0")], "Unknown group config name: nope");
        check(
            &[("streams.num.standby.replicas", "3")],
            "streams.num.standby.replicas must be less than or equal to \
             group.streams.max.standby.replicas",
        );
        check(
            &[("share.isolation.level", "both")],
            "Invalid value both for configuration share.isolation.level: String must be one of: \
             read_committed, read_uncommitted",
        );
        check(
            &[("share.renew.acknowledge.enable", "maybe")],
            "Invalid value maybe for configuration share.renew.acknowledge.enable: Expected value \
             to be either true or false",
        );
        check(
            &[(SHARE_RESET, "middle")],
            "Invalid value middle for configuration share.auto.offset.reset: Invalid value \
             `middle` for configuration share.auto.offset.reset. The value must be either \
             'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
        );
        check(&[(SHARE_RESET, "by_duration:P1D")], "");
    }

    #[test]
    fn a_session_is_longer_than_the_interval_of_its_heartbeats() {
        let mut layers = Layers::new();
        for pair in [
            "group.consumer.min.session.timeout.ms=1000",
            "group.consumer.min.heartbeat.interval.ms=1000",
        ] {
            layers.set_pair(pair).expect("a setting");
        }
        let session = of(&[("consumer.session.timeout.ms", "5000")]);
        let error = check(&session, &layers).expect_err("no longer than the broker's interval");
        assert_eq!(
            error.to_string(),
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
        );
        let both = of(&[
            ("consumer.session.timeout.ms", "5000"),
            ("consumer.heartbeat.interval.ms", "4999"),
        ]);
        assert_eq!(check(&both, &layers), Ok(()));
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for good in ["P1D", "PT1H", "P2DT3H4M5.25S", "pt0.5s", "PT36H"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "P", "PT", "1D", "P1", "P1H", "PT1D", "P1DT", "PT1M1H", "PT.5S", "PT1.5H"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn bounds_and_synonyms_are_settings_of_the_broker() {
        for (name, least, greatest) in BOUNDS {
            assert!(find(Scope::Group, name).is_some(), "{name}");
            for bound in [least, greatest].into_iter().flatten() {
                let setting = find(Scope::Broker, bound).expect(bound);
                assert_eq!(setting.kind, Kind::Int, "{bound}");
            }
        }
        for row in settings(Scope::Group) {
            let Some(synonym) = row.synonym else { continue };
            let broker = find(Scope::Broker, synonym).expect(synonym);
            assert_eq!((broker.kind, broker.default), (row.kind, row.default), "{synonym}");
        }
        let limits = consumer_limits(&Layers::new());
        assert_eq!(limits.session_timeout_ms, (45_000, 60_000));
        assert_eq!(limits.assignment_interval_ms, (0, 15_000));
    }
}
