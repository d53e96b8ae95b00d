//! What is asked of each service, and what it must answer.

use std::fmt;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
const ACCEPT_JSON: (&str, &str) = ("accept", JSON);

/// Of every service.
pub(crate) const COMMON: &[Request] = &[
    get("/healthz").text("healthy"),
    get("/healthz/").text("healthy"),
    get("/readyz").text("ready"),
    get("/readyz?verbose").containing(JSON, r#""ready":true,"checks":["#),
    get("/metrics").containing("text/plain; version=0.0.4", "build_info{"),
    get("/metrics")
        .headers(&[("accept", "application/openmetrics-text")])
        .containing("application/openmetrics-text", "# EOF"),
    get("/openapi.json").containing(JSON, r#""openapi": "3.1"#),
    get("/docs").containing("text/html", "/openapi.json"),
    get("/docs/swagger-ui-bundle.js").containing("text/javascript", "SwaggerUIBundle"),
    head("/healthz").head_of(TEXT),
    request("OPTIONS", "/healthz").empty(204).answering(&[("allow", "GET")]),
    request("DELETE", "/healthz").problem(405).answering(&[("allow", "GET")]),
    get("/no-such-path").problem(404),
];

pub(crate) const BACKEND_API: &[Request] = &[
    get("/api_1").containing(TEXT, "completed: "),
    get("/health_check").text("healthy"),
    // The log files of data-api, if it has any yet.
    get("/download_external_logs").containing("application/x-ndjson", ""),
    request("POST", "/api_1").problem(405).answering(&[("allow", "GET")]),
];

/// The development key; another deployment's is not known here, and its logs stay closed.
const WITH_KEY: Headers = &[("authorization", "Bearer development-key")];

pub(crate) const DATA_API: &[Request] = &[
    get("/").containing(TEXT, "Log: "),
    get("/health_check").text("healthy"),
    get("/logs?limit=1").headers(WITH_KEY).containing(JSON, r#"[{"name":"log_"#),
    get("/logs?limit=0").headers(WITH_KEY).problem(422),
    get("/logs").problem(401),
    get("/logs/download").headers(WITH_KEY).containing("application/x-ndjson", r#"{"name":"log_"#),
    get("/logs/log_0.000000000.txt").headers(WITH_KEY).problem(404),
    get("/logs/..%2fpasswd").headers(WITH_KEY).problem(404),
    request("POST", "/").problem(405).answering(&[("allow", "GET")]),
];

pub(crate) const RANDOMIZE: &[Request] = &[
    post("/api/randomizes", JSON, r#"{"word":"string"}"#)
        .created(r#"{"original":"string","created":""#)
        .answering(&[("location", "/api/randomizes/")]),
    get("/api/randomizes/1").containing(JSON, r#","id":1,"updated":null,"jumbled":""#),
    get("/api/randomizes?limit=1").containing(JSON, r#"[{"original":""#),
    // Another deployment may want a token for it.
    get("/api/histories?limit=1").containing(JSON, r#"[{"id":"#),
    head("/api/randomizes/1").head_of(JSON),
    request("OPTIONS", "/api/randomizes").empty(204).answering(&[("allow", "POST")]),
    post("/api/randomizes", JSON, "{").problem(400),
    post("/api/randomizes", JSON, r#"{"word":""}"#).problem(400),
    post("/api/randomizes", JSON, r#"{"word":5}"#).problem(422),
    post("/api/randomizes", TEXT, "string").problem(415),
    post("/api/randomizes", JSON, "x").times(64 * 1024 + 1).problem(413),
    get("/api/randomizes/0").problem(404),
    get("/api/randomizes?limit=0").problem(422),
    get("/api/randomizes?limit=%").problem(400),
    get("/api/histories?cursor=x").problem(422),
    get("/api/histories?limit=%").problem(400),
    request("DELETE", "/api/randomizes/1").problem(405).answering(&[("allow", "GET")]),
];

const FORM: &str = "application/x-www-form-urlencoded";
const UPDATED: &str = r#"{"response":"MultiVAC updated!"}"#;

/// As much is deleted as is fed.
pub(crate) const MULTIVAC: &[Request] = &[
    get("/").text("Welcome to MultiVAC!"),
    get("/").headers(&[("accept", "text/html")]).containing("text/html", "<title>MultiVAC</title>"),
    post("/multivac/data", FORM, "data=whatever I want to post..")
        .json(UPDATED)
        .answering(&[("location", "/multivac/jobs/")]),
    put("/multivac/data", JSON, r#"{"data":"another"}"#).json(UPDATED),
    get("/multivac").containing(TEXT, ""),
    get("/multivac/queue").containing(JSON, r#"{"length":"#),
    get("/multivac/jobs/0-0").problem(404),
    request("DELETE", "/multivac/zzz").text("Deleted!"),
    request("DELETE", "/multivac/zzz/").text("Deleted!"),
    post("/multivac/data", FORM, "data=").problem(400),
    post("/multivac/data", FORM, "data=%ff").problem(400),
    post("/multivac/data", JSON, r#"{"data":5}"#).problem(422),
    post("/multivac/data", TEXT, "data").problem(415),
    post("/multivac/data", FORM, "data=x")
        .headers(&[("sec-fetch-site", "cross-site")])
        .problem(403),
    request("DELETE", "/multivac").problem(405).answering(&[("allow", "GET")]),
];

pub(crate) const SRE_KATA: &[Request] = &[
    get("/").headers(&[("accept", "text/html")]).containing("text/html", "<title>sre-kata</title>"),
    get("/healthcheck").text("OK"),
    get("/query?param=acx333x")
        .text("Result: The amount of reoccurrence characters in acx333x is 2!"),
    get("/query?param=acx333x").headers(&[ACCEPT_JSON]).json(r#"{"param":"acx333x","count":2}"#),
    get("/query/?param=caiopa")
        .text("Result: The amount of reoccurrence characters in caiopa is 1!"),
    get("/query?param=%C3%A9%C3%A9x+x")
        .text("Result: The amount of reoccurrence characters in ééx x is 2!"),
    post("/query", TEXT, "1Shimon1111xx")
        .text("Result: The amount of reoccurrence characters in 1Shimon1111xx is 2!"),
    post("/query", JSON, r#"{"param":"aabbcc"}"#)
        .headers(&[ACCEPT_JSON])
        .json(r#"{"param":"aabbcc","count":3}"#),
    head("/query?param=abc").head_of(TEXT),
    get("/query").problem(400),
    get("/query?param=a").problem(400),
    get("/query?param=%zz").problem(400),
    get("/query?param=%ff%ff").problem(400),
    get("/query?param=aa&param=bb").problem(400),
    post("/query", JSON, r#"{"param":"#).problem(400),
    post("/query", JSON, r#"{"param":5}"#).problem(422),
    post("/query", "application/xml", "<param>aa</param>").problem(415),
    post("/query", TEXT, "a").times(64 * 1024 + 1).problem(413),
    request("PUT", "/query").problem(405).answering(&[("allow", "POST")]),
];

/// What is looked up is there with a network, and at the name server of `make dev` without one.
pub(crate) const STAKEFISH: &[Request] = &[
    get("/").containing(JSON, r#""kubernetes":"#),
    get("/")
        .headers(&[("accept", "text/html")])
        .containing("text/html", "<title>stakefish</title>"),
    get("/health").json(r#"{"status":"up"}"#),
    post("/tools/lookup", JSON, r#"{"domain":"EXAMPLE.com."}"#)
        .containing(JSON, r#""domain":"example.com""#),
    post("/tools/lookup", JSON, r#"{"domain":"nobody.invalid"}"#).problem(404),
    post("/tools/lookup", JSON, r#"{"domain":"1.2.3.4"}"#).problem(422),
    post("/tools/lookup", JSON, "{").problem(400),
    post("/tools/lookup", TEXT, "example.com").problem(415),
    post("/tools/validate", JSON, r#"{"ip":"192.168.5.4"}"#).json(r#"{"valid":true}"#),
    post("/tools/validate", JSON, r#"{"ip":"292.168.5.4"}"#).json(r#"{"valid":false}"#),
    get("/history?limit=1").containing(JSON, r#""domain":"example.com""#),
    get("/history?limit=0").problem(422),
    get("/v1/tools/lookup?domain=example.com").containing(JSON, r#"{"addresses":[{"ip":""#),
    get("/v1/tools/lookup?domain=1.2.3.4").problem(400),
    post("/v1/tools/validate", JSON, r#"{"ip":"192.168.5.4"}"#).json(r#"{"status":true}"#),
    get("/v1/history?limit=1").containing(JSON, r#""domain":"example.com""#),
    get("/v1/history?cursor=x").problem(400),
    get("/v1/openapi.json").containing(JSON, "lookup_domain"),
    request("DELETE", "/v1/history").problem(405).answering(&[("allow", "GET")]),
];

pub(crate) const GREETER: &[Request] = &[
    post("/greetings", JSON, r#"{"name":"Ada"}"#).text("Hello, Ada!"),
    post("/greetings", JSON, r#"{"name":""}"#).problem(422),
    post("/greetings", JSON, "{").problem(400),
    post("/greetings", TEXT, "Ada").problem(415),
];

type Headers = &'static [(&'static str, &'static str)];

/// One request and what must be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// With the query.
    pub(crate) path: &'static str,
    pub(crate) headers: Headers,
    pub(crate) body: Option<Body>,
    pub(crate) status: u16,
    /// Headers of the answer, and what their values contain.
    pub(crate) answer_headers: Headers,
    pub(crate) content: Content,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static str,
    /// How often the content is sent.
    pub(crate) times: usize,
}

/// What an answer's body must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Empty,
    /// None, though there would be one of this media type for a GET.
    HeadOf(&'static str),
    /// Exactly this, as Text.
    Text(&'static str),
    /// This JSON, in any formatting.
    Json(&'static str),
    /// Of this media type, with this part.
    Containing(&'static str, &'static str),
    /// An RFC 9457 problem with the members that all services give it.
    Problem,
}

pub(crate) const fn request(method: &'static str, path: &'static str) -> Request {
    Request {
        method,
        path,
        headers: &[],
        body: None,
        status: 200,
        answer_headers: &[],
        content: Content::Empty,
    }
}

pub(crate) const fn get(path: &'static str) -> Request {
    request("GET", path)
}

pub(crate) const fn head(path: &'static str) -> Request {
    request("HEAD", path)
}

const fn post(path: &'static str, media_type: &'static str, content: &'static str) -> Request {
    let body = Some(Body { media_type, content, times: 1 });
    Request { body, ..request("POST", path) }
}

const fn put(path: &'static str, media_type: &'static str, content: &'static str) -> Request {
    Request { method: "PUT", ..post(path, media_type, content) }
}

impl Request {
    const fn headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }

    const fn times(self, times: usize) -> Self {
        let Some(body) = self.body else { return self };
        Self { body: Some(Body { times, ..body }), ..self }
    }

    const fn answering(self, answer_headers: Headers) -> Self {
        Self { answer_headers, ..self }
    }

    pub(crate) const fn text(self, text: &'static str) -> Self {
        Self { content: Content::Text(text), ..self }
    }

    pub(crate) const fn json(self, json: &'static str) -> Self {
        Self { content: Content::Json(json), ..self }
    }

    pub(crate) const fn containing(self, media_type: &'static str, part: &'static str) -> Self {
        Self { content: Content::Containing(media_type, part), ..self }
    }

    pub(crate) const fn head_of(self, media_type: &'static str) -> Self {
        Self { content: Content::HeadOf(media_type), ..self }
    }

    pub(crate) const fn empty(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// A 201 whose JSON contains that.
    pub(crate) const fn created(self, part: &'static str) -> Self {
        Self { status: 201, content: Content::Containing(JSON, part), ..self }
    }

    pub(crate) const fn problem(self, status: u16) -> Self {
        Self { status, content: Content::Problem, ..self }
    }
}

impl Content {
    /// What the `Content-Type` begins with; nothing where there is none.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::HeadOf(media_type) | Self::Containing(media_type, _) => media_type,
            Self::Text(_) => TEXT,
            Self::Json(_) => JSON,
            Self::Problem => "application/problem+json",
        }
    }
}

/// For people: the method, the path, and what else is sent.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        match self.body {
            Some(Body { content, times: 1, .. }) => write!(f, " {content}")?,
            Some(body) => write!(f, " {} bytes", body.content.len() * body.times)?,
            None => {}
        }
        self.headers.iter().try_for_each(|(name, value)| write!(f, " ({name}: {value})"))
    }
}

/// For people: the status, what the body is, and the headers that count.
#[derive(Debug)]
pub(crate) struct Expected<'a>(pub(crate) &'a Request);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.status)?;
        match self.0.content {
            Content::Empty => write!(f, " empty")?,
            Content::HeadOf(media_type) => write!(f, " head of {media_type}")?,
            Content::Text(text) | Content::Json(text) => write!(f, " {text}")?,
            Content::Containing(media_type, part) => write!(f, " {media_type} with {part}")?,
            Content::Problem => write!(f, " problem")?,
        }
        self.0.answer_headers.iter().try_for_each(|(name, value)| write!(f, ", {name}: {value}"))
    }
}
