//! Extractors: what a handler takes is right, or the request ends here as a problem.

mod body;
mod coding;
mod credentials;
mod from_head;
mod json;
mod members;
mod memory;
mod pagination;
mod query;

pub use body::{Body, BodyLimits, BodyProblems, Json, MediaType};
pub use credentials::{BasicCredentials, basic_credentials, bearer_token};
pub use members::{Member, Members};
pub use memory::take_memory;
pub use pagination::{Pagination, PaginationProblems};
pub use query::{Query, percent_decode};
