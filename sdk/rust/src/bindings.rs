//! Generated from `wit/`. Nothing here is for authors: the modules of this crate are.
//!
//! The import-only world of this crate and the export worlds end up in separate sections of the module, which `carapace plugin build` unites. Imports
//! that no code calls disappear there, so a component imports exactly what it uses.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_lifetimes,
    trivial_numeric_casts,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]

pub mod imports {
    wit_bindgen::generate!({
        path: "wit",
        world: "carapace:plugin/imports",
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
        generate_all,
    });
}

pub mod tools {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package carapace:sdk; world tools { export carapace:plugin/tools@0.1.0-dev; }",
        pub_export_macro: true,
        export_macro_name: "export_tools",
        default_bindings_module: "carapace_sdk::__private::tools_bindings",
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
        with: { "carapace:plugin/types@0.1.0-dev": crate::bindings::imports::carapace::plugin::types },
        generate_all,
    });
}

pub mod provider {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package carapace:sdk; world provider { export carapace:plugin/provider@0.1.0-dev; }",
        pub_export_macro: true,
        export_macro_name: "export_provider",
        default_bindings_module: "carapace_sdk::__private::provider_bindings",
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
        with: {
            "carapace:plugin/types@0.1.0-dev": crate::bindings::imports::carapace::plugin::types,
            "carapace:plugin/completion@0.1.0-dev": crate::bindings::imports::carapace::plugin::completion,
        },
        generate_all,
    });
}

pub mod channel {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package carapace:sdk; world channel { export carapace:plugin/channel@0.1.0-dev; }",
        pub_export_macro: true,
        export_macro_name: "export_channel",
        default_bindings_module: "carapace_sdk::__private::channel_bindings",
        additional_derives: [PartialEq, Clone, serde::Serialize, serde::Deserialize],
        with: {
            "carapace:plugin/types@0.1.0-dev": crate::bindings::imports::carapace::plugin::types,
            "carapace:plugin/http@0.1.0-dev": crate::bindings::imports::carapace::plugin::http,
        },
        generate_all,
    });
}
