//! What a person sees: log lines and progress on stderr, results on stdout.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use yolo_report::json_layout::pretty;

use crate::args::{LogFormat, TerminalArgs};

/// Columns of a line if the width of the terminal is unknown.
const USUAL_WIDTH: usize = 80;

/// What is printed, as the flags ask for it.
#[derive(Clone, Copy, Debug, Default)]
struct OutputMode {
    quiet: bool,
    json: bool,
}

static OUTPUT_MODE: OnceLock<OutputMode> = OnceLock::new();

fn output_mode() -> OutputMode {
    OUTPUT_MODE.get().copied().unwrap_or_default()
}

/// Log lines go to stderr; `YOLO_LOG=debug` shows more of them, `--quiet` fewer.
pub(crate) fn init_logging(args: TerminalArgs) {
    let output_mode = OutputMode { quiet: args.quiet, json: args.log_format == LogFormat::Json };
    let _ = OUTPUT_MODE.set(output_mode);
    let debug = std::env::var("YOLO_LOG").is_ok_and(|level| level.eq_ignore_ascii_case("debug"));
    let level = match (debug, output_mode.quiet) {
        (true, _) => Level::DEBUG,
        (false, true) => Level::WARN,
        (false, false) => Level::INFO,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colour_on_stderr())
        .event_format(LogLines)
        .init();
}

fn colour_on_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal that stdout is; elsewhere those of `COLUMNS`, or 80.
pub(crate) fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(told).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

/// An object for scripts that read stderr line by line.
fn json_line(level: &str, message: &str) -> String {
    let time = crate::clock::utc_seconds();
    serde_json::json!({"time": time, "level": level, "message": message}).to_string()
}

/// A line per event: its message, behind `warning:` if it is one; or an object.
struct LogLines;

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut message = String::new();
        context.field_format().format_fields(Writer::new(&mut message), event)?;
        let message = in_one_line(&message);
        if output_mode().json {
            let level = match *event.metadata().level() {
                Level::WARN => "warning".to_owned(),
                level => level.as_str().to_lowercase(),
            };
            return writeln!(writer, "{}", json_line(&level, &message));
        }
        let (name, colour) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\x1b[1;31m"),
            Level::WARN => ("warning: ", "\x1b[1;33m"),
            Level::INFO => ("", ""),
            _ => ("debug: ", "\x1b[2m"),
        };
        if writer.has_ansi_escapes() && !name.is_empty() {
            write!(writer, "{colour}{name}\x1b[0m")?;
        } else {
            write!(writer, "{name}")?;
        }
        writeln!(writer, "{}", printable(&message))
    }
}

/// The error and its causes in one line on stderr.
pub(crate) fn print_error(error: &anyhow::Error) {
    let (start, end) = if colour_on_stderr() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let line = one_line(error);
    if output_mode().json {
        let _ = writeln!(std::io::stderr(), "{}", json_line("error", &line));
        return;
    }
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{start}error:{end} {line}");
}

/// An error and its causes in one line. A cause that the message already quotes is not repeated.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    printable(&in_one_line(&line)).into_owned()
}

/// The lines of a text one behind the other.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The text with control characters escaped: names in files may hold anything, and a terminal obeys.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Where the results of a command go: stdout, or stderr when stdout is kept for JSON.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// With `json`, stdout carries one JSON object and nothing else.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line of a table or summary.
    pub(crate) fn line(&self, line: impl AsRef<str>) -> anyhow::Result<()> {
        let line = printable(line.as_ref());
        if self.json {
            match output_mode() {
                OutputMode { quiet: true, .. } => Ok(()),
                OutputMode { json: true, .. } => {
                    printed(writeln!(std::io::stderr(), "{}", json_line("info", &line)))
                }
                _ => printed(writeln!(std::io::stderr(), "{line}")),
            }
        } else {
            printed(writeln!(std::io::stdout(), "{line}"))
        }
    }

    /// The object that scripts read, where they asked for it.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        if self.json {
            printed(writeln!(std::io::stdout(), "{}", pretty(value)?))?;
        }
        Ok(())
    }
}

/// Whoever reads our output may stop reading; the work continues, and its files are written.
fn printed(outcome: std::io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("the results cannot be printed to the standard output")
        }
        _ => Ok(()),
    }
}

/// Where progress is drawn: nowhere, if it would disturb.
fn target() -> ProgressDrawTarget {
    let OutputMode { quiet, json } = output_mode();
    if quiet || json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

/// A count of steps whose total is unknown, on stderr; invisible if stderr is not a terminal.
pub(crate) fn counter(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<12} {pos}  {elapsed}");
    let bar = ProgressBar::with_draw_target(None, target());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(what);
    bar
}

/// A bar over `total` steps on stderr; invisible if stderr is not a terminal.
pub(crate) fn progress_bar(what: &'static str, total: u64) -> ProgressBar {
    let template = "{msg:<12} {bar:32} {pos}/{len}  {per_sec}  {elapsed}<{eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), target());
    bar.set_style(style);
    bar.set_message(what);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_is_one() {
        assert_eq!(in_one_line("a.txt: bad:\n  first\n  second\n"), "a.txt: bad: first second");
        assert_eq!(printable("a\u{1b}[2J"), "a\\u{1b}[2J");
    }
}
