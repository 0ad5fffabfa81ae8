//! What is told while the tool runs: progress, and lines of what happens, on standard error.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How often a bar is drawn, and how often a line is written where there is no terminal.
const PERIOD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Standard error, with a bar below the lines if there is one.
#[derive(Debug)]
pub(super) struct Console {
    quiet: bool,
    progress: Option<Progress>,
}

#[derive(Debug)]
enum Progress {
    Bar(ProgressBar),
    /// Not a terminal: a line now and then.
    Lines {
        start: Instant,
        last: Mutex<Option<(Instant, u64)>>,
        size: Option<u64>,
    },
}

impl Console {
    /// `size` is how much there is to move, if that is known.
    pub(super) fn new(quiet: bool, forced: bool, size: Option<u64>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let progress = match (quiet, terminal, forced) {
            (true, ..) | (false, false, false) => None,
            (false, true, _) => Some(Progress::Bar(bar(size))),
            (false, false, true) => Some(Progress::Lines { start: Instant::now(), last: Mutex::default(), size }),
        };
        Self { quiet, progress }
    }

    /// How often [`show`](Self::show) wants to be called, if at all.
    pub(super) fn period(&self) -> Option<Duration> {
        self.progress.as_ref().map(|progress| match progress {
            Progress::Bar(_) => PERIOD.0,
            Progress::Lines { .. } => PERIOD.1,
        })
    }

    /// Shows how much has moved.
    pub(super) fn show(&self, moved: u64, note: &str) {
        match &self.progress {
            Some(Progress::Bar(bar)) => {
                bar.set_position(moved);
                bar.set_message(note.to_owned());
            }
            Some(Progress::Lines { start, last, size }) => {
                let now = Instant::now();
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let (since, from) = last.replace((now, moved)).unwrap_or((*start, 0));
                let rate = rate(moved.saturating_sub(from), now.saturating_duration_since(since));
                let mut line = format!("{moved} bytes, {}/s", HumanBytes(rate));
                if let (Some(size), true) = (size, rate > 0) {
                    let seconds = size.saturating_sub(moved) / rate;
                    line.push_str(&format!(", {seconds} s left"));
                }
                if !note.is_empty() {
                    line.push_str(&format!(", {note}"));
                }
                write_line(&line);
            }
            None => {}
        }
    }

    /// Something worth a line unless quiet.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// A line in any case.
    pub(super) fn error(&self, text: &str) {
        match &self.progress {
            Some(Progress::Bar(bar)) => bar.suspend(|| write_line(text)),
            _ => write_line(text),
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(Progress::Bar(bar)) = &self.progress {
            bar.finish_and_clear();
        }
    }
}

/// Bytes in a second.
pub(super) fn rate(bytes: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / u128::from(micros)).unwrap_or(u64::MAX)
}

fn bar(size: Option<u64>) -> ProgressBar {
    let known = "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}";
    let unknown = "{spinner} {bytes} {binary_bytes_per_sec} {elapsed} {msg}";
    let bar = match size {
        Some(size) => ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr()),
        None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
    };
    // a template that indicatif does not understand would be its own default bar
    if let Ok(style) = ProgressStyle::with_template(if size.is_some() { known } else { unknown }) {
        bar.set_style(style);
    }
    bar
}

/// Who has closed standard error does not want to be told.
fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "vio: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_by_the_second() {
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(1, Duration::ZERO), 1_000_000);
    }
}
