//! What every provider component needs between the SDK and an HTTP API.
//!
//! [`calls`] assembles tool calls from fragments, [`failure`] turns HTTP statuses and vendors' error objects into the contract's failures,
//! [`section`] reads an instance's configuration, [`json`] writes the contract's values.

pub mod calls;
pub mod failure;
pub mod json;
pub mod section;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
