//! Which keys the external service is shown, and in which order.

use arc_swap::ArcSwapOption;
use common::ServiceContext;
use common::secrets::Reloadable;
use reqwest::header::HeaderValue;
use server::StartError;

use crate::config::IntegrationKey;

/// The keys: those of the file, and the one that was accepted last. That stands in while the file has a wrong one.
#[derive(Debug)]
pub(super) struct Keys {
    current: Reloadable<IntegrationKey>,
    accepted: ArcSwapOption<HeaderValue>,
}

impl Keys {
    /// Follows their file.
    pub(super) fn follow(
        key: &IntegrationKey,
        context: &ServiceContext,
    ) -> Result<Self, StartError> {
        let current =
            context.secrets.reloadable(key.secret(), |secret| IntegrationKey::try_from(secret));
        let current = current.map_err(|error| StartError::Other(error.into()))?;
        Ok(Self { current, accepted: ArcSwapOption::empty() })
    }

    /// The keys to try, one after the other, until one is accepted.
    pub(super) fn to_try(&self) -> Vec<HeaderValue> {
        let mut keys = self.current.get().authorizations().to_vec();
        if let Some(accepted) = self.accepted.load().as_deref()
            && !keys.contains(accepted)
        {
            keys.push(accepted.clone());
        }
        keys
    }

    /// Notes that one was accepted; if it is not the one in use, that is said once.
    pub(super) fn was_accepted(&self, key: HeaderValue) {
        if self.accepted.load().as_deref() == Some(&key) {
            return;
        }
        let is_first = self.current.get().authorizations().first() == Some(&key);
        if !is_first {
            tracing::warn!("The external service refuses the key in use, and accepts another one");
            self.current.request_reload();
        }
        self.accepted.store(Some(key.into()));
    }

    /// Notes that none was accepted: there may be a new one.
    pub(super) fn are_refused(&self) {
        self.current.request_reload();
    }
}
