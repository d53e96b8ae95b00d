//! Endpoints of the original programs that only say that the process lives.

/// A handler of `GET` for a path, which answers 200 with a fixed text; `/healthz` and `/readyz` tell more.
///
/// ```
/// use actix_web::get;
///
/// server::liveness!(get_health_check, "/health_check", "healthy");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! liveness {
    ($name:ident, $path:tt, $text:tt) => {
        #[doc = "Whether the process lives, as the original program answers it."]
        #[utoipa::path(
                                    tag = "operations",
                                    responses((
                                        status = 200, description = "It lives",
                                        body = String, content_type = "text/plain", example = $text
                                    )),
                                )]
        #[get($path)]
        pub(crate) async fn $name() -> &'static str {
            $text
        }
    };
}
