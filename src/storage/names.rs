//! Names of the files in a partition's directory: Kafka's own, so that its tools find them.

use crate::model::offset::Offset;

/// A file name of a partition's directory, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `%020d.log`
    Segment(Offset),
    /// `%020d.index`
    Index(Offset),
    /// `%020d.snapshot`
    Snapshot(Offset),
    /// `%020d.log.cleaned`: what compaction makes of the segments from that offset on
    Cleaned(Offset),
    /// A segment made ahead of its use.
    Spare,
    /// Anything else: checkpoints, or not ours.
    Other,
}

/// Name of the segment made ahead of its use; without meaning after a restart.
pub(super) const SPARE_NAME: &str = "spare.segment";

pub(super) fn segment(base: Offset) -> String {
    format!("{:020}.log", base.0)
}

pub(super) fn cleaned(base: Offset) -> String {
    format!("{:020}.log.cleaned", base.0)
}

pub(super) fn index(base: Offset) -> String {
    format!("{:020}.index", base.0)
}

pub(super) fn snapshot(offset: Offset) -> String {
    format!("{:020}.snapshot", offset.0)
}

pub(super) fn parse(name: &str) -> Name {
    if name == SPARE_NAME {
        return Name::Spare;
    }
    let Some((digits, kind)) = name.split_once('.') else { return Name::Other };
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Name::Other;
    }
    let Ok(number) = digits.parse::<i64>() else { return Name::Other };
    match kind {
        "log" => Name::Segment(Offset(number)),
        "log.cleaned" => Name::Cleaned(Offset(number)),
        "index" => Name::Index(Offset(number)),
        "snapshot" => Name::Snapshot(Offset(number)),
        _ => Name::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(segment(Offset(42)), "00000000000000000042.log");
        assert_eq!(parse(&segment(Offset(42))), Name::Segment(Offset(42)));
        assert_eq!(parse(&cleaned(Offset(7))), Name::Cleaned(Offset(7)));
        assert_eq!(parse(&index(Offset(0))), Name::Index(Offset(0)));
        assert_eq!(parse(&snapshot(Offset(i64::MAX))), Name::Snapshot(Offset(i64::MAX)));
        for other in ["99999999999999999999.log", "1.log", "log-checkpoint", "x", ""] {
            assert_eq!(parse(other), Name::Other, "{other}");
        }
    }
}
