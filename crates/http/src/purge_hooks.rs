//! Purge hooks: requests that tell caches in front of a purge, by templates of the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result};
use futures::StreamExt as _;
use futures::stream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use serde::Serialize;

use crate::outgoing::send;

/// Requests of one purge at a time.
const AT_ONCE: usize = 8;
/// How often a request is tried, and the pause before the second time; then twice that.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// What is purged, as caches in front know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purge {
    /// Paths of URLs, encoded.
    pub(crate) paths: Vec<String>,
    /// Surrogate keys.
    pub(crate) tags: Vec<String>,
    /// Stale instead of gone.
    pub(crate) soft: bool,
}

/// What became of the requests of one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    hook: String,
    sent: usize,
    failed: usize,
}

/// A hook, as it is configured.
#[derive(Debug, Clone)]
pub struct PurgeHook<'a> {
    /// For log and answers.
    pub name: &'a str,
    /// URL with placeholders.
    pub url: &'a str,
    /// Method.
    pub method: &'a str,
    /// `Name: value` with placeholders in the value.
    pub headers: &'a [String],
    /// Value of `Authorization`.
    pub authorization: Option<&'a str>,
    /// Body with placeholders.
    pub body: Option<&'a str>,
}

/// All hooks.
#[derive(Debug, Default)]
pub struct PurgeHooks(Vec<Hook>);

struct Hook {
    name: String,
    url: String,
    method: Method,
    headers: Vec<(HeaderName, String)>,
    authorization: Option<HeaderValue>,
    body: Option<String>,
}

impl std::fmt::Debug for Hook {
    /// Without what may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PurgeHooks {
    /// Checks hooks.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for one of which no request can be made.
    pub fn new<'a>(hooks: impl IntoIterator<Item = PurgeHook<'a>>) -> Result<Self> {
        hooks.into_iter().map(Hook::new).collect::<Result<_>>().map(Self)
    }

    /// Tells all of them, and waits for their answers.
    pub(crate) async fn run(&self, purge: &Purge) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for hook in &self.0 {
            let requests = hook.requests(purge);
            let sent = requests.len();
            let failed = stream::iter(requests)
                .map(|request| hook.send(request))
                .buffer_unordered(AT_ONCE)
                .filter(|done| futures::future::ready(!done))
                .count()
                .await;
            outcomes.push(Outcome { hook: hook.name.clone(), sent, failed });
        }
        outcomes
    }
}

impl Hook {
    fn new(hook: PurgeHook<'_>) -> Result<Self> {
        let refuse = |what: &str| {
            Error::new(ErrorKind::Config, format!("the purge hook `{}` has {what}", hook.name))
        };
        let method = hook.method.parse().map_err(|_| refuse("no valid method"))?;
        let headers = hook.headers.iter().map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().parse().ok()?, value.trim().to_owned()))
        });
        let headers = headers.collect::<Option<Vec<_>>>();
        let authorization = hook.authorization.map(|value| {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| refuse("an authorization that is no field value"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let made = Self {
            name: hook.name.to_owned(),
            url: hook.url.to_owned(),
            method,
            headers: headers.ok_or_else(|| refuse("a field that is not `Name: value`"))?,
            authorization: authorization.transpose()?,
            body: hook.body.map(str::to_owned),
        };
        let probe = Purge { paths: vec!["/a".to_owned()], tags: vec!["a".to_owned()], soft: false };
        if made.requests(&probe).is_empty() {
            return Err(refuse("a URL or a field that no request can be made of"));
        }
        Ok(made)
    }

    /// One request per path where the template names the path, else one for all; none where there is
    /// nothing to say.
    fn requests(&self, purge: &Purge) -> Vec<Request<Bytes>> {
        let has = |what: &str| {
            self.url.contains(what)
                || self.headers.iter().any(|(_, value)| value.contains(what))
                || self.body.as_ref().is_some_and(|body| body.contains(what))
        };
        let (of_tags, of_paths) = (has("{tags}") || has("{tags_json}"), has("{paths_json}"));
        if has("{path}") {
            purge.paths.iter().filter_map(|path| self.request(path, purge)).collect()
        } else if (of_tags && !purge.tags.is_empty())
            || (of_paths && !purge.paths.is_empty())
            || (!of_tags && !of_paths)
        {
            self.request("", purge).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn request(&self, path: &str, purge: &Purge) -> Option<Request<Bytes>> {
        let values = BTreeMap::from([
            ("{path}", path.to_owned()),
            ("{paths_json}", serde_json::to_string(&purge.paths).ok()?),
            ("{tags}", purge.tags.join(" ")),
            ("{tags_json}", serde_json::to_string(&purge.tags).ok()?),
            ("{soft}", purge.soft.to_string()),
        ]);
        let filled = |template: &str| {
            values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let uri: Uri = filled(&self.url).parse().ok()?;
        let mut fields = HeaderMap::new();
        fields.insert(HOST, HeaderValue::from_str(uri.authority()?.as_str()).ok()?);
        for (name, value) in &self.headers {
            fields.insert(name.clone(), HeaderValue::from_str(&filled(value)).ok()?);
        }
        if let Some(value) = &self.authorization {
            fields.insert(AUTHORIZATION, value.clone());
        }
        let body = self.body.as_ref().map(|body| Bytes::from(filled(body))).unwrap_or_default();
        if self.body.is_some() && !fields.contains_key(CONTENT_TYPE) {
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = fields;
        Some(request)
    }

    /// Whether the cache took it.
    async fn send(&self, request: Request<Bytes>) -> bool {
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            let why = match send(request.clone()).await {
                Ok(status) if status.is_success() || status.is_redirection() => return true,
                // There was nothing to purge.
                Ok(status) if status == http::StatusCode::NOT_FOUND => return true,
                Ok(status) => format!("it answered {status}"),
                Err(e) => e.to_string(),
            };
            if left == 0 {
                tracing::warn!(hook = self.name, why, "a purge hook failed");
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook<'a>(url: &'a str, headers: &'a [String], body: Option<&'a str>) -> PurgeHook<'a> {
        PurgeHook { name: "cache", url, method: "PURGE", headers, authorization: None, body }
    }

    fn purge(paths: &[&str], tags: &[&str]) -> Purge {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        Purge { paths: owned(paths), tags: owned(tags), soft: true }
    }

    #[test]
    fn templates_make_requests() {
        let by_path = Hook::new(hook("http://127.0.0.1:6081{path}", &[], None)).unwrap();
        let made = by_path.requests(&purge(&["/v/a%20b", "/v/c"], &["t"]));
        let seen: Vec<_> = made.iter().map(|r| format!("{} {}", r.method(), r.uri())).collect();
        assert_eq!(
            seen,
            ["PURGE http://127.0.0.1:6081/v/a%20b", "PURGE http://127.0.0.1:6081/v/c"]
        );
        assert!(by_path.requests(&purge(&[], &["t"])).is_empty());

        let headers = ["xkey: {tags}".to_owned()];
        let by_tag = Hook::new(hook("http://varnish/", &headers, None)).unwrap();
        let made = by_tag.requests(&purge(&["/v/a"], &["p-1", "p-2"]));
        assert_eq!(
            (made.len(), &made[0].headers()["xkey"]),
            (1, &HeaderValue::from_static("p-1 p-2"))
        );
        assert!(by_tag.requests(&purge(&["/v/a"], &[])).is_empty());

        let body = Some("{\"files\":{paths_json},\"soft\":{soft}}");
        let webhook = Hook::new(hook("http://cdn/purge", &[], body)).unwrap();
        let made = webhook.requests(&purge(&["/v/\"a\""], &[]));
        assert_eq!(made[0].body(), "{\"files\":[\"/v/\\\"a\\\"\"],\"soft\":true}");
        assert_eq!(made[0].headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn what_makes_no_request_is_refused() {
        let odd = ["no colon".to_owned()];
        for hook in [
            hook("/relative", &[], None),
            hook("http://host/", &odd, None),
            PurgeHook { method: "A B", ..hook("http://host/", &[], None) },
            PurgeHook { authorization: Some("a\nb"), ..hook("http://host/", &[], None) },
        ] {
            assert_eq!(Hook::new(hook).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
