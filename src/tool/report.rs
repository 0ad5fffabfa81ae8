//! The end of a run: one line for people, or one JSON object whose fields stay. docs/tool.md tells what each means, and a
//! test here compares.

use super::exit::Exit;
use super::progress::rate;
use indicatif::HumanBytes;
use serde_json::json;
use std::time::Duration;

/// How a run went.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) from: String,
    pub(super) to: String,
    /// Forward and backward; the second is `None` for a copy.
    pub(super) bytes: (u64, Option<u64>),
    pub(super) time: Duration,
    pub(super) hashes: [Option<String>; 2],
    /// Served and failed, where there are many.
    pub(super) connections: Option<(u64, u64)>,
    pub(super) exit: Exit,
    pub(super) cause: Option<String>,
}

impl Report {
    fn total(&self) -> u64 {
        self.bytes.0.saturating_add(self.bytes.1.unwrap_or(0))
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let [forward, backward] = &self.hashes;
        json!({
            "from": self.from,
            "to": self.to,
            "bytes_forward": self.bytes.0,
            "bytes_backward": self.bytes.1,
            "seconds": self.time.as_secs_f64(),
            "rate": rate(self.total(), self.time),
            "sha256_forward": forward,
            "sha256_backward": backward,
            "connections": self.connections.map(|(served, _)| served),
            "failed": self.connections.map(|(_, failed)| failed),
            "outcome": outcome(self.exit),
            "cause": self.cause,
            "exit_code": self.exit.code(),
        })
        .to_string()
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        let moved = match self.bytes {
            (forward, None) => format!("{forward} bytes"),
            (forward, Some(backward)) => format!("{forward} bytes to the right, {backward} bytes to the left"),
        };
        let rate = HumanBytes(rate(self.total(), self.time));
        let mut line = format!("{moved} in {:.3} s ({rate}/s)", self.time.as_secs_f64());
        if let Some((served, failed)) = self.connections {
            line.push_str(&format!(", {served} connections, {failed} failed"));
        }
        for (hash, way) in self.hashes.iter().zip(["", " to the left"]) {
            if let Some(hash) = hash {
                line.push_str(&format!(", sha256{way} {hash}"));
            }
        }
        match &self.cause {
            None => line,
            // an interrupt that was followed is no failure
            Some(cause) if self.exit == Exit::Drained => format!("{cause}; {line}"),
            Some(cause) if self.total() == 0 => cause.clone(),
            Some(cause) => format!("{cause}; delivered {line}"),
        }
    }
}

/// The word for a way to end.
fn outcome(exit: Exit) -> &'static str {
    match exit {
        Exit::Delivered => "delivered",
        Exit::Internal | Exit::Usage => "failed",
        Exit::Open => "open-failed",
        Exit::Source => "source-failed",
        Exit::Destination => "destination-failed",
        Exit::Drained => "drained",
        Exit::Aborted => "aborted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            from: "stdio".into(),
            to: "tcp:a:1".into(),
            bytes: (2_048, None),
            time: Duration::from_millis(500),
            hashes: [None, None],
            connections: None,
            exit: Exit::Delivered,
            cause: None,
        }
    }

    #[test]
    fn a_run_is_told_in_one_line() {
        assert_eq!(report().line(), "2048 bytes in 0.500 s (4.00 KiB/s)");
        let failed = Report { exit: Exit::Open, cause: Some("to tcp:a:1: no".into()), bytes: (0, None), ..report() };
        assert_eq!(failed.line(), "to tcp:a:1: no");
        let drained =
            Report { exit: Exit::Drained, cause: Some("interrupted".into()), bytes: (0, Some(0)), ..report() };
        assert!(drained.line().starts_with("interrupted; 0 bytes to the right"), "{}", drained.line());
    }

    #[test]
    fn the_fields_of_the_object_stay() {
        let value: serde_json::Value = serde_json::from_str(&report().json()).expect("JSON");
        let fields: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        // each row of the table begins with the names of its fields
        let table = include_str!("../../docs/tool.md").lines().filter(|line| line.starts_with("| `"));
        let cells = table.filter_map(|line| line.split('|').nth(1));
        let mut known: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        known.sort_unstable();
        assert_eq!(fields, known);
        assert_eq!((&value["rate"], &value["outcome"]), (&json!(4_096), &json!("delivered")));
    }
}
