//! The table of settings: what each is called, its type, default, legal values, unit and use.
//!
//! In:   a name as an operator or a client wrote it.
//! Out:  its [`Setting`], or the name nearest to it.
//! Home: pure, constant data; the rows stand in `topic_keys.rs`, `group_keys.rs`,
//!       `broker_keys.rs`, `own_keys.rs` and `kafka_keys.rs`.
//!
//! Invariants (held by the tests at the bottom)
//!   K1  A name stands once in its scope, and the rows are sorted by name.
//!   K2  Every default is a legal value of its own row.
//!   K3  A topic setting's synonym is a broker setting of the same type.
//!
//! Not here: values that somebody set (`layers.rs`), what they mean (`broker.rs`, `topic.rs`).
//! Source: the settings, types and defaults that Apache Kafka 4.3.1 describes.

use std::sync::LazyLock;

use super::broker_keys::BROKER_SETTINGS;
use super::group_keys::GROUP_SETTINGS;
use super::kafka_keys::KAFKA_SETTINGS;
use super::own_keys::OWN_SETTINGS;
use super::topic_keys::TOPIC_SETTINGS;

/// Type of a setting's value, as DescribeConfigs names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// Floating point.
    Double,
    /// Texts separated by commas.
    List,
    /// A Java class name; Yeoul loads none.
    Class,
    /// A secret, never shown.
    Password,
}

impl Kind {
    /// The number DescribeConfigs sends for it. Source: KIP-569.
    pub fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Its name in upper case, as Kafka's messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// Which values of the type are legal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Legal {
    /// All of them.
    Any,
    /// Integers not below the bound.
    AtLeast(i64),
    /// Integers between the bounds, both included.
    Between(i64, i64),
    /// Numbers from 0.0 to 1.0, both included.
    Ratio,
    /// Exactly one of these words.
    OneOf(&'static [&'static str]),
    /// A list, possibly empty, of these words.
    EachOf(&'static [&'static str]),
    /// -1 for "the codec's own", or an integer between the bounds.
    LevelOrDefault(i64, i64),
    /// Text that is not empty.
    NotEmpty,
    /// `*`, or a list, possibly empty, of `partition:broker`.
    Replicas,
}

/// Unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A word, a count or a ratio.
    None,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process: `yeoul.toml`, `--set`, resource type 4 of DescribeConfigs.
    Broker,
    /// A topic: CreateTopics and resource type 2.
    Topic,
    /// A group: resource type 32.
    Group,
}

/// Whether Yeoul acts on a setting today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Now,
    /// It is accepted, kept and described, so that tools written for Kafka go on, and changes
    /// nothing; `yeoul start` warns about one that is set.
    DescribedOnly,
    /// It is described with its default and refused with any other value: it would promise
    /// protection or another way of storing that Yeoul does not have.
    DefaultOnly,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's own name, or Yeoul's where Kafka has none.
    pub name: &'static str,
    /// Broker, topic or group.
    pub scope: Scope,
    /// Type of the value.
    pub kind: Kind,
    /// Value when nobody set one; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Legal values of the type.
    pub legal: Legal,
    /// Unit of a number.
    pub unit: Unit,
    /// For a setting of a topic or a group: the broker setting that gives its default.
    pub synonym: Option<&'static str>,
    /// Whether it changes anything today.
    pub effect: Effect,
    /// Whether Kafka lets it change without a restart; always for a topic setting.
    pub dynamic: bool,
    /// One sentence for DescribeConfigs and `yeoul`; empty where the name says it all.
    pub doc: &'static str,
}

/// The rows of one scope, sorted by name.
pub fn settings(scope: Scope) -> &'static [Setting] {
    static BROKER: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let mut rows = [BROKER_SETTINGS, KAFKA_SETTINGS, OWN_SETTINGS].concat();
        rows.sort_unstable_by_key(|row| row.name);
        rows
    });
    match scope {
        Scope::Broker => &BROKER,
        Scope::Topic => TOPIC_SETTINGS,
        Scope::Group => GROUP_SETTINGS,
    }
}

/// The row called `name` in `scope`.
pub fn find(scope: Scope, name: &str) -> Option<&'static Setting> {
    let rows = settings(scope);
    rows.binary_search_by(|row| row.name.cmp(name)).ok().map(|place| &rows[place])
}

/// The name in `scope` that looks most like `name`, if any looks enough like it to be meant.
pub fn nearest(scope: Scope, name: &str) -> Option<&'static str> {
    /// Below this likeness a suggestion confuses more than it helps.
    const LIKENESS_MIN: f64 = 0.55;
    let wanted = name.to_ascii_lowercase().replace(['_', '-'], ".");
    let mut best: Option<(f64, &'static str)> = None;
    for row in settings(scope) {
        let likeness = strsim::normalized_damerau_levenshtein(&wanted, row.name);
        if likeness >= LIKENESS_MIN && best.is_none_or(|(so_far, _)| so_far < likeness) {
            best = Some((likeness, row.name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::check;

    const SCOPES: [Scope; 3] = [Scope::Broker, Scope::Topic, Scope::Group];

    #[test]
    fn names_are_sorted_and_stand_once() {
        for scope in SCOPES {
            for pair in settings(scope).windows(2) {
                assert!(pair[0].name < pair[1].name, "K1: {} {}", pair[0].name, pair[1].name);
            }
        }
    }

    #[test]
    fn every_row_is_found_has_its_scope_and_a_legal_default() {
        for scope in SCOPES {
            for row in settings(scope) {
                assert_eq!(find(scope, row.name).map(|found| found.name), Some(row.name));
                assert_eq!(row.scope, scope, "{}", row.name);
                if let Some(default) = row.default {
                    assert_eq!(check(row, default), Ok(()), "K2: {}", row.name);
                }
                assert!(row.effect != Effect::Now || !row.doc.is_empty(), "{}", row.name);
            }
        }
    }

    #[test]
    fn synonyms_are_broker_settings_of_the_same_type() {
        for row in settings(Scope::Topic) {
            assert!(row.dynamic, "{}", row.name);
            let Some(synonym) = row.synonym else { continue };
            let broker = find(Scope::Broker, synonym).unwrap_or_else(|| panic!("K3: {synonym}"));
            assert_eq!(broker.kind, row.kind, "K3: {}", row.name);
        }
    }

    /// What is taken and does nothing stands in the README, by name or by the beginning of names.
    #[test]
    fn settings_without_effect_stand_in_the_readme() {
        let readme = include_str!("../../README.md");
        let begins = |name: &str| {
            (1..name.len())
                .filter(|&at| name.as_bytes()[at - 1] == b'.')
                .any(|at| readme.contains(&format!("`{}*`", &name[..at])))
        };
        for scope in SCOPES {
            for row in settings(scope).iter().filter(|row| row.effect == Effect::DescribedOnly) {
                let by_name = readme.contains(&format!("`{}`", row.name));
                let told = by_name || scope != Scope::Topic && begins(row.name);
                assert!(told, "{} is not in the README", row.name);
            }
        }
    }

    #[test]
    fn nearest_names_what_was_meant() {
        let check = |scope, name: &str, want: Option<&str>| {
            assert_eq!(nearest(scope, name), want, "{name}");
        };
        check(Scope::Broker, "num.partition", Some("num.partitions"));
        check(Scope::Broker, "num_partitions", Some("num.partitions"));
        check(Scope::Broker, "auto.create.topic.enable", Some("auto.create.topics.enable"));
        check(Scope::Broker, "log.retension.ms", Some("log.retention.ms"));
        check(Scope::Broker, "shard", Some("shards"));
        check(Scope::Topic, "retention.msec", Some("retention.ms"));
        check(Scope::Topic, "segment.byte", Some("segment.bytes"));
        check(Scope::Topic, "zzzzzzzzzzzz", None);
    }
}
