//! Numbers and names as YOLOv5's console shows them.

/// C's `%.{digits}g`: significant digits, no trailing zeros, an exponent for very large and small numbers.
pub(crate) fn general(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// A count with its thousands apart: `1 867 405`.
pub(crate) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(" ")
}

/// Bytes in a unit that fits: `3.9 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..1_000 => return format!("{count} B"),
        1_000..1_000_000 => (count as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (count as f64 / 1e6, "MB"),
        _ => (count as f64 / 1e9, "GB"),
    };
    format!("{value:.1} {unit}")
}

/// The name of a class, or `?` where there is none.
pub(crate) fn class_name(names: &[String], class: u32) -> &str {
    names.get(class as usize).map_or("?", String::as_str)
}

/// The time now: `2026-11-25 01:20 UTC`.
pub(crate) fn utc_now() -> String {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    utc(since_1970.map_or(0, |since| since.as_secs()))
}

/// The time now, to the second, as RFC 3339 has it: `2026-11-25T01:20:07Z`.
pub(crate) fn utc_seconds() -> String {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    rfc_3339(since_1970.map_or(0, |since| since.as_secs()))
}

fn rfc_3339(seconds: u64) -> String {
    let minutes = utc(seconds).replace(" UTC", "").replace(' ', "T");
    format!("{minutes}:{:02}Z", seconds % 60)
}

/// Seconds since 1970 as a date and time, by the Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the leap day (Howard Hinnant, "chrono-compatible date algorithms").
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day_of_month:02} {:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What C prints.
    #[test]
    fn general_is_percent_g() {
        let cases = [
            (0.0, 3, "0"),
            (1.0, 3, "1"),
            (0.327_498_7, 3, "0.327"),
            (0.0995, 3, "0.0995"),
            (0.995, 3, "0.995"),
            (0.999_96, 3, "1"),
            (1234.0, 3, "1.23e+03"),
            (0.000_012_34, 3, "1.23e-05"),
            (0.000_123_4, 3, "0.000123"),
            (123_456.7, 6, "123457"),
            (0.1, 6, "0.1"),
            (-2.5, 3, "-2.5"),
        ];
        for (value, digits, expected) in cases {
            assert_eq!(general(value, digits), expected);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59 UTC"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(utc(seconds), expected);
        }
        assert_eq!(rfc_3339(951_782_399), "2000-02-28T23:59:59Z");
    }

    #[test]
    fn counts_and_bytes() {
        assert_eq!(thousands(1_867_405), "1 867 405");
        assert_eq!(thousands(12), "12");
        assert_eq!(thousands(1000), "1 000");
        assert_eq!(bytes(4_062_133), "4.1 MB");
        assert_eq!(bytes(999), "999 B");
    }
}
