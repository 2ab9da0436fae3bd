//! The engine's values as messages.

use graven_log::{Head, Kind, Log, Visibility};
use graven_proto::convert::hash_bytes;
use graven_proto::v1;
use prost_types::Timestamp;

const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds since 1970.
pub(crate) fn timestamp(ns: u64) -> Timestamp {
    let (seconds, nanos) = (ns / SECOND_NS, ns % SECOND_NS);
    // The remainder is below 10^9, the quotient below 2^35: both fit.
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// Nanoseconds since 1970 of a time from 0001 to 9999, as far as they can be said. `None`: it is no such time.
pub(crate) fn nanoseconds(time: &Timestamp) -> Option<u64> {
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < SECOND_NS)?;
    if !YEARS.contains(&time.seconds) {
        return None;
    }
    // Before 1970 is as old as 1970: out of every window.
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    Some(seconds.saturating_mul(SECOND_NS).saturating_add(nanos))
}

/// A head.
pub(crate) fn tree_head(head: &Head) -> v1::TreeHead {
    let time = (head.time_seconds > 0).then(|| timestamp(head.time_seconds.saturating_mul(SECOND_NS)));
    v1::TreeHead {
        origin: head.checkpoint.origin().as_str().to_owned(),
        size: head.size().get(),
        root_hash: hash_bytes(head.checkpoint.root()),
        time,
        checkpoint: head.note.clone(),
    }
}

/// A log.
pub(crate) fn log_info(log: &Log) -> v1::LogInfo {
    let meta = log.meta();
    let kind = match meta.kind {
        Kind::Bytes => v1::LogKind::Bytes,
        Kind::Events => v1::LogKind::Events,
        Kind::Access => v1::LogKind::Access,
    };
    let visibility = match meta.visibility {
        Visibility::Private => v1::Visibility::Private,
        Visibility::Public => v1::Visibility::Public,
    };
    let state = if log.is_frozen() { v1::LogState::Frozen } else { v1::LogState::Active };
    // The head first: what is durable only grows, so it is never below the head that goes with it.
    let head = log.head();
    v1::LogInfo {
        name: meta.name.to_string(),
        origin: meta.origin.as_str().to_owned(),
        kind: kind.into(),
        visibility: visibility.into(),
        state: state.into(),
        vkeys: log.keys().valid_at(head.size()).iter().map(ToString::to_string).collect(),
        created: Some(timestamp(meta.created_ns)),
        durable_size: log.durable_size(),
        head: Some(tree_head(&head)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went_and_none_is_made_up() {
        for ns in [0, 1, SECOND_NS - 1, 1_795_000_000_123_456_789] {
            assert_eq!(nanoseconds(&timestamp(ns)), Some(ns));
        }
        let at = |seconds, nanos| nanoseconds(&Timestamp { seconds, nanos });
        assert_eq!(at(-1, 0), Some(0));
        assert_eq!(at(0, -1), None);
        assert_eq!(at(0, 1_000_000_000), None);
        assert_eq!(at(253_402_300_800, 0), None);
        assert_eq!(at(253_402_300_799, 0), Some(u64::MAX), "beyond what 64 bits of nanoseconds hold");
    }
}
