//! Settings as somebody wrote them, layer upon layer, each with where it came from.
//!
//! In:   the text of `yeoul.toml`, `--set` pairs, values that other flags stand for.
//! Out:  name -> text and [`Layer`], every name in the table and every value legal.
//! Home: pure; the caller reads the file.
//!
//! Invariants
//!   L1  A later layer wins over an earlier one, whatever the order of calls within a layer.
//!   L2  What is in here is known to the table and has passed `value::check`.
//!
//! Source: `product.md` 6: flag over environment over file over built-in.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::keys::{Effect, Kind, Scope, Setting, find, nearest};
use super::value::check;

/// Where a value came from; a greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// What `--dev` stands for.
    Dev,
    /// `yeoul.toml`.
    File,
    /// `--set key=value`.
    Set,
    /// An option of its own, as `--kafka`.
    Flag,
    /// Set by a client for all brokers, in the metadata.
    DynamicDefault,
    /// Set by a client for this broker, in the metadata.
    Dynamic,
}

impl Layer {
    /// What DescribeConfigs can tell apart: file and command line are one.
    fn is_dynamic(self) -> bool {
        matches!(self, Self::DynamicDefault | Self::Dynamic)
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layered {
    /// As written, without blanks around it.
    pub text: String,
    /// Who wrote it.
    pub layer: Layer,
}

/// Broker settings that somebody set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The value that holds.
    set: BTreeMap<&'static str, Layered>,
    /// Values that a dynamic one stands before, the greater layer first.
    beneath: BTreeMap<&'static str, Vec<Layered>>,
}

impl Layers {
    /// Nothing set: every setting has its default.
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Sets `name` to `text` unless a greater layer has set it already.
    ///
    /// Errors: an unknown name (with the nearest one), a value that is not legal.
    pub fn set(&mut self, layer: Layer, name: &str, text: &str) -> Result<(), ConfigError> {
        let setting = known(name)?;
        check(setting, text)?;
        refuse_other_than_default(setting, text)?;
        let standing = self.set.get(setting.name);
        if standing.is_none_or(|standing| standing.layer <= layer) {
            let value = Layered { text: text.trim().to_owned(), layer };
            let before = self.set.insert(setting.name, value);
            if let Some(before) = before
                && layer.is_dynamic()
                && before.layer != layer
            {
                self.beneath.entry(setting.name).or_default().insert(0, before);
            }
        }
        Ok(())
    }

    /// Lays what clients set over the rest: for all brokers, and over that for this one. Names
    /// that the table does not have are kept in the metadata for others and mean nothing here.
    ///
    /// Errors: a value that is not legal.
    pub fn overlay(
        &mut self,
        all: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        for (layer, values) in [(Layer::DynamicDefault, all), (Layer::Dynamic, own)] {
            for (name, text) in values {
                if find(Scope::Broker, name).is_some() {
                    self.set(layer, name, text)?;
                }
            }
        }
        Ok(())
    }

    /// Takes one `key=value` of `--set`.
    ///
    /// Errors: no `=` in it, and those of [`Layers::set`].
    pub fn set_pair(&mut self, pair: &str) -> Result<(), ConfigError> {
        let (name, text) =
            pair.split_once('=').ok_or_else(|| ConfigError::NotAPair { text: pair.to_owned() })?;
        self.set(Layer::Set, name.trim(), text)
    }

    /// Takes the text of a `yeoul.toml`.
    ///
    /// Names may be quoted (`"log.retention.ms" = 1`), dotted, or tables; a table `kafka` around
    /// them is allowed. Arrays become comma-separated lists.
    /// Errors: not TOML, a value of no use, and those of [`Layers::set`].
    pub fn read_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| {
                text.get(..span.start).unwrap_or("").bytes().filter(|&b| b == b'\n').count() + 1
            });
            ConfigError::BadToml { line, message: error.message().to_owned() }
        })?;
        let mut pairs = Vec::new();
        flatten("", &table, &mut pairs)?;
        for (name, text) in &pairs {
            // Some names begin so by themselves.
            let inner = name.strip_prefix("kafka.").filter(|_| find(Scope::Broker, name).is_none());
            let name = inner.unwrap_or(name);
            self.set(Layer::File, name, text)?;
        }
        Ok(())
    }

    /// What was set for `name`, if anything.
    pub fn get(&self, name: &str) -> Option<&Layered> {
        self.set.get(name)
    }

    /// What was set for `name`, the value that holds first, then those it stands before.
    pub fn all_of(&self, name: &str) -> impl Iterator<Item = &Layered> {
        self.set.get(name).into_iter().chain(self.beneath.get(name).into_iter().flatten())
    }

    /// Everything that was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Layered)> {
        self.set.iter().map(|(name, value)| (*name, value))
    }

    /// Names that were set and change nothing today.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let idle = |name: &&'static str| {
            find(Scope::Broker, name).is_some_and(|s| s.effect == Effect::DescribedOnly)
        };
        self.set.keys().copied().filter(idle).collect()
    }
}

fn refuse_other_than_default(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    let is_default = text.trim() == setting.default.unwrap_or("");
    if setting.effect != Effect::DefaultOnly || is_default {
        return Ok(());
    }
    let secret = setting.kind == Kind::Password;
    let value = if secret { "[hidden]".to_owned() } else { text.trim().to_owned() };
    let served = "its default";
    Err(ConfigError::Unsupported { name: setting.name, value, served })
}

fn known(name: &str) -> Result<&'static Setting, ConfigError> {
    find(Scope::Broker, name).ok_or_else(|| ConfigError::Unknown {
        scope: Scope::Broker,
        name: name.to_owned(),
        nearest: nearest(Scope::Broker, name),
    })
}

fn flatten(
    prefix: &str,
    table: &toml::Table,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = value {
            flatten(&name, inner, pairs)?;
            continue;
        }
        let text = scalar_or_list(value).ok_or(ConfigError::BadTomlValue { name: name.clone() })?;
        pairs.push((name, text));
    }
    Ok(())
}

fn scalar_or_list(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(scalar).collect();
            items.map(|items| items.join(","))
        }
        other => scalar(other),
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::settings;

    #[test]
    fn every_key_round_trips_through_toml_and_set() {
        for row in settings(Scope::Broker) {
            let Some(default) = row.default else { continue };
            let mut layers = Layers::new();
            layers.read_toml(&format!("\"{}\" = \"{default}\"", row.name)).unwrap();
            let want = Layered { text: default.to_owned(), layer: Layer::File };
            assert_eq!(layers.get(row.name), Some(&want), "{}", row.name);
            layers.set_pair(&format!("{} = {default}", row.name)).unwrap();
            assert_eq!(layers.get(row.name).map(|v| v.layer), Some(Layer::Set), "{}", row.name);
        }
    }

    #[test]
    fn toml_takes_quoted_dotted_and_nested_names() {
        let check = |text: &str| {
            let mut layers = Layers::new();
            layers.read_toml(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let value = layers.get("log.retention.ms").map(|v| v.text.as_str());
            assert_eq!(value, Some("5"), "{text}");
        };
        check("\"log.retention.ms\" = 5");
        check("log.retention.ms = \"5\"");
        check("[log]\nretention.ms = 5");
        check("[log.retention]\nms = 5");
        check("[kafka]\n\"log.retention.ms\" = 5");
        let mut layers = Layers::new();
        layers.read_toml("listeners = [\"A://h:1\", \"B://h:2\"]\nshards = 2").unwrap();
        assert_eq!(layers.get("listeners").unwrap().text, "A://h:1,B://h:2");
        assert_eq!(layers.get("shards").unwrap().text, "2");
    }

    #[test]
    fn the_greater_layer_wins_in_any_order() {
        let mut layers = Layers::new();
        layers.set(Layer::Set, "num.partitions", "3").unwrap();
        layers.set(Layer::File, "num.partitions", "2").unwrap();
        assert_eq!(layers.get("num.partitions").unwrap().text, "3");
        layers.set(Layer::Flag, "num.partitions", "4").unwrap();
        layers.set(Layer::Set, "num.partitions", "5").unwrap();
        assert_eq!(layers.get("num.partitions").unwrap().text, "4");
    }

    #[test]
    fn bad_input_is_named() {
        let check = |text: &str, want: &str| {
            let error = Layers::new().read_toml(text).unwrap_err();
            assert!(error.to_string().contains(want), "{text:?}: {error}");
        };
        check(
            "num.partition = 3",
            "unknown setting 'num.partition'; did you mean 'num.partitions'?",
        );
        check("num.partitions = 0", "Value must be at least 1");
        check("a = 1\nb = = 2", "line 2");
        check("shards = 2026-01-01", "'shards' is neither");
        let error = Layers::new().set_pair("num.partitions").unwrap_err();
        assert_eq!(error.to_string(), "'num.partitions' is not of the form key=value");
    }

    #[test]
    fn what_clients_set_lies_over_the_rest_and_hides_it() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
        };
        let mut layers = Layers::new();
        layers.set_pair("log.retention.ms=1").unwrap();
        let all = pairs(&[("log.retention.ms", "2"), ("of.a.plugin", "x")]);
        layers.overlay(&all, &pairs(&[("log.retention.ms", "3")])).unwrap();
        let all: Vec<(&str, Layer)> =
            layers.all_of("log.retention.ms").map(|v| (v.text.as_str(), v.layer)).collect();
        let want = [("3", Layer::Dynamic), ("2", Layer::DynamicDefault), ("1", Layer::Set)];
        assert_eq!(all, want);
        assert!(layers.overlay(&pairs(&[("log.retention.ms", "x")]), &pairs(&[])).is_err());
    }

    /// Nobody is to believe in a lock that is not there.
    #[test]
    fn protection_that_yeoul_does_not_have_is_refused() {
        let set = |pair: &str| Layers::new().set_pair(pair).map_err(|error| error.to_string());
        let refusal = |name: &str, value: &str| {
            Err(format!(
                "Invalid value {value} for configuration {name}: only its default is served"
            ))
        };
        let authorizer = "authorizer.class.name";
        assert_eq!(set("authorizer.class.name=x.Y"), refusal(authorizer, "x.Y"));
        assert_eq!(set("ssl.key.password=secret"), refusal("ssl.key.password", "[hidden]"));
        assert_eq!(set("ssl.client.auth=none"), Ok(()));
    }

    #[test]
    fn settings_without_effect_are_listed() {
        let mut layers = Layers::new();
        layers.set_pair("num.io.threads=4").unwrap();
        layers.set_pair("num.partitions=4").unwrap();
        assert_eq!(layers.without_effect(), ["num.io.threads"]);
    }
}
