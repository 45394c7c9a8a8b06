//! What it costs a connection's shard to check what a client produces.
//!
//! Claim: a batch of 100-byte records that is not compressed is checked, CRC and walk over all
//! records included, at more than ten million records a second and core.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use yeoul::model::time::Timestamp;
use yeoul::record::batch::{Codec, TimestampType};
use yeoul::record::builder::{BatchBuilder, NewRecord};
use yeoul::record::crc::crc32c;
use yeoul::record::validate::{Compression, Keys, Rules, Scratch, check};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const BATCH_BYTES: usize = 16 * 1024;

fn rules() -> Rules {
    Rules {
        produce_version: 13,
        now: NOW,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: 3_600_000,
        keys: Keys::Optional,
        compression: Compression::Producer,
        batch_bytes_max: 1_048_588,
        segment_bytes: 1 << 30,
        unpacked_bytes_max: 16 << 20,
    }
}

/// A batch of about [`BATCH_BYTES`] of text-like records, and how many they are.
fn batch_of(codec: Codec, value_bytes: usize) -> (BytesMut, u64) {
    let words = b"the quick brown fox jumps over the lazy dog ";
    let value: Vec<u8> = words.iter().copied().cycle().take(value_bytes).collect();
    let mut builder = BatchBuilder::new(codec);
    let mut count = 0;
    while builder.record_bytes() < BATCH_BYTES {
        let timestamp = Timestamp(NOW.0 + i64::from(builder.record_count()));
        let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
        builder.push(&record).expect("a few KiB fit");
        count += 1;
    }
    (builder.build(), count)
}

fn bench_check(c: &mut Criterion) {
    for value_bytes in [100, 1024] {
        let mut group = c.benchmark_group(format!("check/{value_bytes}B"));
        for codec in Codec::ALL {
            let (batch, count) = batch_of(codec, value_bytes);
            let mut scratch = Scratch::new();
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::from_parameter(codec.name()), |b| {
                b.iter_batched(
                    || batch.clone(),
                    |batch| check(batch, &rules(), &mut scratch).expect("a valid batch"),
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

fn bench_crc(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc32c");
    for bytes in [1 << 10, 16 << 10, 1 << 20] {
        let data = vec![7u8; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| crc32c(black_box(&data)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench_check, bench_crc);
criterion_main!(benches);
