//! Seeded attacks on the decoders: random bytes, flipped bits, cuts, bombs.
//!
//! Nothing may panic, and nothing may hold more memory than the caller's cap allows.

use bytes::BytesMut;

use crate::model::ids::{ProducerEpoch, ProducerId};
use crate::model::offset::Sequence;
use crate::model::time::Timestamp;
use crate::record::batch::{Batch, Codec, HEADER_BYTES, batches, seal, set_codec};
use crate::record::builder::{BatchBuilder, NewRecord, Producer};
use crate::record::compression::{DecompressError, compress, decompress};
use crate::record::records::Records;
use crate::record::refusal::ValidationError;
use crate::record::validate::tests_rules;
use crate::record::validate::{Compression, Scratch, check};
use crate::testing::prng::Prng;
use crate::testing::seeds::seeds;

/// A batch of a few records of all shapes.
pub fn random_batch(prng: &mut Prng, codec: Codec) -> BytesMut {
    let mut builder = BatchBuilder::new(codec);
    if prng.chance(50) {
        builder = builder.producer(Producer {
            id: ProducerId(7),
            epoch: ProducerEpoch(1),
            base_sequence: Sequence(3),
        });
    }
    for _ in 0..1 + prng.below(20) {
        let part = |prng: &mut Prng| {
            let length = prng.index(200);
            prng.chance(80).then(|| {
                // Half of it packs well.
                let byte = prng.bytes(1)[0];
                if prng.chance(50) { vec![byte; length] } else { prng.bytes(length) }
            })
        };
        let (key, value, header) = (part(prng), part(prng), part(prng));
        let headers = [("h", header.as_deref()), ("", None)];
        let headers = &headers[..prng.index(3)];
        let timestamp = Timestamp(1_700_000_000_000 + prng.below(1000).cast_signed());
        let (key, value) = (key.as_deref(), value.as_deref());
        builder.push(&NewRecord { timestamp, key, value, headers }).unwrap();
    }
    builder.build()
}

fn walk_all(bytes: &[u8], cap: usize) -> usize {
    let mut walked = 0;
    let mut unpacked = Vec::new();
    for batch in batches(bytes) {
        let Ok(batch) = batch else { break };
        let _ = (batch.verify_crc(), batch.info());
        let Ok(codec) = batch.header().attributes().codec() else { continue };
        if decompress(codec, batch.payload(), cap, &mut unpacked).is_err() {
            continue;
        }
        assert!(unpacked.len() <= cap, "C1");
        for record in Records::new(&unpacked, batch.header().record_count()) {
            let Ok(record) = record else { break };
            assert_eq!(record.headers.count(), record.headers.fold(0, |count, _| count + 1));
            walked += 1;
        }
    }
    walked
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let (mut walked, mut passed, mut refused) = (0, 0, 0);
    for seed in seeds(300) {
        let mut prng = Prng::new(seed.0);
        let codec = Codec::ALL[prng.index(5)];
        let good = random_batch(&mut prng, codec);
        for _ in 0..20 {
            let mut bytes = good.clone();
            for _ in 0..prng.below(4) {
                let at = prng.index(bytes.len());
                bytes[at] ^= 1 << prng.below(8);
            }
            if prng.chance(20) {
                let end = prng.index(bytes.len());
                bytes.truncate(end);
            }
            // A fitting checksum lets the damage reach what lies behind it.
            if bytes.len() >= HEADER_BYTES && prng.chance(70) {
                seal(&mut bytes);
            }
            walked += walk_all(&bytes, 1 << 16);
            match check(bytes, &tests_rules(), &mut Scratch::new()) {
                Ok(checked) => {
                    let batch = Batch::first(&checked.batch).unwrap();
                    batch.verify_crc().unwrap();
                    passed += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(walked > 1000 && passed > 100 && refused > 100, "{walked} {passed} {refused}");
}

#[test]
fn noise_is_an_error_and_never_a_panic() {
    for seed in seeds(2_000) {
        let mut prng = Prng::new(seed.0);
        let length = prng.index(300);
        let noise = prng.bytes(length);
        walk_all(&noise, 1 << 16);
        let mut unpacked = Vec::new();
        for codec in Codec::ALL {
            let _ = decompress(codec, &noise, 1 << 16, &mut unpacked);
            assert!(unpacked.capacity() <= 1 << 20, "{codec:?} took {}", unpacked.capacity());
        }
        for record in Records::new(&noise, 1000) {
            let _ = record.map(|record| record.headers.count());
        }
    }
}

#[test]
fn what_is_packed_is_unpacked() {
    for seed in seeds(100) {
        let mut prng = Prng::new(seed.0);
        let length = prng.index(200_000);
        let plain = if prng.chance(50) { prng.bytes(length) } else { vec![7; length] };
        for codec in Codec::ALL {
            let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
            compress(codec, &plain, &mut packed);
            decompress(codec, &packed, plain.len(), &mut unpacked).unwrap();
            assert_eq!(unpacked, plain, "{codec:?}");
            if let Some(cap) = plain.len().checked_sub(1) {
                let error = decompress(codec, &packed, cap, &mut unpacked).unwrap_err();
                assert_eq!(error, DecompressError::TooLarge { bytes_max: cap }, "{codec:?}");
                let cut = &packed[..packed.len() - 1];
                let cut = decompress(codec, cut, plain.len(), &mut unpacked);
                // lz4's end mark may lack a byte and gzip's trailer, not so the data.
                let whole = cut.is_err() || unpacked == plain;
                assert!(whole || codec == Codec::None, "{codec:?}");
            }
        }
    }
}

#[test]
fn raw_snappy_is_read() {
    let plain = b"abcabcabcabcabcabcabc".repeat(50);
    let packed = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut unpacked = Vec::new();
    decompress(Codec::Snappy, &packed, 4096, &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
}

#[test]
fn joined_xerial_streams_are_read() {
    let mut packed = Vec::new();
    compress(Codec::Snappy, b"one ", &mut packed);
    compress(Codec::Snappy, b"two", &mut packed);
    let mut unpacked = Vec::new();
    decompress(Codec::Snappy, &packed, 4096, &mut unpacked).unwrap();
    assert_eq!(unpacked, b"one two");
}

#[test]
fn lz4_blocks_that_depend_on_one_another_are_refused() {
    use std::io::Write as _;
    let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(b"aaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
    let packed = encoder.finish().unwrap();
    let error = decompress(Codec::Lz4, &packed, 4096, &mut Vec::new());
    assert_eq!(error, Err(DecompressError::Damaged { codec: Codec::Lz4 }));
}

/// 64 MiB of zeros behind a few KiB: refused at the cap, without the memory.
#[test]
fn bombs_stop_at_the_cap() {
    let cap = 1 << 20;
    let zeros = vec![0u8; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut batch = random_batch(&mut Prng::new(1), Codec::None);
        batch.truncate(HEADER_BYTES);
        let mut bytes = batch.to_vec();
        set_codec(&mut bytes, codec);
        compress(codec, &zeros, &mut bytes);
        seal(&mut bytes);
        let mut unpacked = Vec::new();
        let error = decompress(codec, &bytes[HEADER_BYTES..], cap, &mut unpacked);
        assert_eq!(error, Err(DecompressError::TooLarge { bytes_max: cap }), "{codec:?}");
        assert!(unpacked.capacity() <= 4 * cap, "{codec:?} took {}", unpacked.capacity());
        let rules = crate::record::validate::Rules {
            batch_bytes_max: 64 << 20,
            unpacked_bytes_max: cap,
            ..tests_rules()
        };
        let error = check(BytesMut::from(&bytes[..]), &rules, &mut Scratch::new()).unwrap_err();
        let want = ValidationError::Decompress(DecompressError::TooLarge { bytes_max: cap });
        assert_eq!(error, want, "{codec:?}");
    }
}

/// A zstd frame that asks for a window of 128 MiB is read without one.
#[test]
fn a_zstd_window_costs_no_memory() {
    use std::io::Write as _;
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"hello").unwrap();
    let packed = encoder.finish().unwrap();
    let mut unpacked = Vec::new();
    decompress(Codec::Zstd, &packed, 4096, &mut unpacked).unwrap();
    assert_eq!(unpacked, b"hello");
    assert!(unpacked.capacity() <= 4096);
}

#[test]
fn packing_anew_keeps_the_records() {
    let mut repacked = 0;
    for seed in seeds(100) {
        let mut prng = Prng::new(seed.0);
        let (from, to) = (Codec::ALL[prng.index(5)], Codec::ALL[prng.index(5)]);
        let batch = random_batch(&mut prng, from);
        let rules = crate::record::validate::Rules {
            compression: Compression::Codec(to, None),
            ..tests_rules()
        };
        let checked = check(batch.clone(), &rules, &mut Scratch::new()).unwrap();
        let unpack = |bytes: &[u8], codec| {
            let mut out = Vec::new();
            decompress(codec, &bytes[HEADER_BYTES..], 1 << 20, &mut out).unwrap();
            out
        };
        assert_eq!(unpack(&batch, from), unpack(&checked.batch, to), "{from:?} to {to:?}");
        assert_eq!(checked.info.attributes.codec(), Ok(to));
        let again = check(checked.batch.clone(), &rules, &mut Scratch::new()).unwrap();
        assert_eq!(again.batch, checked.batch, "a second check changes nothing");
        repacked += u32::from(from != to);
    }
    assert!(repacked > 20, "vacuous: {repacked}");
}
