//! How many requests an address may make.
//!
//! The generic cell rate algorithm on a fixed table: an address is hashed to one slot in each of two rows, and is
//! refused when both say so. So memory is bounded whatever addresses there are, which a map of addresses cannot
//! promise while they are still remembered. An address whose two slots are both taken by others shares their limit;
//! with a thousand others at their limit, one address in some 4 300 does. The hash has a random key, so that nobody
//! can aim.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::config::RateLimit;

/// Slots in a row. Two rows take 1 MiB.
const SLOTS: usize = 1 << 16;

const ROWS: usize = 2;

/// Counts requests by address.
#[derive(Debug)]
pub struct RateLimiter {
    /// The time that one request takes from an address's budget, in nanoseconds.
    interval: u64,
    /// How far ahead of the clock an address may be, in nanoseconds: the burst.
    tolerance: u64,
    start: Instant,
    hash: RandomState,
    /// When an address's budget will be full again, in nanoseconds since the start.
    slots: Vec<AtomicU64>,
}

impl RateLimiter {
    /// A limiter with that many requests in that period, and as many in a burst; none without a limit.
    #[must_use]
    pub fn new(limit: RateLimit) -> Option<Self> {
        let (requests, period) = limit.requests_per()?;
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(requests.get())).max(1);
        Some(Self {
            interval,
            tolerance: interval.saturating_mul(u64::from(requests.get()) - 1),
            start: Instant::now(),
            hash: RandomState::new(),
            slots: std::iter::repeat_with(AtomicU64::default).take(ROWS * SLOTS).collect(),
        })
    }

    /// Takes one request of this address.
    ///
    /// # Errors
    /// How long the address has to wait, when it has made too many.
    pub fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(address, now)
    }

    fn take_at(&self, address: IpAddr, now: u64) -> Result<(), Duration> {
        let slots = self.slots_of(address);
        let full = slots.iter().map(|slot| slot.load(Ordering::Relaxed)).min().unwrap_or(0);
        let ahead = full.saturating_sub(now);
        if ahead > self.tolerance {
            return Err(Duration::from_nanos(ahead - self.tolerance));
        }
        for slot in slots {
            let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
                Some(full.max(now).saturating_add(self.interval))
            });
        }
        Ok(())
    }

    fn slots_of(&self, address: IpAddr) -> [&AtomicU64; ROWS] {
        // Whoever has an IPv6 address has the rest of its /64 as well.
        let address = address.to_canonical();
        let key = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => u64::from_be_bytes(first_half(address.octets())),
        };
        let hash = self.hash.hash_one((address.is_ipv4(), key));
        std::array::from_fn(|row| {
            let bits = usize::try_from(hash >> (row * 32) & 0xffff_ffff).unwrap_or_default();
            &self.slots[row * SLOTS + bits % SLOTS]
        })
    }
}

fn first_half(octets: [u8; 16]) -> [u8; 8] {
    std::array::from_fn(|index| octets[index])
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limiter(limit: &str) -> RateLimiter {
        RateLimiter::new(limit.parse().unwrap()).unwrap()
    }

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn a_burst_of_the_rate_passes_and_then_the_rate() {
        let limiter = limiter("10/s");

        for _ in 0..10 {
            assert_eq!(limiter.take_at(v4(1), 0), Ok(()));
        }
        assert_eq!(limiter.take_at(v4(1), 0), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_at(v4(2), 0), Ok(()), "another address has its own budget");
        assert_eq!(limiter.take_at(v4(1), SECOND / 10), Ok(()));
        assert!(limiter.take_at(v4(1), SECOND / 10).is_err());
        let passed = (0..1000).filter(|_| limiter.take_at(v4(1), 100 * SECOND).is_ok()).count();
        assert_eq!(passed, 10, "idle time saves no more than a burst");
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let limiter = limiter("1/s");
        assert_eq!(limiter.take_at(v4(1), 0), Ok(()));

        for _ in 0..100 {
            assert!(limiter.take_at(v4(1), SECOND / 2).is_err());
        }

        assert_eq!(limiter.take_at(v4(1), SECOND), Ok(()));
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_ipv4_as_ipv4() {
        let limiter = limiter("1/m");
        let v6 = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap());

        assert_eq!(limiter.take_at(v6("2001:db8::1"), 0), Ok(()));
        assert!(limiter.take_at(v6("2001:db8::ffff:1"), 0).is_err());
        assert_eq!(limiter.take_at(v6("2001:db8:0:1::1"), 0), Ok(()));
        assert_eq!(limiter.take_at(v6("::ffff:192.0.2.1"), 0), Ok(()));
        assert!(limiter.take_at(v4(1), 0).is_err());
    }

    #[test]
    fn a_million_addresses_do_not_shut_out_another() {
        let limiter = limiter("50/s");
        for number in 0..1_000_000_u32 {
            let _ = limiter.take_at(Ipv4Addr::from_bits(number).into(), u64::from(number) * 1000);
        }

        assert_eq!(limiter.take_at(v4(1), 2 * SECOND), Ok(()));
        assert_eq!(limiter.slots.len(), ROWS * SLOTS);
    }
}
