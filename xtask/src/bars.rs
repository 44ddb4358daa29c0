//! Progress of downloads: bars on a terminal, a line per step elsewhere.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use yolo_fetch::Event;

const WITH_TOTAL: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const WITHOUT_TOTAL: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

/// Smaller files pass without a line where there is no terminal.
const LINE_BYTES: u64 = 1 << 20;

/// Shows events, one bar at a time.
pub(crate) struct Bars {
    bar: ProgressBar,
    /// What the bar is about.
    step: String,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), step: String::new() }
    }

    /// Shows `event`.
    pub(crate) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Checking { name, done, total } => self.advance("checking", name, done, Some(total)),
            Event::Downloading { name, done, total } => self.advance("downloading", name, done, total),
            Event::Extracting { name, done, total } => self.advance("unpacking", name, done, Some(total)),
            Event::Waiting { lock } => self.say(&format!("waiting for another download: {}", lock.display())),
            Event::Retrying { reason, wait } => {
                self.say(&format!("{reason}; again in {:.1} s", wait.as_secs_f64()));
            }
            Event::NextUrl { reason, url } => self.say(&format!("{reason}; now {url}")),
            _ => {}
        }
    }

    fn advance(&mut self, verb: &str, name: &str, done: u64, total: Option<u64>) {
        let step = format!("{verb} {name}");
        if step != self.step {
            self.bar.finish_and_clear();
            self.bar = bar(&step, total);
            let is_worth_a_line = verb != "checking" && total.is_none_or(|total| total >= LINE_BYTES);
            if self.bar.is_hidden() && is_worth_a_line {
                let size = total.map(|total| format!(" ({})", HumanBytes(total))).unwrap_or_default();
                eprintln!("{step}{size}");
            }
            // Bytes of an earlier run say nothing about the speed of this one.
            self.bar.set_position(done);
            self.bar.reset_eta();
            self.step = step;
        }
        self.bar.set_position(done);
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(step: &str, total: Option<u64>) -> ProgressBar {
    let template = if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Hides itself where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style).with_message(step.to_owned())
}
