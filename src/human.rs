//! Formats sizes, time spans and counts, for all messages and tables.

#![forbid(unsafe_code)]

use std::time::Duration;

/// Formats a number of bytes in binary units, as parameters take them: "1.5 GiB".
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Formats a length in memory as [`size`] does.
#[must_use]
pub fn length(bytes: usize) -> String {
    size(bytes as u64)
}

/// Formats a time span in one unit: "36 h".
#[must_use]
pub fn age(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400 * 365, "years"), (86_400, "d"), (3600, "h"), (60, "min")];
    let seconds = span.as_secs();
    // Takes the largest unit of which there are two: "36 h" says more than "1 d".
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds} s"), |(length, name)| format!("{} {name}", seconds / length))
}

/// Formats a number with its noun: "1 file", "2 files".
#[must_use]
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_ages_and_counts_are_readable() {
        let sizes =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (5 << 30, "5.0 GiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777216.0 TiB");
        let ages = [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
            (70_000_000, "2 years"),
        ];
        for (seconds, text) in ages {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            (count(1, "host", "hosts"), count(0, "host", "hosts")),
            ("1 host".into(), "0 hosts".into())
        );
    }
}
