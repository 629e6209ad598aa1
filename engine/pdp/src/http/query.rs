//! What stands behind the question mark of a path.

use std::fmt::Display;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;

use super::Problem;

/// What a query must look like; axum says what is wrong with it.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::malformed(format!("the query: {}", error.body_text())))
}

/// How many to show on a page: `usual` where nobody says, 1 to `most`.
pub(super) fn limit<N>(asked: Option<N>, usual: N, most: N) -> Result<N, Problem>
where
    N: Copy + Display + From<u8> + PartialOrd,
{
    let limit = asked.unwrap_or(usual);
    if (N::from(1)..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::malformed(format!("`limit` is 1 to {most}")))
    }
}
