//! Topics as the coordinator sees them, and expressions that choose among them.
//!
//! In:   the broker's metadata, through [`Topics`]; expressions from members.
//! Out:  topics with their partitions; names that an expression matches.
//! Home: pure.
//!
//! Invariants
//!   T1  An expression costs bounded memory and time linear in a name: no backtracking.
//!
//! Source: KIP-848. Kafka evaluates RE2/J; the syntax here is that of the `regex` crate, which
//! is RE2's but for details (`\Q..\E` is not known, a literal `{` needs a backslash).

use std::collections::BTreeSet;

use crate::model::ids::TopicId;

/// Longest expression, in bytes; a longer one is refused as invalid.
pub const REGEX_BYTES_MAX: usize = 4_096;

/// What a compiled expression may weigh, in bytes; a heavier one is refused as invalid.
const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;

/// A topic as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The broker's topics at one moment.
pub trait Topics: std::fmt::Debug {
    /// Changes when a topic does; 0 or more, and never the same again.
    fn version(&self) -> i64;

    /// The topic of this name.
    fn topic(&self, name: &str) -> Option<TopicInfo>;

    /// The name of the topic with this id.
    fn name(&self, id: TopicId) -> Option<String>;

    /// Calls `visit` with every topic's name.
    fn for_each_name(&self, visit: &mut dyn FnMut(&str));
}

/// No topics at all: what is known before the broker has said anything.
#[derive(Clone, Copy, Debug)]
pub struct NoTopics;

impl Topics for NoTopics {
    fn version(&self) -> i64 {
        -1
    }

    fn topic(&self, _name: &str) -> Option<TopicInfo> {
        None
    }

    fn name(&self, _id: TopicId) -> Option<String> {
        None
    }

    fn for_each_name(&self, _visit: &mut dyn FnMut(&str)) {}
}

/// The topics that an expression chose at some time: a record's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// Names that match as a whole.
    pub topics: BTreeSet<Box<str>>,
    /// [`Topics::version`] when they were looked for.
    pub version: i64,
    /// When that was, in milliseconds since 1970.
    pub timestamp: i64,
}

impl ResolvedRegex {
    /// Whether a record of `bytes` holds it.
    pub(in crate::group) fn fits(&self, bytes: usize) -> bool {
        self.topics.iter().map(|name| name.len() + 2).sum::<usize>() + REGEX_BYTES_MAX < bytes
    }
}

/// The expression cannot be read, or is too heavy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRegex;

/// Compiles an expression that has to match a whole name.
fn compile(expression: &str) -> Result<regex::Regex, InvalidRegex> {
    if expression.len() > REGEX_BYTES_MAX {
        return Err(InvalidRegex);
    }
    // On its own first, so that unbalanced brackets cannot pair with those put around it.
    let build = |text: &str| {
        regex::RegexBuilder::new(text)
            .size_limit(REGEX_COMPILED_BYTES_MAX)
            .dfa_size_limit(REGEX_COMPILED_BYTES_MAX)
            .build()
            .map_err(|_| InvalidRegex)
    };
    build(expression)?;
    build(&format!("^(?:{expression})$"))
}

/// Whether an expression can be used.
///
/// Errors: [`InvalidRegex`].
pub(super) fn check(expression: &str) -> Result<(), InvalidRegex> {
    compile(expression).map(|_| ())
}

/// Looks for the topics that an expression chooses now. One that cannot be read (any more)
/// chooses none.
pub(in crate::group) fn resolve(
    expression: &str,
    topics: &dyn Topics,
    timestamp: i64,
) -> ResolvedRegex {
    let mut found = BTreeSet::new();
    if let Ok(regex) = compile(expression) {
        topics.for_each_name(&mut |name| {
            if regex.is_match(name) {
                found.insert(Box::from(name));
            }
        });
    }
    ResolvedRegex { topics: found, version: topics.version(), timestamp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p90_expressions_match_whole_names_and_are_bounded() {
        let matches = |expression: &str, name: &str| {
            compile(expression).map(|regex| regex.is_match(name)).ok()
        };
        assert_eq!(matches("foo.*", "foobar"), Some(true));
        assert_eq!(matches("foo", "foobar"), Some(false));
        assert_eq!(matches("a|b", "b"), Some(true));
        assert_eq!(matches("a|b", "ab"), Some(false));
        for bad in ["(", "*", ")(", "a)|(b", "[", r"(?=x)", r"(a)\1", "((((a{100}){100}){100}){9})"]
        {
            assert_eq!(check(bad), Err(InvalidRegex), "{bad}");
        }
        assert_eq!(check(&"a".repeat(REGEX_BYTES_MAX + 1)), Err(InvalidRegex));
        assert_eq!(check(&"a".repeat(REGEX_BYTES_MAX)), Ok(()));
    }
}
