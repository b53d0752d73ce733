//! One module per command.

pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod author;
pub(crate) mod channel_test;
pub(crate) mod channels;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod grant;
pub(crate) mod packages;
pub(crate) mod plugin;
pub(crate) mod publisher;
pub(crate) mod registry;
pub(crate) mod release;
pub(crate) mod requests;
pub(crate) mod secrets;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod sync;
