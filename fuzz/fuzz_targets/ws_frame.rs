//! A frame is a client's text: it is a request, or the refusal says why not; what was taken reads the same when written again.
#![no_main]

use carapace_gateway::fuzzing::frame;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match frame(text) {
        Err(why) => assert!(!why.is_empty(), "a refusal without a reason"),
        Ok((id, method, params)) => {
            assert!(!id.is_empty() && id.len() <= 256 && !method.is_empty());
            let again = serde_json::json!({"type": "req", "id": id, "method": method, "params": params}).to_string();
            assert_eq!(frame(&again), Ok((id, method, params)));
        }
    }
});
