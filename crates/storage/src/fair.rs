//! A semaphore that is fair to clients.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use common::context::RequestContext;
use tokio::sync::oneshot;

/// A semaphore whose permits go to the clients that wait in turns, and not to their requests in the order of arrival: a
/// client with one request waits for no more than one of each other client. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FairSemaphore(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The clients that wait, the next first.
    turns: VecDeque<IpAddr>,
    /// Their requests, the oldest first; none of these is empty.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<FairPermit>>>,
}

/// A permit, given back when dropped.
#[derive(Debug)]
pub(crate) struct FairPermit(Option<FairSemaphore>);

impl FairSemaphore {
    pub(crate) fn new(permits: usize) -> Self {
        let state = State { free: permits, turns: VecDeque::new(), waiting: HashMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A permit for the client of the request at hand.
    pub(crate) async fn acquire(&self) -> FairPermit {
        let client = RequestContext::with_current(RequestContext::client_network);
        self.acquire_for(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await
    }

    async fn acquire_for(&self, client: IpAddr) -> FairPermit {
        let Some(permit) = self.enqueue(client) else { return FairPermit(Some(self.clone())) };
        // Its sender is dropped by nobody but `give`, which sends before.
        permit.await.unwrap_or(FairPermit(None))
    }

    /// Takes a free permit; where there is none, the client gets a place, and the permit comes by the channel.
    fn enqueue(&self, client: IpAddr) -> Option<oneshot::Receiver<FairPermit>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free > 0 {
            state.free -= 1;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let State { turns, waiting, .. } = &mut *state;
        let requests = waiting.entry(client).or_default();
        if requests.is_empty() {
            turns.push_back(client);
        }
        requests.push_back(sender);
        Some(receiver)
    }

    /// The request whose turn it is; where none waits, the permit is free.
    fn next(&self) -> Option<oneshot::Sender<FairPermit>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { free, turns, waiting } = &mut *state;
        let request = turns.pop_front().and_then(|client| {
            let requests = waiting.get_mut(&client)?;
            let request = requests.pop_front();
            if requests.is_empty() {
                waiting.remove(&client);
            } else {
                turns.push_back(client);
            }
            request
        });
        if request.is_none() {
            *free += 1;
        }
        request
    }

    /// Hands a permit on. A request that nobody waits for any more is passed over.
    fn give(self) {
        while let Some(request) = self.next() {
            let Err(mut refused) = request.send(FairPermit(Some(self.clone()))) else { return };
            // It is handed on by this loop.
            refused.0 = None;
        }
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if let Some(semaphore) = self.0.take() {
            semaphore.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test]
    async fn a_client_waits_for_one_request_of_each_other_client() {
        let semaphore = FairSemaphore::new(1);
        let held = semaphore.acquire_for(CROWD).await;
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(semaphore.acquire_for(CROWD))).collect();
        for request in &mut crowd {
            assert!(request.now_or_never().is_none());
        }
        let mut other = Box::pin(semaphore.acquire_for(OTHER));
        assert!((&mut other).now_or_never().is_none());

        drop(held);
        assert!((&mut other).now_or_never().is_none(), "the crowd was first");
        drop((&mut crowd[0]).now_or_never().unwrap());

        let others = (&mut other).now_or_never();
        assert!(others.is_some(), "then it is the other's turn");
        assert!((&mut crowd[1]).now_or_never().is_none());
        drop(others);
        assert!((&mut crowd[1]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_permit_is_not_lost_with_a_request_that_has_gone() {
        let semaphore = FairSemaphore::new(1);
        let held = semaphore.acquire_for(CROWD).await;
        let mut gone = Box::pin(semaphore.acquire_for(CROWD));
        let mut sent = Box::pin(semaphore.acquire_for(OTHER));
        assert!((&mut gone).now_or_never().is_none() && (&mut sent).now_or_never().is_none());

        // One goes before its turn, the other with the permit that it has not looked at.
        drop(gone);
        drop(held);
        drop(sent);

        assert!(semaphore.acquire_for(CROWD).now_or_never().is_some());
    }
}
