//! Which log files there are, so that no request has to read the directory.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;

use super::directory::DirectoryId;
use super::stamp::Stamp;
use crate::error::Error;

/// Which files come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// The files of the directory, about ten bytes each.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The directory that it is about; none before the first was seen.
    pub(super) directory: Option<DirectoryId>,
    /// The directory has been read: none is missing here.
    pub(super) loaded: bool,
    pub(super) stamps: BTreeSet<Stamp>,
}

impl Index {
    /// Begins anew if this is another directory than before; returns whether it is.
    pub(super) fn reset_if_changed(&mut self, directory: DirectoryId) -> bool {
        let news = self.directory != Some(directory);
        if news {
            *self = Self { directory: Some(directory), ..Self::default() };
        }
        news
    }

    /// Takes what was found in a directory, unless that is no longer the one. Files that were written
    /// meanwhile stay.
    pub(super) fn load(&mut self, directory: DirectoryId, mut found: BTreeSet<Stamp>) {
        if self.directory == Some(directory) {
            found.extend(mem::take(&mut self.stamps));
            self.stamps = found;
            self.loaded = true;
        }
    }

    /// Adds new files of a directory, unless that is no longer the one.
    pub(super) fn add(&mut self, directory: DirectoryId, new: impl IntoIterator<Item = Stamp>) {
        if self.directory == Some(directory) {
            // Not `append`, which builds the whole set anew: 0.1 s for a million files, in which all wait.
            self.stamps.extend(new);
        }
    }

    /// The first files of a range, at most `limit`, and the range of those behind them.
    pub(super) fn first(
        &self,
        range: Range<Stamp>,
        order: Order,
        limit: usize,
    ) -> Result<(Vec<Stamp>, Option<Range<Stamp>>), Error> {
        if !self.loaded {
            return Err(Error::Loading);
        }
        // The set panics at a range that ends before it begins.
        let mut stamps = self.stamps.range(range.start.min(range.end)..range.end);
        let mut next = || match order {
            Order::NewestFirst => stamps.next_back().copied(),
            Order::OldestFirst => stamps.next().copied(),
        };
        let first: Vec<Stamp> = std::iter::from_fn(&mut next).take(limit).collect();
        let rest = next().and(first.last()).map(|last| match order {
            Order::NewestFirst => range.start..*last,
            Order::OldestFirst => last.next()..range.end,
        });
        Ok((first, rest))
    }

    /// The oldest files that are more than `kept`, at most `limit`.
    pub(super) fn surplus(&self, kept: usize, limit: usize) -> Vec<Stamp> {
        let surplus = self.stamps.len().saturating_sub(kept);
        self.stamps.iter().take(surplus.min(limit)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const DIRECTORY: DirectoryId = (1, 2);

    fn stamps(numbers: Range<u64>) -> BTreeSet<Stamp> {
        numbers.map(|seconds| Stamp::from(UNIX_EPOCH + Duration::from_secs(seconds))).collect()
    }

    fn index(held: BTreeSet<Stamp>) -> Index {
        let mut index = Index::default();
        index.reset_if_changed(DIRECTORY);
        index.load(DIRECTORY, held);
        index
    }

    #[test]
    fn new_files_join_those_that_are_held_and_move_none_of_them() {
        let mut index = index(stamps(0..10_000));
        let first = std::ptr::from_ref(index.stamps.first().unwrap());

        index.add(DIRECTORY, stamps(10_000..10_003));

        assert_eq!(index.stamps, stamps(0..10_003));
        assert_eq!(std::ptr::from_ref(index.stamps.first().unwrap()), first);
    }

    #[test]
    fn files_written_while_the_directory_is_read_are_kept() {
        let mut index = Index::default();
        index.reset_if_changed(DIRECTORY);

        index.add(DIRECTORY, stamps(5..7));
        assert!(!index.loaded);
        index.load(DIRECTORY, stamps(0..6));

        assert!(index.loaded);
        assert_eq!(index.stamps, stamps(0..7));
    }

    #[test]
    fn files_of_another_directory_are_not_taken() {
        let mut index = index(stamps(0..1));

        index.add((3, 4), stamps(1..2));
        index.load((3, 4), stamps(1..2));

        assert_eq!(index.stamps, stamps(0..1));
    }
}
