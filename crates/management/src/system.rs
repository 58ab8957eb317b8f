//! What the operating system says of this process.
//!
//! Invariant: what it does not say is 0, never an error.

use std::fs;

/// Open file descriptors, and how many there may be.
pub(crate) fn descriptors() -> (u64, u64) {
    let used = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let total = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    (used, total.unwrap_or(0))
}

/// Threads of this process.
pub(crate) fn threads() -> u64 {
    fs::read_dir("/proc/self/task").map_or(0, |entries| entries.count() as u64)
}

/// Seconds since 1970 as RFC 3339 with milliseconds: `2026-11-22T04:56:13.954+00:00`.
pub(crate) fn timestamp(unix_ms: u64) -> String {
    let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days to a civil date, counted in eras of 400 years from 0000-03-01 (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_dates() {
        let table = [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (1_795_323_373_954, "2026-11-22T04:56:13.954+00:00"),
        ];
        for (unix_ms, text) in table {
            assert_eq!(timestamp(unix_ms), text);
        }
    }

    #[test]
    fn this_process_has_descriptors() {
        let (used, total) = descriptors();
        assert!(used > 0 && total >= used && threads() > 0);
    }
}
