//! A directory of the real disk; chooses between O_DIRECT and buffered files when it is opened.
//!
//! In:   the data directory's path, names in it.
//! Out:  [`RealFile`]s; names made durable by `sync`.
//! Home: the shard that opened it; each shard opens its own.
//!
//! Invariants
//!   N1  The first file a shard opens on a device is not empty. The runtime probes polled I/O by
//!       reading it; on an empty one the kernel answers early, the probe takes that for yes, and
//!       every later read fails.
//!   N2  All calls that look up or change names run on the shard's blocking threads.
//!
//! Not here: what the names mean (`crate::storage`).

#![allow(clippy::disallowed_methods)] // std::fs on blocking threads only (N2)

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::directory::{Directory, Space};
use super::file::IoError;
use super::real_file::{Access, RealFile, errno_error, os_error, std_error};
use crate::constants::BLOCK_BYTES;
use crate::shard::tasks::spawn_blocking;

/// No read is larger, whatever the device takes.
const READ_BYTES_MAX: usize = 4 << 20;
/// Assumed when the device does not say.
const READ_BYTES_UNKNOWN: usize = 128 << 10;
/// Beginning of the names of files by which a shard finds out about its disk.
pub const PROBE: &str = ".probe-";
const TMPFS_MAGIC: u64 = 0x0102_1994;

thread_local! {
    static PROBES: Cell<u32> = const { Cell::new(0) };
}
/// The line about buffered files is said once a process.
static SAID_BUFFERED: AtomicBool = AtomicBool::new(false);

/// A directory of the real disk, opened by one shard.
#[derive(Clone, Debug)]
pub struct RealDirectory {
    path: Rc<Path>,
    access: Access,
    /// Not for other shards: each must make its own probe (N1).
    _home: PhantomData<Rc<()>>,
}

impl RealDirectory {
    /// Opens the data directory, made if missing, and finds out how its files can be accessed.
    ///
    /// Says so in one line when the file system refuses O_DIRECT. Errors: it cannot be made,
    /// or no file can be created in it.
    pub async fn open(path: &Path) -> Result<RealDirectory, IoError> {
        let root = path.to_owned();
        let number = PROBES.with(|probes| {
            probes.set(probes.get() + 1);
            probes.get()
        });
        let (probe, access) = spawn_blocking(move || probe(&root, number)).await?;
        if matches!(access, Access::Direct { .. }) {
            // On this very thread, and with something in it (N1).
            let opened = RealFile::open(&in_utf8(&probe)?, access, false).await;
            let removed = spawn_blocking(move || fs::remove_file(probe)).await;
            opened?;
            removed.map_err(|error| std_error(&error))?;
        } else if !SAID_BUFFERED.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                directory = %path.display(),
                "the file system refuses O_DIRECT: buffered I/O, with the same rules of sync"
            );
        }
        Ok(RealDirectory { path: Rc::from(path), access, _home: PhantomData })
    }

    /// How its files are accessed.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file_path(&self, name: &str) -> PathBuf {
        assert!(!name.is_empty() && name != "." && name != "..", "a name of our own making");
        assert!(!name.contains('/'), "a name, not a path");
        self.path.join(name)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, IoError> {
        spawn_blocking(call).await.map_err(|error| std_error(&error))
    }
}

/// Removes what killed starts have left of their probes in `root`; to be called while no shard has
/// it open. The number of a process says nothing: in a container each run may have the same.
///
/// Errors: the system's; a directory that is not there yet holds none.
pub fn remove_probes(root: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PROBE)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn in_utf8(path: &Path) -> Result<String, IoError> {
    path.to_str().map(str::to_owned).ok_or(os_error(libc::EILSEQ))
}

/// Makes the directory and a file of one block in it; finds the way of access.
fn probe(root: &Path, number: u32) -> Result<(PathBuf, Access), IoError> {
    if !root.is_dir() {
        fs::create_dir_all(root).map_err(|error| std_error(&error))?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent).map_err(|error| std_error(&error))?;
        }
    }
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let name = format!("{PROBE}{}-{thread}-{number}", std::process::id());
    let probe = root.join(name);
    let access = (|| {
        let mut file = fs::File::create(&probe)?;
        file.write_all(&[0; BLOCK_BYTES])?;
        // The runtime's first read is polled. Were the block still dirty in the page cache, the
        // kernel would hand that read to a worker, and now and then it never came back: seen once
        // in 150 starts, as a shard that waited for its disk for ever.
        file.sync_all()?;
        let kind = rustix::fs::fstatfs(&file)?.f_type;
        if u64::try_from(kind).is_ok_and(|kind| kind == TMPFS_MAGIC) || refuses_direct(&probe) {
            fs::remove_file(&probe)?;
            return Ok(Access::Buffered);
        }
        Ok(Access::Direct { read_bytes_max: read_bytes_max(file.metadata()?.dev()) })
    })()
    .map_err(|error: std::io::Error| std_error(&error))?;
    Ok((probe, access))
}

fn refuses_direct(probe: &Path) -> bool {
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::open(probe, flags, Mode::empty()).is_err()
}

/// What the device `dev` reads at once, in bytes, from its queue's `max_sectors_kb`.
fn read_bytes_max(dev: u64) -> usize {
    let (major, minor) = (libc::major(dev), libc::minor(dev));
    let device = format!("/sys/dev/block/{major}:{minor}");
    // A partition has no queue of its own; its disk is the folder above.
    let kilobytes = ["queue/max_sectors_kb", "../queue/max_sectors_kb"]
        .iter()
        .find_map(|file| fs::read_to_string(format!("{device}/{file}")).ok())
        .and_then(|text| text.trim().parse::<usize>().ok());
    let bytes = kilobytes.map_or(READ_BYTES_UNKNOWN, |kilobytes| kilobytes.saturating_mul(1_024));
    let bytes = bytes.clamp(BLOCK_BYTES, READ_BYTES_MAX);
    bytes - bytes % BLOCK_BYTES
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Directory for RealDirectory {
    type File = RealFile;

    async fn create(&self, name: &str) -> Result<RealFile, IoError> {
        RealFile::open(&in_utf8(&self.file_path(name))?, self.access, true).await
    }

    async fn open(&self, name: &str) -> Result<RealFile, IoError> {
        RealFile::open(&in_utf8(&self.file_path(name))?, self.access, false).await
    }

    async fn list(&self) -> Result<Vec<String>, IoError> {
        let path = self.path.to_path_buf();
        self.blocking(move || {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                // A name that is not UTF-8 is not one of ours.
                names.extend(entry?.file_name().into_string().ok());
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        let (from, to) = (self.file_path(from), self.file_path(to));
        self.blocking(move || fs::rename(from, to)).await
    }

    async fn remove(&self, name: &str) -> Result<(), IoError> {
        let path = self.file_path(name);
        spawn_blocking(move || rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::empty()))
            .await
            .map_err(errno_error)
    }

    async fn sync(&self) -> Result<(), IoError> {
        let path = self.path.to_path_buf();
        self.blocking(move || sync_directory(&path)).await
    }

    async fn subdirectory(&self, name: &str) -> Result<RealDirectory, IoError> {
        let path = self.file_path(name);
        let made = path.clone();
        self.blocking(move || match fs::create_dir(&made) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && made.is_dir() => {
                Ok(())
            }
            result => result,
        })
        .await?;
        Ok(RealDirectory { path: Rc::from(path), access: self.access, _home: PhantomData })
    }

    async fn remove_subdirectory(&self, name: &str) -> Result<(), IoError> {
        let path = self.file_path(name);
        self.blocking(move || fs::remove_dir_all(path)).await
    }

    async fn read_small(&self, name: &str) -> Result<Bytes, IoError> {
        let path = self.file_path(name);
        self.blocking(move || fs::read(path)).await.map(Bytes::from)
    }

    async fn write_small(&self, name: &str, content: &[u8]) -> Result<(), IoError> {
        let path = self.file_path(name);
        let temporary = self.file_path(&format!("{name}.tmp"));
        let directory = self.path.to_path_buf();
        let content = content.to_vec();
        self.blocking(move || {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&content)?;
            file.sync_data()?;
            drop(file);
            fs::rename(&temporary, &path)?;
            sync_directory(&directory)
        })
        .await
    }

    async fn space(&self) -> Result<Space, IoError> {
        let path = self.path.to_path_buf();
        let facts = spawn_blocking(move || rustix::fs::statvfs(path)).await.map_err(errno_error)?;
        let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
        Ok(Space {
            used_bytes: bytes(facts.f_blocks.saturating_sub(facts.f_bfree)),
            available_bytes: bytes(facts.f_bavail),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::file::{Durability, File};
    use crate::io::sendfile;
    use crate::io::slice::FileSlice;
    use crate::shard::executor::run_alone;

    /// Runs `body` in a fresh directory on the disk, and in one on tmpfs if there is one.
    fn in_both<Fut: Future<Output = ()> + 'static>(
        body: impl Fn(RealDirectory) -> Fut + Clone + Send + 'static,
    ) {
        for parent in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
            if !parent.is_dir() {
                continue;
            }
            let directory = tempfile::tempdir_in(parent).expect("a directory");
            let path = directory.path().join("data");
            let body = body.clone();
            run_alone(|| async move {
                body(RealDirectory::open(&path).await.expect("it opens")).await;
            })
            .expect("it runs");
        }
    }

    fn filled(file: &RealFile, length: usize, first: u8) -> <RealFile as File>::Buffer {
        let mut buffer = file.buffer(length);
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = first.wrapping_add(u8::try_from(index % 251).expect("below 251"));
        }
        buffer
    }

    #[test]
    fn what_is_written_is_read_at_any_alignment() {
        in_both(|directory| async move {
            let file = directory.create("log").await.expect("made");
            file.allocate(1 << 20).await.expect("room");
            assert_eq!(file.size().await, Ok(1 << 20));
            let expected = filled(&file, 64 << 10, 3).to_vec();
            let (one, two) = (filled(&file, 64 << 10, 3), filled(&file, 64 << 10, 3));
            // Several in flight, on both handles.
            let (first, second) = futures_lite::future::zip(
                file.write_at(one, 0, Durability::Synced),
                file.write_at(two, 64 << 10, Durability::Written),
            )
            .await;
            assert_eq!((first, second), (Ok(()), Ok(())));
            file.sync().await.expect("durable");
            for (position, length) in [(0, 10), (1, 4_095), (5_000, 60_000), (65_000, 2_000)] {
                let read = file.read_at(position, length).await.expect("read");
                let at = usize::try_from(position).expect("small");
                let wanted: Vec<u8> =
                    expected.iter().cycle().skip(at).take(length).copied().collect();
                assert!(read == wanted, "at {position}");
            }
            assert_eq!(file.read_at((1 << 20) - 5, 100).await.map(|read| read.len()), Ok(5));
            assert_eq!(file.read_at(1 << 21, 100).await.map(|read| read.len()), Ok(0));
        });
    }

    #[test]
    fn a_read_larger_than_the_device_takes_comes_whole() {
        in_both(|directory| async move {
            let file = directory.create("log").await.expect("made");
            for block in 0..9 {
                let buffer = filled(&file, 1 << 20, block);
                let position = u64::from(block) << 20;
                file.write_at(buffer, position, Durability::Written).await.expect("written");
            }
            let read = file.read_at(7, (9 << 20) - 7).await.expect("read");
            assert_eq!(read.len(), (9 << 20) - 7);
            assert_eq!(read[(8 << 20) - 7], 8);
        });
    }

    #[test]
    fn a_zeroed_range_reads_as_zeros_and_keeps_the_size() {
        in_both(|directory| async move {
            let file = directory.create("log").await.expect("made");
            let buffer = filled(&file, 16 << 10, 1);
            file.write_at(buffer, 0, Durability::Written).await.expect("written");
            file.zero(4_096, 12_288).await.expect("zeroed");
            let read = file.read_at(0, 16 << 10).await.expect("read");
            assert!(read[4_096..12_288].iter().all(|&byte| byte == 0));
            assert_ne!(read[4_095], 0);
            assert_ne!(read[12_288], 0);
            file.set_size(5_000).await.expect("cut");
            assert_eq!(file.size().await, Ok(5_000));
            assert_eq!(file.read_at(4_990, 100).await.map(|read| read.len()), Ok(10));
        });
    }

    #[test]
    fn names_are_made_listed_renamed_and_removed() {
        in_both(|directory| async move {
            assert_eq!(directory.list().await, Ok(vec![]), "the probe is gone");
            assert_eq!(directory.open("a").await.map(|_| ()), Err(IoError::NotFound));
            directory.create("a").await.expect("made");
            assert_eq!(directory.create("a").await.map(|_| ()), Err(IoError::Exists));
            directory.rename("a", "b").await.expect("renamed");
            let inner = directory.subdirectory("t-0").await.expect("made");
            directory.subdirectory("t-0").await.expect("there already");
            inner.write_small("c", b"one").await.expect("written");
            inner.write_small("c", b"two").await.expect("replaced");
            assert_eq!(inner.read_small("c").await, Ok(Bytes::from_static(b"two")));
            assert_eq!(inner.list().await, Ok(vec!["c".to_owned()]));
            directory.sync().await.expect("durable");
            directory.remove_subdirectory("t-0").await.expect("removed");
            assert_eq!(directory.list().await, Ok(vec!["b".to_owned()]));
            directory.remove("b").await.expect("removed");
            assert_eq!(directory.remove("b").await, Err(IoError::NotFound));
            assert_eq!(directory.read_small("b").await, Err(IoError::NotFound));
        });
    }

    #[test]
    fn probes_that_were_left_are_removed_whosever_they_were() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        remove_probes(&path("missing")).expect("there are none");
        let ours = format!("{PROBE}{}-1-1", std::process::id());
        for name in [&ours, ".probe-1-1-0", "probe", "t-0"] {
            fs::write(path(name), "left").expect("written");
        }
        remove_probes(folder.path()).expect("removed");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("listed").flatten().collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(path("probe").exists() && path("t-0").exists());
    }

    #[test]
    fn its_space_is_that_of_the_file_system() {
        in_both(|directory| async move {
            let (space, facts) =
                (directory.space().await.expect("known"), rustix::fs::statvfs(directory.path()));
            let whole = facts.map(|facts| facts.f_blocks * facts.f_frsize).expect("known");
            assert!(space.available_bytes > 0 && whole > 0);
            assert!(space.used_bytes + space.available_bytes <= whole, "{space:?} of {whole}");
        });
    }

    #[test]
    fn the_first_file_of_a_shard_may_be_empty() {
        // N1: without the probe's block, the read below fails with EOPNOTSUPP.
        in_both(|directory| async move {
            let file = directory.create("empty").await.expect("made");
            let buffer = filled(&file, 4_096, 1);
            file.write_at(buffer, 0, Durability::Written).await.expect("written");
            assert_eq!(file.read_at(0, 1).await, Ok(Bytes::from_static(&[1])));
        });
    }

    #[test]
    fn the_descriptor_outlives_the_name_and_its_pages_become_resident() {
        in_both(|directory| async move {
            let file = directory.create("sealed").await.expect("made");
            let buffer = filled(&file, 1 << 20, 9);
            file.write_at(buffer, 0, Durability::Synced).await.expect("written");
            directory.remove("sealed").await.expect("removed");
            let descriptor = file.descriptor().expect("the real disk has one");
            let slice = FileSlice { descriptor, position: 251, length: 1 << 19 };
            assert_eq!(sendfile::make_resident(slice.clone()).await, Ok(1 << 19));
            let mut start = [0; 16];
            if let Some(read) = sendfile::read_resident(&slice, &mut start).expect("readable") {
                assert_eq!((read, start[0], start[1]), (16, 9, 10));
            }
        });
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().join("data");
        let opened = run_alone(move || async move { RealDirectory::open(&path).await.map(|_| ()) })
            .expect("it runs");
        assert_eq!(opened, Err(IoError::Os { errno: libc::ENOTDIR }));
    }
}
