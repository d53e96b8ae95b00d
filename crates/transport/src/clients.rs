//! What each client address holds of the memory budget.
//!
//! One address alone may hold nearly all of the budget. As soon as others want some, it gets no more above its share
//! (`CLIENT_SHARE`); what it holds already stays until it ends. The last tenth is for addresses that hold little: a
//! crowd from one address, or from nine, leaves room for a probe and for an ordinary client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::context::network;
use common::memory::{Budget, Exhausted, MemoryUse, Permit};

/// The part of the budget that only addresses use which hold little: one in ten.
const RESERVE_DIVISOR: u64 = 10;

/// An address holds little up to this part of the reserve.
const SMALL_ACCOUNT_DIVISOR: u64 = 8;

/// What each client address may hold of a budget, and does.
#[derive(Debug)]
pub struct ClientQuota {
    budget: Budget,
    /// What an address may hold while others want some, in bytes.
    share: u64,
    reserve: u64,
    held: AtomicU64,
    accounts: Mutex<HashMap<IpAddr, Arc<AtomicU64>>>,
}

impl ClientQuota {
    /// Accounts on this budget; `share` is the part of it that one address may hold while others want some.
    #[must_use]
    pub fn new(budget: Budget, share: f64) -> Self {
        let capacity = budget.capacity();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a part of the capacity, to the megabyte"
        )]
        let share = (capacity as f64 * share) as u64;
        Self {
            share,
            reserve: capacity / RESERVE_DIVISOR,
            budget,
            held: AtomicU64::new(0),
            accounts: Mutex::default(),
        }
    }

    /// Takes bytes for a use by this address.
    ///
    /// # Errors
    /// When the address holds its share, or the budget is exhausted; the refusal is not counted yet.
    pub fn take(
        self: &Arc<Self>,
        address: IpAddr,
        of: MemoryUse,
        bytes: usize,
    ) -> Result<ClientPermit, Exhausted> {
        let account = self.account(address);
        let permit = self.budget.take_below(of, 0, u64::MAX)?;
        let mut permit = ClientPermit { quota: Arc::clone(self), address, account, permit };
        permit.grow(bytes)?;
        Ok(permit)
    }

    /// Waits until somebody gives memory back after this call.
    pub(crate) fn released(&self) -> impl Future<Output = ()> + '_ {
        self.budget.released()
    }

    /// Whether not even an address that holds nothing would get this much.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        self.budget.used() + bytes as u64 > self.budget.capacity()
    }

    /// Whether more than half of the budget is in use.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.budget.used() > self.budget.capacity() / 2
    }

    /// Counts a use that was refused.
    pub(crate) fn count_refusal(&self, of: MemoryUse) {
        self.budget.count_refusal(of);
    }

    fn account(&self, address: IpAddr) -> Arc<AtomicU64> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(network(address)).or_default())
    }

    /// Up to where the budget may be used if an address that held `held` bytes takes `bytes` more; none where
    /// it may not take them.
    fn ceiling(&self, held: u64, bytes: u64) -> Option<u64> {
        let wanted = held + bytes;
        if wanted <= self.reserve / SMALL_ACCOUNT_DIVISOR {
            return Some(self.budget.capacity());
        }
        let others = self.held.load(Ordering::Relaxed).saturating_sub(held);
        let contended = others > self.reserve / 2;
        (!contended || wanted <= self.share).then(|| self.budget.capacity() - self.reserve)
    }
}

/// Memory that a client makes the process hold; dropped, it is given back.
#[derive(Debug)]
#[must_use = "dropped at once, it would be given back"]
pub struct ClientPermit {
    quota: Arc<ClientQuota>,
    address: IpAddr,
    account: Arc<AtomicU64>,
    permit: Permit,
}

impl ClientPermit {
    /// What it was taken from.
    pub(crate) fn quota(&self) -> &Arc<ClientQuota> {
        &self.quota
    }

    /// Takes more bytes for the same use, of the reserve, too: for what is answered as long as anything is.
    pub(crate) fn grow_into_reserve(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.grow_below(bytes, self.quota.budget.capacity())
    }

    /// Takes more bytes for the same use.
    ///
    /// # Errors
    /// When the address holds its share, or the budget is exhausted; nothing has changed then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let held = self.account.load(Ordering::Relaxed);
        let ceiling = self.quota.ceiling(held, bytes as u64).ok_or(Exhausted)?;
        self.grow_below(bytes, ceiling)
    }

    fn grow_below(&mut self, bytes: usize, ceiling: u64) -> Result<(), Exhausted> {
        self.permit.grow_below(bytes, ceiling)?;
        self.account.fetch_add(bytes as u64, Ordering::Relaxed);
        self.quota.held.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Gives bytes back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.permit.bytes());
        self.permit.shrink(bytes);
        self.account.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.quota.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.shrink(self.permit.bytes());
        let mut accounts = self.quota.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        // One is the table's, one is this permit's: nobody else has the account, nor can get it meanwhile.
        if Arc::strong_count(&self.account) == 2 {
            accounts.remove(&network(self.address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget of 1 600 bytes: a share of 400, a reserve of 160 of which 20 are for whoever holds little.
    fn quota() -> Arc<ClientQuota> {
        let budget = Budget::without_metrics(1_600);
        Arc::new(ClientQuota::new(budget, 0.25))
    }

    fn take(
        quota: &Arc<ClientQuota>,
        address: &str,
        bytes: usize,
    ) -> Result<ClientPermit, Exhausted> {
        quota.take(address.parse().unwrap(), MemoryUse::Connections, bytes)
    }

    #[test]
    fn one_address_alone_may_hold_all_but_the_reserve() {
        let quota = quota();
        let mut permit = take(&quota, "192.0.2.1", 1_440).unwrap();

        assert!(permit.grow(1).is_err());
        assert!(take(&quota, "192.0.2.1", 20).is_err());
        // Whoever holds little has the reserve.
        let little = take(&quota, "192.0.2.2", 20).unwrap();
        assert!(take(&quota, "192.0.2.2", 1).is_err());
        drop(little);
    }

    #[test]
    fn while_others_want_some_an_address_gets_no_more_than_its_share() {
        let quota = quota();
        let mut large = take(&quota, "192.0.2.1", 800).unwrap();
        let other = take(&quota, "192.0.2.2", 81).unwrap();

        assert!(large.grow(1).is_err());
        large.shrink(401);
        large.grow(1).unwrap();
        assert!(large.grow(1).is_err());
        drop(other);
        large.grow(1).unwrap();
    }

    #[test]
    fn the_addresses_of_a_network_share_an_account_which_ends_with_its_last_permit() {
        let quota = quota();
        let one = take(&quota, "2001:db8::1", 700).unwrap();
        let two = take(&quota, "2001:db8::ffff:1", 700).unwrap();
        assert!(take(&quota, "2001:db8::2", 100).is_err());

        drop((one, two));

        assert!(quota.accounts.lock().unwrap().is_empty());
        assert_eq!(quota.held.load(Ordering::Relaxed), 0);
        assert!(take(&quota, "::ffff:192.0.2.1", 1_440).is_ok());
    }
}
