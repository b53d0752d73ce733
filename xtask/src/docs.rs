//! The documentation's links: every page is in the summary, every link and anchor leads somewhere, no path of a machine stands in a page.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Checks the book and the pages at the root.
pub(crate) fn check(root: &Path) -> Result<()> {
    let book = root.join("docs/src");
    let mut pages = BTreeMap::new();
    collect(&book, &mut pages)?;
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md"] {
        read_into(&root.join(name), &mut pages)?;
    }
    let mut problems = Vec::new();
    for (path, text) in &pages {
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        for (line, target) in links(text) {
            if let Some(problem) = broken(path, &target, &pages) {
                problems.push(format!("{shown}:{line}: {problem}"));
            }
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(found) = machine_path(line) {
                problems.push(format!("{shown}:{}: `{found}` names a machine; write a relative path", index + 1));
            }
        }
    }
    problems.extend(unlisted(&book, &pages));
    if !problems.is_empty() {
        bail!("{} in the documentation:\n  {}", count(problems.len()), problems.join("\n  "));
    }
    Ok(())
}

fn count(number: usize) -> String {
    if number == 1 { "one problem".to_owned() } else { format!("{number} problems") }
}

fn collect(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            read_into(&path, pages)?;
        }
    }
    Ok(())
}

fn read_into(path: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    pages.insert(path.to_path_buf(), text);
    Ok(())
}

/// Pages of the book that its summary does not list.
fn unlisted(book: &Path, pages: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let summary = book.join("SUMMARY.md");
    let listed: BTreeSet<PathBuf> = pages
        .get(&summary)
        .map(|text| links(text).into_iter().map(|(_, target)| resolve(&summary, &target)).collect())
        .unwrap_or_default();
    pages
        .keys()
        .filter(|path| path.starts_with(book) && **path != summary && !listed.contains(*path))
        .map(|path| {
            format!("docs/src/{}: SUMMARY.md does not list it", path.strip_prefix(book).unwrap_or(path).display())
        })
        .collect()
}

fn resolve(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// What is wrong with a link, if anything.
fn broken(page: &Path, target: &str, pages: &BTreeMap<PathBuf, String>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.to_path_buf() } else { resolve(page, file) };
    if !path.exists() {
        return Some(format!("`{target}` leads nowhere"));
    }
    let (Some(anchor), Some(text)) = (anchor, pages.get(&path)) else { return None };
    let known = anchors(text);
    (!known.contains(anchor)).then(|| {
        format!(
            "`{target}`: that page has no heading `#{anchor}`; it has {}",
            known.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// Lines of a page that are prose: not inside fences, inline code removed.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| (index + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("`")))
    })
}

/// The targets of `[text](target)`, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, behind)) = after.split_once(')') else { break };
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push((number, target.to_owned()));
            rest = behind;
        }
    }
    found
}

/// The anchors mdBook gives a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let mut unique = slug.clone();
        let mut number = 0;
        while !known.insert(unique.clone()) {
            number += 1;
            unique = format!("{slug}-{number}");
        }
    }
    known
}

/// An absolute path into somebody's home or work directory.
fn machine_path(line: &str) -> Option<&'static str> {
    const NAMES: [&str; 4] =
        [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    NAMES.into_iter().find(|name| {
        line.match_indices(name).any(|(at, _)| {
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '>' | '~'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(list: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        list.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect()
    }

    #[test]
    fn this_repositorys_documentation_has_no_broken_link() {
        check(&crate::cargo::root()).unwrap();
    }

    #[test]
    fn links_in_code_are_no_links() {
        let text = "see [a](a.md) and `[b](b.md)`\n```\n[c](c.md)\n```\n[d](d.md \"title\")";
        assert_eq!(links(text), [(1, "a.md".to_owned()), (5, "d.md".to_owned())]);
    }

    #[test]
    fn anchors_are_numbered_when_they_repeat() {
        let text = "# The rooms\n## What's in `kernel/`?\n## The rooms\n```\n# no heading\n```";
        let expected = ["the-rooms", "the-rooms-1", "whats-in-kernel"];
        assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_link_to_a_missing_page_is_named() {
        let problem = broken(Path::new("docs/src/a.md"), "no-such-page.md", &pages(&[]));
        assert_eq!(problem.as_deref(), Some("`no-such-page.md` leads nowhere"));
    }

    #[test]
    fn a_link_to_a_missing_heading_lists_the_headings() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let known = BTreeMap::from([(page.clone(), "# One\n# Two".to_owned())]);
        let problem = broken(&page, "#three", &known).unwrap();
        assert!(problem.contains("it has one, two"), "{problem}");
        assert_eq!(broken(&page, "#two", &known), None);
    }

    #[test]
    fn a_page_that_the_summary_forgot_is_named() {
        let pages = pages(&[
            ("b/SUMMARY.md", "- [A](a.md)\n- [B](./sub/b.md)"),
            ("b/a.md", ""),
            ("b/sub/b.md", ""),
            ("b/c.md", ""),
        ]);
        assert_eq!(unlisted(Path::new("b"), &pages), ["docs/src/c.md: SUMMARY.md does not list it"]);
    }

    #[test]
    fn a_home_directory_is_a_machines_path_and_an_url_is_not() {
        assert!(machine_path(&format!("in {}me/ann/x", "/ho")).is_some());
        assert_eq!(machine_path("see https://example.com/home/page and src/work/x"), None);
    }
}
