//! What has been measured: kept for each commit until all of it is there, then written into the document.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use tokio::process::Command;

use crate::command::output;
use crate::plot::{Curve, Plot};
use crate::report::{self, Section};

/// What the figures depend on.
const SOURCES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "crates", "services"];

/// The results of one commit by one plan.
pub(crate) struct Results {
    /// The short name of the commit, with a mark when its files have been changed.
    pub(crate) commit: String,
    is_changed: bool,
    root: PathBuf,
    folder: PathBuf,
}

impl Results {
    /// Those of what is checked out in `root`, kept below `cargo_target`.
    ///
    /// # Errors
    /// When git does not know the commit, or the folder cannot be made.
    pub(crate) async fn of_checkout(root: &Path, cargo_target: &Path, plan: &str) -> Result<Self> {
        let git = async |args: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(root).args(args);
            output(command).await
        };
        let commit = git(&["rev-parse", "--short=10", "HEAD"]).await?;
        let status = [&["status", "--porcelain", "--"][..], &SOURCES].concat();
        let is_changed = !git(&status).await?.is_empty();
        let commit = format!("{}{}", commit.trim_end(), if is_changed { " (changed)" } else { "" });
        let folder = cargo_target.join("bench").join(format!("{commit}, {plan}"));
        fs::create_dir_all(&folder)?;
        Ok(Self { commit, is_changed, root: root.to_owned(), folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// What was measured under that name, if it was.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.file(name)).ok()?).ok()
    }

    /// Keeps what was measured under that name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn save(&self, name: &str, result: &impl Serialize) -> Result<()> {
        let path = self.file(name);
        fs::write(&path, serde_json::to_vec_pretty(result)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes the sections of these names, the table of costs and the plots into the document, if all are of this
    /// commit. Returns what stands in the way, if something does.
    ///
    /// # Errors
    /// When a file cannot be read or written, or has lost a marker.
    pub(crate) fn write<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        plots: &[Plot],
    ) -> Result<Option<String>> {
        if self.is_changed {
            return Ok(Some("there are changes that no commit names".to_owned()));
        }
        let mut sections = Vec::new();
        for name in names {
            let Some(section) = self.load::<Section>(name) else {
                return Ok(Some(format!("{name} is not measured at this commit")));
            };
            sections.push(section);
        }
        let mut pictures = Vec::new();
        for plot in plots {
            let mut curves = Vec::new();
            for name in plot.curves() {
                let Some(curve) = self.load::<Curve>(name) else {
                    return Ok(Some(format!("{name} is not measured at this commit")));
                };
                curves.push(curve);
            }
            pictures.push((plot, plot.to_svg(&curves)?));
        }
        let path = self.root.join("docs/performance.md");
        let page =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let tables: String = sections.iter().map(Section::to_markdown).collect();
        let page = between(&page, "bench", &tables)?;
        let page = between(&page, "costs", &report::costs(&sections))?;
        let links: String = plots.iter().map(Plot::to_markdown).collect();
        let page = between(&page, "growth", &links)?;
        fs::write(path, page)?;
        for (plot, svg) in pictures {
            fs::write(self.root.join("docs/images").join(plot.file), svg)?;
        }
        Ok(None)
    }
}

/// The page with the text between the two markers of that name.
fn between(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n\n"), format!("<!-- {name}:end -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("docs/performance.md has lost a marker of {name}"))?;
    Ok(format!("{before}{begin}{}\n\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn text_between_markers_is_replaced_and_what_surrounds_it_stays() {
        let page = "a\n<!-- b:begin -->\n\nold\n\n<!-- b:end -->\nc\n";
        let new = between(page, "b", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- b:begin -->\n\nnew\n\n<!-- b:end -->\nc\n");
        assert_eq!(between(&new, "b", "new").unwrap(), new, "twice is once");
        between(page, "other", "new").unwrap_err();
    }
}
