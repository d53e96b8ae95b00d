//! The directory that the log files are in, and what the system does there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{
    self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, linkat, openat, unlinkat,
};
use rustix::io::Errno;

use super::stamp::Stamp;
use crate::error::IN_USE;

/// The largest file that is taken for one of ours, in bytes: many times what we write, and few enough
/// for a page of them to fit in memory.
const MAX_FILE: u64 = 16 * 1024;

/// From how many files on the whole file system is synced at once. That costs as much as a few files do
/// one by one, but also waits for what others have written there.
#[cfg(target_os = "linux")]
const MANY: usize = 16;

/// The magic number of FUSE, where syncing a whole file system may do nothing.
#[cfg(target_os = "linux")]
const FUSE: fs::FsWord = 0x6573_5546;

/// What no path, and for a file no symbolic link, leads anywhere else with.
const OPEN: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);

/// The file that the process that owns the directory has locked where the directory itself cannot be.
const LOCK: &str = ".log-files.lock";

/// Which directory a path leads to: its device and inode.
pub(super) type DirectoryId = (u64, u64);

/// The open directory. What is done with it is done in the same one, wherever its path leads by then.
#[derive(Debug)]
pub(super) struct Directory {
    file: File,
    pub(super) id: DirectoryId,
}

/// A complete file under a temporary name, which it loses with this.
#[derive(Debug)]
pub(super) struct Temporary<'a> {
    directory: &'a Directory,
    pub(super) stamp: Stamp,
    file: File,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = File::from(fs::open(path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        Ok(Self { file, id: (metadata.dev(), metadata.ino()) })
    }

    /// Takes the directory for this process, until that ends or the file is dropped.
    ///
    /// # Errors
    /// [`IN_USE`] where another process has it.
    pub(super) fn lock(&self) -> io::Result<File> {
        let mut file =
            File::from(openat(&self.file, c".", OFlags::DIRECTORY | OPEN, Mode::empty())?);
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        if locked == Err(Errno::BADF) {
            // On NFS only what is open for writing can be locked.
            let flags = OPEN | OFlags::RDWR | OFlags::CREATE;
            file = File::from(openat(&self.file, LOCK, flags, Mode::from(0o644))?);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Err(Errno::WOULDBLOCK) => Err(IN_USE.into()),
            locked => Ok(locked.map(|()| file)?),
        }
    }

    /// The log files, and temporary files that are older than `leftover`.
    pub(super) fn scan(&self, leftover: Stamp) -> io::Result<(BTreeSet<Stamp>, Vec<String>)> {
        let (mut found, mut leftovers) = (Vec::new(), Vec::new());
        for entry in Dir::read_from(&self.file)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            // Some file systems do not say what a name stands for; whoever reads it finds out.
            let regular = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
            if let Ok(stamp) = name.parse::<Stamp>() {
                found.extend(regular.then_some(stamp));
            } else if parse_temporary_name(name).is_some_and(|stamp| stamp < leftover) {
                leftovers.push(name.to_owned());
            }
        }
        Ok((found.into_iter().collect(), leftovers))
    }

    /// A log file's bytes; none if there is no such file or it is none of ours.
    pub(super) fn read(&self, stamp: Stamp) -> io::Result<Option<Vec<u8>>> {
        // A pipe would else wait for whoever writes to it.
        let flags = OPEN | OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match openat(&self.file, stamp.to_string(), flags, Mode::empty()) {
            // Missing, a symbolic link, a socket, somebody else's.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(None),
            opened => File::from(opened?),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a file under a temporary name, of this stamp or the next that is free.
    pub(super) fn write(&self, mut stamp: Stamp, text: &str) -> io::Result<Temporary<'_>> {
        let flags = OPEN | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = loop {
            match openat(&self.file, temporary_name(stamp), flags, Mode::from(0o644)) {
                Err(Errno::EXIST) => stamp = stamp.next(),
                created => break File::from(created?),
            }
        };
        let mut temporary = Temporary { directory: self, stamp, file };
        temporary.file.write_all(text.as_bytes())?;
        Ok(temporary)
    }

    /// Makes the contents of these files durable.
    pub(super) fn sync_files(&self, files: &[&Temporary<'_>]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if files.len() >= MANY && fs::fstatfs(&self.file)?.f_type != FUSE {
            return Ok(fs::syncfs(&self.file)?);
        }
        files.iter().try_for_each(|temporary| temporary.file.sync_all())
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Removes a file. One that is not there is none to remove.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.file, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Proves that a file can be written here.
    pub(super) fn probe(&self) -> io::Result<()> {
        const NAME: &str = ".log-volume-probe";
        let flags = OPEN | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = File::from(openat(&self.file, NAME, flags, Mode::from(0o644))?);
        let written = file.write_all(b"probe\n").and_then(|()| file.sync_all());
        written.and(self.remove(NAME))
    }
}

impl Temporary<'_> {
    /// Gives the file its final name, of its stamp or the next that is free: no other file loses its.
    pub(super) fn publish(self) -> io::Result<Stamp> {
        let (at, from) = (&self.directory.file, temporary_name(self.stamp));
        let mut stamp = self.stamp;
        loop {
            match linkat(at, &from, at, stamp.to_string(), AtFlags::empty()) {
                Err(Errno::EXIST) => stamp = stamp.next(),
                linked => return linked.map(|()| stamp).map_err(io::Error::from),
            }
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // What stays is removed by a later start.
        let _ = self.directory.remove(&temporary_name(self.stamp));
    }
}

fn temporary_name(stamp: Stamp) -> String {
    format!(".{stamp}.tmp")
}

fn parse_temporary_name(name: &str) -> Option<Stamp> {
    name.strip_prefix('.')?.strip_suffix(".tmp")?.parse().ok()
}
