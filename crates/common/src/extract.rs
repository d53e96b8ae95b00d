//! Extractors: what a handler takes is right, or the request ends here as a problem.

mod body;
mod query;

pub use body::{Body, BodyLimits, Json, MediaType};
pub use query::Query;
