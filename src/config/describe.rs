//! Settings as DescribeConfigs tells them: value, source, type, synonyms, documentation.
//!
//! In:   the broker's layers, a topic's own values.
//! Out:  [`Described`] rows, sorted by name; the handler turns them into a response.
//! Home: pure.
//!
//! Source: KIP-226 (sources and synonyms), KIP-569 (types, documentation).

use std::collections::BTreeMap;

use super::group_keys::resolve as resolve_group;
use super::keys::{Kind, Scope, Setting, find, settings};
use super::layers::{Layer, Layers};
use super::topic::{longer_units, resolve_one};

/// Who set a value, as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic itself.
    DynamicTopic,
    /// A client, for this broker.
    DynamicBroker,
    /// A client, for all brokers.
    DynamicDefaultBroker,
    /// The broker's file or command line.
    StaticBroker,
    /// Nobody.
    Default,
    /// The group itself.
    DynamicGroup,
}

impl Source {
    /// The number on the wire.
    pub fn wire(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::DynamicGroup => 8,
        }
    }

    fn of(layer: Layer) -> Source {
        match layer {
            Layer::Dynamic => Self::DynamicBroker,
            Layer::DynamicDefault => Self::DynamicDefaultBroker,
            Layer::Dev | Layer::File | Layer::Set | Layer::Flag => Self::StaticBroker,
        }
    }
}

/// Another name or layer that could give the value, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The name it has there.
    pub name: &'static str,
    /// The value there; `None` for a secret.
    pub value: Option<String>,
    /// Who set it there.
    pub source: Source,
}

/// One setting, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// The value that holds; `None` is null, also for a secret.
    pub value: Option<String>,
    /// Who set it.
    pub source: Source,
    /// Whether clients cannot change it while the broker runs.
    pub is_read_only: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
    /// Its type.
    pub kind: Kind,
    /// The layers behind it, the one that holds first.
    pub synonyms: Vec<Synonym>,
    /// What it is for; `None` where the table says nothing.
    pub documentation: Option<&'static str>,
}

/// Every setting of a topic whose own values are `overrides`.
pub fn describe_topic(overrides: &BTreeMap<String, String>, layers: &Layers) -> Vec<Described> {
    let describe = |setting: &'static Setting| {
        let mut synonyms = setting.synonym.map_or_else(Vec::new, |name| {
            let broker = find(Scope::Broker, name).expect("K3: a broker setting");
            broker_synonyms(broker, layers)
        });
        if let Some(own) = overrides.get(setting.name) {
            let value = Some(own.trim().to_owned());
            let own = Synonym { name: setting.name, value, source: Source::DynamicTopic };
            synonyms.insert(0, own);
        }
        let value = resolve_one(setting, overrides, layers).text;
        described(setting, Some(value), synonyms)
    };
    settings(Scope::Topic).iter().map(describe).collect()
}

/// Every setting of a group whose own values are `overrides`.
pub fn describe_group(overrides: &BTreeMap<String, String>, layers: &Layers) -> Vec<Described> {
    let describe = |setting: &'static Setting| {
        let mut synonyms = match setting.synonym {
            Some(name) => {
                let broker = find(Scope::Broker, name).expect("K3: a broker setting");
                broker_synonyms(broker, layers)
            }
            None => {
                let value = setting.default.map(str::to_owned);
                vec![Synonym { name: setting.name, value, source: Source::Default }]
            }
        };
        let value = resolve_group(setting, overrides, layers).to_owned();
        if overrides.contains_key(setting.name) {
            let (name, value) = (setting.name, Some(value.clone()));
            synonyms.insert(0, Synonym { name, value, source: Source::DynamicGroup });
        }
        described(setting, Some(value), synonyms)
    };
    settings(Scope::Group).iter().map(describe).collect()
}

/// Every setting of the broker.
pub fn describe_broker(layers: &Layers) -> Vec<Described> {
    let describe = |setting: &'static Setting| {
        let value = match layers.get(setting.name) {
            Some(set) => Some(set.text.clone()),
            None => setting.default.map(str::to_owned),
        };
        described(setting, value, broker_synonyms(setting, layers))
    };
    settings(Scope::Broker).iter().map(describe).collect()
}

/// What clients set for all brokers, which are `all`, and nothing else.
pub fn describe_all_brokers(all: &BTreeMap<String, String>) -> Vec<Described> {
    let describe = |(name, text): (&String, &String)| {
        let setting = find(Scope::Broker, name)?;
        let (name, value) = (setting.name, Some(text.trim().to_owned()));
        let synonym = Synonym { name, value: value.clone(), source: Source::DynamicDefaultBroker };
        Some(described(setting, value, vec![synonym]))
    };
    all.iter().filter_map(describe).collect()
}

fn described(
    setting: &'static Setting,
    value: Option<String>,
    mut synonyms: Vec<Synonym>,
) -> Described {
    let is_sensitive = setting.kind == Kind::Password;
    if is_sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    Described {
        name: setting.name,
        value: value.filter(|_| !is_sensitive),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        is_read_only: !setting.dynamic,
        is_sensitive,
        kind: setting.kind,
        synonyms,
        documentation: Some(setting.doc).filter(|doc| !doc.is_empty()),
    }
}

/// What was set under the name or its longer units, layer by layer, then their built-in values.
/// The built-in value of a longer unit alone is none of the name's, as Kafka tells it.
fn broker_synonyms(setting: &Setting, layers: &Layers) -> Vec<Synonym> {
    let longer = longer_units(setting.name).iter().map(|(name, _)| *name);
    let names: Vec<&'static str> = std::iter::once(setting.name).chain(longer).collect();
    let mut synonyms: Vec<Synonym> = Vec::new();
    for name in &names {
        synonyms.extend(layers.all_of(name).map(|set| Synonym {
            name,
            value: Some(set.text.clone()),
            source: Source::of(set.layer),
        }));
    }
    synonyms.sort_by_key(|synonym| synonym.source.wire());
    for name in names {
        let default = find(Scope::Broker, name).and_then(|setting| setting.default);
        if let Some(default) = default {
            let value = Some(default.to_owned());
            synonyms.push(Synonym { name, value, source: Source::Default });
        }
    }
    let own = |synonym: &Synonym| synonym.source != Source::Default || synonym.name == setting.name;
    match synonyms.first().is_some_and(own) {
        true => synonyms,
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(described: &Described) -> String {
        let synonyms: Vec<String> = described
            .synonyms
            .iter()
            .map(|s| format!("{:?}:{}={}", s.source, s.name, s.value.as_deref().unwrap_or("null")))
            .collect();
        let value = described.value.as_deref().unwrap_or("null");
        format!("{}={value} {:?} {{{}}}", described.name, described.source, synonyms.join(", "))
    }

    #[test]
    fn topics_are_described_as_kafka_does() {
        let mut layers = Layers::new();
        layers.set_pair("log.retention.hours=1").unwrap();
        layers.set_pair("message.max.bytes=2000000").unwrap();
        let overrides = BTreeMap::from([("flush.ms".to_owned(), "5".to_owned())]);
        let rows = describe_topic(&overrides, &layers);
        let check = |name: &str, want: &str| {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!(print(row), want);
        };
        check(
            "cleanup.policy",
            "cleanup.policy=delete Default {Default:log.cleanup.policy=delete}",
        );
        check("flush.ms", "flush.ms=5 DynamicTopic {DynamicTopic:flush.ms=5}");
        check("segment.ms", "segment.ms=604800000 Default {}");
        check(
            "retention.ms",
            "retention.ms=3600000 StaticBroker {StaticBroker:log.retention.hours=1, \
             Default:log.retention.hours=168}",
        );
        check(
            "max.message.bytes",
            "max.message.bytes=2000000 StaticBroker {StaticBroker:message.max.bytes=2000000, \
             Default:message.max.bytes=1048588}",
        );
        assert!(rows.iter().all(|row| !row.is_read_only && !row.is_sensitive));
    }

    #[test]
    fn groups_are_described_as_kafka_does() {
        let mut layers = Layers::new();
        layers.set_pair("group.consumer.heartbeat.interval.ms=6000").unwrap();
        let own = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let overrides = BTreeMap::from([
            own("consumer.session.timeout.ms", " 51000 "),
            own("share.auto.offset.reset", "earliest"),
        ]);
        let rows = describe_group(&overrides, &layers);
        assert_eq!(rows.len(), 17);
        let check = |name: &str, want: &str| {
            let row = rows.iter().find(|row| row.name == name).unwrap();
            assert_eq!(print(row), format!("{name}={want}"));
        };
        check(
            "consumer.session.timeout.ms",
            "51000 DynamicGroup {DynamicGroup:consumer.session.timeout.ms=51000, \
             Default:group.consumer.session.timeout.ms=45000}",
        );
        check(
            "consumer.heartbeat.interval.ms",
            "6000 StaticBroker {StaticBroker:group.consumer.heartbeat.interval.ms=6000, \
             Default:group.consumer.heartbeat.interval.ms=5000}",
        );
        check(
            "share.auto.offset.reset",
            "earliest DynamicGroup {DynamicGroup:share.auto.offset.reset=earliest, \
             Default:share.auto.offset.reset=latest}",
        );
        check(
            "share.isolation.level",
            "read_uncommitted Default {Default:share.isolation.level=read_uncommitted}",
        );
    }

    #[test]
    fn what_clients_set_comes_first_and_the_rest_behind_it() {
        let of = |text: &str| BTreeMap::from([("log.retention.ms".to_owned(), text.to_owned())]);
        let mut layers = Layers::new();
        layers.set_pair("log.retention.minutes=1").unwrap();
        layers.overlay(&of("7000"), &of("5000")).unwrap();
        let behind = "{DynamicBroker:log.retention.ms=5000, \
                      DynamicDefaultBroker:log.retention.ms=7000, \
                      StaticBroker:log.retention.minutes=1, Default:log.retention.hours=168}";
        let row = |rows: Vec<Described>, name| print(rows.iter().find(|r| r.name == name).unwrap());
        let broker = row(describe_broker(&layers), "log.retention.ms");
        assert_eq!(broker, format!("log.retention.ms=5000 DynamicBroker {behind}"));
        let topic = row(describe_topic(&BTreeMap::new(), &layers), "retention.ms");
        assert_eq!(topic, format!("retention.ms=5000 DynamicBroker {behind}"));
        let [all] = &describe_all_brokers(&of("7000"))[..] else { panic!("one row") };
        let want = "log.retention.ms=7000 DynamicDefaultBroker \
                    {DynamicDefaultBroker:log.retention.ms=7000}";
        assert_eq!(print(all), want);
    }

    #[test]
    fn the_broker_is_described_with_its_layers() {
        let mut layers = Layers::new();
        layers.set_pair("num.partitions=6").unwrap();
        let rows = describe_broker(&layers);
        let row = rows.iter().find(|row| row.name == "num.partitions").unwrap();
        let want = "num.partitions=6 StaticBroker {StaticBroker:num.partitions=6, \
                    Default:num.partitions=1}";
        assert_eq!(print(row), want);
        assert!(row.is_read_only);
        let row = rows.iter().find(|row| row.name == "broker.rack").unwrap();
        assert_eq!(print(row), "broker.rack=null Default {}");
    }
}
