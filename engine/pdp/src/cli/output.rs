//! What commands print, and where.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Failure;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// For a machine.
    pub(super) json: bool,
}

impl Output {
    /// Prints a result: its JSON for a machine, the text for people.
    pub(super) fn print(self, value: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(value).map_err(Failure::unable)?;
            line(&text)
        } else {
            line(text)
        }
    }
}

/// Prints a line to standard output. When a reader has gone, which wants no more of it, the
/// failure is one without a message.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::Unable(String::new()))
        }
        Err(error) => Err(Failure::Unable(format!("standard output: {error}"))),
    }
}

/// Tells a person something, on standard error.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong, on standard error.
pub(super) fn complain(text: &str) {
    if !text.is_empty() {
        tell(&format!("portreeve: {text}"));
    }
}

/// Whether somebody is looking at standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A table for people.
pub(super) fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(
            headers
                .iter()
                .map(|header| Cell::new(header).add_attribute(Attribute::Bold)),
        );
    if !io::stdout().is_terminal() {
        table.set_width(160);
        table.force_no_tty();
    } else if table.width().is_none_or(|width| width < 80) {
        // A terminal that does not know its size says 0; a narrower table would be one of letters.
        table.set_width(80);
    }
    table
}

/// A bar for long work of known length; nothing when nobody is looking.
pub(super) fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg:>12} [{bar:36}] {human_pos}/{human_len} {per_sec} {eta}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("=> ");
    let bar = ProgressBar::new(length)
        .with_style(style)
        .with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A counter for long work of unknown length.
pub(super) fn counter(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {human_pos} {per_sec} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Starts the log: on standard error, as text when somebody is looking, as JSON otherwise (O13).
pub(super) fn start_log() {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        // It would be told on standard error, by a macro that panics when nobody reads there.
        .log_internal_errors(false)
        .with_max_level(tracing::Level::INFO)
        .with_target(false);
    // A second start in one process is a test's; the first one holds.
    let _ = if is_watched() {
        log.compact().try_init()
    } else {
        log.json().try_init()
    };
}
