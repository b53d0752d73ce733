//! `[[asset]]`: read-only files that belong to the package and are too large to stand in it.

use super::reader::{Problems, Section, Spanned};
use super::values;
use crate::digest::Digest;
use crate::name::AssetName;
use serde::{Deserialize, Serialize};

/// The largest asset, bytes.
const MAX_SIZE: u64 = 16 << 30;

/// `[[asset]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetDecl {
    /// Its name in the contract, and the file name people know it by.
    pub name: AssetName,
    /// What it is: nothing else is ever read under this name.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// Where the owner may have it fetched from, in order; `https`.
    pub sources: Vec<url::Url>,
    /// SPDX expression of its licence, for people.
    pub license: Option<String>,
    /// The component works without it.
    pub optional: bool,
}

impl AssetDecl {
    /// The commands that bring a file that may be had from these sources.
    pub fn how_to_bring(sources: &[url::Url]) -> &'static str {
        if sources.is_empty() {
            // `assets fetch` has nowhere to go, unless its owner says where.
            "`carapace assets add FILE`, or `carapace assets fetch NAME --from URL`"
        } else {
            "`carapace assets fetch`, or `carapace assets add FILE`"
        }
    }
}

/// An asset as far as it was readable.
pub(super) struct Draft {
    pub(super) name: Option<Spanned<AssetName>>,
    pub(super) decl: Option<AssetDecl>,
}

pub(super) fn read(s: &Section<'_>, problems: &Problems) -> Draft {
    s.only(&["name", "sha256", "size", "sources", "license", "optional"], problems);
    let name = s.required("name", "name = \"model.gguf\"", problems, values::name::<AssetName>);
    let sha256 = s.required("sha256", "sha256 = \"<64 hex digits>\"", problems, |v| {
        v.parse::<Digest>().map_err(|_| "is not a SHA-256: 64 hex digits".to_owned())
    });
    let size = s.count("size", MAX_SIZE, problems);
    if size.is_none() && s.get("size").is_none() {
        problems.at(&s.span, "`size` is missing; write the file's length in bytes, e.g. size = 98_362_432");
    }
    let sources = s.list("sources", problems, values::base_url);
    let license = s.with("license", problems, |v| values::line(v, 100));
    let optional = s.flag("optional", problems);
    let decl = name.clone().zip(sha256).zip(size).map(|((name, sha256), size)| AssetDecl {
        name: name.value,
        sha256: sha256.value,
        size,
        sources: sources.unwrap_or_default().into_iter().map(|u| u.value).collect(),
        license: license.map(|l| l.value),
        optional,
    });
    Draft { name, decl }
}
