//! The newest offset of each key, in bounded memory.
//!
//! In:   keys with offsets, in the order of the log.
//! Out:  the last offset put for a key; or that no more keys fit.
//! Home: one pass over one log.
//!
//! Invariants
//!   K1  All tables together take no more than the bytes they were given.
//!   K2  A table is filled to the given part at most.
//!   K3  Keys are told apart by 128 bits of two keyed hashes: nobody who does not know the
//!       process's random seeds can choose keys that collide.
//!
//! An entry is 24 bytes, as Kafka's. The keys are spread over many small tables that grow one by
//! one, so that memory follows the number of keys, and growing needs little besides.
//! Per look-up: two hashes of the key, one or two cache misses; nothing is allocated.
//!
//! Source: Kafka's `SkimpyOffsetMap`.

use std::hash::{BuildHasher, RandomState};

use crate::model::offset::Offset;

const TABLES_BITS: u32 = 6;
const TABLES: usize = 1 << TABLES_BITS;
/// Bytes of an entry.
const ENTRY_BYTES: usize = size_of::<Entry>();
const _: () = assert!(ENTRY_BYTES == 24);
/// A table grows when it is fuller than this many of a hundred, while there is memory.
const GROW_PERCENT: usize = 70;
/// Entries that a table grows by, at least.
const GROW_ENTRIES_MIN: usize = 8;

#[derive(Clone, Copy)]
struct Entry {
    hash: [u64; 2],
    /// -1: the entry is free.
    offset: i64,
}

const FREE: Entry = Entry { hash: [0; 2], offset: -1 };

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    used: usize,
}

/// No more keys fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The map.
pub(super) struct KeyMap {
    tables: Vec<Table>,
    hashers: [RandomState; 2],
    bytes: usize,
    bytes_max: usize,
    /// How full a table may be, of a hundred.
    fill_percent: usize,
}

impl KeyMap {
    /// An empty map of at most `bytes_max`, each table filled to `fill_percent` at most.
    pub(super) fn new(bytes_max: usize, fill_percent: usize) -> KeyMap {
        KeyMap {
            tables: (0..TABLES).map(|_| Table::default()).collect(),
            hashers: [RandomState::new(), RandomState::new()],
            bytes: 0,
            bytes_max,
            fill_percent: fill_percent.clamp(1, 99),
        }
    }

    /// Notes that `key` was written at `offset`. Errors: [`Full`], and nothing has changed.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        assert!(offset >= Offset::ZERO, "a record's offset");
        let hash = self.hash(key);
        let table = table_of(hash);
        let place = self.tables[table].find(hash);
        let held = place.is_some_and(|at| self.tables[table].entries[at].offset >= 0);
        if !held && !self.make_room(table) {
            return Err(Full);
        }
        let table = &mut self.tables[table];
        let place = table.find(hash).expect("there is room");
        table.used += usize::from(!held);
        table.entries[place] = Entry { hash, offset: offset.0 };
        Ok(())
    }

    /// The last offset noted for `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        let table = &self.tables[table_of(hash)];
        let entry = table.entries[table.find(hash)?];
        (entry.offset >= 0).then_some(Offset(entry.offset))
    }

    /// Keys held.
    pub(super) fn keys(&self) -> usize {
        self.tables.iter().map(|table| table.used).sum()
    }

    /// Bytes taken, of those that may be, in percent.
    pub(super) fn utilization_percent(&self) -> u64 {
        let used = self.keys().saturating_mul(ENTRY_BYTES).saturating_mul(100);
        (used / self.bytes_max.max(1)) as u64
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// Whether one more entry may go into `table`, which grows for it if it can (K1, K2).
    fn make_room(&mut self, table: usize) -> bool {
        let (used, capacity) = (self.tables[table].used + 1, self.tables[table].entries.len());
        if used * 100 > capacity * GROW_PERCENT {
            let more = (capacity / 2).max(GROW_ENTRIES_MIN);
            // Both the old and the new entries are held while they move.
            let moving = (capacity + more) * ENTRY_BYTES;
            if self.bytes + moving <= self.bytes_max {
                self.tables[table].grow(more);
                self.bytes += more * ENTRY_BYTES;
                assert!(self.bytes <= self.bytes_max, "K1");
                return true;
            }
        }
        used * 100 <= capacity * self.fill_percent
    }
}

fn table_of(hash: [u64; 2]) -> usize {
    usize::try_from(hash[0] >> (u64::BITS - TABLES_BITS)).expect("a few bits")
}

impl Table {
    /// Where `hash` is, or the free entry where it would go; `None` if the table has no entries.
    fn find(&self, hash: [u64; 2]) -> Option<usize> {
        let length = self.entries.len();
        if length == 0 {
            return None;
        }
        // The second hash picks the place, the first has picked the table.
        let scaled = u128::from(hash[1]) * length as u128;
        let mut at = usize::try_from(scaled >> u64::BITS).expect("below the length");
        loop {
            let entry = &self.entries[at];
            if entry.offset < 0 || entry.hash == hash {
                return Some(at); // one is free: K2
            }
            at = if at + 1 == length { 0 } else { at + 1 };
        }
    }

    fn grow(&mut self, more: usize) {
        let entries = vec![FREE; self.entries.len() + more];
        let old = std::mem::replace(&mut self.entries, entries);
        for entry in old.into_iter().filter(|entry| entry.offset >= 0) {
            let at = self.find(entry.hash).expect("it has entries");
            self.entries[at] = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::prng::Prng;

    #[test]
    fn the_last_offset_of_each_key_is_found_and_no_other_key() {
        let mut prng = Prng::new(1);
        let mut map = KeyMap::new(1 << 20, 90);
        let mut model = HashMap::new();
        for offset in 0..20_000 {
            let key = prng.below(5_000).to_le_bytes();
            map.put(&key, Offset(offset)).unwrap();
            model.insert(key, Offset(offset));
        }
        assert_eq!(map.keys(), model.len());
        assert!(map.bytes <= model.len() * ENTRY_BYTES * 3);
        for key in 0..10_000u64 {
            let key = key.to_le_bytes();
            assert_eq!(map.get(&key), model.get(&key).copied());
        }
        assert_eq!(map.get(b""), None);
    }

    #[test]
    fn it_keeps_to_its_memory_and_a_full_one_still_takes_keys_it_has() {
        let check = |bytes_max: usize, least: usize| {
            let mut map = KeyMap::new(bytes_max, 90);
            let mut key = 0u64;
            while map.put(&key.to_le_bytes(), Offset(7)).is_ok() {
                key += 1;
                assert!(map.bytes <= bytes_max, "K1");
            }
            assert!(map.keys() >= least, "{} keys in {bytes_max} bytes", map.keys());
            for known in 0..key {
                assert_eq!(map.put(&known.to_le_bytes(), Offset(9)), Ok(()));
                assert_eq!(map.get(&known.to_le_bytes()), Some(Offset(9)));
            }
            assert_eq!(map.get(&key.to_le_bytes()), None);
        };
        check(1 << 20, (1 << 20) / ENTRY_BYTES / 2);
        check(64 << 10, 64);
        check(300, 1);
        let mut none = KeyMap::new(0, 90);
        assert_eq!((none.put(b"k", Offset(0)), none.get(b"k")), (Err(Full), None));
    }
}
