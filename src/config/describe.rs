//! Settings as DescribeConfigs tells them: value, source, type, synonyms, documentation.
//!
//! In:   the broker's layers, a topic's own values.
//! Out:  [`Described`] rows, sorted by name; the handler turns them into a response.
//! Home: pure.
//!
//! Source: KIP-226 (sources and synonyms), KIP-569 (types, documentation).

use std::collections::BTreeMap;

use super::keys::{Kind, Scope, Setting, find, settings};
use super::layers::Layers;
use super::topic::{longer_units, resolve_one};

/// Who set a value, as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic itself.
    DynamicTopic,
    /// The broker's file or command line.
    StaticBroker,
    /// Nobody.
    Default,
}

impl Source {
    /// The number on the wire.
    pub fn wire(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
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

/// What was set under the name or its longer units, then the built-in value of the name.
fn broker_synonyms(setting: &Setting, layers: &Layers) -> Vec<Synonym> {
    let longer = longer_units(setting.name).iter().map(|(name, _)| *name);
    let set = |name: &'static str| {
        let value = layers.get(name)?.text.clone();
        Some(Synonym { name, value: Some(value), source: Source::StaticBroker })
    };
    let built_in = setting.default.map(|default| Synonym {
        name: setting.name,
        value: Some(default.to_owned()),
        source: Source::Default,
    });
    std::iter::once(setting.name).chain(longer).filter_map(set).chain(built_in).collect()
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
            "retention.ms=3600000 StaticBroker {StaticBroker:log.retention.hours=1}",
        );
        check(
            "max.message.bytes",
            "max.message.bytes=2000000 StaticBroker {StaticBroker:message.max.bytes=2000000, \
             Default:message.max.bytes=1048588}",
        );
        assert!(rows.iter().all(|row| !row.is_read_only && !row.is_sensitive));
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
