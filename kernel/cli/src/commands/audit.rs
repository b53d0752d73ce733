//! `carapace audit …`

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::failure::{Exit, Failure, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::control::ControlRequest;
use std::sync::Arc;

/// Walks every chain; fails with the first broken link.
pub(crate) async fn verify(paths: &StatePaths, config: Arc<ConfigHandle>, as_json: bool) -> Outcome {
    let report = carry_out(paths, config, ControlRequest::AuditVerify).await?;
    let broken = &report["first_broken"];
    if as_json {
        print_json(&report);
        if !broken.is_null() {
            std::process::exit(Exit::Refused as i32);
        }
        return Ok(());
    }
    if broken.is_null() {
        println!("{} rows, every link holds.", report["rows"]);
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, format!("the record was changed: {broken}"))
        .help("restore a backup of the state directory; docs/src/operators/record.md says what the record proves"))
}
