//! Which log files there are, so that no request has to read the directory.

use std::collections::BTreeSet;
use std::ops::Range;

use super::directory::DirectoryId;
use super::{Order, Stamp};
use crate::error::Error;

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
    pub(super) fn turn_to(&mut self, directory: DirectoryId) -> bool {
        let news = self.directory != Some(directory);
        if news {
            *self = Self { directory: Some(directory), ..Self::default() };
        }
        news
    }

    /// Adds files of a directory, unless that is no longer the one.
    pub(super) fn add(&mut self, directory: DirectoryId, mut found: BTreeSet<Stamp>, all: bool) {
        if self.directory == Some(directory) {
            self.stamps.append(&mut found);
            self.loaded |= all;
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
