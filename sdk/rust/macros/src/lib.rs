//! The macros of `carapace-sdk`. Authors use them from there, where they are documented.

#![allow(
    clippy::disallowed_methods,
    reason = "a macro is told its crate's folder by the environment, and reads its manifest"
)]

mod component;
mod manifest;
mod test;

use proc_macro::TokenStream;

/// See `carapace_sdk::component!`.
#[proc_macro]
pub fn component(input: TokenStream) -> TokenStream {
    component::expand(input).unwrap_or_else(|e| compile_error(&e))
}

/// See `carapace_sdk::test`.
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(attribute, item).unwrap_or_else(|e| compile_error(&e))
}

fn compile_error(text: &str) -> TokenStream {
    let code = format!("::core::compile_error!({text:?});");
    code.parse().unwrap_or_default()
}
