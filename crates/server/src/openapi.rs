//! The OpenAPI document.

use actix_web::App;
use common::Service;
use utoipa::openapi::external_docs::ExternalDocsBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::docs::README;

/// The OpenAPI document of an application.
pub(crate) fn document(service: &Service, configure: impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    let info = InfoBuilder::new()
        .title(service.name)
        .version(service.version)
        .description(Some(service.description))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    // The order of the page: what the service is for comes first.
    let tags = [(service.name, service.description), ("operations", "What every service answers")];
    let tags =
        tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let (_, mut document) = App::new()
        .into_utoipa_app()
        .openapi(OpenApiBuilder::new().info(info).tags(Some(tags)).build())
        .configure(configure)
        .split_for_parts();
    let readme = format!("docs/{README}");
    document.external_docs =
        Some(ExternalDocsBuilder::new().url(readme).description(Some("README")).build());
    // Where the document itself is, whatever a proxy has before it.
    document.servers = Some(vec![Server::new(".")]);
    describe_security(&mut document);
    document
}

/// Describes the schemes that operations ask for.
fn describe_security(document: &mut OpenApi) {
    let json = document.to_json().unwrap_or_default();
    let schemes = [("bearerAuth", HttpAuthScheme::Bearer), ("basicAuth", HttpAuthScheme::Basic)];
    for (name, scheme) in schemes {
        if json.contains(&format!("\"{name}\"")) {
            let components = document.components.get_or_insert_default();
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
    }
}
