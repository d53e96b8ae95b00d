//! What Cargo knows of the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The part of `cargo metadata` that is of use here.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    #[serde(rename = "packages")]
    pub(crate) members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(rename = "manifest_path")]
    pub(crate) manifest: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Workspace {
    /// The workspace of the working directory.
    ///
    /// # Errors
    /// When `cargo metadata` fails, which then says why on standard error.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo metadata failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
    }

    /// Where `cargo build` leaves the binary of that name.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Everything that a package's binary is built from: its own folder, those of the members
    /// below it, and the workspace's own files.
    pub(crate) fn sources(&self, package: &str) -> BTreeSet<PathBuf> {
        let mut sources: BTreeSet<_> =
            ["Cargo.toml", "Cargo.lock"].iter().map(|file| self.root.join(file)).collect();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            let Some(member) = self.members.iter().find(|member| member.name == name) else {
                continue;
            };
            if sources.insert(member.folder().to_owned()) {
                let built = |of: &&Dependency| of.kind.as_deref() != Some("dev");
                open.extend(member.dependencies.iter().filter(built).map(|of| of.name.as_str()));
            }
        }
        sources
    }
}

impl Member {
    /// The folder of its manifest.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

/// Cargo, as if called from the developer's shell: what `cargo run` tells this program of its own
/// package would make an inner build take the build scripts that look at it (ring's) for outdated,
/// and everything above them, time and again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// `cargo build` of binaries. Features are resolved for the whole workspace whatever is built, so
/// that one service's build and everybody's share their dependencies.
pub(crate) fn build(binaries: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["build", "--workspace"]);
    command.args(binaries.iter().flat_map(|name| ["--bin", name]));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_built_from_its_folder_the_kit_and_the_workspace_files() {
        let workspace = Workspace::load().unwrap();
        let sources = workspace.sources("sre-kata");
        let expected = [
            "Cargo.lock",
            "Cargo.toml",
            "crates/common",
            "crates/faults",
            "crates/secrets",
            "crates/server",
            "crates/transport",
            "services/sre-kata",
        ];
        assert_eq!(sources, expected.iter().map(|path| workspace.root.join(path)).collect());
    }
}
