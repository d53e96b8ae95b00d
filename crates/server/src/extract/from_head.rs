//! Extractors that need a request's head alone.

/// Makes a type an extractor by a function from the request to it, whose error is or becomes a
/// [`Problem`](common::Problem).
///
/// ```
/// # use actix_web::HttpRequest;
/// # use common::Problem;
/// struct Language(String);
///
/// server::from_head!(Language, |request: &HttpRequest| -> Result<_, Problem> {
///     let header = request.headers().get("accept-language");
///     Ok(Language(header.and_then(|value| value.to_str().ok()).unwrap_or("en").to_owned()))
/// });
/// ```
#[macro_export]
macro_rules! from_head {
    ($type:ty, $extract:expr) => {
        impl actix_web::FromRequest for $type {
            type Error = common::Problem;
            type Future = std::future::Ready<Result<Self, common::Problem>>;

            fn from_request(
                request: &actix_web::HttpRequest,
                _: &mut actix_web::dev::Payload,
            ) -> Self::Future {
                std::future::ready(($extract)(request).map_err(common::Problem::from))
            }
        }
    };
}
