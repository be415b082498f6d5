//! The query of an API request.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::problem::Refusal;

/// Names and decoded values in their order, each name once.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    const MALFORMED: Refusal = Refusal::Bad("the query is not a list of name=value");
    let mut found: Vec<(String, String)> = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(MALFORMED)?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| MALFORMED)?;
        if found.iter().any(|(known, _)| known == name) {
            return Err(Refusal::Bad("a name occurs twice in the query"));
        }
        found.push((name.to_owned(), value.into_owned()));
    }
    Ok(found)
}
