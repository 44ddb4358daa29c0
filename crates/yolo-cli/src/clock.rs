//! The time now, in UTC.

use jiff::Timestamp;

/// As people read it: `2026-11-25 01:20 UTC`.
pub(crate) fn utc_minutes() -> String {
    Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// To the second, as RFC 3339 has it: `2026-11-25T01:20:07Z`.
pub(crate) fn utc_seconds() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
