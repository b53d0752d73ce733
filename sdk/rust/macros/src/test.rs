//! `#[carapace_sdk::test] fn name(host: &mut TestHost) { … }`.

use proc_macro::{Delimiter, TokenStream, TokenTree};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream, String> {
    // In `tests/` the component is another crate: #[carapace_sdk::test(its_name)].
    let component = if attribute.is_empty() { "crate".to_owned() } else { format!("::{attribute}") };
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let is_fn = |t: &TokenTree| matches!(t, TokenTree::Ident(i) if i.to_string() == "fn");
    let at = tokens.iter().position(is_fn).ok_or("#[carapace_sdk::test] stands on a function")?;
    let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else {
        return Err("#[carapace_sdk::test] stands on a function with a name".to_owned());
    };
    let takes_one = tokens.iter().skip(at + 2).find_map(|t| match t {
        TokenTree::Group(g) if g.delimiter() == Delimiter::Parenthesis => Some(!g.stream().is_empty()),
        _ => None,
    });
    if takes_one != Some(true) {
        return Err(format!("a test of a component takes its host: fn {name}(host: &mut TestHost)"));
    }
    let (before, function) = tokens.split_at(at);
    // `#[ignore]`, `#[should_panic]` and doc comments belong to the test itself.
    let outer: TokenStream = before.iter().cloned().collect();
    let inner: TokenStream = function.iter().cloned().collect();
    let wrapper: TokenStream = format!(
        "#[::core::prelude::v1::test]
        {outer} fn {name}() {{
            BODY
            ::carapace_sdk::testing::run({component}::__carapace::component(), {name});
        }}"
    )
    .parse()
    .map_err(|e| format!("#[carapace_sdk::test]: {e}"))?;
    Ok(place(wrapper, &inner))
}

/// `BODY` replaced by the author's own tokens, so that errors point at their lines.
fn place(tokens: TokenStream, body: &TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|t| match t {
            TokenTree::Ident(i) if i.to_string() == "BODY" => body.clone(),
            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => {
                let mut group = proc_macro::Group::new(Delimiter::Brace, place(g.stream(), body));
                group.set_span(g.span());
                TokenTree::Group(group).into()
            }
            other => other.into(),
        })
        .collect()
}
