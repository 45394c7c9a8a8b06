//! Memory that one receive fills, shared by the connections of a shard.
//!
//! In:   bytes of one receive.
//! Out:  those bytes, taken from the front.
//! Home: the pool of the shard's thread.
//!
//! Invariants
//!   C1  A connection holds a chunk only while it has received bytes that it has not taken, so a
//!       thousand idle connections share a few chunks.

use std::cell::RefCell;

/// Bytes of one receive: many small requests cost one call.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// Chunks kept for the next receive; more are given back to the allocator.
const POOL_CHUNKS_MAX: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with received bytes between `head` and `tail`.
#[derive(Debug)]
pub(super) struct Chunk {
    memory: Box<[u8]>,
    head: usize,
    tail: usize,
}

impl Chunk {
    /// An empty one from the pool.
    pub(super) fn take() -> Chunk {
        let pooled = POOL.with(|pool| pool.borrow_mut().pop());
        let memory = pooled.unwrap_or_else(|| vec![0; CHUNK_BYTES].into_boxed_slice());
        Chunk { memory, head: 0, tail: 0 }
    }

    /// Where the next bytes go.
    pub(super) fn free(&mut self) -> &mut [u8] {
        &mut self.memory[self.tail..]
    }

    /// Notes that `count` bytes were put into `free`.
    pub(super) fn filled(&mut self, count: usize) {
        self.tail += count;
        assert!(self.tail <= self.memory.len(), "no more than was free");
    }

    /// Takes up to `count` bytes from the front.
    pub(super) fn consume(&mut self, count: usize) -> &[u8] {
        let from = self.head;
        self.head += count.min(self.tail - from);
        &self.memory[from..self.head]
    }

    /// Bytes not taken yet.
    pub(super) fn len(&self) -> usize {
        self.tail - self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // The pool may be gone when the thread ends.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_CHUNKS_MAX {
                pool.push(memory);
            }
        });
    }
}
