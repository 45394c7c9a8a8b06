//! The grammar of record formats: `%k:%v\n` in, `%k=%v @%p/%o\n` out.
//!
//! In:   the text of `-f`.
//! Out:  a [`RecordFormat`] that prints records, or splits standard input into them.
//! Home: pure, but for the reader and writer handed in.
//!
//! | word | prints | | word | prints |
//! |---|---|---|---|---|
//! | `%k` | key | | `%t` | topic |
//! | `%v` `%s` | value | | `%p` | partition |
//! | `%K` `%V` `%S` | length of key, value | | `%o` | offset |
//! | `%h` | headers, `k=v` by commas | | `%d` | time, ISO 8601 |
//! | `%H` | count of headers | | `%T` | time, milliseconds |
//! | `%e` | leader epoch | | `%%` | a percent sign |
//!
//! `%k{hex}` and `%v{base64}` change how bytes are written and read. `\n \t \r \0 \\ \xHH` are
//! escapes. In input `%k %v %s %p %T` are known, and literal text must stand between two of them.
//!
//! Source: product page 2.2 (rpk's and kcat's words).

use std::fmt;
use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most bytes of one key or value read from standard input.
pub const FIELD_BYTES_MAX: usize = 64 << 20;

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Key,
    Value,
    KeyBytes,
    ValueBytes,
    Headers,
    HeaderCount,
    Topic,
    Partition,
    Offset,
    LeaderEpoch,
    TimeIso,
    TimeMs,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Raw,
    Hex,
    Base64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Field(Field, Coding),
}

/// A format, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFormat {
    parts: Vec<Part>,
}

/// A record to print.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A record read from standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRecord {
    /// Key, if the format has `%k`.
    pub key: Option<Vec<u8>>,
    /// Value; `None` if the format has no `%v`.
    pub value: Option<Vec<u8>>,
    /// Partition, if the format has `%p`.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, if the format has `%T`.
    pub timestamp_ms: Option<i64>,
}

/// Why a format is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// No such word.
    UnknownWord {
        /// The letter behind `%`; none at the end of the text.
        letter: Option<char>,
    },
    /// No such escape.
    UnknownEscape {
        /// The letter behind `\`; none at the end of the text.
        letter: Option<char>,
    },
    /// Braces that do not name a coding, or do not close.
    BadCoding {
        /// What stands between them.
        text: String,
    },
    /// A word that input cannot have.
    NotForInput {
        /// The letter behind `%`.
        letter: char,
    },
    /// Two words without literal text between them, so that nothing says where the first ends.
    NoDelimiter,
    /// No word for key or value.
    NothingToRead,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record format: ")?;
        match self {
            Self::UnknownWord { letter: Some(letter) } => {
                write!(
                    f,
                    "no word '%{letter}'; known: %k %v %s %t %p %o %d %T %h %K %V %S %H %e %%"
                )
            }
            Self::UnknownWord { letter: None } => write!(f, "'%' at the end; write '%%' for it"),
            Self::UnknownEscape { letter: Some(letter) } => {
                write!(f, "no escape '\\{letter}'; known: \\n \\t \\r \\0 \\\\ \\xHH")
            }
            Self::UnknownEscape { letter: None } => {
                write!(f, "'\\' at the end; write '\\\\' for it")
            }
            Self::BadCoding { text } => {
                write!(f, "no coding '{{{text}}}'; known: {{hex}} {{base64}}")
            }
            Self::NotForInput { letter } => {
                write!(f, "'%{letter}' cannot be read; input knows %k %v %s %p %T")
            }
            Self::NoDelimiter => write!(f, "put literal text between two words, as in '%k:%v\\n'"),
            Self::NothingToRead => write!(f, "neither %k nor %v in it"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Why standard input cannot be split into records.
#[derive(Debug)]
pub enum InputError {
    /// It cannot be read.
    Read(io::Error),
    /// It ends, or goes on, where the format wants something else.
    Expected {
        /// Number of the record, from 1.
        record: u64,
        /// The literal text that was expected.
        literal: Vec<u8>,
    },
    /// A field is longer than [`FIELD_BYTES_MAX`].
    TooLong {
        /// Number of the record, from 1.
        record: u64,
    },
    /// A field that is not of its coding, or no number.
    BadField {
        /// Number of the record, from 1.
        record: u64,
        /// What it should be.
        expected: &'static str,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "standard input: {error}"),
            Self::Expected { record, literal } => {
                let literal = literal.escape_ascii();
                write!(f, "record {record} of the input: expected '{literal}'; see -f")
            }
            Self::TooLong { record } => {
                write!(f, "record {record} of the input: a field above {FIELD_BYTES_MAX} bytes")
            }
            Self::BadField { record, expected } => {
                write!(f, "record {record} of the input: expected {expected}")
            }
        }
    }
}

impl std::error::Error for InputError {}

impl RecordFormat {
    /// Parses a format for printing. Errors: [`FormatError`].
    pub fn parse(text: &str) -> Result<RecordFormat, FormatError> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            match character {
                '\\' => literal.push(escape(&mut rest)?),
                '%' => match rest.next() {
                    Some('%') => literal.push(b'%'),
                    letter => {
                        let field = field_of(letter).ok_or(FormatError::UnknownWord { letter })?;
                        if !literal.is_empty() {
                            parts.push(Part::Literal(std::mem::take(&mut literal)));
                        }
                        parts.push(Part::Field(field, coding(&mut rest)?));
                    }
                },
                other => {
                    let mut utf8 = [0; 4];
                    literal.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes());
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(RecordFormat { parts })
    }

    /// Parses a format for reading.
    ///
    /// Errors: [`FormatError`], also for words that only print and for words without a delimiter.
    pub fn parse_input(text: &str) -> Result<RecordFormat, FormatError> {
        let format = RecordFormat::parse(text)?;
        let mut reads = false;
        let mut follows_field = false;
        for part in &format.parts {
            let Part::Field(field, _) = part else {
                follows_field = false;
                continue;
            };
            if follows_field {
                return Err(FormatError::NoDelimiter);
            }
            follows_field = true;
            match field {
                Field::Key | Field::Value => reads = true,
                Field::Partition | Field::TimeMs => {}
                other => return Err(FormatError::NotForInput { letter: letter_of(*other) }),
            }
        }
        if reads { Ok(format) } else { Err(FormatError::NothingToRead) }
    }

    /// Prints `record`. Errors: those of `out`.
    pub fn print(&self, out: &mut impl Write, record: &RecordView<'_>) -> io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.write_all(bytes)?,
                Part::Field(field, coding) => print_field(out, *field, *coding, record)?,
            }
        }
        Ok(())
    }

    /// Reads record number `record` (from 1); `None` at the end of the input.
    ///
    /// The last record may lack the literal text that ends the format.
    /// Errors: [`InputError`].
    pub fn read(
        &self,
        input: &mut impl BufRead,
        record: u64,
    ) -> Result<Option<InputRecord>, InputError> {
        if input.fill_buf().map_err(InputError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut read = InputRecord::default();
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => expect(input, literal, record)?,
                Part::Field(field, coding) => {
                    let end = match parts.next() {
                        Some(Part::Literal(literal)) => literal.as_slice(),
                        _ => &[],
                    };
                    let is_last = parts.peek().is_none();
                    let bytes = read_until(input, end, is_last, record)?;
                    take_field(&mut read, *field, *coding, bytes, record)?;
                }
            }
        }
        Ok(Some(read))
    }
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, FormatError> {
    let letter = rest.next();
    match letter {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| FormatError::UnknownEscape { letter })
        }
        _ => Err(FormatError::UnknownEscape { letter }),
    }
}

fn coding(rest: &mut std::str::Chars<'_>) -> Result<Coding, FormatError> {
    let Some(braced) = rest.as_str().strip_prefix('{') else { return Ok(Coding::Raw) };
    let refused = |text: &str| FormatError::BadCoding { text: text.to_owned() };
    let (word, behind) = braced.split_once('}').ok_or_else(|| refused(braced))?;
    *rest = behind.chars();
    match word {
        "hex" => Ok(Coding::Hex),
        "base64" => Ok(Coding::Base64),
        _ => Err(refused(word)),
    }
}

fn field_of(letter: Option<char>) -> Option<Field> {
    Some(match letter? {
        'k' => Field::Key,
        'v' | 's' => Field::Value,
        'K' => Field::KeyBytes,
        'V' | 'S' => Field::ValueBytes,
        'h' => Field::Headers,
        'H' => Field::HeaderCount,
        't' => Field::Topic,
        'p' => Field::Partition,
        'o' => Field::Offset,
        'e' => Field::LeaderEpoch,
        'd' => Field::TimeIso,
        'T' => Field::TimeMs,
        _ => return None,
    })
}

fn letter_of(field: Field) -> char {
    match field {
        Field::Key => 'k',
        Field::Value => 'v',
        Field::KeyBytes => 'K',
        Field::ValueBytes => 'V',
        Field::Headers => 'h',
        Field::HeaderCount => 'H',
        Field::Topic => 't',
        Field::Partition => 'p',
        Field::Offset => 'o',
        Field::LeaderEpoch => 'e',
        Field::TimeIso => 'd',
        Field::TimeMs => 'T',
    }
}

fn print_field(
    out: &mut impl Write,
    field: Field,
    coding: Coding,
    record: &RecordView<'_>,
) -> io::Result<()> {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    match field {
        Field::Key => print_bytes(out, record.key.unwrap_or(&[]), coding),
        Field::Value => print_bytes(out, record.value.unwrap_or(&[]), coding),
        Field::KeyBytes => write!(out, "{}", length(record.key)),
        Field::ValueBytes => write!(out, "{}", length(record.value)),
        Field::Headers => {
            for (place, (name, value)) in record.headers.iter().enumerate() {
                if 0 < place {
                    out.write_all(b",")?;
                }
                out.write_all(name)?;
                out.write_all(b"=")?;
                print_bytes(out, value.unwrap_or(&[]), coding)?;
            }
            Ok(())
        }
        Field::HeaderCount => write!(out, "{}", record.headers.len()),
        Field::Topic => out.write_all(record.topic.as_bytes()),
        Field::Partition => write!(out, "{}", record.partition),
        Field::Offset => write!(out, "{}", record.offset),
        Field::LeaderEpoch => write!(out, "{}", record.leader_epoch),
        Field::TimeIso => out.write_all(iso_time(record.timestamp_ms).as_bytes()),
        Field::TimeMs => write!(out, "{}", record.timestamp_ms),
    }
}

fn print_bytes(out: &mut impl Write, bytes: &[u8], coding: Coding) -> io::Result<()> {
    match coding {
        Coding::Raw => out.write_all(bytes),
        Coding::Hex => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
        Coding::Base64 => out.write_all(STANDARD.encode(bytes).as_bytes()),
    }
}

/// `2026-11-22T08:10:02.114Z`; the bare number where no calendar reaches.
pub fn iso_time(timestamp_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(timestamp_ms) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => timestamp_ms.to_string(),
    }
}

fn expect(input: &mut impl BufRead, literal: &[u8], record: u64) -> Result<(), InputError> {
    let mut found = vec![0; literal.len()];
    let read = input.read_exact(&mut found);
    if read.is_ok() && found == literal {
        return Ok(());
    }
    match read {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(InputError::Read(error)),
        _ => Err(InputError::Expected { record, literal: literal.to_owned() }),
    }
}

/// Reads up to and including `end`, which it takes off; an empty `end` is the end of the input.
fn read_until(
    input: &mut impl BufRead,
    end: &[u8],
    end_may_lack: bool,
    record: u64,
) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    loop {
        let buffer = input.fill_buf().map_err(InputError::Read)?;
        if buffer.is_empty() {
            if end.is_empty() || end_may_lack {
                return Ok(bytes);
            }
            return Err(InputError::Expected { record, literal: end.to_owned() });
        }
        let stop = end.last().and_then(|last| buffer.iter().position(|byte| byte == last));
        let take = stop.map_or(buffer.len(), |place| place + 1);
        if FIELD_BYTES_MAX < bytes.len() + take {
            return Err(InputError::TooLong { record });
        }
        bytes.extend_from_slice(&buffer[..take]);
        input.consume(take);
        if stop.is_some() && bytes.ends_with(end) {
            bytes.truncate(bytes.len() - end.len());
            return Ok(bytes);
        }
    }
}

fn take_field(
    read: &mut InputRecord,
    field: Field,
    coding: Coding,
    bytes: Vec<u8>,
    record: u64,
) -> Result<(), InputError> {
    let bytes = decode(bytes, coding, record)?;
    let number = |bytes: &[u8], expected| {
        let text = std::str::from_utf8(bytes).ok();
        let number = text.and_then(|text| text.trim().parse::<i64>().ok());
        number.ok_or(InputError::BadField { record, expected })
    };
    match field {
        Field::Key => read.key = Some(bytes),
        Field::Value => read.value = Some(bytes),
        Field::Partition => {
            let expected = "a partition number for %p";
            let partition = i32::try_from(number(&bytes, expected)?).ok().filter(|p| 0 <= *p);
            read.partition = Some(partition.ok_or(InputError::BadField { record, expected })?);
        }
        Field::TimeMs => read.timestamp_ms = Some(number(&bytes, "milliseconds for %T")?),
        other => unreachable!("`parse_input` refuses {other:?}"),
    }
    Ok(())
}

fn decode(bytes: Vec<u8>, coding: Coding, record: u64) -> Result<Vec<u8>, InputError> {
    match coding {
        Coding::Raw => Ok(bytes),
        Coding::Base64 => {
            STANDARD.decode(&bytes).map_err(|_| InputError::BadField { record, expected: "base64" })
        }
        Coding::Hex => {
            let digits: Option<Vec<u8>> = bytes.iter().map(|byte| hex_digit(*byte)).collect();
            let digits = digits.filter(|digits| digits.len() % 2 == 0);
            let digits = digits.ok_or(InputError::BadField { record, expected: "hex" })?;
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(format: &str) -> String {
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"b", None)];
        let record = RecordView {
            topic: "hello",
            partition: 2,
            offset: 7,
            timestamp_ms: 1_795_334_402_114,
            leader_epoch: 3,
            key: Some(b"k1"),
            value: Some(b"hi"),
            headers: &headers,
        };
        let mut out = Vec::new();
        RecordFormat::parse(format).unwrap().print(&mut out, &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn words_print_their_fields() {
        let check = |format: &str, want: &str| assert_eq!(print(format), want, "{format}");
        check("%k=%v @%p/%o\\n", "k1=hi @2/7\n");
        check("%t %s %e %K %V %S %H", "hello hi 3 2 2 2 2");
        check("%h", "a=1,b=");
        check("%v{hex}|%k{base64}", "6869|azE=");
        check("100%%\\t\\x41\\\\", "100%\tA\\");
        check("%T %d", "1795334402114 2026-11-22T08:00:02.114Z");
        check("여울 %v", "여울 hi");
    }

    fn read_all(format: &str, input: &str) -> Result<Vec<InputRecord>, InputError> {
        let format = RecordFormat::parse_input(format).unwrap();
        let mut input = io::BufReader::with_capacity(3, input.as_bytes());
        let mut records = Vec::new();
        while let Some(record) = format.read(&mut input, records.len() as u64 + 1)? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn input_is_split_by_the_format() {
        let check = |format: &str, input: &str, want: &[(Option<&str>, Option<&str>)]| {
            let records = read_all(format, input).unwrap();
            let text = |bytes: &Option<Vec<u8>>| {
                bytes.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap())
            };
            let got: Vec<(Option<String>, Option<String>)> =
                records.iter().map(|r| (text(&r.key), text(&r.value))).collect();
            let want: Vec<(Option<String>, Option<String>)> =
                want.iter().map(|(k, v)| (k.map(str::to_owned), v.map(str::to_owned))).collect();
            assert_eq!(got, want, "{format} {input:?}");
        };
        check("%v\\n", "", &[]);
        check("%v\\n", "a\n\nb", &[(None, Some("a")), (None, Some("")), (None, Some("b"))]);
        check(
            "%k:%v\\n",
            "k1:hi\nk2:a:b\n",
            &[(Some("k1"), Some("hi")), (Some("k2"), Some("a:b"))],
        );
        check("%k::%v;;", "a:::b;;", &[(Some("a"), Some(":b"))]);
        check("<%v>", "<a><b>", &[(None, Some("a")), (None, Some("b"))]);
        check("%v", "all\nof it", &[(None, Some("all\nof it"))]);
        check("%v{hex}\\n", "6869\n", &[(None, Some("hi"))]);
        check("%k{base64} %v\\n", "azE= x\n", &[(Some("k1"), Some("x"))]);
    }

    #[test]
    fn partition_and_time_are_read() {
        let records = read_all("%p %T %v\\n", "3 1700 x\n").unwrap();
        assert_eq!((records[0].partition, records[0].timestamp_ms), (Some(3), Some(1_700)));
    }

    #[test]
    fn bad_input_names_the_record() {
        let check = |format: &str, input: &str, want: &str| {
            let error = read_all(format, input).unwrap_err().to_string();
            assert!(error.contains(want), "{format} {input:?}: {error}");
        };
        check("%k:%v\\n", "a:b\nc\n", "record 2 of the input: expected ':'");
        check("<%v>", "x", "record 1 of the input: expected '<'");
        check("%v{hex}\\n", "abc\n", "expected hex");
        check("%p %v\\n", "-1 x\n", "a partition number");
        check("%v{base64}\\n", "?\n", "expected base64");
    }

    #[test]
    fn bad_formats_are_refused() {
        let check = |parsed: Result<RecordFormat, FormatError>, want: FormatError| {
            assert_eq!(parsed, Err(want));
        };
        check(RecordFormat::parse("%q"), FormatError::UnknownWord { letter: Some('q') });
        check(RecordFormat::parse("x%"), FormatError::UnknownWord { letter: None });
        check(RecordFormat::parse("\\q"), FormatError::UnknownEscape { letter: Some('q') });
        check(RecordFormat::parse("\\"), FormatError::UnknownEscape { letter: None });
        check(RecordFormat::parse("\\xg0"), FormatError::UnknownEscape { letter: Some('x') });
        let text = || "octal".to_owned();
        check(RecordFormat::parse("%v{octal}"), FormatError::BadCoding { text: text() });
        check(RecordFormat::parse("%v{octal"), FormatError::BadCoding { text: text() });
        check(RecordFormat::parse_input("%k%v"), FormatError::NoDelimiter);
        check(RecordFormat::parse_input("%o %v"), FormatError::NotForInput { letter: 'o' });
        check(RecordFormat::parse_input("%p\\n"), FormatError::NothingToRead);
    }
}
