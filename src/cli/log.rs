//! `yeoul log dump|verify`: log files looked at without a broker.
//!
//! In:   segment files in Kafka's format (`00000000000000000000.log`), or directories with them.
//! Out:  batches and records as text or JSON; what is damaged, with exit code 5.
//!
//! Invariants
//!   V1  A segment ends with a whole batch, then zeros to its end (space made ahead).
//!   V2  Batches stand in order: no offset comes twice, no leader epoch goes back.
//!   V3  The first offset is not below the file's name.
//!
//!   V4  A closed segment whose index file has checksums of all its bytes still has these bytes.
//!
//! Gaps between offsets are no damage: compaction leaves them.
#![allow(clippy::disallowed_methods)] // reads files on the main thread of a command

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::args::{OutputArgs, OutputFormat};
use super::exit::CliError;
use super::output::{Row, print_rows};
use super::record_format::iso_time;
use crate::model::offset::Offset;
use crate::record::batch::{Batch, BatchError, BatchInfo, Codec, FRAME_BYTES, HEADER_BYTES};
use crate::record::compression::{DecompressError, decompress};
use crate::record::records::{RecordError, Records};
use crate::storage::checksums::{Checksums, PIECE_BYTES};
use crate::storage::offset_index::checksums_in;

/// Most bytes that one compressed batch unpacks to.
const UNPACKED_BYTES_MAX: usize = 1 << 30;
/// Bytes of a file read at once.
const READ_BYTES: usize = 1 << 20;
/// How deep below a named directory segments are looked for.
const DEPTH_MAX: usize = 3;
/// Digits of a segment's name.
const NAME_DIGITS: usize = 20;

/// What to do with log files.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Print batches, and records if asked for.
    Dump(DumpArgs),
    /// Check every batch and record; exit code 5 if anything is damaged.
    Verify(VerifyArgs),
}

/// Options of `yeoul log dump`.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// Segment files, or directories with them.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Print every record too.
    #[arg(short, long)]
    pub records: bool,
    /// How to print; JSON is one object a line.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `yeoul log verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Segment files, or directories with them.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Something wrong in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Batch(BatchError),
    UnknownCodec { id: u16 },
    Compressed(DecompressError),
    Record(RecordError),
    OffsetBack { base_offset: i64, expected: i64 },
    EpochBack { epoch: i32, before: i32 },
    BelowName { base_offset: i64, name: i64 },
    NotZero { position: u64 },
    Checksum { position: u64 },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Batch(error) => write!(f, "{error}"),
            Self::UnknownCodec { id } => write!(f, "no codec has the number {id}"),
            Self::Compressed(error) => write!(f, "{error}"),
            Self::Record(error) => write!(f, "{error}"),
            Self::OffsetBack { base_offset, expected } => {
                write!(f, "base offset {base_offset} where at least {expected} was to come")
            }
            Self::EpochBack { epoch, before } => {
                write!(f, "leader epoch {epoch} after {before}")
            }
            Self::BelowName { base_offset, name } => {
                write!(f, "base offset {base_offset} below the file's name {name}")
            }
            Self::NotZero { position } => {
                write!(f, "a byte that is not zero at {position}, after the last batch")
            }
            Self::Checksum { position } => write!(
                f,
                "the {PIECE_BYTES} bytes at {position} do not have the checksum they were written with"
            ),
        }
    }
}

/// What one segment holds.
#[derive(Clone, Debug, Serialize)]
struct SegmentRow {
    file: String,
    batches: u64,
    records: u64,
    batch_bytes: u64,
    spare_bytes: u64,
    base_offset: Option<i64>,
    end_offset: Option<i64>,
    findings: Vec<String>,
}

impl Row for SegmentRow {
    const COLUMNS: &'static [&'static str] =
        &["FILE", "OFFSETS", "BATCHES", "RECORDS", "BYTES", "SPARE", "FINDINGS"];

    fn cells(&self) -> Vec<String> {
        let offsets = match (self.base_offset, self.end_offset) {
            (Some(base), Some(end)) => format!("{base}..{end}"),
            _ => "-".to_owned(),
        };
        vec![
            self.file.clone(),
            offsets,
            self.batches.to_string(),
            self.records.to_string(),
            self.batch_bytes.to_string(),
            self.spare_bytes.to_string(),
            self.findings.len().to_string(),
        ]
    }
}

#[derive(Serialize)]
struct BatchLine<'a> {
    file: &'a str,
    position: u64,
    base_offset: i64,
    last_offset: i64,
    records: u32,
    bytes: u32,
    leader_epoch: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    codec: &'static str,
    transactional: bool,
    control: bool,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    crc: u32,
    crc_ok: bool,
}

#[derive(Serialize)]
struct RecordLine {
    offset: i64,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

/// Does what `command` says, printing to `out`.
///
/// Errors: a path cannot be read; [`CliError::Damaged`].
pub fn run(command: LogCommand, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        LogCommand::Dump(args) => {
            let mut findings = 0;
            for path in segments(&args.paths)? {
                let mut dump = Dump { args: &args, out: &mut *out };
                let row = walk(&path, |position, batch, payload| {
                    dump.batch(&path, position, batch, payload)
                })?;
                for finding in &row.findings {
                    let _ = writeln!(io::stderr(), "{}: {finding}", row.file);
                }
                findings += count(&row.findings);
            }
            damaged(findings)
        }
        LogCommand::Verify(args) => {
            let mut rows = Vec::new();
            for path in segments(&args.paths)? {
                rows.push(walk(&path, |_, _, _| Ok(()))?);
            }
            follow_each_other(&mut rows);
            print_rows(out, args.output.format, &rows)?;
            out.flush()?;
            for row in rows.iter().filter(|_| args.output.format == OutputFormat::Text) {
                for finding in &row.findings {
                    let _ = writeln!(io::stderr(), "{}: {finding}", row.file);
                }
            }
            damaged(rows.iter().map(|row| count(&row.findings)).sum())
        }
    }
}

fn count(findings: &[String]) -> u64 {
    findings.len() as u64
}

fn damaged(findings: u64) -> Result<(), CliError> {
    if findings == 0 { Ok(()) } else { Err(CliError::Damaged { findings }) }
}

/// Segments of one directory continue each other: none begins before the one before it ends.
fn follow_each_other(rows: &mut [SegmentRow]) {
    let directory = |row: &SegmentRow| Path::new(&row.file).parent().map(Path::to_owned);
    for place in 1..rows.len() {
        let (before, after) = rows.split_at_mut(place);
        let (before, after) = (&before[place - 1], &mut after[0]);
        let (Some(end), Some(base)) = (before.end_offset, after.base_offset) else { continue };
        if directory(before) == directory(after) && base < end {
            let finding = Finding::OffsetBack { base_offset: base, expected: end };
            after.findings.push(finding.to_string());
        }
    }
}

/// The segment files that `paths` name or hold, sorted within each.
fn segments(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for path in paths {
        let file = |error| CliError::File { path: path.clone(), error };
        let metadata = fs::metadata(path).map_err(file)?;
        if !metadata.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        search(path, DEPTH_MAX, &mut found).map_err(file)?;
        found[before..].sort();
        if found.len() == before {
            let error = io::Error::new(io::ErrorKind::NotFound, "no segment files in it");
            return Err(CliError::File { path: path.clone(), error });
        }
    }
    Ok(found)
}

fn search(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if 0 < depth {
                search(&path, depth - 1, found)?;
            }
        } else if base_offset_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// The offset that a segment's name says; `None` if it is not named as one.
fn base_offset_of(path: &Path) -> Option<i64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let is_name = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    is_name.then(|| digits.parse().ok()).flatten()
}

/// Reads a segment batch by batch, checks each, and hands it with its unpacked records to `each`.
fn walk(
    path: &Path,
    mut each: impl FnMut(u64, &Batch<'_>, &[u8]) -> Result<(), CliError>,
) -> Result<SegmentRow, CliError> {
    let broken = |error| CliError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(broken)?;
    let mut left = file.metadata().map_err(broken)?.len();
    let mut input = BufReader::with_capacity(READ_BYTES, file);
    let mut segment = Segment::new(path);
    let expected = segment.checksums_beside(path, left);
    let mut found = Checksums::default();
    let mut bytes = Vec::new();
    loop {
        let read = read_batch(&mut input, left, &mut bytes).map_err(broken)?;
        let Some(batch) = (match read {
            ReadBatch::Bytes => match Batch::first(&bytes) {
                Ok(batch) => Some(batch),
                Err(error) => {
                    segment.found(Finding::Batch(error));
                    None
                }
            },
            ReadBatch::Zeros => {
                let spare = zeros(&mut input, &bytes).map_err(broken)?;
                if let Some(at) = spare.first_other {
                    let position = segment.position + at;
                    segment.found(Finding::NotZero { position });
                }
                segment.row.spare_bytes = left;
                None
            }
            ReadBatch::End => None,
        }) else {
            segment.compare(&found, expected.as_ref());
            return Ok(segment.row);
        };
        found.add(batch.bytes());
        let length = batch.bytes().len() as u64;
        if let Some(payload) = segment.check(&batch) {
            each(segment.position, &batch, &payload)?;
        }
        segment.position += length;
        left -= length;
    }
}

enum ReadBatch {
    /// The buffer holds the next batch, or as much of it as there is.
    Bytes,
    /// The buffer holds a few zeros where a batch would begin.
    Zeros,
    /// Nothing is left.
    End,
}

/// Reads as much as the next batch's length says, never more than is `left` of the file.
fn read_batch(input: &mut impl Read, left: u64, bytes: &mut Vec<u8>) -> io::Result<ReadBatch> {
    bytes.clear();
    let frame = left.min(FRAME_BYTES as u64);
    input.take(frame).read_to_end(bytes)?;
    if bytes.is_empty() {
        return Ok(ReadBatch::End);
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(ReadBatch::Zeros);
    }
    let Some(length) = bytes.get(8..FRAME_BYTES).and_then(|field| field.try_into().ok()) else {
        return Ok(ReadBatch::Bytes);
    };
    let length = u64::try_from(i32::from_be_bytes(length)).unwrap_or(0);
    // A length that lies still shows its header.
    let wanted = length.max((HEADER_BYTES - FRAME_BYTES) as u64).min(left - frame);
    input.take(wanted).read_to_end(bytes)?;
    Ok(ReadBatch::Bytes)
}

struct Spare {
    first_other: Option<u64>,
}

/// Reads to the end of the file; `seen` are zeros that were read already.
fn zeros(input: &mut impl Read, seen: &[u8]) -> io::Result<Spare> {
    let mut chunk = vec![0; READ_BYTES];
    let mut position = seen.len() as u64;
    loop {
        let read = input.read(&mut chunk)?;
        if read == 0 {
            return Ok(Spare { first_other: None });
        }
        if let Some(place) = chunk[..read].iter().position(|byte| *byte != 0) {
            return Ok(Spare { first_other: Some(position + place as u64) });
        }
        position += read as u64;
    }
}

struct Segment {
    row: SegmentRow,
    position: u64,
    name: Option<i64>,
    epoch: i32,
}

impl Segment {
    fn new(path: &Path) -> Segment {
        Segment {
            row: SegmentRow {
                file: path.display().to_string(),
                batches: 0,
                records: 0,
                batch_bytes: 0,
                spare_bytes: 0,
                base_offset: None,
                end_offset: None,
                findings: Vec::new(),
            },
            position: 0,
            name: base_offset_of(path),
            epoch: -1,
        }
    }

    /// The checksums in the index file beside the segment, if they are of all its `bytes`: that of
    /// a segment that still grows is of the past.
    fn checksums_beside(&self, path: &Path, bytes: u64) -> Option<Checksums> {
        let index = fs::read(path.with_extension("index")).ok()?;
        checksums_in(Offset(self.name?), &index).filter(|checksums| checksums.bytes() == bytes)
    }

    /// Holds the bytes read against what they had when they were written (V4).
    fn compare(&mut self, found: &Checksums, expected: Option<&Checksums>) {
        let Some(expected) = expected.filter(|expected| expected.bytes() == found.bytes()) else {
            return; // what could not be walked over is a finding already
        };
        if let Some(piece) = found.first_difference(expected) {
            let position = piece as u64 * PIECE_BYTES;
            self.row.findings.push(Finding::Checksum { position }.to_string());
        }
    }

    fn found(&mut self, finding: Finding) {
        self.row.findings.push(format!("at byte {}: {finding}", self.position));
    }

    /// Checks one batch; its unpacked records, unless they cannot be had.
    fn check(&mut self, batch: &Batch<'_>) -> Option<Vec<u8>> {
        self.row.batches += 1;
        self.row.batch_bytes += batch.bytes().len() as u64;
        if let Err(error) = batch.verify_crc() {
            self.found(Finding::Batch(error));
            return None;
        }
        let info = match batch.info() {
            Ok(info) => info,
            Err(error) => {
                self.found(Finding::Batch(error));
                return None;
            }
        };
        self.check_order(&info);
        self.row.base_offset.get_or_insert(info.base_offset.0);
        self.row.end_offset = Some(info.end_offset().0);
        match unpack(batch) {
            Ok(payload) => {
                self.row.records += u64::from(info.record_count);
                let walk = Records::new(&payload, batch.header().record_count());
                if let Some(error) = walk.filter_map(Result::err).next() {
                    self.found(Finding::Record(error));
                }
                Some(payload)
            }
            Err(finding) => {
                self.found(finding);
                None
            }
        }
    }

    fn check_order(&mut self, info: &BatchInfo) {
        let base_offset = info.base_offset.0;
        if let Some(expected) = self.row.end_offset.filter(|end| base_offset < *end) {
            self.found(Finding::OffsetBack { base_offset, expected });
        }
        if let Some(name) = self.name.filter(|name| base_offset < *name) {
            self.found(Finding::BelowName { base_offset, name });
        }
        let epoch = info.leader_epoch.0;
        if epoch < self.epoch {
            let before = self.epoch;
            self.found(Finding::EpochBack { epoch, before });
        }
        self.epoch = self.epoch.max(epoch);
    }
}

fn unpack(batch: &Batch<'_>) -> Result<Vec<u8>, Finding> {
    let codec = batch.header().attributes().codec();
    let codec = codec.map_err(|id| Finding::UnknownCodec { id })?;
    let mut out = Vec::new();
    decompress(codec, batch.payload(), UNPACKED_BYTES_MAX, &mut out)
        .map_err(Finding::Compressed)?;
    Ok(out)
}

struct Dump<'a, W> {
    args: &'a DumpArgs,
    out: &'a mut W,
}

impl<W: Write> Dump<'_, W> {
    fn batch(
        &mut self,
        path: &Path,
        position: u64,
        batch: &Batch<'_>,
        payload: &[u8],
    ) -> Result<(), CliError> {
        let info = batch.info().expect("`check` hands out batches with sound offsets");
        let header = batch.header();
        let codec = header.attributes().codec().unwrap_or(Codec::None);
        let line = BatchLine {
            file: &path.display().to_string(),
            position,
            base_offset: info.base_offset.0,
            last_offset: info.last_offset.0,
            records: info.record_count,
            bytes: info.bytes,
            leader_epoch: info.leader_epoch.0,
            base_timestamp_ms: info.base_timestamp.0,
            max_timestamp_ms: info.max_timestamp.0,
            codec: codec.name(),
            transactional: info.attributes.is_transactional(),
            control: info.attributes.is_control(),
            producer_id: info.producer_id.0,
            producer_epoch: info.producer_epoch.0,
            base_sequence: info.base_sequence.0,
            crc: header.crc(),
            crc_ok: batch.verify_crc().is_ok(),
        };
        match self.args.output.format {
            OutputFormat::Json => self.json(&line)?,
            OutputFormat::Text => self.batch_text(&line)?,
        }
        if self.args.records {
            self.records(batch, &info, payload)?;
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).expect("plain fields");
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    fn batch_text(&mut self, line: &BatchLine<'_>) -> Result<(), CliError> {
        let kind = match (line.transactional, line.control) {
            (_, true) => "  control",
            (true, false) => "  transactional",
            (false, false) => "",
        };
        let producer = if line.producer_id < 0 {
            String::new()
        } else {
            let (id, epoch) = (line.producer_id, line.producer_epoch);
            format!("  producer {id}/{epoch} sequence {}", line.base_sequence)
        };
        writeln!(
            self.out,
            "{}..{}  records {}  at {}  bytes {}  epoch {}  {}  {}{producer}{kind}  crc {:08x} {}",
            line.base_offset,
            line.last_offset,
            line.records,
            line.position,
            line.bytes,
            line.leader_epoch,
            iso_time(line.max_timestamp_ms),
            line.codec,
            line.crc,
            if line.crc_ok { "ok" } else { "BAD" },
        )?;
        Ok(())
    }

    fn records(
        &mut self,
        batch: &Batch<'_>,
        info: &BatchInfo,
        payload: &[u8],
    ) -> Result<(), CliError> {
        for record in Records::new(payload, batch.header().record_count()) {
            let Ok(record) = record else { break }; // `check` has told it
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let line = RecordLine {
                offset: info.base_offset.0.saturating_add(i64::from(record.offset_delta)),
                timestamp_ms: info.base_timestamp.0.wrapping_add(record.timestamp_delta),
                key: record.key.map(text),
                value: record.value.map(text),
                headers: record.headers.map(|h| (text(h.key), h.value.map(text))).collect(),
            };
            match self.args.output.format {
                OutputFormat::Json => self.json(&line)?,
                OutputFormat::Text => {
                    let key = line.key.as_deref().unwrap_or("null");
                    let value = line.value.as_deref().unwrap_or("null");
                    let time = iso_time(line.timestamp_ms);
                    writeln!(self.out, "  {}  {time}  {key}  {value}", line.offset)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::offset::{LeaderEpoch, Offset};
    use crate::model::time::Timestamp;
    use crate::record::batch::stamp;
    use crate::record::builder::{BatchBuilder, NewRecord};

    /// A batch of `count` records at `base_offset`, of leader epoch `epoch`.
    fn batch(base_offset: i64, epoch: i32, count: usize, codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for place in 0..count {
            let value = format!("value {place}");
            let record = NewRecord {
                timestamp: Timestamp(1_000),
                key: Some(b"key"),
                value: Some(value.as_bytes()),
                headers: &[("h", None)],
            };
            builder.push(&record).unwrap();
        }
        let mut bytes = builder.build().to_vec();
        stamp(&mut bytes, Offset(base_offset), LeaderEpoch(epoch));
        bytes
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            Files(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, parts: &[Vec<u8>]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, parts.concat()).unwrap();
            path
        }
    }

    fn verify(path: &Path) -> SegmentRow {
        walk(path, |_, _, _| Ok(())).unwrap()
    }

    const NAME: &str = "00000000000000000000.log";

    #[test]
    fn a_sound_segment_with_spare_room_has_no_findings() {
        let files = Files::new();
        let sound =
            [batch(0, 0, 3, Codec::None), batch(3, 0, 2, Codec::Zstd), batch(9, 1, 1, Codec::Lz4)];
        let bytes = sound.iter().map(Vec::len).sum::<usize>() as u64;
        let parts = [sound.concat(), vec![0; 3 << 20]];
        let row = verify(&files.write(NAME, &parts));
        assert_eq!(row.findings, [] as [String; 0]);
        assert_eq!((row.batches, row.records, row.batch_bytes), (3, 6, bytes));
        assert_eq!((row.base_offset, row.end_offset), (Some(0), Some(10)));
        assert_eq!(row.spare_bytes, 3 << 20);
        let row = verify(&files.write(NAME, &[]));
        assert_eq!((row.batches, row.findings.len(), row.base_offset), (0, 0, None));
    }

    #[test]
    fn damage_is_found_and_placed() {
        let files = Files::new();
        let one = || batch(0, 2, 3, Codec::None);
        let length = one().len();
        let check = |name: &str, parts: &[Vec<u8>], want: &[&str]| {
            let row = verify(&files.write(name, parts));
            assert_eq!(row.findings.len(), want.len(), "{:?}", row.findings);
            for (finding, want) in row.findings.iter().zip(want) {
                assert!(finding.contains(want), "{finding}, {want}");
            }
        };
        let mut flipped = one();
        flipped[length - 1] ^= 1;
        check(NAME, &[one(), flipped], &[&format!("at byte {length}: record batch is corrupt")]);
        check(NAME, &[one()[..length - 1].to_vec()], &["is cut"]);
        check(NAME, &[one(), vec![1; 5]], &["is cut: 5 bytes"]);
        check(NAME, &[one(), batch(2, 2, 1, Codec::None)], &["base offset 2 where at least 3"]);
        check(NAME, &[one(), batch(3, 1, 1, Codec::None)], &["leader epoch 1 after 2"]);
        check("00000000000000000005.log", &[one()], &["base offset 0 below the file's name 5"]);
        let late = length + 4_000;
        check(NAME, &[one(), vec![0; 4_000], vec![7]], &[&format!("not zero at {late}")]);
        let mut huge = one();
        huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        check(NAME, &[huge], &["is cut"]);
        let mut negative = one();
        negative[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
        check(NAME, &[negative], &["has the length -1"]);
    }

    #[test]
    fn any_flipped_bit_behind_the_epoch_is_found() {
        let files = Files::new();
        let sound = batch(0, 0, 2, Codec::None);
        for place in 16..sound.len() {
            let mut flipped = sound.clone();
            flipped[place] ^= 0x10;
            let row = verify(&files.write(NAME, &[flipped]));
            assert_eq!(row.findings.len(), 1, "byte {place}");
        }
    }

    #[test]
    fn directories_are_searched_and_segments_must_follow_each_other() {
        let files = Files::new();
        let partition = files.0.path().join("t-0");
        fs::create_dir(&partition).unwrap();
        files.write("t-0/00000000000000000000.log", &[batch(0, 0, 3, Codec::None)]);
        files.write("t-0/00000000000000000002.log", &[batch(2, 0, 1, Codec::None)]);
        files.write("t-0/00000000000000000000.index", &[vec![1; 8]]);
        files.write("other.log", &[vec![1; 8]]);
        let output = OutputArgs { format: OutputFormat::Json };
        let args = VerifyArgs { paths: vec![files.0.path().to_owned()], output };
        let mut out = Vec::new();
        let error = run(LogCommand::Verify(args), &mut out).unwrap_err();
        assert_eq!(error.exit_code(), 5);
        let rows: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(rows.as_array().map(Vec::len), Some(2));
        let finding = rows[1]["findings"][0].as_str().unwrap();
        assert!(finding.contains("base offset 2 where at least 3"), "{finding}");
    }

    #[test]
    fn a_path_without_segments_is_an_error() {
        let files = Files::new();
        for path in [files.0.path().to_owned(), files.0.path().join("nothing")] {
            let output = OutputArgs { format: OutputFormat::Text };
            let args = VerifyArgs { paths: vec![path], output };
            let error = run(LogCommand::Verify(args), &mut Vec::new()).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
        }
    }

    #[test]
    fn a_dump_shows_batches_and_records() {
        let files = Files::new();
        let path = files.write(NAME, &[batch(5, 1, 2, Codec::Gzip), vec![0; 100]]);
        let dump = |format| {
            let output = OutputArgs { format };
            let args = DumpArgs { paths: vec![path.clone()], records: true, output };
            let mut out = Vec::new();
            run(LogCommand::Dump(args), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = dump(OutputFormat::Text);
        assert!(text.starts_with("5..6  records 2  at 0  bytes "), "{text}");
        assert!(text.contains("epoch 1  1970-01-01T00:00:01.000Z  gzip  crc "), "{text}");
        assert!(text.ends_with("  6  1970-01-01T00:00:01.000Z  key  value 1\n"), "{text}");
        let json = dump(OutputFormat::Json);
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["codec"], &lines[0]["crc_ok"]), (&"gzip".into(), &true.into()));
        assert_eq!((&lines[2]["offset"], &lines[2]["value"]), (&6.into(), &"value 1".into()));
    }
}
