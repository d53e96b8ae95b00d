//! A semaphore that is fair to clients, and whose queue is bounded.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use common::context::RequestContext;
use tokio::sync::oneshot;

/// A semaphore whose permits go to the clients that wait in turns, and not to their requests in the order of arrival: a
/// client with one request waits for no more than one of each other client. Beyond a number of waiting requests, the
/// client that has the most of them loses its newest. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FairSemaphore(Arc<Mutex<State>>);

/// Too many requests wait, and this one's client has the most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyWaiting;

#[derive(Debug)]
struct State {
    free: usize,
    /// How many requests may wait.
    capacity: usize,
    /// How many wait.
    length: usize,
    /// The clients that wait, the next first.
    turns: VecDeque<IpAddr>,
    /// Their requests, the oldest first; none of these is empty.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<FairPermit>>>,
}

/// A permit, given back when dropped.
#[derive(Debug)]
pub(crate) struct FairPermit(Option<FairSemaphore>);

impl FairSemaphore {
    pub(crate) fn new(permits: usize, capacity: usize) -> Self {
        let (turns, waiting) = (VecDeque::new(), HashMap::new());
        Self(Arc::new(Mutex::new(State { free: permits, capacity, length: 0, turns, waiting })))
    }

    /// A permit for the client of the request at hand.
    ///
    /// # Errors
    /// When too many requests wait.
    pub(crate) async fn acquire(&self) -> Result<FairPermit, TooManyWaiting> {
        let client = RequestContext::with_current(RequestContext::client_network);
        self.acquire_for(client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))).await
    }

    async fn acquire_for(&self, client: IpAddr) -> Result<FairPermit, TooManyWaiting> {
        let Some(permit) = self.enqueue(client)? else { return Ok(FairPermit(Some(self.clone()))) };
        // Its sender is dropped where the client has more than others.
        permit.await.map_err(|_| TooManyWaiting)
    }

    /// Takes a free permit; where there is none, the client gets a place, and the permit comes by the channel.
    fn enqueue(
        &self,
        client: IpAddr,
    ) -> Result<Option<oneshot::Receiver<FairPermit>>, TooManyWaiting> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.free > 0 {
            state.free -= 1;
            return Ok(None);
        }
        if state.length == state.capacity {
            state.make_room(client)?;
        }
        let (sender, receiver) = oneshot::channel();
        let State { turns, waiting, length, .. } = &mut *state;
        let requests = waiting.entry(client).or_default();
        if requests.is_empty() {
            turns.push_back(client);
        }
        requests.push_back(sender);
        *length += 1;
        Ok(Some(receiver))
    }

    /// The request whose turn it is; where none waits, the permit is free.
    fn next(&self) -> Option<oneshot::Sender<FairPermit>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { free, length, turns, waiting, .. } = &mut *state;
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
        match request {
            Some(_) => *length -= 1,
            None => *free += 1,
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

impl State {
    /// Takes the newest request away from the client that has the most.
    ///
    /// # Errors
    /// When that is this client.
    fn make_room(&mut self, client: IpAddr) -> Result<(), TooManyWaiting> {
        let own = self.waiting.get(&client).map_or(0, VecDeque::len);
        let most = self.waiting.iter_mut().max_by_key(|(_, requests)| requests.len());
        let Some((_, requests)) = most.filter(|(_, requests)| requests.len() > own.max(1)) else {
            return Err(TooManyWaiting);
        };
        requests.pop_back();
        self.length -= 1;
        Ok(())
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
    use futures_util::future::LocalBoxFuture;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    type Request<'a> = LocalBoxFuture<'a, Result<FairPermit, TooManyWaiting>>;

    /// The permit that there is, and as many requests of the crowd that wait for it.
    async fn hold_before_crowd(
        semaphore: &FairSemaphore,
        requests: usize,
    ) -> (FairPermit, Vec<Request<'_>>) {
        let held = semaphore.acquire_for(CROWD).await.unwrap();
        let crowd = (0..requests).map(|_| {
            let mut request = semaphore.acquire_for(CROWD).boxed_local();
            assert!((&mut request).now_or_never().is_none());
            request
        });
        (held, crowd.collect())
    }

    #[tokio::test]
    async fn a_client_waits_for_one_request_of_each_other_client() {
        let semaphore = FairSemaphore::new(1, 1_000);
        let (held, mut crowd) = hold_before_crowd(&semaphore, 100).await;
        let mut other = Box::pin(semaphore.acquire_for(OTHER));
        assert!((&mut other).now_or_never().is_none());

        drop(held);
        assert!((&mut other).now_or_never().is_none(), "the crowd was first");
        drop((&mut crowd[0]).now_or_never().unwrap().unwrap());

        let others = (&mut other).now_or_never().transpose().unwrap();
        assert!(others.is_some(), "then it is the other's turn");
        assert!((&mut crowd[1]).now_or_never().is_none());
        drop(others);
        assert!((&mut crowd[1]).now_or_never().is_some_and(|permit| permit.is_ok()));
    }

    #[tokio::test]
    async fn a_permit_is_not_lost_with_a_request_that_has_gone() {
        let semaphore = FairSemaphore::new(1, 1_000);
        let held = semaphore.acquire_for(CROWD).await.unwrap();
        let mut gone = Box::pin(semaphore.acquire_for(CROWD));
        let mut sent = Box::pin(semaphore.acquire_for(OTHER));
        assert!((&mut gone).now_or_never().is_none() && (&mut sent).now_or_never().is_none());

        // One goes before its turn, the other with the permit that it has not looked at.
        drop(gone);
        drop(held);
        drop(sent);

        assert!(semaphore.acquire_for(CROWD).now_or_never().is_some_and(|permit| permit.is_ok()));
    }

    #[tokio::test]
    async fn beyond_the_capacity_who_has_the_most_loses_the_newest() {
        let semaphore = FairSemaphore::new(1, 3);
        let (held, mut crowd) = hold_before_crowd(&semaphore, 3).await;

        let one_more = semaphore.acquire_for(CROWD).now_or_never().unwrap();
        let mut other = Box::pin(semaphore.acquire_for(OTHER));
        assert!((&mut other).now_or_never().is_none(), "there is room for another client");

        assert_eq!(one_more.unwrap_err(), TooManyWaiting);
        assert_eq!((&mut crowd[2]).now_or_never().unwrap().unwrap_err(), TooManyWaiting);
        drop(held);
        drop((&mut crowd[0]).now_or_never().unwrap().unwrap());
        drop((&mut other).now_or_never().unwrap().unwrap());
        drop((&mut crowd[1]).now_or_never().unwrap().unwrap());
        assert!(semaphore.acquire_for(CROWD).now_or_never().is_some_and(|permit| permit.is_ok()));
    }
}
