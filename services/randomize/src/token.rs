//! JSON Web Tokens (RFC 7519), signed with HS256.

use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::config::Secret;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::hmac;
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};

/// The shortest secret, in bytes: as long as the hash (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;

/// The longest token, in bytes; ours have some 200.
const MAX_TOKEN: usize = 4096;

static PROVIDER: Once = Once::new();

/// Makes tokens, and checks them.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    /// One for each line of the secret.
    decoding: Vec<DecodingKey>,
    validation: Validation,
}

/// What a token of ours says.
#[derive(Debug, Serialize)]
struct Issued {
    /// Whom it was made for.
    sub: String,
    /// When it was made, as UNIX time.
    iat: u64,
    /// When it ends, as UNIX time.
    exp: u64,
}

/// What a token has to say: UNIX times, which may have a fraction (RFC 7519, 2).
#[derive(Debug, Deserialize)]
struct Claims {
    /// It is valid before that time alone.
    exp: f64,
    /// It is valid from that time on.
    #[serde(default)]
    nbf: f64,
}

impl Tokens {
    /// Tokens that are signed with the first line of a secret, and accepted with any.
    ///
    /// # Errors
    /// When a line is too short.
    pub(crate) fn new(secret: &Secret) -> Result<Self, String> {
        let keys = || secret.lines().map(str::as_bytes);
        let first = keys().next().unwrap_or_default();
        if first.is_empty() || keys().any(|key| key.len() < MIN_SECRET) {
            return Err(format!("must have at least {MIN_SECRET} bytes in each line"));
        }
        PROVIDER.call_once(|| {
            // Nobody else in this process could have installed one.
            let _ = HS256.install_default();
        });
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would round them.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        Ok(Self {
            encoding: EncodingKey::from_secret(first),
            decoding: keys().map(DecodingKey::from_secret).collect(),
            validation,
        })
    }

    /// A token that is valid from now on, for that time.
    ///
    /// # Errors
    /// When it would be valid for longer than can be written.
    pub(crate) fn issue(&self, subject: String, ttl: Duration) -> Result<String, Error> {
        let now = jsonwebtoken::get_current_timestamp();
        let exp = now.checked_add(ttl.as_secs()).ok_or(ErrorKind::InvalidToken)?;
        let claims = Issued { sub: subject, iat: now, exp };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// Whether a token is signed with the secret and valid now.
    ///
    /// # Errors
    /// When it is not, with the reason for the log.
    pub(crate) fn check(&self, token: &str) -> Result<(), Error> {
        if token.len() > MAX_TOKEN {
            return Err(ErrorKind::InvalidToken.into());
        }
        let decode = |key| jsonwebtoken::decode::<Claims>(token, key, &self.validation);
        let mut decoded = Err(Error::from(ErrorKind::InvalidSignature));
        for key in &self.decoding {
            decoded = decode(key);
            let is_of_another_key = decoded
                .as_ref()
                .is_err_and(|error| matches!(error.kind(), ErrorKind::InvalidSignature));
            if !is_of_another_key {
                break;
            }
        }
        let token = decoded?;
        // No extension is understood here (RFC 7515, 4.1.11).
        if token.header.crit.is_some() {
            return Err(ErrorKind::InvalidToken.into());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        match token.claims {
            // At the time of `exp` it has ended (RFC 7519, 4.1.4).
            Claims { exp, .. } if now >= exp => Err(ErrorKind::ExpiredSignature.into()),
            Claims { nbf, .. } if now < nbf => Err(ErrorKind::ImmatureSignature.into()),
            Claims { .. } => Ok(()),
        }
    }
}

/// The one algorithm, by the cryptography that TLS uses as well.
static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}
