//! A server whose URL may change while it is used.

use std::sync::Arc;

use common::ServiceContext;
use common::config::Secret;
use common::probes::CheckError;
use common::secrets::Refusal;

/// A server that is used through a store `T`.
#[derive(Debug)]
pub struct Watch<'a, T, S, C> {
    /// The name of the readiness check.
    pub name: &'static str,
    /// The server's URL.
    pub url: &'a Secret,
    /// Switches to a new URL, or refuses it.
    pub switch: fn(Arc<T>, Secret) -> S,
    /// Whether the server can be used.
    pub check: fn(Arc<T>) -> C,
}

impl<T, S, C, E> Watch<'_, T, S, C>
where
    T: Send + Sync + 'static,
    S: Future<Output = Result<(), Refusal>> + Send + 'static,
    C: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<CheckError> + 'static,
{
    /// Follows the URL and checks the server, until the service stops. When a check fails, the URL is read again.
    pub fn start(self, context: &ServiceContext, store: &Arc<T>) {
        let Self { name, url, switch, check } = self;
        let switched = Arc::clone(store);
        let trigger = context.secrets.follow(url, move |url| switch(Arc::clone(&switched), url));
        let store = Arc::clone(store);
        context.readiness.check(&context.tasks, name, move || {
            let (check, trigger) = (check(Arc::clone(&store)), trigger.clone());
            async move {
                let checked = check.await.inspect_err(|_| trigger.request_reload());
                checked.map_err(Into::into)
            }
        });
    }
}
