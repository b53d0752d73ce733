//! `carapace status` and `carapace plugin list`.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::assembly::store_options;
use crate::client::Client;
use crate::failure::{OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_store::Store;
use serde_json::{Value, json};

/// What runs.
pub(crate) async fn run(paths: &StatePaths, as_json: bool) -> Outcome {
    let client = Client::needed(paths).await?;
    // The status itself asks no provider; this does, so that the list below is current.
    client.get("/v1/models").await?;
    let status = client.get("/api/status").await?;
    if as_json {
        print_json(&status);
        return Ok(());
    }
    println!("Carapace {} at {}", text(&status["version"]), client.base);
    let reasons: Vec<&str> = strings(&status["notReady"]);
    println!("{}", if reasons.is_empty() { "ready".to_owned() } else { format!("not ready: {}", reasons.join("; ")) });
    println!("\nComponents:");
    for i in status["instances"].as_array().into_iter().flatten() {
        let meter = &i["meter"];
        println!(
            "  {:<28} {:<8} {}  (calls {}, peak memory {} KiB, denials {})",
            text(&i["instance"]),
            text(&i["version"]),
            text(&i["state"]),
            meter["calls"],
            meter["peak_memory"].as_u64().unwrap_or(0) >> 10,
            meter["denials"].as_object().map_or(0, |d| d.values().filter_map(Value::as_u64).sum::<u64>()),
        );
        if let Some(note) = i["note"].as_str() {
            println!("    {note}");
        }
    }
    println!("\nModels:");
    for m in status["models"].as_array().into_iter().flatten() {
        let (id, name) = (text(&m["id"]), text(&m["name"]));
        // Most providers have no other name for it.
        if id.ends_with(name) { println!("  {id}") } else { println!("  {id}  ({name})") }
    }
    Ok(())
}

/// What is installed; from the state itself when nothing runs.
pub(crate) async fn plugins(paths: &StatePaths, as_json: bool) -> Outcome {
    let list = match Client::running(paths).await? {
        Some(client) => client.get("/api/status").await?["instances"].clone(),
        None => installed(paths).await?,
    };
    if as_json {
        print_json(&list);
        return Ok(());
    }
    if list.as_array().is_none_or(Vec::is_empty) {
        println!("No component is installed. `carapace start` installs the bundled ones.");
    }
    for i in list.as_array().into_iter().flatten() {
        let digest: String = text(&i["digest"]).trim_start_matches("sha256:").chars().take(12).collect();
        let before = i["previous"].as_str().map(|v| format!(" (before: {v})")).unwrap_or_default();
        println!("{:<28} {:<8} {digest} {}{before}", text(&i["instance"]), text(&i["version"]), text(&i["state"]));
        if let Some(note) = i["note"].as_str() {
            println!("  {note}");
        }
    }
    Ok(())
}

async fn installed(paths: &StatePaths) -> Outcome<Value> {
    if !paths.database().exists() {
        return Ok(json!([]));
    }
    let reader = Store::open_reader(paths.root(), store_options()).or_fail("cannot read the state")?;
    let grants = reader.grants().await.or_fail("cannot read the grants")?;
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    let before = reader.packages_before().await.or_fail("cannot read the earlier packages")?;
    let previous = |row: &carapace_store::PackageRow| {
        before.iter().find(|e| &e.component == row.instance.component()).map(|e| e.version.to_string())
    };
    let state = |row: &carapace_store::PackageRow| match grants.iter().find(|g| g.instance == row.instance) {
        Some(g) if g.revoked => "revoked",
        Some(_) if row.enabled => "installed",
        Some(_) => "disabled",
        None => "not granted",
    };
    let list = rows.iter().map(|r| {
        json!({ "instance": r.instance, "digest": r.digest, "version": r.version, "state": state(r),
            "previous": previous(r), "note": r.note })
    });
    Ok(Value::Array(list.collect()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
