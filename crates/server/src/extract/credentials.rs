//! Who a client says that it is (RFC 9110, 11.4).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A name and a password (RFC 7617), as bytes to be compared in constant time.
pub struct BasicCredentials {
    /// The name, without a colon.
    pub name: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

/// The token of `Authorization: Bearer <token>` (RFC 6750).
#[must_use]
pub fn bearer_token(request: &HttpRequest) -> Option<&str> {
    credentials(request, "bearer")
}

/// The name and the password of `Authorization: Basic <credentials>`; none where there is no colon between them.
#[must_use]
pub fn basic_credentials(request: &HttpRequest) -> Option<BasicCredentials> {
    let mut name = STANDARD.decode(credentials(request, "basic")?).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some(BasicCredentials { name, password })
}

/// What follows the scheme: its case does not matter, nor how many spaces there are. None where the header is missing,
/// or there twice, because a proxy may have looked at the other one.
fn credentials<'a>(request: &'a HttpRequest, wanted: &str) -> Option<&'a str> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| credentials.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn with(values: &[&str]) -> HttpRequest {
        let requests = values.iter().fold(TestRequest::default(), |request, value| {
            request.append_header((AUTHORIZATION, *value))
        });
        requests.to_http_request()
    }

    #[test]
    fn a_scheme_is_known_in_any_case_and_with_any_spaces() {
        for value in
            ["Basic bmFtZTpwYTpzcw==", "basic bmFtZTpwYTpzcw==", "BASIC   bmFtZTpwYTpzcw== "]
        {
            let given = basic_credentials(&with(&[value])).unwrap();
            assert_eq!((&*given.name, &*given.password), (&b"name"[..], &b"pa:ss"[..]), "{value}");
        }
        for value in ["Bearer to.ken", "bearer to.ken", "BEARER  to.ken"] {
            assert_eq!(bearer_token(&with(&[value])), Some("to.ken"), "{value}");
        }
    }

    #[test]
    fn what_is_of_another_scheme_broken_or_there_twice_is_nobodys() {
        for values in [
            &["Bearer bmFtZTpwYTpzcw=="][..],
            &["Basicbmft"],
            &["Basic"],
            &["Basic bmFtZQ=="],
            &["Basic bmFtZTpwYTpzcw"],
            &["Basic %"],
            &["Basic bmFtZTpwYTpzcw==", "Basic bmFtZTpwYTpzcw=="],
            &[],
        ] {
            assert!(basic_credentials(&with(values)).is_none(), "{values:?}");
        }
        assert_eq!(bearer_token(&with(&["Bearer a", "Bearer a"])), None);
        assert_eq!(bearer_token(&with(&["Basic a"])), None);
    }
}
