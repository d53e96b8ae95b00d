//! The service's own endpoints.

mod data;
mod home;
mod input;
mod jobs;
mod queue;

pub(crate) use input::User;

use utoipa_actix_web::service_config::ServiceConfig;

/// Lists the handlers.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    config
        .service(home::get_home)
        .service(data::get_oldest)
        .service(data::post_data)
        .service(data::put_data)
        .service(data::delete_oldest)
        .service(jobs::get_job)
        .service(queue::get_queue);
}
