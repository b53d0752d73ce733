//! Queries, by subject.

mod blob;
mod channel;
mod conversation;
mod delivery;
mod kv;
mod memory;
mod package;
mod request;
mod size;
mod trust;
