//! Which partition a record goes to: as Kafka's Java client chooses, so that a key stays with its
//! partition whoever writes it.
//!
//! Home: pure.
//!
//! Source: Kafka's `BuiltInPartitioner`; MurmurHash2 (Appleby), 32-bit, seed 0x9747b28c.

/// The partition of a keyed record among `partitions`, which is above 0.
pub fn partition_of_key(key: &[u8], partitions: usize) -> usize {
    assert!(0 < partitions, "a topic has a partition");
    let positive = murmur2(key) & 0x7fff_ffff;
    usize::try_from(positive).expect("31 bits") % partitions
}

/// The hash Kafka's clients put keys through.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Lengths above 32 bits wrap as they do in Java, where an array has none such.
    let length = u32::try_from(data.len() & 0xffff_ffff).expect("masked");
    let mut hash = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let word = u32::from_le_bytes(word.try_into().expect("chunks of four"));
        let mut mixed = word.wrapping_mul(M);
        mixed ^= mixed >> R;
        mixed = mixed.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    let rest = words.remainder();
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_vectors() {
        // Kafka's UtilsTest.testMurmur2.
        let check = |text: &str, want: i32| {
            assert_eq!(murmur2(text.as_bytes()), want.cast_unsigned(), "{text}");
        };
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check("abc", 479_470_107);
    }

    #[test]
    fn a_key_keeps_its_partition() {
        for partitions in 1..20 {
            let place = partition_of_key(b"UA", partitions);
            assert!(place < partitions);
            assert_eq!(place, partition_of_key(b"UA", partitions));
        }
    }
}
