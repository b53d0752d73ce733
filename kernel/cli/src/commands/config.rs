//! `carapace config …`

use super::plugin::print_json;
use crate::failure::{Exit, Failure, Outcome};
use carapace_config::{Config, StatePaths, SystemEnv};
use serde_json::json;

/// Every problem of the file at once.
pub(crate) fn check(paths: &StatePaths, as_json: bool) -> Outcome {
    let file = paths.config();
    match Config::load(file, &SystemEnv) {
        Ok(_) if as_json => print_json(&json!({ "file": file, "problems": [] })),
        Ok(_) if file.exists() => println!("{} is good.", file.display()),
        Ok(_) => println!("There is no {}: the defaults are in force.", file.display()),
        Err(e) if as_json => {
            let problems: Vec<_> = e
                .problems
                .iter()
                .map(|p| json!({ "code": p.rule.code(), "file": p.file, "path": p.path, "message": p.message, "fix": p.fix }))
                .collect();
            print_json(&json!({ "file": file, "problems": problems }));
            std::process::exit(Exit::Usage as i32);
        }
        Err(e) => return Err(Failure::new(Exit::Usage, e.to_string())),
    }
    Ok(())
}
