//! The page that a service has at `/` for people.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, VARY};
use actix_web::{HttpRequest, HttpResponse, mime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::Service;
use ring::digest::{SHA256, digest};

use crate::references::prefers_html;

/// The HTML, CSS and JavaScript of a page, from the files of that name beside the one that says so.
#[macro_export]
macro_rules! page_parts {
    ($name:literal) => {
        [
            include_str!(concat!($name, ".html")),
            include_str!(concat!($name, ".css")),
            include_str!(concat!($name, ".js")),
        ]
    };
}

const ICON: &str = include_str!("page/icon.svg");

/// A page, complete: it loads nothing, and runs its own style and script alone.
#[derive(Debug)]
pub struct HtmlPage {
    html: Bytes,
    policy: String,
}

impl HtmlPage {
    /// The page of a service, with a title that is its heading, too, and its own [`page_parts!`](crate::page_parts):
    /// what `<main>` has, and style and script, which come after those of all pages.
    #[must_use]
    pub fn new(service: &Service, title: &str, [main, style, script]: [&str; 3]) -> Self {
        // `{{NAME}}` stands for a part of the page.
        let [frame, shared_style, shared_script] = page_parts!("page/frame");
        let (style, script) = (shared_style.to_owned() + style, shared_script.to_owned() + script);
        let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(&style)
        );
        let parts = [
            ("ICON", icon(service.name)),
            ("TITLE", title.to_owned()),
            ("MAIN", main.to_owned()),
            ("STYLE", style),
            ("SCRIPT", script),
        ];
        let fill = |page: String, (name, part): (&str, String)| {
            page.replace(&format!("{{{{{name}}}}}"), &part)
        };
        Self { html: parts.into_iter().fold(frame.to_owned(), fill).into(), policy }
    }

    /// The page, if the client prefers HTML. Whatever it gets instead has to say `Vary: Accept`, too.
    #[must_use]
    pub fn answer(&self, request: &HttpRequest) -> Option<HttpResponse> {
        prefers_html(request).then(|| {
            HttpResponse::Ok()
                .insert_header((VARY, "accept"))
                .insert_header((CONTENT_SECURITY_POLICY, self.policy.as_str()))
                .content_type(mime::TEXT_HTML_UTF_8)
                .body(self.html.clone())
        })
    }
}

/// The icon of a service, the first letter of its name, as a `data:` URL.
pub(crate) fn icon(name: &str) -> String {
    let svg = ICON.trim_end().replace("LETTER", &name[..1]);
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))
}
