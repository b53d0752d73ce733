//! What a channel holds in memory while nobody writes.

use crate::process::held_mb;
use crate::report::Report;
use carapace_tests::{Kernel, KernelOptions, kernel, owner};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Further instances of one channel.
const INSTANCES: usize = 50;
const SECRET: &str = "a-token-of-the-bench";

pub(crate) async fn measure(report: &mut Report) {
    let one = held(0).await;
    let many = held(INSTANCES).await;
    let each = |many: f64, one: f64| (many - one) * 1000.0 / INSTANCES as f64;
    let after = "a further instance of a channel, after one event and 10 s idle";
    report.put(&format!("resident memory of {after}"), each(many.0, one.0), "kB", None, INSTANCES);
    report.put(&format!("anonymous memory of {after}"), each(many.1, one.1), "kB", None, INSTANCES);
}

/// Resident and anonymous memory of a kernel with so many instances of `webhook` beside `main`.
async fn held(further: usize) -> (f64, f64) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let names: Vec<String> = (0..further).map(|n| format!("w{n:03}")).collect();
    let section = json!({ "component": "local/webhook", "channel": { "direct": "off" } });
    let mut instances: Map<String, Value> =
        names.iter().map(|name| (format!("webhook:{name}"), section.clone())).collect();
    instances.insert("webhook".to_owned(), json!({ "channel": { "direct": "off" } }));
    let config = json!({ "instances": instances, "webhooks": { "port": port } });
    let options = KernelOptions::default().with_config(&config.to_string());
    let kernel = Kernel::start(options.with_env("CARAPACE_PASSWORD", "correct horse battery staple"));
    for name in &names {
        owner::done(kernel.state(), &["plugin", "grant", "--yes", &format!("local/webhook/{name}")]);
    }
    let http = kernel::client(reqwest::header::HeaderMap::new());
    for name in names.iter().map(String::as_str).chain(["main"]) {
        owner::set_secret(kernel.state(), "token", &format!("local/webhook/{name}"), SECRET);
        let url = format!("http://127.0.0.1:{port}/channels/webhook/{name}/token");
        let said = json!({ "id": "m-1", "from": "ci", "text": "hello" });
        let taken = async || {
            let sent = http.post(&url).bearer_auth(SECRET).json(&said).send().await;
            sent.is_ok_and(|answer| answer.status() == 202)
        };
        let mut tries = 0;
        while !taken().await {
            tries += 1;
            assert!(tries < 500, "`{name}` takes nothing in\n{}", kernel.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    held_mb(kernel.pid())
}
