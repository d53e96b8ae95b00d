//! Values that nobody is shown, and where they come from.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::{digest, pbkdf2};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq as _};

/// What stands in place of a secret wherever one would be printed.
const MASK: &str = "********";

/// No file of a secret or a certificate is larger, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Separates the name and the file of a source from the value. No variable of an environment has this character.
const SEPARATOR: char = '\0';

/// Who knows a fingerprint and guesses a password has so many hashes to make for each guess: some milliseconds of work.
const FINGERPRINT_ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);

/// Enough to tell a few secrets from each other, in bytes, and so few that many guesses fit.
const FINGERPRINT_SIZE: usize = 3;

/// A value that no log, error or configuration print-out shows.
///
/// A field of this type can also be given as a file: `X_FILE` names it, one trailing newline is stripped.
/// [`Secrets`](crate::Secrets) reads the file again when it changes.
#[derive(Clone)]
pub struct Secret {
    value: SecretString,
    source: Option<Arc<Source>>,
}

/// Why the content of a file is no secret.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the file cannot be read: {}", .0.kind())]
    Read(#[from] io::Error),
    /// It has nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is no text.
    #[error("the file is not valid UTF-8")]
    NotUtf8,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The variable, without `_FILE`.
    pub name: String,
    /// The file, where it is in one.
    pub file: Option<PathBuf>,
}

impl Secret {
    /// The name under which a [`Secret`] announces itself to a deserializer.
    pub const TYPE_NAME: &'static str = "Secret";

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// The values of a secret that may have several, a line each: the first is the one in use, and all are accepted.
    /// Empty ones are none.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.expose().lines().filter(|line| !line.is_empty())
    }

    /// Whether one of its lines is what a client presents, compared in constant time.
    #[must_use]
    pub fn accepts(&self, presented: &[u8]) -> bool {
        let same = |line: &str| line.as_bytes().ct_eq(presented);
        let found = self.lines().map(same).fold(Choice::from(0), |found, same| found | same);
        found.into()
    }

    /// Where it comes from; none for a default.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        self.source.as_ref()
    }

    /// Another value of the same source.
    #[must_use]
    pub fn replaced_by(&self, value: &str) -> Self {
        Self { value: value.into(), source: self.source.clone() }
    }

    /// A few digits for each line that tell it from others. They cost some milliseconds each.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        let name = self.source.as_ref().map_or("", |source| source.name.as_str());
        self.lines().map(|line| slow_fingerprint(name, line)).collect()
    }

    /// Its source, fingerprints and age, for people.
    #[must_use]
    pub fn description(&self) -> String {
        let fingerprints = self.fingerprints().join(", also accepted ");
        match self.source.as_deref() {
            Some(Source { name, file: Some(file) }) => {
                let age = written(file).and_then(|written| written.elapsed().ok());
                let age = Duration::from_secs(age.unwrap_or_default().as_secs());
                let age = humantime::format_duration(age);
                let file = file.display();
                format!("{name}: fingerprint {fingerprints}, from {file}, written {age} ago")
            }
            Some(Source { name, file: None }) => {
                format!("{name}: fingerprint {fingerprints}, from the environment")
            }
            None => String::new(),
        }
    }
}

/// Passwords may be guessed: the fingerprint is short and its computation long.
fn slow_fingerprint(name: &str, value: &str) -> String {
    let mut digits = [0; FINGERPRINT_SIZE];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, FINGERPRINT_ROUNDS, name.as_bytes(), value.as_bytes(), &mut digits);
    hex(&digits)
}

/// What tells apart two contents that nobody could guess.
pub(crate) fn digest(contents: &[Vec<u8>]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    for content in contents {
        context.update(&content.len().to_le_bytes());
        context.update(content);
    }
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// When a file was last written.
pub(crate) fn written(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

/// The whole content of a regular file.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    File::open(file)?.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// A content without the line end that editors put behind the last line.
pub(crate) fn without_line_end(mut content: Vec<u8>) -> Vec<u8> {
    for end in [b'\n', b'\r'] {
        if content.last() == Some(&end) {
            content.pop();
        }
    }
    content
}

impl Source {
    /// The variable itself.
    #[must_use]
    pub fn variable(name: &str) -> Self {
        Self { name: name.to_owned(), file: None }
    }

    /// A file that the variable names.
    #[must_use]
    pub fn file(name: &str, file: PathBuf) -> Self {
        Self { name: name.to_owned(), file: Some(file) }
    }

    /// What the file holds.
    ///
    /// # Errors
    /// When that is no secret.
    pub fn read(&self) -> Result<Secret, FileError> {
        let content = self.file.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
        self.parse(&without_line_end(content))
    }

    /// The secret that a file of this content, without its last line end, is.
    pub(crate) fn parse(&self, content: &[u8]) -> Result<Secret, FileError> {
        let text = std::str::from_utf8(content).map_err(|_| FileError::NotUtf8)?;
        // A file that is being written may be full of zeros for a while.
        if text.trim_matches(['\r', '\n', SEPARATOR]).is_empty() {
            return Err(FileError::Empty);
        }
        Ok(Secret { value: text.into(), source: Some(Arc::new(self.clone())) })
    }

    /// A value with its source before it, for [`Secret`] to decode: a deserializer, which carries one text, is between
    /// the two.
    #[must_use]
    pub fn encode_with(&self, value: &str) -> String {
        let file = self.file.as_ref().and_then(|file| file.to_str()).unwrap_or_default();
        format!("{SEPARATOR}{}{SEPARATOR}{file}{SEPARATOR}{value}", self.name)
    }

    /// What [`Self::encode_with`] made; none of any other text.
    fn decode(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = text.strip_prefix(SEPARATOR)?.split_once(SEPARATOR)?;
        let (file, value) = rest.split_once(SEPARATOR)?;
        let file = (!file.is_empty()).then(|| file.into());
        Some((Self { name: name.to_owned(), file }, value))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        match Source::decode(text) {
            Some((source, value)) => Self { value: value.into(), source: Some(Arc::new(source)) },
            None => Self { value: text.into(), source: None },
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;
        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Secret, D::Error> {
                String::deserialize(d).map(|value| Secret::from(&*value))
            }
        }
        deserializer.deserialize_newtype_struct(Self::TYPE_NAME, SecretVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_accepted_and_nothing_else() {
        let secret = Secret::from("new\r\n\nold");
        assert_eq!(secret.lines().collect::<Vec<_>>(), ["new", "old"]);
        for presented in ["new", "old"] {
            assert!(secret.accepts(presented.as_bytes()), "{presented}");
        }
        for presented in ["", "ne", "new\r", "new\n\nold", "older"] {
            assert!(!secret.accepts(presented.as_bytes()), "{presented}");
        }
    }

    #[test]
    fn a_fingerprint_is_short_and_depends_on_name_and_value() {
        let fingerprint = slow_fingerprint("A", "value");
        assert_eq!(fingerprint.len(), 6);
        assert_eq!(fingerprint, slow_fingerprint("A", "value"));
        assert_ne!(fingerprint, slow_fingerprint("A", "other"));
        assert_ne!(fingerprint, slow_fingerprint("B", "value"));
    }

    #[test]
    fn a_source_travels_with_its_value() {
        let source = Source::file("X", "/run/secrets/x".into());
        let secret = Secret::from(&*source.encode_with("hush\nhush"));
        assert_eq!(secret.expose(), "hush\nhush");
        assert_eq!(**secret.source().unwrap(), source);
        assert!(!format!("{secret:?} {}", secret.description()).contains("hush"));
        assert!(Secret::from("hush").source().is_none());
    }

    #[test]
    fn a_file_that_holds_nothing_is_no_secret() {
        let source = Source::file("X", "x".into());
        for content in [&b""[..], b"\n", b"\r\n", b"\n\n", b"\0\0\0\0"] {
            assert!(matches!(source.parse(content), Err(FileError::Empty)), "{content:?}");
        }
        assert!(matches!(source.parse(b"\xff"), Err(FileError::NotUtf8)));
        let device = Source::file("X", "/dev/zero".into());
        assert!(matches!(device.read(), Err(FileError::Read(_))));
    }
}
