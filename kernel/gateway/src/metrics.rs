//! Prometheus text: what all rooms record through the `metrics` crate, and every instance's meter.

use carapace_contract::Denial;
use carapace_contract::turn::KernelStatus;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the process's recorder, once; later calls give the same handle.
///
/// # Errors
/// `E-GATE-005` if something else has installed another recorder.
pub fn install() -> Result<PrometheusHandle, Denial> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|e| Denial::new("E-GATE-005", format!("no metrics recorder could be installed: {e}"), ""))?;
    describe();
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    ::metrics::describe_counter!(
        "carapace_http_requests_total",
        "HTTP requests answered, by route, method and status."
    );
    ::metrics::describe_histogram!("carapace_http_request_seconds", "Time to an answer's head, by route.");
    ::metrics::describe_gauge!("carapace_ws_connections", "WebSocket connections open.");
    ::metrics::describe_counter!("carapace_ws_connections_total", "WebSocket connections accepted.");
    ::metrics::describe_counter!("carapace_ws_messages_total", "WebSocket messages, by direction.");
    ::metrics::describe_counter!("carapace_ws_dropped_total", "What clients did not get, by what it was.");
    ::metrics::describe_counter!("carapace_ws_requests_total", "WebSocket requests answered, by method and outcome.");
    ::metrics::describe_counter!("carapace_auth_failures_total", "Clients not let in, by edge and reason.");
}

/// What a scrape gets.
pub(crate) fn render(handle: &PrometheusHandle, status: &KernelStatus, version: &str, uptime_seconds: u64) -> String {
    let mut out = handle.render();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(Vec<(&str, &str)>, u64)>| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
            let _ = if labels.is_empty() {
                writeln!(out, "{name} {value}")
            } else {
                writeln!(out, "{name}{{{}}} {value}", labels.join(","))
            };
        }
    };
    family("carapace_build_info", "gauge", "The kernel's version.", vec![(vec![("version", version)], 1)]);
    family("carapace_uptime_seconds", "gauge", "Since the gateway started.", vec![(vec![], uptime_seconds)]);
    family("carapace_ready", "gauge", "1 if ready.", vec![(vec![], u64::from(status.not_ready.is_empty()))]);

    let names: Vec<String> = status.instances.iter().map(|i| i.instance.to_string()).collect();
    let each = || status.instances.iter().zip(&names);
    family(
        "carapace_instance_ready",
        "gauge",
        "1 if the instance is ready.",
        each().map(|(i, n)| (vec![("instance", n.as_str())], u64::from(i.state == "ready"))).collect(),
    );
    type Read = fn(&carapace_contract::meter::Meter) -> u64;
    let totals: [(&str, &str, &str, Read); 7] = [
        ("carapace_instance_calls_total", "counter", "Calls into the guest.", |m| m.calls),
        ("carapace_instance_fuel_total", "counter", "Fuel consumed.", |m| m.fuel),
        ("carapace_instance_cpu_ticks_total", "counter", "Epoch ticks of 10 ms on a CPU.", |m| m.cpu_ticks),
        ("carapace_instance_peak_memory_bytes", "gauge", "The most memory one store held.", |m| m.peak_memory),
        ("carapace_instance_host_calls_total", "counter", "Calls from the guest into the kernel.", |m| m.host_calls),
        ("carapace_instance_sent_bytes_total", "counter", "Bytes sent through egress.", |m| m.bytes_out),
        ("carapace_instance_received_bytes_total", "counter", "Bytes received through egress.", |m| m.bytes_in),
    ];
    for (name, kind, help, read) in totals {
        family(name, kind, help, each().map(|(i, n)| (vec![("instance", n.as_str())], read(&i.meter))).collect());
    }
    family(
        "carapace_instance_traps_total",
        "counter",
        "Calls that ended in a trap, by kind.",
        each()
            .flat_map(|(i, n)| {
                i.meter.traps.iter().map(move |(k, v)| (vec![("instance", n.as_str()), ("kind", k)], *v))
            })
            .collect(),
    );
    family(
        "carapace_instance_denials_total",
        "counter",
        "Refusals, by code.",
        each()
            .flat_map(|(i, n)| {
                i.meter.denials.iter().map(move |(k, v)| (vec![("instance", n.as_str()), ("code", k)], *v))
            })
            .collect(),
    );
    out
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_line() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
