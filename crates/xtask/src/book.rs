//! The pages of the book: those that `docs/SUMMARY.md` lists, wherever they are in the repository,
//! with links that hold in the book.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use tooling::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where mdBook finds its sources. What is there is removed.
    folder: PathBuf,
}

/// From a file of the repository to its page.
type Pages = BTreeMap<PathBuf, PathBuf>;

/// Writes `book.toml` and `src` into a folder.
///
/// # Errors
/// When a page or what it links to is not there, or a page is not in the summary.
pub(crate) fn stage(args: &Args) -> anyhow::Result<()> {
    let root = Workspace::load()?.root;
    let source = args.folder.join("src");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    let summary = fs::read_to_string(root.join("docs/SUMMARY.md"))?;
    let mut pages = Pages::new();
    for link in links(&summary) {
        let file = resolve(Path::new("docs"), link);
        pages.insert(file.clone(), page(&file));
    }
    let summary = rewritten(&summary, |link| {
        let page = &pages[&resolve(Path::new("docs"), link)];
        Ok(Some(page.display().to_string()))
    })?;
    write(&source.join("SUMMARY.md"), &summary)?;
    for name in ["book.toml", "diagrams.js"] {
        fs::copy(root.join("docs").join(name), args.folder.join(name))?;
    }
    for (file, page) in &pages {
        let context = || format!("{}, which docs/SUMMARY.md lists", file.display());
        let text = fs::read_to_string(root.join(file)).with_context(context)?;
        let text = if file.extension().is_some_and(|extension| extension == "json") {
            copy(&root, &source, file)?;
            api(&text, &file.file_name().unwrap_or_default().to_string_lossy())?
        } else {
            let text = linked(&text, file, &pages, &root, &source);
            text.with_context(|| file.display().to_string())?
        };
        write(&source.join(page), &text)?;
    }
    Ok(())
}

/// A page with its links as they are in the book; files that it shows or names are copied.
fn linked(
    text: &str,
    file: &Path,
    pages: &Pages,
    root: &Path,
    source: &Path,
) -> anyhow::Result<String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    rewritten(text, |link| {
        let (path, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
            return Ok(Some(link.to_owned()));
        }
        let target = resolve(folder, path);
        let found = root.join(&target);
        let target = if found.is_dir() { target.join("README.md") } else { target };
        if let Some(page) = pages.get(&target) {
            let up: PathBuf = folder.components().map(|_| Component::ParentDir).collect();
            return Ok(Some(format!("{}{anchor}", up.join(page).display())));
        }
        ensure!(found.exists(), "links to {link}, which does not exist");
        if found.is_dir() {
            // A folder is no page.
            return Ok(None);
        }
        if target.extension().is_some_and(|extension| extension == "md") {
            bail!("links to {link}, which is not in docs/SUMMARY.md");
        }
        copy(root, source, &target)?;
        Ok(Some(link.to_owned()))
    })
}

/// The page of a file: mdBook makes an `index.html` of no `README.md` that is linked to.
fn page(file: &Path) -> PathBuf {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("README.md") => file.with_file_name("index.md"),
        _ => file.with_extension("md"),
    }
}

/// A path that is relative to a folder, relative to the root.
fn resolve(folder: &Path, link: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in folder.join(link).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

fn copy(root: &Path, source: &Path, file: &Path) -> anyhow::Result<()> {
    let to = source.join(file);
    fs::create_dir_all(to.parent().context("no folder")?)?;
    fs::copy(root.join(file), to).with_context(|| file.display().to_string())?;
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(file.parent().context("no folder")?)?;
    fs::write(file, text).with_context(|| file.display().to_string())
}

/// The targets of the links of a text without code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(&rest[..rest.find(')')?]))
}

/// A text with other targets of its links; without one, a link is text. Code stays as it is.
fn rewritten(
    text: &str,
    mut target: impl FnMut(&str) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<String> {
    let mut written = String::with_capacity(text.len());
    let mut in_code = false;
    for line in text.split_inclusive('\n') {
        in_code ^= line.trim_start().starts_with("```");
        let mut rest = line;
        while let Some(start) = rest.find("](").filter(|_| !in_code) {
            let after = &rest[start + 2..];
            let Some(end) = after.find(')') else { break };
            match target(&after[..end])? {
                Some(link) => write!(written, "{}]({link})", &rest[..start])?,
                None => match rest[..start].rfind('[') {
                    Some(open) => {
                        written += &rest[..open];
                        written += &rest[open + 1..start];
                    }
                    None => written += &rest[..start],
                },
            }
            rest = &after[end + 1..];
        }
        written += rest;
    }
    Ok(written)
}

/// A page of an OpenAPI document: its operations, their parameters and answers.
fn api(document: &str, name: &str) -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(document)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let title = text(&document["info"]["title"]);
    let mut page = format!("# API of {title}\n\n[The OpenAPI document]({name})\n");
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            if !operation["responses"].is_object() {
                continue;
            }
            write!(page, "\n## {} {path}\n\n", method.to_uppercase())?;
            for member in ["summary", "description"] {
                if let Some(paragraph) = operation[member].as_str() {
                    writeln!(page, "{}\n", paragraph.replace('<', "\\<"))?;
                }
            }
            let parameters: Vec<_> =
                operation["parameters"].as_array().into_iter().flatten().collect();
            if !parameters.is_empty() {
                page += "| parameter | in | |\n|---|---|---|\n";
                for parameter in parameters {
                    let [name, place, about] =
                        ["name", "in", "description"].map(|key| text(&parameter[key]));
                    writeln!(page, "| `{name}` | {place} | {} |", cell(&about))?;
                }
                page.push('\n');
            }
            page += "| status | |\n|---|---|\n";
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                writeln!(page, "| {status} | {} |", cell(&text(&answer["description"])))?;
            }
        }
    }
    Ok(page)
}

/// A text that does not end a table's cell, and is no HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_rewritten_and_code_is_not() {
        let text = "[a](b.md) and [c](d)\n```\n[a](b.md)\n```\n";
        let written = rewritten(text, |link| Ok((link != "d").then(|| link.to_uppercase())));
        assert_eq!(written.unwrap(), "[a](B.MD) and c\n```\n[a](b.md)\n```\n");
    }

    #[test]
    fn a_link_is_resolved_from_where_it_stands() {
        assert_eq!(resolve(Path::new("docs/adr"), "../../README.md"), Path::new("README.md"));
        assert_eq!(page(Path::new("a/README.md")), Path::new("a/index.md"));
    }

    #[test]
    fn each_operation_has_a_section() {
        let document = r#"{"info":{"title":"t"},"paths":{"/a":{"get":{"responses":
            {"200":{"description":"a | b"}}}}}}"#;
        let page = api(document, "t.json").unwrap();
        assert!(page.contains("## GET /a\n"), "{page}");
        assert!(page.contains("| 200 | a \\| b |"), "{page}");
    }
}
