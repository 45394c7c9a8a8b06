//! Seeds of simulation runs; a panic under a seed prints how to replay it.

/// A seed that, when dropped by a panic, prints how to run it alone.
#[derive(Debug)]
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay: YEOUL_SEED={} cargo test <this test>", self.0);
        }
    }
}

/// The seeds `0..count`, or the one that `YEOUL_SEED` names; `YEOUL_SEEDS` overrides the count.
pub fn seeds(count: u64) -> Box<dyn Iterator<Item = Seed>> {
    let read = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    if let Some(seed) = read("YEOUL_SEED") {
        return Box::new(std::iter::once(Seed(seed)));
    }
    Box::new((0..read("YEOUL_SEEDS").unwrap_or(count)).map(Seed))
}
