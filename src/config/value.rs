//! One value held against its row of the table.
//!
//! In:   a [`Setting`] and text, as somebody wrote it.
//! Out:  nothing, a number, a word or a list; or the [`ConfigError`] that names the limit.
//! Home: pure.

use super::error::ConfigError;
use super::keys::{Kind, Legal, Setting};

/// Whether `text` is a legal value of `setting`. Blanks around it are ignored, as in Kafka.
///
/// Errors: [`ConfigError`] with Kafka's words for its type or limit.
pub fn check(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    let text = text.trim();
    match setting.kind {
        Kind::Boolean => boolean(setting, text).map(|_| ()),
        Kind::Int | Kind::Short | Kind::Long => integer(setting, text).map(|_| ()),
        Kind::Double => double(setting, text).map(|_| ()),
        Kind::List => list(setting, text).map(|_| ()),
        Kind::String | Kind::Class | Kind::Password => word(setting, text),
    }
}

/// Reads a boolean; case does not matter.
pub fn boolean(setting: &Setting, text: &str) -> Result<bool, ConfigError> {
    match text.trim() {
        yes if yes.eq_ignore_ascii_case("true") => Ok(true),
        no if no.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(not_of_kind(setting, text)),
    }
}

/// Reads an integer of the setting's width and holds it against the bounds.
pub fn integer(setting: &Setting, text: &str) -> Result<i64, ConfigError> {
    let text = text.trim();
    let fits = |value: &i64| match setting.kind {
        Kind::Int => i32::try_from(*value).is_ok(),
        Kind::Short => i16::try_from(*value).is_ok(),
        _ => true,
    };
    let value: i64 = text.parse().ok().filter(fits).ok_or_else(|| not_of_kind(setting, text))?;
    let (minimum, maximum) = match setting.legal {
        Legal::AtLeast(minimum) => (minimum, i64::MAX),
        Legal::Between(minimum, maximum) => (minimum, maximum),
        Legal::LevelOrDefault(..) if value == -1 => (-1, -1),
        Legal::LevelOrDefault(minimum, maximum) => (minimum, maximum),
        Legal::Any
        | Legal::Ratio
        | Legal::OneOf(_)
        | Legal::EachOf(_)
        | Legal::NotEmpty
        | Legal::Replicas => (i64::MIN, i64::MAX),
    };
    let name = setting.name;
    if value < minimum {
        return Err(ConfigError::BelowMinimum { name, value: text.to_owned(), minimum });
    }
    if maximum < value {
        return Err(ConfigError::AboveMaximum { name, value: text.to_owned(), maximum });
    }
    Ok(value)
}

/// Reads a floating-point number and holds it against the bounds.
pub fn double(setting: &Setting, text: &str) -> Result<f64, ConfigError> {
    let text = text.trim();
    let value: f64 = text
        .parse()
        .ok()
        .filter(|value: &f64| !value.is_nan())
        .ok_or_else(|| not_of_kind(setting, text))?;
    let name = setting.name;
    if setting.legal == Legal::Ratio && value < 0.0 {
        return Err(ConfigError::BelowMinimum { name, value: text.to_owned(), minimum: 0 });
    }
    if setting.legal == Legal::Ratio && 1.0 < value {
        return Err(ConfigError::AboveMaximum { name, value: text.to_owned(), maximum: 1 });
    }
    Ok(value)
}

/// Splits a list at its commas; the empty text is the empty list.
pub fn list<'a>(setting: &Setting, text: &'a str) -> Result<Vec<&'a str>, ConfigError> {
    let text = text.trim();
    if text.is_empty() {
        return match setting.legal {
            Legal::NotEmpty => Err(ConfigError::Empty { name: setting.name }),
            _ => Ok(Vec::new()),
        };
    }
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Legal::EachOf(legal) = setting.legal {
        for item in &items {
            one_of(setting, item, legal)?;
        }
    }
    if setting.legal == Legal::Replicas && text != "*" && !items.iter().all(|item| is_pair(item)) {
        let value = items.join(", ");
        return Err(ConfigError::BadReplicaList { name: setting.name, value });
    }
    Ok(items)
}

/// Two numbers with a colon between them.
fn is_pair(item: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    item.split_once(':').is_some_and(|(one, other)| is_number(one) && is_number(other))
}

fn word(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    match setting.legal {
        Legal::OneOf(legal) => one_of(setting, text, legal),
        Legal::NotEmpty if text.is_empty() => Err(ConfigError::Empty { name: setting.name }),
        _ => Ok(()),
    }
}

fn one_of(
    setting: &Setting,
    text: &str,
    legal: &'static [&'static str],
) -> Result<(), ConfigError> {
    if legal.contains(&text) {
        return Ok(());
    }
    Err(ConfigError::NotOneOf { name: setting.name, value: text.to_owned(), legal })
}

fn not_of_kind(setting: &Setting, text: &str) -> ConfigError {
    let secret = setting.kind == Kind::Password;
    let value = if secret { String::new() } else { text.trim().to_owned() };
    ConfigError::NotOfKind { name: setting.name, value, kind: setting.kind }
}

#[cfg(test)]
mod tests {
    use crate::config::keys::{Scope, find};

    #[test]
    fn limits_and_words_are_kafkas() {
        let check = |name: &str, value: &str, want: &str| {
            let setting = find(Scope::Topic, name).unwrap();
            let got = super::check(setting, value).err().map(|e| e.to_string());
            assert_eq!(got.as_deref().unwrap_or("ok"), want, "{name}={value}");
        };
        let invalid = |name: &str, value: &str, why: &str| {
            format!("Invalid value {value} for configuration {name}: {why}")
        };
        check("segment.bytes", "1048576", "ok");
        check("segment.bytes", " 1048576 ", "ok");
        let why = "Value must be at least 1048576";
        check("segment.bytes", "1048575", &invalid("segment.bytes", "1048575", why));
        let why = "Not a number of type INT";
        check("segment.bytes", "2147483648", &invalid("segment.bytes", "2147483648", why));
        check("segment.bytes", "", &invalid("segment.bytes", "", why));
        check("retention.ms", "-1", "ok");
        let why = "Value must be at least -1";
        check("retention.ms", "-2", &invalid("retention.ms", "-2", why));
        let why = "Not a number of type LONG";
        check("retention.ms", "7d", &invalid("retention.ms", "7d", why));
        check("cleanup.policy", "", "ok");
        check("cleanup.policy", "compact,delete", "ok");
        let why = "String must be one of: compact, delete";
        check("cleanup.policy", "compacted", &invalid("cleanup.policy", "compacted", why));
        check("preallocate", "TRUE", "ok");
        let why = "Expected value to be either true or false";
        check("preallocate", "yes", &invalid("preallocate", "yes", why));
        check("min.cleanable.dirty.ratio", "1.0", "ok");
        let why = "Value must be no more than 1";
        check(
            "min.cleanable.dirty.ratio",
            "1.1",
            &invalid("min.cleanable.dirty.ratio", "1.1", why),
        );
        let why = "Not a number of type DOUBLE";
        check(
            "min.cleanable.dirty.ratio",
            "NaN",
            &invalid("min.cleanable.dirty.ratio", "NaN", why),
        );
        let throttled = "leader.replication.throttled.replicas";
        for fine in ["", "*", "0:1", "0:1,22:3"] {
            check(throttled, fine, "ok");
        }
        let why = format!(
            "Invalid value [x] for configuration {throttled}: {throttled} must be the literal '*' \
             or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        );
        check(throttled, "x", &why);
        check("compression.gzip.level", "-1", "ok");
        check("compression.gzip.level", "9", "ok");
        let why = "Value must be at least 1";
        check("compression.gzip.level", "0", &invalid("compression.gzip.level", "0", why));
        check("min.insync.replicas", "0", &invalid("min.insync.replicas", "0", why));
        let why = "Value must be no more than 9";
        check("compression.gzip.level", "10", &invalid("compression.gzip.level", "10", why));
    }
}
