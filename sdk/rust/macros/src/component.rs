//! `component!(Type: Tools, Provider, Channel)`.

use crate::manifest::{self, Manifest};
use proc_macro::{TokenStream, TokenTree};
use std::path::PathBuf;

const USAGE: &str = "write component!(Type: Tools), component!(Type: Provider), component!(Type: Channel), or several: component!(Type: Tools, Channel); \
                     a manifest elsewhere: component!(Type: Tools, manifest = \"path/carapace.toml\")";

struct Input {
    name: String,
    tools: bool,
    provider: bool,
    channel: bool,
    manifest: String,
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream, String> {
    let input = read(input)?;
    let folder = std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "component! needs cargo".to_owned())?;
    let path = PathBuf::from(folder).join(&input.manifest);
    let manifest = manifest::read(&path)?;
    agree(&input, &manifest)?;
    code(&input, &manifest, &path.to_string_lossy()).parse().map_err(|e| format!("component!: {e}"))
}

fn read(input: TokenStream) -> Result<Input, String> {
    let usage = || USAGE.to_owned();
    let mut tokens = input.into_iter();
    let Some(TokenTree::Ident(name)) = tokens.next() else { return Err(usage()) };
    if !matches!(tokens.next(), Some(TokenTree::Punct(p)) if p.as_char() == ':') {
        return Err(usage());
    }
    let mut out = Input {
        name: name.to_string(),
        tools: false,
        provider: false,
        channel: false,
        manifest: "carapace.toml".to_owned(),
    };
    loop {
        let Some(TokenTree::Ident(word)) = tokens.next() else { return Err(usage()) };
        let mut next = tokens.next();
        match word.to_string().as_str() {
            "Tools" => out.tools = true,
            "Provider" => out.provider = true,
            "Channel" => out.channel = true,
            "manifest" => {
                let Some(TokenTree::Literal(path)) = tokens.next() else { return Err(usage()) };
                let path = path.to_string();
                out.manifest = path.trim_matches('"').to_owned();
                next = tokens.next();
            }
            other => return Err(format!("there is no export `{other}`; {USAGE}")),
        }
        match next {
            None => break,
            Some(TokenTree::Punct(p)) if p.as_char() == ',' => {}
            Some(_) => return Err(usage()),
        }
    }
    if out.tools || out.provider || out.channel { Ok(out) } else { Err(usage()) }
}

/// The exports are those that the manifest declares.
fn agree(input: &Input, manifest: &Manifest) -> Result<(), String> {
    let name = &input.name;
    let (tools, file) = (!manifest.tools.is_empty(), &input.manifest);
    if input.tools && !tools {
        return Err(format!("{name} exports Tools, but {file} declares no [[tool]]; add one for each tool"));
    }
    if !input.tools && tools {
        return Err(format!(
            "{file} declares [[tool]], but {name} does not export Tools; write component!({name}: Tools …)"
        ));
    }
    if input.provider && !manifest.provider {
        return Err(format!("{name} exports Provider, but {file} has no section [provider]; add it"));
    }
    if !input.provider && manifest.provider {
        return Err(format!(
            "{file} has the section [provider], but {name} does not export Provider; write component!({name}: Provider …)"
        ));
    }
    if input.channel && !manifest.channel {
        return Err(format!("{name} exports Channel, but {file} has no section [channel]; add it"));
    }
    if !input.channel && manifest.channel {
        return Err(format!(
            "{file} has the section [channel], but {name} does not export Channel; write component!({name}: Channel …)"
        ));
    }
    Ok(())
}

fn code(input: &Input, manifest: &Manifest, path: &str) -> String {
    let ty = &input.name;
    let mut code = format!(
        "const _: &str = ::core::include_str!({path:?});
        #[doc(hidden)]
        #[allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = \"made by component!\")]
        pub mod __carapace {{
            pub static MANIFEST: ::carapace_sdk::__private::Manifest = {};
            #[cfg(not(target_family = \"wasm\"))]
            pub fn component() -> ::carapace_sdk::__private::Component {{
                ::carapace_sdk::__private::Component {{ manifest: &MANIFEST, tools: {}, provider: {}, channel: {} }}
            }}
        }}\n",
        manifest.expression(),
        if input.tools {
            format!("::core::option::Option::Some(<super::{ty} as ::carapace_sdk::Tools>::tools)")
        } else {
            "::core::option::Option::None".to_owned()
        },
        if input.provider {
            format!("::core::option::Option::Some(::carapace_sdk::__private::provider::<super::{ty}>)")
        } else {
            "::core::option::Option::None".to_owned()
        },
        if input.channel {
            format!("::core::option::Option::Some(::carapace_sdk::__private::channel::<super::{ty}>)")
        } else {
            "::core::option::Option::None".to_owned()
        },
    );
    if input.tools {
        code += &format!(
            "#[cfg(test)]
            mod carapace_toml {{
                #[test]
                fn names_every_tool_and_no_other() {{
                    super::__carapace::component().assert_tools_agree();
                }}
            }}
            #[cfg(target_family = \"wasm\")]
            const _: () = {{
                struct Exports;
                impl ::carapace_sdk::__private::ToolsGuest for Exports {{
                    fn list() -> ::std::vec::Vec<::carapace_sdk::__private::Tool> {{
                        ::carapace_sdk::__private::list::<{ty}>()
                    }}
                    fn call(
                        name: ::std::string::String,
                        arguments: ::std::string::String,
                        context: ::carapace_sdk::__private::WitContext,
                    ) -> ::core::result::Result<::std::vec::Vec<::carapace_sdk::__private::WitContent>, ::carapace_sdk::__private::WitToolError> {{
                        ::carapace_sdk::__private::call::<{ty}>(&name, &arguments, context)
                    }}
                }}
                ::carapace_sdk::__private::export_tools!(Exports with_types_in ::carapace_sdk::__private::tools_bindings);
            }};\n"
        );
    }
    if input.provider {
        // A warm instance keeps its value from one completion to the next; a fresh one makes it once.
        code += &format!(
            "#[cfg(target_family = \"wasm\")]
            const _: () = {{
                ::std::thread_local! {{
                    static PROVIDER: ::core::cell::RefCell<::core::option::Option<{ty}>> =
                        const {{ ::core::cell::RefCell::new(::core::option::Option::None) }};
                }}
                struct Exports;
                impl ::carapace_sdk::__private::ProviderGuest for Exports {{
                    fn models() -> ::core::result::Result<::std::vec::Vec<::carapace_sdk::provider::Model>, ::carapace_sdk::__private::WitFailure> {{
                        PROVIDER.with_borrow_mut(|p| ::carapace_sdk::__private::models(p.get_or_insert_with(::core::default::Default::default)))
                    }}
                    fn complete(request: ::carapace_sdk::provider::Request) -> ::core::result::Result<(), ::carapace_sdk::__private::WitFailure> {{
                        PROVIDER.with_borrow_mut(|p| {{
                            ::carapace_sdk::__private::complete(p.get_or_insert_with(::core::default::Default::default), request)
                        }})
                    }}
                }}
                ::carapace_sdk::__private::export_provider!(Exports with_types_in ::carapace_sdk::__private::provider_bindings);
            }};\n"
        );
    }
    if input.channel {
        code += &format!(
            "#[cfg(target_family = \"wasm\")]
            const _: () = {{
                use ::carapace_sdk::__private::{{channel, wit_channel as wit}};
                use ::core::result::Result;
                use ::std::vec::Vec;
                struct Exports;
                impl wit::Guest for Exports {{
                    fn describe() -> wit::Description {{
                        channel::<{ty}>().describe()
                    }}
                    fn start(state: Vec<u8>) -> Result<wit::Outcome, wit::Failure> {{
                        channel::<{ty}>().start(state)
                    }}
                    fn on_event(state: Vec<u8>, event: wit::Event, attempt: u32) -> Result<wit::Outcome, wit::Failure> {{
                        channel::<{ty}>().on_event(state, event, attempt)
                    }}
                    fn split(response: wit::PollResponse) -> Result<Vec<wit::Item>, wit::Failure> {{
                        channel::<{ty}>().split(response)
                    }}
                    fn render(conversation: wit::Conversation, content: wit::Content) -> Result<Vec<wit::Part>, wit::Failure> {{
                        channel::<{ty}>().render(&conversation, content)
                    }}
                    fn send(outgoing: wit::Outgoing) -> Result<wit::Receipt, wit::Failure> {{
                        channel::<{ty}>().send(outgoing)
                    }}
                    fn edit(outgoing: wit::Outgoing, id: ::std::string::String) -> Result<(), wit::Failure> {{
                        channel::<{ty}>().edit(outgoing, id)
                    }}
                    fn typing(conversation: wit::Conversation, on: bool) -> Result<(), wit::Failure> {{
                        channel::<{ty}>().typing(&conversation, on)
                    }}
                    fn fetch_media(attachment: wit::Attachment) -> Result<::std::string::String, wit::Failure> {{
                        channel::<{ty}>().fetch_media(attachment)
                    }}
                }}
                ::carapace_sdk::__private::export_channel!(Exports with_types_in ::carapace_sdk::__private::channel_bindings);
            }};\n"
        );
    }
    code
}
