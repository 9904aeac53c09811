//! Spans of time as people say them. Pure.

use crate::ids::Moment;
use std::time::Duration;

/// At most five letters: `45 s`, `12 m`, `3 h`, `2 d`, `999 d`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} m", seconds / 60),
        6_000..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", (seconds / 86_400).min(999)),
    }
}

/// How long ago a moment was; a dash for none.
pub fn ago(moment: Option<Moment>, now: Moment) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| span(now.since(moment)))
}

/// How long something took.
pub fn took(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
        _ => span(Duration::from_millis(ms)),
    }
}

/// A moment without its milliseconds.
pub fn stamp(moment: Moment) -> String {
    let text = moment.to_string();
    text.split('.').next().map(|seconds| format!("{seconds}Z")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_never_wrong_by_more_than_their_unit() {
        for (seconds, text) in
            [(0, "0 s"), (99, "99 s"), (100, "1 m"), (5_999, "99 m"), (6_000, "1 h"), (172_799, "47 h"), (172_800, "2 d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert!(span(Duration::MAX).len() <= 5);
        assert_eq!((took(0), took(1_250), took(120_000)), ("0 ms".into(), "1.2 s".into(), "2 m".into()));
        assert_eq!(stamp(Moment::from_millis(951_782_400_123)), "2000-02-29T00:00:00Z");
    }
}
