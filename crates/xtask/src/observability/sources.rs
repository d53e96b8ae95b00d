//! The files that alerts and dashboards come from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The rules of the stack's chart.
pub(super) fn rules_folder(root: &Path) -> PathBuf {
    root.join("charts/stack/files/rules")
}

/// The files of a folder with an extension, in order.
pub(super) fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
