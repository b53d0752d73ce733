//! The door against real servers on loopback. Public names are played by a resolver and a dialler of the test.
#![allow(clippy::disallowed_methods, reason = "the servers that the door talks to are started here")]

mod addresses;
mod audit;
mod bodies;
mod capture;
mod credentials;
mod failures;
mod local;
mod redirects;
mod support;
