//! A log file of bounded size with a bounded number of predecessors.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::target::Write;

/// From this size on a file is put aside: 16 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How many files are kept aside: `name.1` is the youngest.
const KEPT: u32 = 4;

/// A file that is renamed to `<path>.1` when full, `.1` to `.2` and so on.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_bytes: u64,
}

impl RotatingFile {
    /// Opens the file to append to it, and makes its folder if need be.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Self::with_size(path, MAX_BYTES)
    }

    fn with_size(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = Self { path, file: None, size: 0, max_bytes };
        file.reopen()?;
        Ok(file)
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        let file = File::options().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..KEPT).rev() {
            rename_if_there(&aside(&self.path, number), &aside(&self.path, number + 1))?;
        }
        rename_if_there(&self.path, &aside(&self.path, 1))
    }
}

impl Write for RotatingFile {
    /// After an error the file is opened anew with the next lines: its volume may be back by then.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + lines.len() as u64 > self.max_bytes {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        match file.write_all(lines) {
            Ok(()) => self.size += lines.len() as u64,
            Err(error) => {
                self.file = None;
                return Err(error);
            }
        }
        Ok(())
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a size in a folder that is made for it, below a temporary one, and its path.
    fn rotating(max_bytes: u64) -> (tempfile::TempDir, PathBuf, RotatingFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/service.log");
        let file = RotatingFile::with_size(path.clone(), max_bytes).unwrap();
        (folder, path, file)
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_some_are_kept() {
        let (_folder, path, mut file) = rotating(10);

        for number in 0..8 {
            file.write(format!("line {number}\n").as_bytes()).unwrap();
        }

        assert_eq!(fs::read_to_string(&path).unwrap(), "line 7\n");
        assert_eq!(fs::read_to_string(aside(&path, 1)).unwrap(), "line 6\n");
        assert_eq!(fs::read_to_string(aside(&path, KEPT)).unwrap(), "line 3\n");
        assert!(!aside(&path, KEPT + 1).exists());
    }

    #[test]
    fn an_existing_file_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.log");
        fs::write(&path, "before\n").unwrap();

        RotatingFile::with_size(path.clone(), 100).unwrap().write(b"after\n").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }

    #[test]
    fn a_folder_that_went_away_and_came_back_gets_lines_again() {
        let (folder, path, mut file) = rotating(4);
        file.write(b"1234\n").unwrap();
        fs::remove_dir_all(folder.path().join("logs")).unwrap();

        assert!(file.write(b"lost\n").is_err());
        fs::create_dir(folder.path().join("logs")).unwrap();
        file.write(b"kept\n").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
    }
}
