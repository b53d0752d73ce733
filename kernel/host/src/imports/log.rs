//! `log`: fields into the tracing span; rate and length are bounded, control characters removed.

use crate::instance::Live;
use crate::services::Services;
use crate::state::HostState;
use carapace_runtime::bindings::log;
use carapace_runtime::engine_types::Result;

/// Bytes of a message that are kept; as many of all its fields together.
const MAX_TEXT: usize = 4 << 10;
/// Fields that are kept.
const MAX_FIELDS: usize = 32;

impl log::Host for HostState {
    async fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        self.core.host_call()?;
        let fields: Vec<String> =
            fields.iter().take(MAX_FIELDS).map(|(k, v)| format!("{}={}", plain(k), plain(v))).collect();
        say(&self.services, &self.instance, false, level, &message, &fields.join(" "));
        Ok(())
    }
}

/// A line of an instance's, or of the kernel about it, if it has one left this minute.
pub(crate) fn say(services: &Services, live: &Live, by_kernel: bool, level: log::Level, message: &str, fields: &str) {
    if !live.log_rate.take(live.runtime.limits().log_lines_per_minute) {
        metrics::counter!("carapace_guest_log_dropped_total", "instance" => live.id.to_string()).increment(1);
        return;
    }
    let (message, fields) = (plain(message), plain(fields));
    let instance = tracing::field::display(&live.id);
    let level = match level {
        log::Level::Trace => {
            tracing::trace!(target: "guest", instance, fields, "{message}");
            "trace"
        }
        log::Level::Debug => {
            tracing::debug!(target: "guest", instance, fields, "{message}");
            "debug"
        }
        log::Level::Info => {
            tracing::info!(target: "guest", instance, fields, "{message}");
            "info"
        }
        log::Level::Warn => {
            tracing::warn!(target: "guest", instance, fields, "{message}");
            "warn"
        }
        log::Level::Error => {
            tracing::error!(target: "guest", instance, fields, "{message}");
            "error"
        }
    };
    services.logbook.push(&live.id, level, by_kernel, message, fields);
}

/// One line of printable text: a guest must not be able to forge other lines or drive the owner's terminal.
fn plain(text: &str) -> String {
    let cut = text.floor_char_boundary(MAX_TEXT);
    text.get(..cut).unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_guest_cannot_forge_a_line_or_an_escape() {
        assert_eq!(super::plain("a\n\u{1b}[2Jb"), "a  [2Jb");
        assert_eq!(super::plain(&"x".repeat(10_000)).len(), super::MAX_TEXT);
        assert_eq!(super::plain(&"€".repeat(10_000)).len(), super::MAX_TEXT / 3 * 3, "bytes, not characters");
    }
}
