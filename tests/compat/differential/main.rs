//! Yeoul against the real Apache Kafka: the same generated requests to both, answers field by field.
//!
//! In:   `differential YEOUL KAFKA TABLE [--rounds N] [--seed N] [--all]`: two addresses of brokers with
//!       nothing in them, and the table of known differences. `--all` shows those too.
//! Out:  each difference that no row explains; exit code 1 if there is one, if a row explains nothing
//!       (over 10 rounds and more), or if Yeoul serves something that is asked for nowhere here.
//! Home: a program; `scripts/compat/differential.sh` starts the brokers and calls it.
//!
//! Invariants
//!   Q1  Every API and version that Yeoul advertises is asked for.
//!   Q2  Only what each broker chooses is masked: ids, addresses, times, members' names.
//!   Q3  One seed asks the same.

#![allow(clippy::disallowed_methods)] // a program of its own: clocks, files and waits as it likes

mod admin;
mod consumers;
mod data;
mod duo;
mod groups;
mod leaves;
mod table;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::process::ExitCode;

use duo::Duo;
use table::{Difference, Table};
use yeoul::protocol::messages::api_versions::ApiVersionsRequest;
use yeoul::testing::prng::Prng;

/// Rounds from which on a row that explains nothing is an error.
const ROUNDS_FOR_UNUSED_ROWS: u64 = 10;

struct Options {
    rounds: u64,
    seed: u64,
    all: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [yeoul, kafka, table, options @ ..] = &words[..] else {
        return Err(
            "usage: differential YEOUL KAFKA TABLE [--rounds N] [--seed N] [--all]".to_owned()
        );
    };
    let options = options_of(options)?;
    let text = std::fs::read_to_string(table).map_err(|error| format!("{table}: {error}"))?;
    let table = Table::read(&text)?;
    let mut duo = Duo::new(yeoul, kafka);
    let mut prng = Prng::new(options.seed);
    for round in 0..options.rounds {
        eprintln!("round {round}");
        play(&mut duo, &mut prng, options.seed * 1000 + round);
    }
    Ok(report(&duo, &table, &options))
}

fn options_of(words: &[String]) -> Result<Options, String> {
    let mut options = Options { rounds: 1, seed: 1, all: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("{word} needs a number"))?;
            text.parse().map_err(|_| format!("no number: {text}"))
        };
        match word.as_str() {
            "--rounds" => options.rounds = number()?,
            "--seed" => options.seed = number()?,
            "--all" => options.all = true,
            _ => return Err(format!("unknown: {word}")),
        }
    }
    Ok(options)
}

fn play(duo: &mut Duo, prng: &mut Prng, round: u64) {
    versions(duo);
    malformed(duo);
    let topics = topics::create(duo, &mut prng.split(), round);
    topics::describe(duo, &mut prng.split(), &topics);
    data::produce(duo, &mut prng.split(), &topics);
    data::idempotent(duo, &mut prng.split(), &topics);
    data::fetch(duo, &mut prng.split(), &topics);
    data::offsets(duo, &mut prng.split(), &topics);
    groups::play(duo, &mut prng.split(), round, &topics);
    consumers::play(duo, round, &topics);
    transactions::play(duo, &mut prng.split(), round, &topics);
    admin::play(duo, &mut prng.split(), &topics);
    topics::describe(duo, &mut prng.split(), &topics);
}

fn versions(duo: &mut Duo) {
    for version in duo.versions::<ApiVersionsRequest>() {
        for name in ["differential", "not a name!", ""] {
            duo.ask(&format!("software {name:?}"), version, |_| ApiVersionsRequest {
                client_software_name: name.to_owned(),
                client_software_version: "1.0".to_owned(),
                ..Default::default()
            });
        }
    }
}

/// Frames that are no request, and what both do with them.
fn malformed(duo: &mut Duo) {
    let frames: [(&str, &[u8]); 12] = [
        ("an empty frame", &[]),
        ("half a header", &[0, 18, 0, 0]),
        ("no such key", &[3, 231, 0, 0, 0, 0, 0, 7, 255, 255]),
        ("a key of old", &[0, 4, 0, 0, 0, 0, 0, 7, 255, 255]),
        ("a version too old", &[0, 1, 0, 3, 0, 0, 0, 7, 255, 255, 0, 0]),
        ("a version too new", &[0, 3, 0, 99, 0, 0, 0, 7, 255, 255, 0, 0]),
        ("ApiVersions too new", &[0, 18, 0, 99, 0, 0, 0, 7, 255, 255, 0]),
        ("a body cut short", &[0, 3, 0, 1, 0, 0, 0, 7, 255, 255, 0, 0, 0, 5]),
        ("a huge array", &[0, 3, 0, 1, 0, 0, 0, 7, 255, 255, 127, 255, 255, 255]),
        ("null where none may be", &[0, 3, 0, 0, 0, 0, 0, 7, 255, 255, 255, 255, 255, 255]),
        ("a negative length", &[0, 3, 0, 1, 0, 0, 0, 7, 255, 255, 128, 0, 0, 0]),
        ("a negative key", &[255, 255, 0, 0, 0, 0, 0, 7, 255, 255]),
    ];
    for (step, body) in frames {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        duo.ask_raw(step, &[&length[..], body].concat());
    }
    duo.ask_raw("a negative frame", &[255, 255, 255, 255]);
    duo.ask_raw("a frame above all limits", &[127, 255, 255, 255]);
}

/// Says what was found; true if all of it is explained and all that is served was asked for.
fn report(duo: &Duo, table: &Table, options: &Options) -> bool {
    let mut open: BTreeMap<(String, String, String, String, String), Vec<i16>> = BTreeMap::new();
    let mut explained = 0;
    for difference in &duo.differences {
        let known = table.explains(difference);
        explained += usize::from(known);
        if !known || options.all {
            let Difference { api, step, path, yeoul, kafka, version } = difference.clone();
            open.entry((api, step, path, yeoul, kafka)).or_default().push(version);
        }
    }
    for ((api, step, path, yeoul, kafka), versions) in &open {
        println!("{api} {versions:?} ({step}) {path}\n    yeoul: {yeoul}\n    kafka: {kafka}");
    }
    let mut missing = Vec::new();
    for (key, (first, last)) in &duo.yeoul.served {
        // Produce 0 to 2 are named for old clients and refused: one of the malformed frames.
        let first = if *key == 0 { 3 } else { *first };
        let unasked = (first..=*last).filter(|version| !duo.asked.contains_key(&(*key, *version)));
        missing.extend(unasked.map(|version| format!("{} {version}", duo::name(*key))));
    }
    let unused = if options.rounds < ROUNDS_FOR_UNUSED_ROWS { Vec::new() } else { table.unused() };
    let requests: u64 = duo.asked.values().sum();
    println!(
        "{requests} requests in {} kinds, {} differences: {explained} explained, {} not; served but not asked for: \
         {missing:?}; rows that explain nothing: lines {unused:?}",
        duo.asked.len(),
        duo.differences.len(),
        duo.differences.len() - explained,
    );
    explained == duo.differences.len() && missing.is_empty() && unused.is_empty()
}
