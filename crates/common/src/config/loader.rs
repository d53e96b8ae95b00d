//! Reads sections and gathers what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use humantime::format_duration;
use secrets::{Secret, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shape;

/// Read by libraries for themselves, and too near to a name of ours: where the trusted CAs are.
const NO_NEAR_MISSES: [&str; 1] = ["SSL_CERT_FILE"];

/// Reads configuration sections from a set of variables and gathers every problem.
#[derive(Debug)]
pub struct Loader {
    variables: BTreeMap<String, String>,
    not_utf8: BTreeSet<String>,
    /// Variables whose value is a default that nobody wrote.
    defaulted: BTreeSet<String>,
    known: BTreeSet<String>,
    problems: Vec<(String, String)>,
    /// The files that secrets were read from.
    secret_files: BTreeMap<String, Source>,
    /// Sentences about variables that are not read.
    ignored: Vec<String>,
    effective: Vec<(String, String)>,
    /// Those that somebody has given.
    secrets: Vec<Secret>,
    notes: Vec<String>,
}

impl Loader {
    /// A loader over these variables. Empty ones count as unset.
    pub fn new<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(_, value): &(String, String)| !value.is_empty())
            .collect();
        Self {
            variables,
            not_utf8: BTreeSet::new(),
            defaulted: BTreeSet::new(),
            known: BTreeSet::new(),
            problems: Vec::new(),
            secret_files: BTreeMap::new(),
            ignored: Vec::new(),
            effective: Vec::new(),
            secrets: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A loader over the process's environment and, outside containers, the file `.env` in the
    /// working directory, which never overrides the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let mut loader = Self::new(std::iter::empty::<(String, String)>());
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => drop(loader.variables.insert(name, value)),
                Err(_) => drop(loader.not_utf8.insert(name)),
            }
        }
        if !in_container(&loader.variables) {
            loader.read_dotenv(Path::new(".env"));
        }
        loader
    }

    fn read_dotenv(&mut self, path: &Path) {
        if !path.exists() {
            return;
        }
        let entries = dotenvy::from_path_iter(path)
            .and_then(Iterator::collect::<Result<Vec<(String, String)>, _>>);
        match entries {
            Ok(entries) => {
                for (name, value) in entries.into_iter().filter(|(_, value)| !value.is_empty()) {
                    self.variables.entry(name).or_insert(value);
                }
            }
            // Its own error repeats the line.
            Err(_) => self.problem(".env", "cannot be read: expected lines of the form NAME=value"),
        }
    }

    /// Whether a variable has a value.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Gives a variable that is not set a value, where a default depends on the surroundings.
    pub fn default_value(&mut self, name: &str, value: &str) {
        if !self.is_set(name) {
            self.variables.insert(name.into(), value.into());
            self.defaulted.insert(name.into());
        }
    }

    /// Notes a problem with a variable. The reason must not contain the variable's value.
    pub fn problem(&mut self, name: &str, reason: impl Into<String>) {
        self.problems.push((name.into(), reason.into()));
    }

    /// Adds a line to what is printed of the configuration in effect: what it follows from.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Notes a problem where a value that has no default is missing.
    pub fn require<T>(&mut self, name: &str, value: Option<&T>) {
        let noted = self.problems.iter().any(|(known, _)| known.trim_end_matches("_FILE") == name);
        if value.is_none() && !noted {
            self.problem(name, "is required");
        }
    }

    /// Notes a problem where a check of a value has failed.
    pub fn check<T>(&mut self, name: &str, checked: Result<T, impl ToString>) {
        if let Err(reason) = checked {
            self.problem(name, reason.to_string());
        }
    }

    /// Notes a problem for each variable of a group that is missing, unless none of them is set.
    pub fn require_together<const N: usize>(&mut self, group: [(&str, bool); N]) {
        if group.iter().any(|(_, is_set)| *is_set) {
            for (name, is_set) in group {
                self.require(name, is_set.then_some(&()));
            }
        }
    }

    /// Notes a problem where a duration is not within a range.
    pub fn within(&mut self, name: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let [least, greatest] = [range.start(), range.end()].map(|&it| format_duration(it));
            self.problem(name, format!("must be from {least} to {greatest}"));
        }
    }

    /// Reads one section. A variable that is wrong is noted and has its default.
    pub fn section<T: DeserializeOwned + Serialize + Default>(&mut self) -> T {
        let mut values = Vec::new();
        for field in shape::of::<T>() {
            let name = field.name.to_uppercase();
            if field.secret {
                self.read_secret_file(&name);
                self.known.insert(format!("{name}_FILE"));
            }
            self.known.insert(name.clone());
            if self.not_utf8.contains(&name) {
                self.problem(&name, "is not valid UTF-8");
            }
            let Some(value) = self.variables.get(&name).cloned() else {
                continue;
            };
            if is_service_link(&name, &value) {
                self.ignored.push(format!(
                    "{name}: is a link to a Service of Kubernetes with that name, and is ignored; \
                     `enableServiceLinks: false` in the pod keeps it away"
                ));
                continue;
            }
            let value_with_source =
                if field.secret { self.encode_source(&name, &value) } else { value.clone() };
            // One variable at a time: envy stops at the first that is wrong.
            match envy::from_iter::<_, T>([(name.clone(), value_with_source.clone())]) {
                Ok(_) => values.push((name, value_with_source)),
                Err(error) => self.problem(&name, reason(&error.to_string(), &value)),
            }
        }
        let section: T = envy::from_iter(values).unwrap_or_default();
        self.note_effective(&section);
        section
    }

    /// `X_FILE` becomes `X`, unless both are there.
    fn read_secret_file(&mut self, name: &str) {
        let file_name = format!("{name}_FILE");
        let Some(path) = self.variables.get(&file_name) else {
            return;
        };
        if self.variables.contains_key(name) {
            self.problem(&file_name, format!("cannot be set together with {name}"));
            return;
        }
        let source = Source::file(name, path.into());
        match source.read() {
            Ok(secret) => {
                self.variables.insert(name.into(), secret.expose().into());
                self.secret_files.insert(name.into(), source);
            }
            Err(error) => self.problem(&file_name, error.to_string()),
        }
    }

    /// The value of a secret with its source, which [`Secret`] decodes. A default has none.
    fn encode_source(&mut self, name: &str, value: &str) -> String {
        if self.defaulted.contains(name) {
            return value.to_owned();
        }
        let source = self.secret_files.get(name).cloned();
        let source = source.unwrap_or_else(|| Source::variable(name));
        let encoded = source.encode_with(value);
        self.secrets.push(Secret::from(&*encoded));
        encoded
    }

    fn note_effective<T: Serialize>(&mut self, section: &T) {
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(section) else {
            return;
        };
        self.effective.extend(fields.into_iter().map(|(name, value)| {
            let value = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            (name.to_uppercase(), value)
        }));
    }

    /// The value if nothing was wrong, with what to print of it; else everything that was.
    ///
    /// # Errors
    /// Every problem that was noted, with a hint where a variable that nothing reads has nearly the
    /// name of one that is not set.
    pub fn finish<T>(self, value: T) -> Result<(T, Effective), Invalid> {
        let near_misses = self.near_misses();
        if self.problems.is_empty() {
            return Ok((
                value,
                Effective {
                    variables: self.effective,
                    secrets: self.secrets,
                    notes: self.notes,
                    near_misses,
                },
            ));
        }
        let mut lines: Vec<String> =
            self.problems.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        lines.extend(near_misses);
        Err(Invalid { lines })
    }

    /// Variables that nothing reads, and that look like a typing error or are not meant for us.
    fn near_misses(&self) -> Vec<String> {
        let mut hints = self.ignored.clone();
        let unread = |name: &&String| {
            !self.known.contains(*name) && !NO_NEAR_MISSES.contains(&name.as_str())
        };
        for name in self.variables.keys().filter(unread) {
            let near = self
                .known
                .iter()
                .filter(|known| !self.is_set(known) || self.defaulted.contains(*known))
                .map(|known| (strsim::damerau_levenshtein(&name.to_uppercase(), known), known))
                // In a short name two letters apart is another word.
                .filter(|(distance, known)| *distance <= if known.len() < 8 { 1 } else { 2 })
                .min();
            if let Some((_, known)) = near {
                hints.push(format!("{name}: is read by nothing; did you mean {known}?"));
            }
        }
        hints
    }
}

/// Whether the process runs in a container, where a `.env` is somebody else's.
fn in_container(variables: &BTreeMap<String, String>) -> bool {
    variables.contains_key("KUBERNETES_SERVICE_HOST")
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists())
}

/// Whether a variable is one that Kubernetes sets in each container for a Service of its namespace:
/// `<SERVICE>_PORT=tcp://10.0.0.1:5432`.
fn is_service_link(name: &str, value: &str) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    name.ends_with("_PORT") && schemes.iter().any(|scheme| value.starts_with(scheme))
}

/// What is wrong, without the value, which envy's and serde's messages repeat.
fn reason(message: &str, value: &str) -> String {
    let reason = if let Some((reason, _)) = message.split_once(" while parsing value ") {
        reason.to_owned()
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        format!("expected {expected}")
    } else {
        message.to_owned()
    };
    // A last line of defence against a message of a form that is not known here.
    if value.len() > 3 && reason.contains(value) { "has a wrong value".to_owned() } else { reason }
}

/// The configuration as it is in effect, secrets masked: a line `NAME=value` each.
#[derive(Clone, Debug)]
pub struct Effective {
    variables: Vec<(String, String)>,
    secrets: Vec<Secret>,
    notes: Vec<String>,
    /// Variables that nothing reads, and that look like a typing error or are not meant for us, a sentence each.
    pub near_misses: Vec<String>,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            writeln!(f, "{name}={value}")?;
        }
        for secret in &self.secrets {
            writeln!(f, "# {}", secret.description())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "# {note}"))
    }
}

/// Everything that is wrong with the configuration, a line each, without any value.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is not valid\n{}", lines.join("\n"))]
pub struct Invalid {
    lines: Vec<String>,
}

impl Invalid {
    /// The exit code for a wrong configuration: `EX_CONFIG` of sysexits.h.
    pub const EXIT_CODE: u8 = 78;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dotenv: &str) -> Loader {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, dotenv).unwrap();
        let mut loader = Loader::new([("PORT", "2")]);
        loader.read_dotenv(&path);
        loader
    }

    #[test]
    fn a_dotenv_file_adds_variables_and_overrides_none() {
        let loader = read("# a comment\nBODY_LIMIT=7\nexport PORT=1\nLOG_DIR=\nKEY='a b'\n");

        let value = |name: &str| loader.variables.get(name).map(String::as_str);
        assert_eq!(value("BODY_LIMIT"), Some("7"));
        assert_eq!(value("PORT"), Some("2"));
        assert_eq!(value("LOG_DIR"), None);
        assert_eq!(value("KEY"), Some("a b"));
        assert!(loader.finish(()).is_ok());
    }

    #[test]
    fn a_dotenv_file_that_cannot_be_read_is_a_problem_without_its_content() {
        let said = read("KEY='hush-hush\n").finish(()).unwrap_err().to_string();

        assert!(said.contains(".env: cannot be read"), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }

    #[test]
    fn inside_a_container_a_dotenv_file_is_somebody_elses() {
        let kubernetes = [("KUBERNETES_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned())];
        assert!(in_container(&BTreeMap::from(kubernetes)));
    }
}
