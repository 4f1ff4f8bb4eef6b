//! Sizes, numbers and times as people read them.

use std::time::Duration;

use fai_core::object::{Time, Value};
use fai_network::fetch::FetchReport;

/// `420MB`, `8.7GB`, `12B`: decimal units, one digit behind the point below ten.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    let text = if unit > 0 && value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    format!("{}{name}", text.strip_suffix(".0").unwrap_or(&text))
}

/// `+5MB`, `-12KB`, `+0B`.
pub fn size_change(delta: i128) -> String {
    let sign = if delta >= 0 { '+' } else { '-' };
    format!(
        "{sign}{}",
        size(u64::try_from(delta.unsigned_abs()).unwrap_or(u64::MAX))
    )
}

/// How bytes came.
pub const OVER_THE_WIRE: &str = "came over the wire";
pub const FROM_A_FOLDER: &str = "copied";

/// What a transfer cost: `5.1GB came over the wire, 3.2GB (2412 chunks) were here already`.
pub fn traffic(report: &FetchReport, how: &str) -> String {
    let came = format!("{} {how}", size(report.wire_bytes));
    match report.chunks_reused {
        0 => came,
        chunks => format!(
            "{came}, {} ({chunks} chunks) were here already",
            size(report.bytes_reused)
        ),
    }
}

/// `1 file`, `2 files`.
pub fn files(count: impl TryInto<u64>) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

/// `22.7M`, `7B`, `512`: parameter counts.
pub fn count(value: u64) -> String {
    const UNITS: [(&str, f64); 4] = [("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)];
    let unit = UNITS.iter().find(|(_, scale)| value as f64 >= *scale);
    match unit {
        Some((name, scale)) => {
            let text = format!("{:.1}", value as f64 / scale);
            format!("{}{name}", text.strip_suffix(".0").unwrap_or(&text))
        }
        None => value.to_string(),
    }
}

/// A count as people type it: `1B`, `350M`, `1.5e9`, `12`.
pub fn parse_count(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, scale) = match text.chars().next_back()?.to_ascii_uppercase() {
        'K' => (text.get(..text.len() - 1)?, 1e3),
        'M' => (text.get(..text.len() - 1)?, 1e6),
        'B' | 'G' => (text.get(..text.len() - 1)?, 1e9),
        'T' => (text.get(..text.len() - 1)?, 1e12),
        _ => (text, 1.0),
    };
    let number = digits.trim().parse::<f64>().ok()? * scale;
    (number.is_finite() && number >= 0.0).then_some(number as u64)
}

/// A number with at most six digits that count: `0.931`, `1.5e-7`, `12`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    match rounded.abs() {
        0.0 => "0".to_owned(),
        size if (1e-4..1e15).contains(&size) => format!("{rounded}"),
        _ => format!("{rounded:e}"),
    }
}

/// At most so many characters, the last of them dots when there are more.
pub fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}

/// `34%`, `34.1%` below ten.
pub fn percent(part: f64) -> String {
    let value = part * 100.0;
    if value.abs() < 10.0 {
        format!("{value:.1}%")
    } else {
        format!("{value:.0}%")
    }
}

/// `2024-01-15 14:30:22` in the zone that the time carries.
pub fn time(time: Time) -> String {
    zoned(time).map_or_else(
        || time.seconds.to_string(),
        |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A length of time as people type it (`2w`, `3d`, `12h`); `None` for `now`.
///
/// # Errors
/// Says how to write one.
pub fn age(text: &str) -> Result<Option<Duration>, String> {
    if text == "now" {
        return Ok(None);
    }
    let day_long = jiff::SpanTotal::from(jiff::Unit::Second).days_are_24_hours();
    let seconds = text.parse::<jiff::Span>().and_then(|span| span.total(day_long));
    match seconds {
        Ok(seconds) if seconds >= 0.0 => Ok(Some(Duration::from_secs(seconds as u64))),
        _ => Err("write a length of time like 2w, 3d or 12h, or now".to_owned()),
    }
}

/// RFC 3339 with the zone that the time carries.
pub fn time_rfc3339(time: Time) -> String {
    zoned(time).map_or_else(
        || time.seconds.to_string(),
        |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    )
}

fn zoned(time: Time) -> Option<jiff::ZonedDateTime> {
    let offset = jiff::tz::Offset::from_seconds(i32::from(time.offset_minutes) * 60).ok()?;
    Some(
        jiff::Timestamp::from_second(time.seconds)
            .ok()?
            .to_zoned_datetime(offset.to_time_zone()),
    )
}

/// Metadata as JSON. Numbers that JSON cannot say become text.
pub fn json(value: &Value) -> serde_json::Value {
    value.to_json()
}

/// Metadata as text.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => match json(other) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

/// Text from outside, safe to show: control characters are escaped.
pub fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_the_design() {
        let expected = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1KB"),
            (1_048_576, "1MB"),
            (8_700_000_000, "8.7GB"),
            (420_000_000, "420MB"),
            (999_999_999, "1GB"),
        ];
        for (bytes, text) in expected {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(size_change(5_000_000), "+5MB");
        assert_eq!(size_change(-5_000_000), "-5MB");
        assert_eq!(count(22_713_216), "22.7M");
        assert_eq!(count(7_000_000_000), "7B");
        assert_eq!(percent(0.341), "34%");
    }

    #[test]
    fn numbers_have_six_digits() {
        let expected = [
            (0.0, "0"),
            (0.931, "0.931"),
            (1.0 / 3.0, "0.333333"),
            (1e-3, "0.001"),
            (1.5e-7, "1.5e-7"),
            (1_234_567.0, "1234570"),
            (-2.5e20, "-2.5e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in expected {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (shortened("abcdef", 6), shortened("abcdef", 5)),
            ("abcdef".into(), "ab...".into())
        );
    }

    #[test]
    fn times_keep_their_zone() {
        let time_there = Time {
            seconds: 1_705_325_422,
            offset_minutes: 330,
        };
        assert_eq!(time(time_there), "2024-01-15 19:00:22");
        assert_eq!(time_rfc3339(time_there), "2024-01-15T19:00:22+05:30");
    }

    #[test]
    fn ages_are_read_as_people_write_them() {
        let hours = |hours: u64| Ok(Some(Duration::from_secs(hours * 3600)));
        assert_eq!(age("now"), Ok(None));
        for (text, expected) in [("2w", 336), ("3d", 72), ("12h", 12), ("1w 2d", 216), ("0s", 0)] {
            assert_eq!(age(text), hours(expected), "{text}");
        }
        for wrong in ["", "14", "-3d", "2 moons", "1mo", "never"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn terminal_escapes_are_shown_and_not_obeyed() {
        assert_eq!(safe("a\x1b[2Jb"), "a\\u{1b}[2Jb");
    }
}
