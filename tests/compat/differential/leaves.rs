//! A message as named values: what its pretty `Debug` form says, field by field.
//!
//! In:   any message of the codec. Out: `topics[a].partitions[0].error_code` with its value.
//!
//! Elements of a list are named by what identifies them, so that order does not matter, and an
//! element that only one side has is seen as such. `Some` is left out.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// Fields that identify an element of a list, in the order in which they are tried.
const NAMES: [&str; 17] = [
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "partition_index",
    "partition",
    "index",
    "partition_id",
    "key",
    "group_id",
    "member_id",
    "resource_name",
    "api_key",
    "node_id",
    "broker_id",
    "feature",
    "transactional_id",
];

enum Node {
    Leaf(String),
    Fields(Vec<(String, Node)>),
    List(Vec<Node>),
}

/// The values of `message` by their path, each after `mask` (which is given the field's name).
pub fn leaves(
    message: &impl Debug,
    mask: &dyn Fn(&str, &str) -> Option<String>,
) -> BTreeMap<String, String> {
    let text = format!("{message:#?}");
    let mut lines = text.lines().map(str::trim);
    let mut found = BTreeMap::new();
    if let Some(first) = lines.next() {
        let node = node(first, &mut lines);
        walk(&node, "", "", mask, &mut found);
    }
    found
}

/// The value that begins with `first`, whose further lines follow.
fn node<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> Node {
    let first = first.strip_suffix(',').unwrap_or(first);
    if first.ends_with('"') || !first.ends_with(['{', '[', '(']) {
        return Node::Leaf(first.to_owned());
    }
    let mut fields = Vec::new();
    loop {
        let line = lines.next().expect("pretty Debug closes what it opens");
        if matches!(line.trim_end_matches(','), "}" | "]" | ")") {
            break;
        }
        let (name, value) = match line.split_once(": ") {
            Some((name, value)) if first.ends_with('{') => (name.to_owned(), value),
            _ => (String::new(), line),
        };
        fields.push((name, node(value, lines)));
    }
    match first.chars().last() {
        Some('{') => Node::Fields(fields),
        Some('[') => Node::List(fields.into_iter().map(|(_, node)| node).collect()),
        _ => fields.pop().map_or(Node::List(Vec::new()), |(_, node)| node),
    }
}

fn walk(
    node: &Node,
    path: &str,
    field: &str,
    mask: &dyn Fn(&str, &str) -> Option<String>,
    found: &mut BTreeMap<String, String>,
) {
    match node {
        Node::Leaf(value) => {
            if let Some(value) = mask(field, value) {
                found.insert(path.to_owned(), value);
            }
        }
        Node::Fields(fields) => {
            for (name, node) in fields.iter().filter(|(name, _)| name != "unknown_tagged_fields") {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(node, &path, name, mask, found);
            }
        }
        Node::List(nodes) => {
            // Unlike `[]`, which an empty list is in one line, so that an element too many is one difference.
            let mut names: BTreeMap<String, usize> = BTreeMap::new();
            let mut named: Vec<_> = nodes.iter().map(|node| (element(node, mask), node)).collect();
            // Structs without a name of their own stand in any order too: in that of what they say.
            named.sort_by_cached_key(|(_, node)| match node {
                Node::Fields(_) => {
                    let mut says = BTreeMap::new();
                    walk(node, "", "", mask, &mut says);
                    format!("{says:?}")
                }
                _ => String::new(),
            });
            for (at, (name, node)) in named.into_iter().enumerate() {
                let name = name.unwrap_or_else(|| format!("#{at}"));
                let again = names.entry(name.clone()).or_default();
                *again += 1;
                let name = if *again > 1 { format!("{name}#{again}") } else { name };
                walk(node, &format!("{path}[{name}]"), field, mask, found);
            }
        }
    }
}

/// What an element is called.
fn element(node: &Node, mask: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
    let Node::Fields(fields) = node else { return None };
    let values = NAMES.iter().filter_map(|name| {
        let (_, Node::Leaf(value)) = fields.iter().find(|(field, _)| field == name)? else {
            return None;
        };
        if value == "None" { None } else { mask(name, value) }
    });
    let values: Vec<String> = values.collect();
    let named = values.iter().find(|value| *value != "\"\"" && *value != "<zero id>");
    named.or(values.first()).map(|value| value.trim_matches('"').to_owned())
}
