//! Holds the shape of the tree: which folder may name which, and which crates.
//!
//! In:   every file of `src/`, parsed (`use` trees, paths, and the tokens inside macros).
//! Out:  a list of breaches, each with file and line; the test fails unless it is empty.
//! Home: pure, but for reading the tree.
//!
//! Invariants
//!   X1  The tables below are the architecture. A new edge changes them, in its own commit.
//!   X2  Code under `#[cfg(test)]` may name what it likes; the rest may not name `testing`.
//!   X3  `unsafe` lives in the files of [`UNSAFE_FILES`] and in no others.
//!
//! Not here: lints (`Cargo.toml`, `.clippy.toml`).
#![allow(clippy::disallowed_methods)] // a test reads the tree with std::fs

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flattened::tokens_of;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The tiers, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// Values and codecs: pure.
    Values,
    /// Cores: pure and synchronous.
    Cores,
    /// The runtime, disk and sockets.
    Machinery,
    /// What brings rules and machinery together.
    Broker,
    /// Command line, admin endpoint, client.
    Edges,
}

/// Every folder (or single file) directly under `src/`, with its tier.
const FOLDERS: &[(&str, Tier)] = &[
    ("model", Tier::Values),
    ("config", Tier::Values),
    ("metrics", Tier::Values),
    ("record", Tier::Values),
    ("protocol", Tier::Values),
    ("constants", Tier::Values),
    ("fatal", Tier::Values),
    ("metadata", Tier::Cores),
    ("partition", Tier::Cores),
    ("group", Tier::Cores),
    ("transaction", Tier::Cores),
    ("io", Tier::Machinery),
    ("storage", Tier::Machinery),
    ("shard", Tier::Machinery),
    ("net", Tier::Machinery),
    ("replica", Tier::Broker),
    ("controller", Tier::Broker),
    ("coordinator", Tier::Broker),
    ("broker", Tier::Broker),
    ("admin", Tier::Edges),
    ("client", Tier::Edges),
    ("cli", Tier::Edges),
    ("main", Tier::Edges),
    ("lib", Tier::Edges),
];

/// Fakes: they may name values, cores and machinery, and only tests name them.
const FAKES: &str = "testing";

/// Folders narrower than their tier: they see these tiers, and themselves, alone.
const NARROWED: &[(&str, &[Tier])] = &[("client", &[Tier::Values, Tier::Machinery])];

/// Crates and standard modules that a tier never names.
const BANNED: &[(Tier, &[&str])] = &[
    (
        Tier::Values,
        &[
            "glommio",
            "flume",
            "tokio",
            "axum",
            "openraft",
            "libc",
            "rustix",
            "io_uring",
            "socket2",
            "futures_lite",
            "clap",
            "tracing_subscriber",
            "std::fs",
            "std::net",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
        ],
    ),
    (
        Tier::Cores,
        &[
            "glommio",
            "flume",
            "tokio",
            "axum",
            "openraft",
            "libc",
            "rustix",
            "io_uring",
            "socket2",
            "futures_lite",
            "clap",
            "tracing",
            "tracing_subscriber",
            "std::fs",
            "std::net",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "std::env",
        ],
    ),
    (Tier::Machinery, &["tokio", "axum", "openraft", "rkyv", "clap", "prometheus_client"]),
    (Tier::Broker, &["glommio", "io_uring", "axum", "clap", "prometheus_client"]),
    (Tier::Edges, &["glommio", "io_uring", "openraft"]),
];

/// Exceptions to [`BANNED`]: this file (or folder, ending in `/`) may name that.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The files that may hold `unsafe`.
const UNSAFE_FILES: &[&str] = &["io/real_file.rs", "net/listener.rs", "net/socket.rs"];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "manager"];

/// Most lines of a file before its tests.
const LINES_MAX: usize = 800;

/// Most lines of a file's head.
const HEAD_LINES_MAX: usize = 25;

/// One thing that a file names: a path of at least one segment, and where.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    path: Vec<String>,
    line: usize,
}

/// What one file says.
#[derive(Default)]
struct Facts {
    named: Vec<Named>,
    /// Modules that exist for tests alone: `#[cfg(test)] mod name;`.
    test_modules: Vec<String>,
    /// The line on which the tests begin, where the file has some at its end.
    tests_from: Option<usize>,
    /// Lines with the keyword `unsafe`.
    unsafe_at: Vec<usize>,
}

/// Token streams without their nesting, for the inside of macros.
mod flattened {
    use super::{Delimiter, TokenStream, TokenTree};

    /// Tokens in order with groups flattened; a group's ends count as `(` and `)`.
    pub fn tokens_of(stream: TokenStream, into: &mut Vec<(String, usize)>) {
        for tree in stream {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::Parenthesis | Delimiter::None => ("(", ")"),
                    };
                    into.push((open.to_owned(), line));
                    tokens_of(group.stream(), into);
                    into.push((close.to_owned(), line));
                }
                other => into.push((other.to_string(), line)),
            }
        }
    }
}

/// If `#[cfg(test)]` begins at `at`: where the item that it belongs to ends.
fn behind_test_item(tokens: &[(String, usize)], at: usize) -> Option<usize> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let marked = tokens.get(at..at + MARK.len())?;
    if !marked.iter().map(|(token, _)| token.as_str()).eq(MARK) {
        return None;
    }
    let mut depth = 0;
    for (ahead, (token, _)) in tokens.iter().enumerate().skip(at + MARK.len()) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return Some(ahead + 1);
                }
            }
            ";" if depth == 0 => return Some(ahead + 1),
            _ => {}
        }
    }
    Some(tokens.len())
}

/// Is this item compiled for tests alone?
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        if !list.path.is_ident("cfg") {
            return attribute.path().is_ident("test");
        }
        let mut words = Vec::new();
        tokens_of(list.tokens.clone(), &mut words);
        let has = |word: &str| words.iter().any(|(token, _)| token == word);
        has("test") && !has("not") && !has("any")
    }) || attributes.iter().any(|attribute| attribute.path().is_ident("test"))
}

impl Facts {
    fn of(text: &str) -> Result<Self, syn::Error> {
        let file = syn::parse_file(text)?;
        let mut facts = Self::default();
        facts.visit_file(&file);
        if let Some(last) = file.items.last()
            && let syn::Item::Mod(module) = last
            && is_for_tests(&module.attrs)
        {
            facts.tests_from = Some(module.span().start().line);
        }
        Ok(facts)
    }

    fn name(&mut self, path: Vec<String>, line: usize) {
        if !path.is_empty() {
            self.named.push(Named { path, line });
        }
    }

    fn walk_use(&mut self, tree: &syn::UseTree, before: &[String]) {
        let mut path = before.to_vec();
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                self.walk_use(&inner.tree, &path);
            }
            syn::UseTree::Group(group) => {
                for inner in &group.items {
                    self.walk_use(inner, before);
                }
            }
            syn::UseTree::Name(inner) => {
                if inner.ident != "self" {
                    path.push(inner.ident.to_string());
                }
                self.name(path, line);
            }
            syn::UseTree::Rename(inner) => {
                path.push(inner.ident.to_string());
                self.name(path, line);
            }
            syn::UseTree::Glob(_) => self.name(path, line),
        }
    }

    /// Finds `a::b::c` in loose tokens.
    fn scan(&mut self, stream: TokenStream) {
        let mut tokens = Vec::new();
        tokens_of(stream, &mut tokens);
        let word = |at: usize| {
            tokens.get(at).filter(|(token, _)| {
                token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
            })
        };
        let colons = |at: usize| matches!((tokens.get(at), tokens.get(at + 1)), (Some((a, _)), Some((b, _))) if a == ":" && b == ":");
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if let Some(behind) = behind_test_item(&tokens, at) {
                at = behind;
                continue;
            }
            let Some((first, line)) = word(at) else {
                at += 1;
                continue;
            };
            if first == "unsafe" {
                self.unsafe_at.push(*line);
            }
            let mut path = vec![first.clone()];
            at += 1;
            while colons(at) && word(at + 2).is_some() {
                path.push(tokens[at + 2].0.clone());
                at += 3;
            }
            if path.len() > 1 {
                found.push(Named { path, line: *line });
            }
        }
        self.named.extend(found);
    }
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(inner) => &inner.attrs,
            syn::Item::Fn(inner) => &inner.attrs,
            syn::Item::Use(inner) => &inner.attrs,
            syn::Item::Impl(inner) => &inner.attrs,
            syn::Item::Struct(inner) => &inner.attrs,
            syn::Item::Const(inner) => &inner.attrs,
            _ => return visit::visit_item(self, item),
        };
        if is_for_tests(attributes) {
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
            {
                self.test_modules.push(module.ident.to_string());
            }
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.walk_use(&item.tree, &[]);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            if let Some(word) = &item.sig.unsafety {
                self.unsafe_at.push(word.span.start().line);
            }
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.name(names, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.scan(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at.push(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(word) = &item.unsafety {
            self.unsafe_at.push(word.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if let Some(word) = &item.sig.unsafety {
            self.unsafe_at.push(word.span.start().line);
        }
        visit::visit_item_fn(self, item);
    }
}

/// The folder (or file) directly under `src/` that a file belongs to.
fn folder_of(file: &str) -> &str {
    let first = file.split('/').next().expect("a split has a first part");
    first.strip_suffix(".rs").unwrap_or(first)
}

fn tier_of(folder: &str) -> Option<Tier> {
    FOLDERS.iter().find(|(name, _)| *name == folder).map(|(_, tier)| *tier)
}

/// The folder of our own crate that a path leads to, if any. `depth` is how many modules deep the
/// naming file lies, for paths that begin with `super`.
fn own_folder(named: &Named, depth: usize) -> Option<&str> {
    let supers = named.path.iter().take_while(|part| *part == "super").count();
    let at = match named.path[0].as_str() {
        "crate" | "yeoul" => 1,
        "super" if supers >= depth => supers,
        _ => return None,
    };
    named.path.get(at).map(String::as_str)
}

/// Does `path` begin with the banned `prefix` (`a::b`)?
fn begins_with(path: &[String], prefix: &str) -> bool {
    let mut parts = path.iter();
    prefix.split("::").all(|wanted| parts.next().is_some_and(|part| part == wanted))
}

fn excepted(file: &str, banned: &str) -> bool {
    EXCEPTIONS.iter().any(|(place, what)| {
        *what == banned && (*place == file || (place.ends_with('/') && file.starts_with(place)))
    })
}

/// Every breach of the tables in one file. `file` is relative to `src/`.
fn breaches(file: &str, facts: &Facts) -> Vec<String> {
    let mut found = BTreeSet::new();
    let folder = folder_of(file);
    let fakes = folder == FAKES;
    let Some(tier) = (if fakes { Some(Tier::Machinery) } else { tier_of(folder) }) else {
        return vec![format!("{file}: folder `{folder}` is not in the table of tiers")];
    };
    let stem = file.strip_suffix(".rs").expect("only .rs files are looked at");
    let depth = stem.split('/').filter(|part| *part != "mod").count();
    for named in &facts.named {
        let line = named.line;
        if let Some(other) = own_folder(named, depth) {
            if let Some(why) = edge_refused(folder, tier, other) {
                found.insert((line, format!("{file}:{line}: `{folder}` names `{other}`: {why}")));
            }
            continue;
        }
        if fakes {
            continue;
        }
        for (_, list) in BANNED.iter().filter(|(banned_in, _)| *banned_in == tier) {
            for banned in list.iter().filter(|banned| begins_with(&named.path, banned)) {
                if !excepted(file, banned) {
                    found.insert((line, format!("{file}:{line}: {tier:?} never name `{banned}`")));
                }
            }
        }
    }
    if !UNSAFE_FILES.contains(&file) {
        for line in &facts.unsafe_at {
            found.insert((*line, format!("{file}:{line}: `unsafe` in a file that is not listed")));
        }
    }
    found.into_iter().map(|(_, text)| text).collect()
}

/// Why `folder` may not name `other`, if it may not.
fn edge_refused(folder: &str, tier: Tier, other: &str) -> Option<String> {
    if other == folder {
        return None;
    }
    if other == FAKES {
        // The library declares the module; nothing else outside tests names it.
        return (folder != "lib").then(|| "only tests name the fakes".to_owned());
    }
    let other_tier = tier_of(other)?; // an item of lib.rs, a macro: no folder
    if let Some((_, allowed)) = NARROWED.iter().find(|(name, _)| *name == folder) {
        return (!allowed.contains(&other_tier))
            .then(|| format!("it sees {allowed:?} alone, and that is {other_tier:?}"));
    }
    if tier == Tier::Machinery && other_tier == Tier::Cores && folder != FAKES {
        return Some("machinery knows bytes, not rules".to_owned());
    }
    (other_tier > tier).then(|| format!("{tier:?} lie below {other_tier:?}"))
}

/// The lines of a file's head, without those of a layout drawn in it (between two ```).
fn words_of_head(text: &str) -> usize {
    let mut drawn = false;
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .filter(|line| {
            let fence = line.trim_start_matches("//!").trim().starts_with("```");
            drawn ^= fence;
            !drawn && !fence
        })
        .count()
}

/// Breaches of the rules about files themselves.
fn untidy(file: &str, text: &str, facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    let head = words_of_head(text);
    if head == 0 && !text.starts_with("#![doc = include_str!") {
        found.push(format!("{file}: has no head (`//!` lines that say what it is)"));
    }
    if head > HEAD_LINES_MAX {
        found.push(format!("{file}: its head has {head} lines, {HEAD_LINES_MAX} are allowed"));
    }
    let lines = facts.tests_from.map_or(text.lines().count(), |line| line - 1);
    if lines > LINES_MAX {
        found.push(format!("{file}: {lines} lines before its tests, {LINES_MAX} are allowed"));
    }
    for part in file.split('/') {
        if EMPTY_NAMES.contains(&part.strip_suffix(".rs").unwrap_or(part)) {
            found.push(format!("{file}: `{part}` says nothing about what is in it"));
        }
    }
    found
}

/// Every `.rs` file below `at`, sorted.
fn rust_files(at: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(at)
        .expect("the source tree is readable")
        .map(|entry| entry.expect("the source tree is readable").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Is `file` (relative) below one of the modules that exist for tests alone?
fn in_test_module(file: &str, test_modules: &BTreeSet<String>) -> bool {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    test_modules.iter().any(|module| stem == module || stem.starts_with(&format!("{module}/")))
}

#[test]
fn the_tree_keeps_its_tiers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    let mut files = Vec::new();
    let mut test_modules = BTreeSet::new();
    for path in &paths {
        let file = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("the source tree is readable");
        let facts = Facts::of(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let stem = file.strip_suffix(".rs").expect("an .rs file");
        let parent = stem.strip_suffix("/mod").unwrap_or(stem);
        let parent = if matches!(parent, "lib" | "main") { "" } else { parent };
        for module in &facts.test_modules {
            let full = format!("{parent}/{module}");
            test_modules.insert(full.trim_start_matches('/').to_owned());
        }
        files.push((file, text, facts));
    }
    let mut found = Vec::new();
    for (file, text, facts) in &files {
        found.extend(untidy(file, text, facts));
        if !in_test_module(file, &test_modules) {
            found.extend(breaches(file, facts));
        }
    }
    for place in UNSAFE_FILES {
        let used =
            files.iter().any(|(file, _, facts)| file == place && !facts.unsafe_at.is_empty());
        if !used {
            found.push(format!("{place}: may hold `unsafe` and has none: strike it off the list"));
        }
    }
    assert!(files.len() > 20, "the walk found only {} files", files.len());
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

/// The breaches of one made-up file.
fn check(file: &str, text: &str) -> Vec<String> {
    breaches(file, &Facts::of(text).expect("the sample parses"))
}

#[test]
fn a_planted_edge_is_found() {
    for (file, text, expected) in [
        ("partition/x.rs", "use crate::storage::Log;", "`partition` names `storage`"),
        ("partition/x.rs", "use crate::{model::Offset, io::{File, Directory}};", "names `io`"),
        ("storage/x.rs", "fn f() { crate::partition::leader::f(); }", "machinery knows bytes"),
        ("storage/x.rs", "fn f() { info!(\"{}\", crate::broker::X); }", "names `broker`"),
        ("storage/log.rs", "use super::super::replica::X;", "names `replica`"),
        ("replica/x.rs", "fn f(x: &glommio::Task<()>) {}", "never name `glommio`"),
        (
            "model/x.rs",
            "fn f() { let t = std::time::Instant::now(); }",
            "never name `std::time::Instant`",
        ),
        ("model/x.rs", "use std::{fs, time::{SystemTime, Duration}};", "`std::time::SystemTime`"),
        ("broker/x.rs", "use crate::testing::disk::Disk;", "only tests name the fakes"),
        ("client/x.rs", "use crate::replica::X;", "it sees"),
        ("partition/x.rs", "fn f() { unsafe { g() } }", "`unsafe`"),
        ("newcomer/x.rs", "", "not in the table"),
    ] {
        let found = check(file, text).join("\n");
        assert!(found.contains(expected), "{file}: {text}\nexpected: {expected}\nfound: {found}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (file, text) in [
        ("storage/x.rs", "use crate::io::File;\nuse glommio::Task;\nuse super::log::Log;"),
        ("replica/x.rs", "use crate::{partition::X, storage::Log, shard::spawn};"),
        (
            "partition/x.rs",
            "#[cfg(test)]\nmod tests { use crate::testing::prng::Prng; use crate::io::X; }",
        ),
        ("partition/x.rs", "use std::time::Duration;\nuse crate::record::BatchHeader;"),
        ("net/socket.rs", "fn f() { unsafe { g() } }"),
        (
            "protocol/x.rs",
            "macro_rules! m { () => { #[cfg(test)] fn f(p: $crate::testing::P) {} } }",
        ),
        ("testing/disk.rs", "use crate::io::File;\nuse std::fs;"),
        ("cli/x.rs", "use crate::broker::X;\nuse tokio::net::TcpStream;"),
    ] {
        assert_eq!(check(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

#[test]
fn an_untidy_file_is_found() {
    let long = format!("//! A head.\n{}", "fn f() {}\n".repeat(LINES_MAX));
    for (file, text, expected) in [
        ("io/x.rs", "use std::fmt;", "has no head"),
        ("io/utils.rs", "//! Things.", "says nothing"),
        ("io/x.rs", long.as_str(), "lines before its tests"),
        ("io/x.rs", &"//! More.\n".repeat(HEAD_LINES_MAX + 1), "its head has"),
    ] {
        let found = untidy(file, text, &Facts::of(text).expect("the sample parses")).join("\n");
        assert!(found.contains(expected), "{file}: expected {expected}, found {found}");
    }
    let tests = format!("//! A head.\n#[cfg(test)]\nmod tests {{\n{}}}", "fn f() {}\n".repeat(900));
    assert!(untidy("io/x.rs", &tests, &Facts::of(&tests).expect("parses")).is_empty());
}
