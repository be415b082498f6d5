//! `Cors`: which other sites may read answers by script (WHATWG Fetch). Off unless configured.

use ezdfs_core::{Error, ErrorKind, Result};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method};

const EXPOSED: HeaderValue = HeaderValue::from_static("ETag, Content-Range, Repr-Digest");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const FIELDS: HeaderValue =
    HeaderValue::from_static("Range, If-Range, If-Match, If-None-Match, If-Modified-Since");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// The origins that may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors(Vec<HeaderValue>);

impl Cors {
    /// From origins, compared exactly: `https://www.example.com`, `http://localhost:3000`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what is no origin; `*` and `null` are none.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut list = Vec::new();
        for origin in origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
            let valid = host.is_some_and(|h| !h.is_empty() && h.bytes().all(plain));
            match HeaderValue::from_str(origin) {
                Ok(value) if valid => list.push(value),
                _ => {
                    let message = format!(
                        "`{origin}` is no origin; write scheme, host in lower case and port only, e.g. \"https://www.example.com\""
                    );
                    return Err(Error::new(ErrorKind::Config, message));
                }
            }
        }
        Ok(Self(list))
    }

    /// Adds the fields of an answer to `request`.
    pub fn apply(&self, method: &Method, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        // Also without an origin: a cache must not give that answer to one.
        answer.append(VARY, BY_ORIGIN);
        let mut origins = request.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return };
        if !self.0.contains(origin) {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if method == Method::OPTIONS && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, FIELDS);
            answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(origins: &[&str], method: Method, request: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in request {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut answer = HeaderMap::new();
        Cors::new(origins.iter().copied()).unwrap().apply(&method, &fields, &mut answer);
        answer
    }

    #[test]
    fn off_unless_configured() {
        assert!(answer(&[], Method::GET, &[("origin", "https://a.example")]).is_empty());
    }

    #[test]
    fn only_listed_origins_may_read() {
        let list = ["https://a.example", "http://localhost:3000"];
        let allowed = answer(&list, Method::GET, &[("origin", "http://localhost:3000")]);
        assert_eq!(allowed[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert_eq!(allowed[VARY], "Origin");
        assert!(allowed.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        for other in ["https://b.example", "https://a.example.evil", "null", "HTTPS://A.EXAMPLE"] {
            let refused = answer(&list, Method::GET, &[("origin", other)]);
            assert!(!refused.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{other}");
            assert_eq!(refused[VARY], "Origin");
        }
        let twice = [("origin", "https://a.example"), ("origin", "https://a.example")];
        assert!(!answer(&list, Method::GET, &twice).contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(answer(&list, Method::GET, &[])[VARY], "Origin");
    }

    #[test]
    fn a_preflight_names_methods_and_fields() {
        let request = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
        let fields = answer(&["https://a.example"], Method::OPTIONS, &request);
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
        assert!(fields[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().starts_with("Range"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in ["*", "null", "a.example", "https://a.example/", "https://A.example", "https://"]
        {
            assert_eq!(Cors::new([bad]).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
