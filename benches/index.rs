//! Claim: finding the place of an offset in a full segment's sparse index takes well below a
//! microsecond, and noting a batch that gets no entry next to nothing.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use yeoul::model::ids::{ProducerEpoch, ProducerId};
use yeoul::model::offset::{LeaderEpoch, Offset, Sequence};
use yeoul::model::time::Timestamp;
use yeoul::record::batch::{
    Attributes, BatchHeader, BatchInfo, HEADER_BYTES, HeaderFields, header_bytes, seal,
};
use yeoul::storage::offset_index::SparseIndex;
use yeoul::storage::txn_index::OpenTransactions;

const INTERVAL_BYTES: u32 = 4_096;
/// A segment of 1 GiB.
const ENTRIES: i64 = (1 << 30) / INTERVAL_BYTES as i64;

/// A batch of one record and exactly one interval.
fn batch() -> (Vec<u8>, BatchInfo) {
    let fields = HeaderFields {
        base_offset: Offset(0),
        leader_epoch: LeaderEpoch(0),
        attributes: Attributes(0),
        last_offset_delta: 0,
        base_timestamp: Timestamp(1),
        max_timestamp: Timestamp(1),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence::NONE,
        record_count: 1,
    };
    let mut bytes = header_bytes(&fields).to_vec();
    bytes.resize(usize::try_from(INTERVAL_BYTES).expect("small"), 7);
    seal(&mut bytes);
    let info = BatchHeader::peek(&bytes).expect("a whole header").info().expect("a sound header");
    (bytes, info)
}

fn index_of(entries: i64) -> SparseIndex {
    let (bytes, info) = batch();
    let mut index = SparseIndex::new(Offset(0), OpenTransactions::default());
    for offset in (0..entries).map(Offset) {
        let info = BatchInfo { base_offset: offset, last_offset: offset, ..info };
        index.note(&info, &bytes[..HEADER_BYTES], None, INTERVAL_BYTES);
    }
    index
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index_lookup");
    for entries in [1_024, ENTRIES] {
        let index = index_of(entries);
        let mut offset = 0;
        group.bench_function(entries.to_string(), |bencher| {
            bencher.iter(|| {
                offset = (offset + 7_919) % entries; // a prime: all over the index
                index.at_or_before(Offset(black_box(offset))).expect("the first is at 0")
            });
        });
    }
    group.finish();
}

fn note(criterion: &mut Criterion) {
    criterion.bench_function("index_note", |bencher| bencher.iter(|| index_of(1_024)));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = lookup, note
}
criterion_main!(benches);
