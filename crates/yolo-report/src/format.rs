//! Numbers and names as YOLOv5's console shows them.

/// C's `%.{digits}g`: significant digits, no trailing zeros, an exponent for very large and small numbers.
pub fn general(value: f64, digits: usize) -> String {
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

/// A count with its thousands separated by spaces: `1 867 405`.
pub fn thousands(count: usize) -> String {
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
pub fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..1_000 => return format!("{count} B"),
        1_000..1_000_000 => (count as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (count as f64 / 1e6, "MB"),
        _ => (count as f64 / 1e9, "GB"),
    };
    format!("{value:.1} {unit}")
}

/// A share as a percentage with one decimal; a dash if it is not a number.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "–".to_owned() }
}

/// A number with some decimals, in exponent form if it is huge; a dash if it is not finite.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    match value {
        _ if !value.is_finite() => "–".to_owned(),
        _ if value.abs() >= 1e5 => format!("{value:.2e}"),
        _ => format!("{value:.decimals$}"),
    }
}

/// The name of a class; `?` if it has none.
pub fn class_name(names: &[String], class: u32) -> &str {
    names.get(class as usize).map_or("?", String::as_str)
}

/// A count with its noun: `1 image`, `2 images`.
pub fn unit_count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
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
    fn counts_and_bytes() {
        assert_eq!(thousands(1_867_405), "1 867 405");
        assert_eq!(thousands(12), "12");
        assert_eq!(thousands(1000), "1 000");
        assert_eq!(bytes(4_062_133), "4.1 MB");
        assert_eq!(bytes(999), "999 B");
        assert_eq!([0, 1, 2].map(|n| unit_count(n, "image")), ["0 images", "1 image", "2 images"]);
    }

    #[test]
    fn what_is_not_a_number_becomes_a_dash() {
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percent(0.6996), "70.0 %");
        assert_eq!(decimal(f64::INFINITY, 3), "–");
        assert_eq!(decimal(0.04567, 4), "0.0457");
        assert_eq!(decimal(1.5e300, 4), "1.50e300");
    }
}
