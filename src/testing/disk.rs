//! A disk in memory that forgets what was not synced, as a real one may.
//!
//! In:   the calls of `crate::io`'s traits; a seed; where to crash, what to refuse.
//! Out:  completions in any order; after a crash, one of the states the disk could be in.
//! Home: one thread; `crate::testing::run` polls the tasks that use it.
//!
//! Invariants
//!   M1  Only a completed `Synced` write, or a `sync` begun after the write completed, makes a
//!       sector durable; only `Directory::sync` or `write_small` a name.
//!   M2  At a power cut each 512-byte sector that is not durable becomes, alone, what was durable,
//!       any later content, or (rarely) garbage in those bytes in which these differ.
//!   M3  At a power cut each change of a name that is not durable survives or not, alone.
//!   M4  At a kill all completed calls stay visible, and stay as little durable as they were.
//!   M5  Two writes in flight on one block (W1), a misaligned one, or a file that is cut under a
//!       write, ends the test.
//!
//! M2 keeps the bytes on which old and new agree: drives write a sector whole or not at all, and a
//! log that rewrites its last block repeats its prefix (W2). After a failed sync the sectors it was
//! to save count as clean, as on Linux: no later sync saves them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::constants::BLOCK_BYTES;
use crate::io::directory::{Directory, Space};
use crate::io::file::{Durability, File, IoError};
use crate::testing::prng::Prng;

const SECTOR: usize = 512;

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process alone: the operating system goes on (M4).
    Kill,
    /// The power (M2, M3).
    PowerCut,
}

/// One file, whatever its name.
#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Contents that a sector had since the durable one, oldest first, each with its version.
    between: BTreeMap<usize, Vec<(u64, Vec<u8>)>>,
    /// Versions of a sector's current content and of its durable one; 0 if never changed.
    versions: BTreeMap<usize, u64>,
    saved: BTreeMap<usize, u64>,
    next_version: u64,
    /// Sectors whose current content is not durable.
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync has lost.
    lost: BTreeSet<usize>,
    size_durable: usize,
}

/// A change of a name that is not durable.
#[derive(Clone)]
enum Change {
    Set(String, usize),
    Remove(String),
    Rename(String, String),
}

#[derive(Clone, Default)]
struct Folder {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes that are not durable, each with its number.
    changes: Vec<(u64, Change)>,
    next_change: u64,
}

/// A call under way.
struct Call {
    id: u64,
    waker: Option<Waker>,
    finished: bool,
    /// A write: inode, position, bytes.
    write: Option<(usize, usize, Vec<u8>)>,
}

struct World {
    prng: Prng,
    inodes: Vec<Inode>,
    folders: BTreeMap<String, Folder>,
    calls: Vec<Call>,
    next_call: u64,
    /// Changing calls begun.
    changes: u64,
    crash_at: Option<u64>,
    fail_at: Option<(u64, IoError)>,
    crashed: bool,
    space: Option<usize>,
    reads: u64,
    zeroings: u64,
}

/// The simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    world: Rc<RefCell<World>>,
}

/// A directory on it.
#[derive(Clone)]
pub struct SimDirectory {
    disk: Disk,
    path: String,
}

/// An open file on it.
pub struct SimFile {
    disk: Disk,
    inode: usize,
}

impl Disk {
    /// An empty disk.
    pub fn new(seed: u64) -> Disk {
        let mut folders = BTreeMap::new();
        folders.insert(String::new(), Folder::default());
        Disk::with(Prng::new(seed), Vec::new(), folders)
    }

    fn with(prng: Prng, inodes: Vec<Inode>, folders: BTreeMap<String, Folder>) -> Disk {
        let world = World {
            prng,
            inodes,
            folders,
            calls: Vec::new(),
            next_call: 0,
            changes: 0,
            crash_at: None,
            fail_at: None,
            crashed: false,
            space: None,
            reads: 0,
            zeroings: 0,
        };
        Disk { world: Rc::new(RefCell::new(world)) }
    }

    /// Its root.
    pub fn root(&self) -> SimDirectory {
        SimDirectory { disk: self.clone(), path: String::new() }
    }

    /// Changing calls (writes, syncs, names) begun so far.
    pub fn changes(&self) -> u64 {
        self.world.borrow().changes
    }

    /// Reads of files so far.
    pub fn reads(&self) -> u64 {
        self.world.borrow().reads
    }

    /// Writes of zeros ahead so far.
    pub fn zeroings(&self) -> u64 {
        self.world.borrow().zeroings
    }

    /// Stops everything when the `change`-th changing call (from 1) has begun.
    pub fn crash_at(&self, change: u64) {
        self.world.borrow_mut().crash_at = Some(change);
    }

    /// Lets the `change`-th changing call (from 1) fail with `error`.
    pub fn fail_at(&self, change: u64, error: IoError) {
        self.world.borrow_mut().fail_at = Some((change, error));
    }

    /// Bounds the bytes of all files; `None`: no bound.
    pub fn set_space(&self, space: Option<usize>) {
        self.world.borrow_mut().space = space;
    }

    /// Whether the crash point has been reached.
    pub fn crashed(&self) -> bool {
        self.world.borrow().crashed
    }

    /// Flips one bit of a file, durably. Panics: if the file or the byte is not there.
    pub fn flip_bit(&self, name: &str, position: usize, bit: u8) {
        let mut world = self.world.borrow_mut();
        let inode = world.folders[""].now[name];
        world.inodes[inode].now[position] ^= 1 << bit;
        world.inodes[inode].durable[position] ^= 1 << bit;
    }

    /// The disk as the next process finds it; this one is dead from now on.
    pub fn crash(&self, how: Crash, seed: u64) -> Disk {
        let mut world = self.world.borrow_mut();
        world.crashed = true;
        let mut prng = Prng::new(seed);
        let mut inodes = world.inodes.clone();
        let mut folders = world.folders.clone();
        for call in &world.calls {
            if let Some((inode, position, bytes)) = &call.write {
                if call.finished {
                    continue;
                }
                // Under way: any of its sectors may have arrived.
                for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                    if prng.chance(50) {
                        inodes[*inode].put(position + at * SECTOR, sector);
                    }
                }
            }
        }
        if how == Crash::PowerCut {
            inodes.iter_mut().for_each(|inode| inode.lose_power(&mut prng));
            folders.values_mut().for_each(|folder| folder.lose_power(&mut prng));
        }
        Disk::with(prng, inodes, folders)
    }

    /// Another disk in the same state. Panics: if a call is under way.
    pub fn fork(&self, seed: u64) -> Disk {
        let world = self.world.borrow();
        assert!(world.calls.is_empty(), "a disk at rest is forked");
        Disk::with(Prng::new(seed), world.inodes.clone(), world.folders.clone())
    }

    /// Lets one call under way, drawn by the seed, finish; false if there is none.
    pub fn finish_one(&self) -> bool {
        let waker = {
            let mut world = self.world.borrow_mut();
            let open: Vec<usize> =
                (0..world.calls.len()).filter(|at| !world.calls[*at].finished).collect();
            if open.is_empty() {
                return false;
            }
            let at = open[world.prng.index(open.len())];
            world.calls[at].finished = true;
            world.calls[at].waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Begins a call; the result is known when it finishes.
    fn begin(
        &self,
        changing: bool,
        write: Option<(usize, usize, Vec<u8>)>,
    ) -> Result<u64, IoError> {
        let mut world = self.world.borrow_mut();
        if changing {
            world.changes += 1;
            world.crashed |= world.crash_at == Some(world.changes);
            if let Some((at, error)) = world.fail_at
                && at == world.changes
            {
                return Err(error);
            }
        }
        if let Some((inode, position, bytes)) = &write {
            assert_eq!(position % BLOCK_BYTES, 0, "M5: a write begins at a block");
            assert_eq!(bytes.len() % BLOCK_BYTES, 0, "M5: a write is whole blocks");
            let end = position + bytes.len();
            for call in world.calls.iter().filter(|call| !call.finished || call.write.is_some()) {
                if let Some((other, from, content)) = &call.write {
                    let apart = end <= *from || from + content.len() <= *position;
                    assert!(other != inode || apart, "M5: two writes in flight on one block");
                }
            }
        }
        let id = world.next_call;
        world.next_call += 1;
        world.calls.push(Call { id, waker: None, finished: false, write });
        Ok(id)
    }

    /// Panics: if a write is under way that ends past `size` (M5).
    fn assert_unwritten_from(&self, inode: usize, size: usize) {
        let world = self.world.borrow();
        let mut writes = world.calls.iter().filter_map(|call| call.write.as_ref());
        let under = writes.any(|(of, at, bytes)| *of == inode && at + bytes.len() > size);
        assert!(!under, "M5: a file is cut under a write");
    }

    /// Waits until the call has finished; for ever, if the crash comes first.
    async fn wait(&self, id: u64) -> Option<(usize, usize, Vec<u8>)> {
        poll_fn(|context| {
            let mut world = self.world.borrow_mut();
            if world.crashed {
                return Poll::Pending;
            }
            let at = world.calls.iter().position(|call| call.id == id).expect("it was begun");
            if world.calls[at].finished {
                return Poll::Ready(world.calls.swap_remove(at).write);
            }
            world.calls[at].waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// A call that changes something other than by a write.
    async fn change(&self) -> Result<(), IoError> {
        let id = self.begin(true, None)?;
        self.wait(id).await;
        Ok(())
    }

    async fn look(&self) {
        let id = self.begin(false, None).expect("only changes fail");
        self.wait(id).await;
    }
}

impl World {
    fn used(&self) -> usize {
        let named: BTreeSet<usize> =
            self.folders.values().flat_map(|folder| folder.now.values().copied()).collect();
        named.iter().map(|inode| self.inodes[*inode].now.len()).sum()
    }

    fn admit(&self, more: usize) -> Result<(), IoError> {
        match self.space {
            Some(space) if self.used() + more > space => Err(IoError::NoSpace),
            _ => Ok(()),
        }
    }
}

impl Inode {
    fn sector(content: &[u8], sector: usize) -> Vec<u8> {
        let from = (sector * SECTOR).min(content.len());
        let to = (from + SECTOR).min(content.len());
        let mut bytes = content[from..to].to_vec();
        bytes.resize(SECTOR, 0);
        bytes
    }

    /// Changes what is visible, at a sector boundary.
    fn put(&mut self, position: usize, bytes: &[u8]) {
        if self.now.len() < position + bytes.len() {
            self.now.resize(position + bytes.len(), 0);
        }
        let first = position / SECTOR;
        for sector in first..first + bytes.len().div_ceil(SECTOR) {
            self.touch(sector);
            self.lost.remove(&sector);
        }
        self.now[position..position + bytes.len()].copy_from_slice(bytes);
    }

    fn resize(&mut self, size: usize) {
        let (from, to) = (self.now.len().min(size) / SECTOR, self.now.len().max(size));
        for sector in from..to.div_ceil(SECTOR) {
            self.touch(sector);
        }
        self.now.resize(size, 0);
    }

    fn version(&self, sector: usize) -> u64 {
        self.versions.get(&sector).copied().unwrap_or(0)
    }

    /// Before a sector's content changes.
    fn touch(&mut self, sector: usize) {
        if self.dirty.contains(&sector) {
            let old = (self.version(sector), Inode::sector(&self.now, sector));
            self.between.entry(sector).or_default().push(old);
        }
        self.dirty.insert(sector);
        self.next_version += 1;
        self.versions.insert(sector, self.next_version);
    }

    /// Makes a sector durable with the content it had in `version`: no power cut brings back an
    /// older one.
    fn save(&mut self, sector: usize, version: u64, content: &[u8]) {
        let saved = self.saved.get(&sector).copied().unwrap_or(0);
        if self.lost.contains(&sector) || version < saved {
            return;
        }
        self.saved.insert(sector, version);
        let end = (sector + 1) * SECTOR;
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[sector * SECTOR..end].copy_from_slice(content);
        if self.version(sector) == version {
            self.between.remove(&sector);
            self.dirty.remove(&sector);
        } else if let Some(between) = self.between.get_mut(&sector) {
            between.retain(|(other, _)| *other > version);
        }
    }

    fn lose_power(&mut self, prng: &mut Prng) {
        let size = if prng.chance(50) { self.size_durable } else { self.now.len() };
        let mut content = self.durable.clone();
        content.resize(size.next_multiple_of(SECTOR), 0);
        for sector in &self.dirty {
            let place = sector * SECTOR..(sector + 1) * SECTOR;
            if place.end > content.len() {
                continue;
            }
            let mut candidates = vec![content[place.clone()].to_vec()];
            let between = self.between.remove(sector).unwrap_or_default();
            candidates.extend(between.into_iter().map(|(_, content)| content));
            candidates.push(Inode::sector(&self.now, *sector));
            let mut kept = candidates[prng.index(candidates.len())].clone();
            if prng.chance(4) {
                for (at, byte) in kept.iter_mut().enumerate() {
                    if candidates.iter().any(|other| other[at] != *byte) {
                        *byte = prng.next_u64().to_le_bytes()[0];
                    }
                }
            }
            content[place].copy_from_slice(&kept);
        }
        content.truncate(size);
        *self = Inode { now: content.clone(), size_durable: size, ..Inode::default() };
        content.resize(size.next_multiple_of(SECTOR), 0);
        self.durable = content;
    }
}

impl Folder {
    fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
        match change {
            Change::Set(name, inode) => drop(names.insert(name.clone(), *inode)),
            Change::Remove(name) => drop(names.remove(name)),
            Change::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        Folder::apply(&mut self.now, &change);
        self.changes.push((self.next_change, change));
        self.next_change += 1;
    }

    fn lose_power(&mut self, prng: &mut Prng) {
        let mut names = std::mem::take(&mut self.durable);
        for (_, change) in self.changes.drain(..) {
            if prng.chance(50) {
                Folder::apply(&mut names, &change);
            }
        }
        self.durable = names.clone();
        self.now = names;
    }
}

impl SimDirectory {
    fn folder<T>(&self, with: impl FnOnce(&mut Folder) -> T) -> T {
        let mut world = self.disk.world.borrow_mut();
        with(world.folders.get_mut(&self.path).expect("an open directory is there"))
    }

    fn new_inode(&self) -> usize {
        let mut world = self.disk.world.borrow_mut();
        world.inodes.push(Inode::default());
        world.inodes.len() - 1
    }
}

impl Directory for SimDirectory {
    type File = SimFile;

    async fn create(&self, name: &str) -> Result<SimFile, IoError> {
        self.disk.change().await?;
        if self.folder(|folder| folder.now.contains_key(name)) {
            return Err(IoError::Exists);
        }
        let inode = self.new_inode();
        self.folder(|folder| folder.change(Change::Set(name.to_owned(), inode)));
        Ok(SimFile { disk: self.disk.clone(), inode })
    }

    async fn open(&self, name: &str) -> Result<SimFile, IoError> {
        self.disk.look().await;
        let inode = self.folder(|folder| folder.now.get(name).copied()).ok_or(IoError::NotFound)?;
        Ok(SimFile { disk: self.disk.clone(), inode })
    }

    async fn list(&self) -> Result<Vec<String>, IoError> {
        self.disk.look().await;
        Ok(self.folder(|folder| folder.now.keys().cloned().collect()))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        self.disk.change().await?;
        if !self.folder(|folder| folder.now.contains_key(from)) {
            return Err(IoError::NotFound);
        }
        self.folder(|folder| folder.change(Change::Rename(from.to_owned(), to.to_owned())));
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), IoError> {
        if !self.folder(|folder| folder.now.contains_key(name)) {
            self.disk.look().await;
            return Err(IoError::NotFound);
        }
        self.disk.change().await?;
        self.folder(|folder| folder.change(Change::Remove(name.to_owned())));
        Ok(())
    }

    async fn sync(&self) -> Result<(), IoError> {
        // What is changed after the sync began is not covered by it.
        let end = self.folder(|folder| folder.next_change);
        self.disk.change().await?;
        self.folder(|folder| {
            let changes = std::mem::take(&mut folder.changes);
            let (covered, later): (Vec<_>, Vec<_>) =
                changes.into_iter().partition(|(number, _)| *number < end);
            for (_, change) in &covered {
                Folder::apply(&mut folder.durable, change);
            }
            folder.changes = later;
        });
        Ok(())
    }

    async fn subdirectory(&self, name: &str) -> Result<SimDirectory, IoError> {
        self.disk.look().await;
        let path = format!("{}/{name}", self.path);
        self.disk.world.borrow_mut().folders.entry(path.clone()).or_default();
        Ok(SimDirectory { disk: self.disk.clone(), path })
    }

    async fn remove_subdirectory(&self, name: &str) -> Result<(), IoError> {
        self.disk.change().await?;
        let path = format!("{}/{name}", self.path);
        self.disk.world.borrow_mut().folders.remove(&path);
        Ok(())
    }

    async fn read_small(&self, name: &str) -> Result<Bytes, IoError> {
        self.disk.look().await;
        let inode = self.folder(|folder| folder.now.get(name).copied()).ok_or(IoError::NotFound)?;
        Ok(Bytes::copy_from_slice(&self.disk.world.borrow().inodes[inode].now))
    }

    async fn write_small(&self, name: &str, content: &[u8]) -> Result<(), IoError> {
        self.disk.world.borrow().admit(content.len())?;
        self.disk.change().await?;
        let inode = self.new_inode();
        let mut world = self.disk.world.borrow_mut();
        let file = &mut world.inodes[inode];
        file.now = content.to_vec();
        file.durable = content.to_vec();
        file.durable.resize(content.len().next_multiple_of(SECTOR), 0);
        file.size_durable = content.len();
        let folder = world.folders.get_mut(&self.path).expect("an open directory is there");
        folder.now.insert(name.to_owned(), inode);
        folder.durable.insert(name.to_owned(), inode);
        // Older changes of this name can no longer come about.
        folder.changes.retain(|(_, change)| match change {
            Change::Set(other, _) | Change::Remove(other) => other != name,
            Change::Rename(from, to) => from != name && to != name,
        });
        Ok(())
    }

    /// Without a bound, a disk of which half is used.
    async fn space(&self) -> Result<Space, IoError> {
        self.disk.look().await;
        let world = self.disk.world.borrow();
        let used = world.used();
        let left = world.space.map_or(used, |space| space.saturating_sub(used));
        Ok(Space { used_bytes: used as u64, available_bytes: left as u64 })
    }
}

impl File for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, length: usize) -> Vec<u8> {
        vec![0xa5; length]
    }

    async fn write_at(
        &self,
        buffer: Vec<u8>,
        position: u64,
        durability: Durability,
    ) -> Result<(), IoError> {
        let position = usize::try_from(position).expect("small files");
        let id = self.disk.begin(true, Some((self.inode, position, buffer)))?;
        let (inode, position, bytes) = self.disk.wait(id).await.expect("it is a write");
        let mut world = self.disk.world.borrow_mut();
        let file = &mut world.inodes[inode];
        file.put(position, &bytes);
        if durability == Durability::Synced {
            let first = position / SECTOR;
            for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                let version = file.version(first + at);
                file.save(first + at, version, sector);
            }
            file.size_durable = file.size_durable.max(position + bytes.len());
        }
        Ok(())
    }

    async fn read_at(&self, position: u64, length: usize) -> Result<Bytes, IoError> {
        self.disk.world.borrow_mut().reads += 1;
        self.disk.look().await;
        let world = self.disk.world.borrow();
        let content = &world.inodes[self.inode].now;
        let from = usize::try_from(position).expect("small files").min(content.len());
        let to = from.saturating_add(length).min(content.len());
        Ok(Bytes::copy_from_slice(&content[from..to]))
    }

    async fn sync(&self) -> Result<(), IoError> {
        let (size, covered): (usize, Vec<(usize, u64, Vec<u8>)>) = {
            let world = self.disk.world.borrow();
            let file = &world.inodes[self.inode];
            let sectors = file.dirty.iter();
            let covered =
                sectors.map(|at| (*at, file.version(*at), Inode::sector(&file.now, *at))).collect();
            (file.now.len(), covered)
        };
        let done = self.disk.change().await;
        let mut world = self.disk.world.borrow_mut();
        let file = &mut world.inodes[self.inode];
        if let Err(error) = done {
            file.lost.extend(covered.iter().map(|(sector, ..)| *sector));
            return Err(error);
        }
        for (sector, version, content) in covered {
            file.save(sector, version, &content);
        }
        file.size_durable = size;
        Ok(())
    }

    async fn allocate(&self, size: u64) -> Result<(), IoError> {
        let size = usize::try_from(size).expect("small files");
        let more = size.saturating_sub(self.disk.world.borrow().inodes[self.inode].now.len());
        self.disk.world.borrow().admit(more)?;
        self.disk.change().await?;
        let mut world = self.disk.world.borrow_mut();
        if world.inodes[self.inode].now.len() < size {
            world.inodes[self.inode].resize(size);
        }
        Ok(())
    }

    async fn zero(&self, from: u64, to: u64) -> Result<(), IoError> {
        self.disk.change().await?;
        let (from, to) = (usize::try_from(from), usize::try_from(to));
        let (from, to) = (from.expect("small files"), to.expect("small files"));
        let mut world = self.disk.world.borrow_mut();
        world.inodes[self.inode].put(from, &vec![0; to - from]);
        Ok(())
    }

    async fn write_zeros(&self, from: u64, to: u64) -> Result<(), IoError> {
        let length = usize::try_from(to - from).expect("small files");
        let held = self.disk.world.borrow().inodes[self.inode].now.len() as u64;
        assert!(to <= held, "zeros are written within the file");
        self.disk.world.borrow_mut().zeroings += 1;
        self.write_at(vec![0; length], from, Durability::Written).await
    }

    async fn set_size(&self, size: u64) -> Result<(), IoError> {
        let size = usize::try_from(size).expect("small files");
        self.disk.assert_unwritten_from(self.inode, size);
        self.disk.change().await?;
        self.disk.world.borrow_mut().inodes[self.inode].resize(size);
        Ok(())
    }

    async fn size(&self) -> Result<u64, IoError> {
        self.disk.look().await;
        Ok(self.disk.world.borrow().inodes[self.inode].now.len() as u64)
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_brings_back_nothing_older_than_what_a_sync_has_saved() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut inode = Inode::default();
            inode.put(0, &[1; SECTOR]);
            inode.put(0, &[2; SECTOR]);
            let (covered, size) = (inode.version(0), inode.now.len());
            // Completes while the sync is under way.
            inode.put(0, &[3; SECTOR]);
            inode.save(0, covered, &[2; SECTOR]);
            inode.size_durable = size;
            inode.lose_power(&mut Prng::new(seed));
            assert_ne!(inode.now[0], 1);
            assert_ne!(inode.now[0], 0);
            seen.insert(inode.now[0]);
        }
        assert!(seen.contains(&2) && seen.contains(&3), "both are possible");
    }
}
