//! Extractors: what a handler takes is right, or the request ends here as a problem.

mod bearer;
mod body;
mod page;
mod query;

pub use bearer::bearer_token;
pub use body::{Body, BodyLimits, BodyProblems, Json, MediaType};
pub use page::{Page, PageProblems};
pub use query::Query;
