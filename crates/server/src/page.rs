//! The page that a service has at `/` for people.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, VARY};
use actix_web::{HttpRequest, HttpResponse, mime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::Service;
use ring::digest::{SHA256, digest};

use crate::references::prefers_html;

/// What the pages of all services share; `NAME` stands for a part of the page.
const FRAME: &str = include_str!("page/frame.html");
const STYLE: &str = include_str!("page/frame.css");
const SCRIPT: &str = include_str!("page/frame.js");
const ICON: &str = include_str!("page/icon.svg");

/// A page, complete: it loads nothing, and runs its own style and script alone.
#[derive(Debug)]
pub struct HtmlPage {
    html: Bytes,
    policy: String,
}

/// What is a page's own. Style and script come after those that all pages share, `crates/server/src/page/frame.*`.
#[derive(Clone, Copy, Debug)]
pub struct PageParts {
    /// The title, and the heading.
    pub title: &'static str,
    /// What `<main>` has.
    pub main: &'static str,
    /// CSS.
    pub style: &'static str,
    /// JavaScript.
    pub script: &'static str,
}

impl HtmlPage {
    /// The page of a service.
    #[must_use]
    pub fn new(service: &Service, parts: &PageParts) -> Self {
        let PageParts { title, main, style, script } = parts;
        let (style, script) = (STYLE.to_owned() + style, SCRIPT.to_owned() + script);
        let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(&style)
        );
        let parts = [
            ("ICON", icon(service.name)),
            ("TITLE", (*title).to_owned()),
            ("MAIN", (*main).to_owned()),
            ("STYLE", style),
            ("SCRIPT", script),
        ];
        let fill = |page: String, (name, part): (&str, String)| {
            page.replace(&format!("{{{{{name}}}}}"), &part)
        };
        Self { html: parts.into_iter().fold(FRAME.to_owned(), fill).into(), policy }
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
