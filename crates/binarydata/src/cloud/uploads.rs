//! `CloudUploads`: uploads in parts that nobody completed, by the XML API that S3 and Google Cloud
//! Storage share. object_store has no call for it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use ezdfs_core::{DirPath, Error, ErrorKind, KeyPrefix, Result, Upload, UploadMarker, UploadPage};
use futures::StreamExt as _;
use http::header::{DATE, HeaderMap};
use http::{Method, StatusCode};
use object_store::client::{HttpClient, HttpErrorKind, HttpRequestBody};
use object_store::path::Path as ObjectKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::Access;

/// Uploads of one page.
const PAGE: usize = 500;
/// Parts of one page, which is what the stores allow at most.
const PARTS: usize = 1_000;
/// Pages of the parts of one upload: none has more than 10,000.
const PART_PAGES: usize = 12;
/// Longest answer, in bytes: a page of uploads with the longest keys.
const MAX_ANSWER: usize = 8 << 20;

/// What is not encoded in a URL (RFC 3986 §2.3); signatures are over exactly this form.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a key.
const KEY: &AsciiSet = &STRICT.remove(b'/');

/// The uploads of a bucket, below a prefix.
#[derive(Debug)]
pub(crate) struct CloudUploads {
    /// Handler name of the configuration.
    pub(super) name: String,
    pub(super) client: HttpClient,
    pub(super) access: Access,
    /// URL of the bucket, without a slash at its end.
    pub(super) bucket: String,
    pub(super) prefix: KeyPrefix,
    pub(super) io_timeout: Duration,
}

#[async_trait]
impl ezdfs_core::Uploads for CloudUploads {
    async fn page(&self, after: Option<&UploadMarker>) -> Result<UploadPage> {
        let below = self.prefix.dir_key(&DirPath::root(), usize::MAX)?;
        let below = below.map_or_else(String::new, |below| format!("{below}/"));
        let most = PAGE.to_string();
        let mut query = vec![("encoding-type", "url"), ("max-uploads", &most), ("uploads", "")];
        if !below.is_empty() {
            query.push(("prefix", &below));
        }
        if let Some(after) = after {
            query.extend([("key-marker", &*after.key), ("upload-id-marker", &after.id)]);
        }
        let answer = self.send(Method::GET, "", &query).await.map_err(|e| self.told(e))?;
        let listed = answer.page().map_err(|e| self.told(e))?;
        let now = answer.now.ok_or_else(|| self.told(no_date()))?;
        let AnyPage::Uploads(page) = listed else { return Err(self.told(foreign())) };
        let is_encoded = page.encoding.as_deref() == Some("url");
        let raw = |text: &str| decode(text, is_encoded);
        let mut uploads = Vec::new();
        for upload in page.uploads {
            let Some(key) = raw(&upload.key).and_then(|key| self.own_key(&key)) else { continue };
            uploads.push(Upload { key, id: upload.id, age: age(now, upload.initiated) });
        }
        let next = match (page.is_truncated, page.next_key, page.next_id) {
            (false, ..) => None,
            (true, Some(key), Some(id)) => {
                let key = raw(&key).ok_or_else(|| self.told(foreign()))?;
                Some(UploadMarker { key, id })
            }
            (true, ..) => return Err(self.told(foreign())),
        };
        if next.is_some() && next.as_ref() == after {
            // A store that does not know the markers gives the first page for ever.
            return Err(self.told(foreign()));
        }
        Ok(UploadPage { uploads, next })
    }

    async fn idle(&self, upload: &Upload) -> Result<Option<Duration>> {
        let most = PARTS.to_string();
        let mut idle = upload.age;
        let mut after = "0".to_owned();
        for _ in 0..PART_PAGES {
            let query =
                [("max-parts", &*most), ("part-number-marker", &after), ("uploadId", &upload.id)];
            let answer = match self.send(Method::GET, upload.key.as_ref(), &query).await {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                answer => answer.map_err(|e| self.told(e))?,
            };
            let listed = answer.page().map_err(|e| self.told(e))?;
            let now = answer.now.ok_or_else(|| self.told(no_date()))?;
            let AnyPage::Parts(page) = listed else { return Err(self.told(foreign())) };
            for part in page.parts {
                idle = idle.min(age(now, part.modified));
            }
            match page.next {
                Some(next) if page.is_truncated => after = next,
                _ => return Ok(Some(idle)),
            }
        }
        Err(self.told(foreign()))
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        let query = [("uploadId", &*upload.id)];
        match self.send(Method::DELETE, upload.key.as_ref(), &query).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            answer => answer.map(|_| ()).map_err(|e| self.told(e)),
        }
    }
}

impl CloudUploads {
    /// A key that ezdfs could be writing to; `None` for what other programs upload beside it.
    fn own_key(&self, key: &str) -> Option<ObjectKey> {
        let parsed = ObjectKey::parse(key).ok().filter(|parsed| parsed.as_ref() == key)?;
        let own = self.prefix.reserved_key("probe").ok()?;
        let is_probe = key.strip_prefix(own.as_ref()).is_some_and(|rest| rest.starts_with('/'));
        let is_file = || matches!(self.prefix.path_of(&parsed), Some(Ok(_)));
        (is_probe || is_file()).then_some(parsed)
    }

    async fn send(&self, method: Method, key: &str, query: &[(&str, &str)]) -> Result<Answer> {
        let mut url = self.bucket.clone();
        if !key.is_empty() {
            url.push('/');
            url.extend(utf8_percent_encode(key, KEY));
        }
        let encode = |text| utf8_percent_encode(text, STRICT);
        for (n, (name, value)) in query.iter().enumerate() {
            let separator = if n == 0 { '?' } else { '&' };
            url += &format!("{separator}{}={}", encode(name), encode(value));
        }
        let request = http::Request::builder().method(method).uri(url);
        let mut request = request
            .body(HttpRequestBody::empty())
            .map_err(|e| Error::new(ErrorKind::Config, "the endpoint is no URL").with_source(e))?;
        let answered = tokio::time::timeout(self.io_timeout, async {
            self.access.authorize(&mut request).await?;
            let response = self.client.execute(request).await.map_err(unanswered)?;
            let (head, body) = response.into_parts();
            let mut bytes = Vec::new();
            let mut coming = body.bytes_stream();
            while let Some(piece) = coming.next().await {
                bytes.extend_from_slice(&piece.map_err(unanswered)?);
                if bytes.len() > MAX_ANSWER {
                    return Err(foreign());
                }
            }
            Ok((head, bytes))
        });
        let (head, bytes) = answered.await.map_err(|_| {
            Error::new(ErrorKind::TimedOut, format!("no answer in {:?}", self.io_timeout))
        })??;
        refusal(head.status).map_or_else(|| Ok(Answer { now: date(&head.headers), bytes }), Err)
    }

    fn told(&self, e: Error) -> Error {
        e.context(format_args!("unfinished uploads to `{}`", self.name))
    }
}

/// What a store said.
struct Answer {
    /// The store's clock.
    now: Option<DateTime<Utc>>,
    bytes: Vec<u8>,
}

impl Answer {
    fn page(&self) -> Result<AnyPage> {
        parse(&self.bytes)
    }
}

/// The kinds of pages, told apart by their root element: a store that does not know the question
/// may answer with something else.
#[derive(Debug, Deserialize)]
enum AnyPage {
    #[serde(rename = "ListMultipartUploadsResult")]
    Uploads(UploadsXml),
    // moto calls it a response.
    #[serde(rename = "ListPartsResult", alias = "ListPartsResponse")]
    Parts(PartsXml),
}

#[derive(Debug, Deserialize)]
struct UploadsXml {
    #[serde(rename = "EncodingType")]
    encoding: Option<String>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker")]
    next_id: Option<String>,
    #[serde(rename = "Upload", default)]
    uploads: Vec<UploadXml>,
}

#[derive(Debug, Deserialize)]
struct UploadXml {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
    #[serde(rename = "Initiated")]
    initiated: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct PartsXml {
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextPartNumberMarker")]
    next: Option<String>,
    #[serde(rename = "Part", default)]
    parts: Vec<PartXml>,
}

#[derive(Debug, Deserialize)]
struct PartXml {
    #[serde(rename = "LastModified")]
    modified: DateTime<Utc>,
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    quick_xml::de::from_reader(bytes).map_err(|e| foreign().with_source(e))
}

fn decode(text: &str, is_encoded: bool) -> Option<String> {
    if !is_encoded {
        return Some(text.to_owned());
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// In the future is not yet.
fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> Duration {
    now.signed_duration_since(then).to_std().unwrap_or_default()
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
}

/// `None` for success.
fn refusal(status: StatusCode) -> Option<Error> {
    let kind = match status {
        _ if status.is_success() => return None,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Unavailable,
    };
    Some(Error::new(kind, format!("the store answers {status}")))
}

fn unanswered(e: object_store::client::HttpError) -> Error {
    let kind = match e.kind() {
        HttpErrorKind::Timeout => ErrorKind::TimedOut,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the store does not answer").with_source(e)
}

/// An answer to another question.
fn foreign() -> Error {
    Error::new(ErrorKind::Unsupported, "the store's answer is none to this question")
}

/// Ages are told by one clock only.
fn no_date() -> Error {
    Error::new(ErrorKind::Unsupported, "the store does not say what time it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart_by_their_root() {
        let uploads = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"x\">\
             <KeyMarker/><NextKeyMarker>b%2Fc</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>\
             <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <Upload><Key>a+b</Key><UploadId>1</UploadId>\
             <Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>\
             <Upload><Initiated>2026-11-10T20:48:33Z</Initiated><UploadId>2</UploadId>\
             <Key>b%2Fc</Key></Upload></ListMultipartUploadsResult>";
        let AnyPage::Uploads(page) = parse(uploads.as_bytes()).unwrap() else { panic!() };
        assert_eq!((page.uploads.len(), page.is_truncated), (2, true));
        assert_eq!(decode(&page.uploads[0].key, true).as_deref(), Some("a b"));
        assert_eq!(decode(&page.uploads[1].key, true).as_deref(), Some("b/c"));
        assert_eq!(decode("a+b%2F", false).as_deref(), Some("a+b%2F"));
        let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
             </ListMultipartUploadsResult>";
        assert!(matches!(parse(none.as_bytes()), Ok(AnyPage::Uploads(p)) if p.uploads.is_empty()));
        let parts = "<ListPartsResult><Part><PartNumber>1</PartNumber>\
             <LastModified>2026-11-10T20:48:33.000Z</LastModified></Part></ListPartsResult>";
        assert!(matches!(parse(parts.as_bytes()), Ok(AnyPage::Parts(p)) if p.parts.len() == 1));
        for other in ["<ListBucketResult></ListBucketResult>", "<html></html>", "", "nonsense"] {
            let answer: Result<AnyPage> = parse(other.as_bytes());
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported, "{other}");
        }
    }

    #[test]
    fn the_future_has_no_age() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let (now, then) = (at("2026-11-10T20:48:33Z"), at("2026-11-10T19:48:33Z"));
        assert_eq!(age(now, then), Duration::from_secs(3600));
        assert_eq!(age(then, now), Duration::ZERO);
    }
}
