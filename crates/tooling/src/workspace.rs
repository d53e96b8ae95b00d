//! What Cargo knows of the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The part of `cargo metadata` that is of use here.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    #[serde(rename = "workspace_root")]
    /// The folder of its `Cargo.toml`.
    pub root: PathBuf,
    #[serde(rename = "target_directory")]
    /// Where Cargo builds.
    pub target: PathBuf,
    #[serde(rename = "packages")]
    /// Its packages.
    pub members: Vec<Member>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    #[serde(rename = "manifest_path")]
    pub manifest: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
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
    pub fn load() -> anyhow::Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version=1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo metadata failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
    }

    /// Where `cargo build` leaves the binary of that name.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// Everything that a package's binary is built from: its own folder, those of the members
    /// below it, and the workspace's own files.
    #[must_use]
    pub fn sources(&self, package: &str) -> BTreeSet<PathBuf> {
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
    /// The root files of its library and its binaries.
    pub fn crates(&self) -> impl Iterator<Item = &Path> {
        let is_built =
            |target: &&Target| target.kind.iter().any(|kind| kind == "lib" || kind == "bin");
        self.targets.iter().filter(is_built).map(|target| target.src_path.as_path())
    }

    /// The folder of its manifest.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }
}

/// Cargo, as if called from the developer's shell: what `cargo run` tells this program of its own
/// package would make an inner build take the build scripts that look at it (ring's) for outdated,
/// and everything above them, time and again.
#[must_use]
pub fn cargo() -> Command {
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
#[must_use]
pub fn build(binaries: &[&str]) -> Command {
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
