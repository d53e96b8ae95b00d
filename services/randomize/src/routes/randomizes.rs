//! Words.

mod input;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use common::{Problem, problems};
use server::extract::{BodyProblems, Pagination, PaginationProblems};
use server::reference;
use storage::{ReadProblems, WriteProblems};

use input::{NewRandomize, NewWord};

use crate::error::Error;
use crate::store::{Randomize, Store};

problems! {
    /// What creating a word may answer.
    CreateProblems: BodyProblems, WriteProblems {
        400: "Malformed JSON, or no word",
        415: "Another media type than JSON",
        422: "Not an object, an unknown member, or a `word` that is no word; `errors` says which",
    }

    /// What finding a word may answer.
    FindProblems: ReadProblems { 404: "There is none with this number" }
}

/// Jumble a word, and keep it.
///
/// Its letters are grapheme clusters: an emoji or a letter with its accents stays whole. The same word
/// again is another entry with another order.
#[utoipa::path(
    tag = "randomize",
    request_body = NewRandomize,
    responses(
        (status = 201, description = "The word, jumbled", body = Randomize,
            headers(("location" = String, description = "Where it is found from now on"))),
        CreateProblems,
    ),
)]
#[post("")]
pub(super) async fn create_randomize(
    NewWord { word, request }: NewWord,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    let jumbled = word.jumble(&mut rand::rng());
    let created = store.create(request, word.into_text(), jumbled).await?;
    let location = reference(&format!("/api/randomizes/{}", created.id));
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(created))
}

/// A word that was jumbled.
#[utoipa::path(
    tag = "randomize",
    params(("id" = i64, Path, description = "Its number", minimum = 1, example = 1)),
    responses(
        (status = 200, description = "The word", body = Randomize),
        FindProblems,
    ),
)]
#[get("/{id}")]
pub(super) async fn get_randomize(
    id: web::Path<String>,
    store: web::Data<Store>,
) -> Result<web::Json<Randomize>, Problem> {
    // One name for one word: neither `+1` nor `01`.
    let id = id.parse().ok().filter(|number: &i64| number.to_string() == *id);
    let id = id.ok_or(Error::NotFound)?;
    let word = store.find(id).await?.ok_or(Error::NotFound)?;
    Ok(web::Json(word))
}

/// List the words, the latest first.
#[utoipa::path(
    tag = "randomize",
    params(Pagination<20>),
    responses(
        (status = 200, description = "A page of the list", body = Vec<Randomize>,
            headers(("link" = String, description = "The next page, if there is one: `<...>; rel=\"next\"`"))),
        PaginationProblems,
        ReadProblems,
    ),
)]
#[get("")]
pub(super) async fn get_randomizes(
    page: Pagination<20>,
    store: web::Data<Store>,
) -> Result<HttpResponse, Problem> {
    let mut words = store.list(page.below(), page.rows()).await?;
    Ok(page.begin(&mut words, |word| word.id).json(words))
}
