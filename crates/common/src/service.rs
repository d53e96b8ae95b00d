//! The identity of a service.

use std::sync::LazyLock;

/// A service's identity, the same in its logs, metrics, documents and command line.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name in logs, metrics and file names: lower case, words joined by `-`.
    pub name: &'static str,
    /// The version of the package.
    pub version: &'static str,
    /// One sentence for `--help` and the OpenAPI document.
    pub description: &'static str,
    /// Its README, in Markdown.
    pub readme: &'static str,
    /// The name of its file in `LOG_DIR`, without `.log`.
    pub log_name: &'static str,
    /// The port where `PORT` is not set.
    pub default_port: u16,
}

impl Service {
    /// The source revision: `REVISION` of the build, else of the environment, where images have it.
    /// So a commit that changes no source changes no binary.
    #[must_use]
    pub fn revision() -> &'static str {
        static REVISION: LazyLock<String> = LazyLock::new(|| {
            #[expect(clippy::disallowed_methods, reason = "it is an identity, and no setting")]
            let of_image = || std::env::var("REVISION").ok();
            let revision = option_env!("REVISION").map(str::to_owned).or_else(of_image);
            revision.filter(|it| !it.is_empty()).unwrap_or_else(|| "unknown".to_owned())
        });
        &REVISION
    }
}

/// A [`Service`] named after the calling package, with its version, description and README.
///
/// ```
/// const SERVICE: common::Service = common::service!(port: 8003);
/// ```
#[macro_export]
macro_rules! service {
    (port: $port:literal) => {
        $crate::Service {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            description: env!("CARGO_PKG_DESCRIPTION"),
            readme: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")),
            log_name: env!("CARGO_PKG_NAME"),
            default_port: $port,
        }
    };
}
