//! Sizes and times on the command line.

use std::time::Duration;

/// A size on the command line: bytes, or with `K`, `M`, `G`, `T` (powers of 1024).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.trim_end_matches(['B', 'b', 'i']).split_at_checked(text.len().saturating_sub(1)) {
        _ if text.bytes().all(|b| b.is_ascii_digit()) => (text, 0),
        _ => {
            let trimmed = text.trim_end_matches(['B', 'b', 'i']);
            let shift = match trimmed.chars().last().map(|c| c.to_ascii_uppercase()) {
                Some('K') => 10,
                Some('M') => 20,
                Some('G') => 30,
                Some('T') => 40,
                _ => return Err("a size such as 500M or 20G".into()),
            };
            (&trimmed[..trimmed.len() - 1], shift)
        }
    };
    let number: u64 = digits.parse().map_err(|_| "a size such as 500M or 20G".to_owned())?;
    number.checked_mul(1 << shift).filter(|size| *size > 0).ok_or_else(|| "a size such as 500M or 20G".into())
}

/// A time on the command line: seconds, or with `s`, `m`, `h`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 90s, 30m or 8h".to_owned();
    let (digits, unit) = match text.chars().last() {
        Some('s') => (&text[..text.len() - 1], 1),
        Some('m') => (&text[..text.len() - 1], 60),
        Some('h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|time| *time > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_and_nonsense_is_not() {
        assert_eq!(parse_size("500M"), Ok(500 << 20));
        assert_eq!(parse_size("20GiB"), Ok(20 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "M", "-1", "1.5G", "0", "99999999999T", "10X", "é"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "s", "-1m", "0s", "1d", "é"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
