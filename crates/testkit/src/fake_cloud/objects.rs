//! Objects, versions and uploads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::http::{Answer, Request};

/// Names of the headers that travel with an object.
const KEPT: [&str; 3] = ["x-amz-meta-", "x-goog-meta-", "content-type"];
/// Entries of one page of a listing.
const PAGE: usize = 1000;
/// Uploads, or parts of one, of one page, however many were asked for.
const UPLOADS: usize = 3;
/// How times are written in XML.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Counts versions: that of GCS, and the etag.
    generation: u64,
    /// Conditions are accepted and ignored.
    pub(super) is_careless: bool,
    /// The second page of a listing is not to be had.
    pub(super) refuses_next_pages: bool,
    /// Status for those who ask for unfinished uploads.
    pub(super) refuses_uploads: Option<u16>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Vec<u8>,
    headers: Vec<(String, String)>,
    generation: u64,
    modified: DateTime<Utc>,
}

#[derive(Debug)]
struct Upload {
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, Part>,
    begun: DateTime<Utc>,
}

#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    arrived: DateTime<Utc>,
}

impl Object {
    fn etag(&self) -> String {
        format!("\"{:x}\"", self.generation)
    }

    fn head(&self, status: u16) -> Answer {
        let mut answer = Answer::new(status)
            .with("etag", self.etag())
            .with("x-goog-generation", self.generation)
            .with("last-modified", self.modified.format("%a, %d %b %Y %H:%M:%S GMT"));
        answer.headers.extend(self.headers.iter().cloned());
        answer
    }
}

impl Objects {
    pub(super) fn count(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn age_uploads(&mut self, by: Duration) {
        for upload in self.uploads.values_mut() {
            upload.begun -= by;
            upload.parts.values_mut().for_each(|part| part.arrived -= by);
        }
    }

    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let upload = request.query.get("uploadId");
        match (request.method.as_str(), upload) {
            ("GET", _) if request.query.contains_key("uploads") => self.list_uploads(request),
            ("GET", Some(id)) => self.list_parts(request, id),
            ("GET", _) if request.key.is_empty() => self.list(request),
            ("GET" | "HEAD", _) => self.get(request),
            ("POST", None) if request.query.contains_key("uploads") => self.create(request),
            ("PUT", Some(id)) => self.put_part(request, id),
            ("POST", Some(id)) => self.complete(request, id),
            ("DELETE", Some(id)) => match self.uploads.remove(id) {
                Some(_) => Answer::new(204),
                None => Answer::error(404, "NoSuchUpload"),
            },
            ("PUT", None) => self.put(request),
            ("DELETE", None) => match self.objects.remove(&request.key) {
                Some(_) => Answer::new(204),
                None => Answer::error(404, "NoSuchKey"),
            },
            _ => Answer::error(400, "InvalidRequest"),
        }
    }

    /// Whether what a request demands of the present version holds.
    fn holds(&self, request: &Request) -> bool {
        if self.is_careless {
            return true;
        }
        let now = self.objects.get(&request.key);
        let generation = request.header("x-goog-if-generation-match");
        let is_generation =
            generation.is_none_or(|g| g == now.map_or(0, |o| o.generation).to_string());
        let is_absent = request.header("if-none-match") != Some("*") || now.is_none();
        let etag = request.header("if-match");
        let is_etag = etag.is_none_or(|etag| now.is_some_and(|o| o.etag() == etag));
        is_generation && is_absent && is_etag
    }

    fn store(&mut self, key: &str, bytes: Vec<u8>, headers: Vec<(String, String)>) -> Object {
        self.generation += 1;
        let (generation, modified) = (self.generation, Utc::now());
        let object = Object { bytes, headers, generation, modified };
        self.objects.insert(key.to_owned(), object.clone());
        object
    }

    fn put(&mut self, request: &Request) -> Answer {
        if !self.holds(request) {
            return Answer::error(412, "PreconditionFailed");
        }
        let source =
            ["x-amz-copy-source", "x-goog-copy-source"].into_iter().find_map(|n| request.header(n));
        let (bytes, headers, is_copy) = match source {
            None => (request.body.clone(), kept(request), false),
            Some(source) => {
                let source = percent_decode_str(source).decode_utf8_lossy();
                let key = source.trim_start_matches('/').split_once('/').map_or("", |(_, k)| k);
                let Some(object) = self.objects.get(key) else {
                    return Answer::error(404, "NoSuchKey");
                };
                (object.bytes.clone(), object.headers.clone(), true)
            }
        };
        let object = self.store(&request.key, bytes, headers);
        if is_copy {
            let etag = object.etag();
            return Answer::xml(format!(
                "<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>"
            ));
        }
        Answer::new(200).with("etag", object.etag()).with("x-goog-generation", object.generation)
    }

    fn create(&mut self, request: &Request) -> Answer {
        self.generation += 1;
        let id = format!("upload-{}", self.generation);
        let upload = Upload {
            key: request.key.clone(),
            headers: kept(request),
            parts: BTreeMap::new(),
            begun: Utc::now(),
        };
        self.uploads.insert(id.clone(), upload);
        Answer::xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, request: &Request, id: &str) -> Answer {
        let number = request.query.get("partNumber").and_then(|n| n.parse().ok());
        let (Some(upload), Some(number)) = (self.uploads.get_mut(id), number) else {
            return Answer::error(404, "NoSuchUpload");
        };
        upload.parts.insert(number, Part { bytes: request.body.clone(), arrived: Utc::now() });
        Answer::new(200).with("etag", format!("\"part-{number}\""))
    }

    fn complete(&mut self, request: &Request, id: &str) -> Answer {
        if !self.uploads.contains_key(id) {
            return Answer::error(404, "NoSuchUpload");
        }
        if !self.holds(request) {
            return Answer::error(412, "PreconditionFailed");
        }
        let Some(upload) = self.uploads.remove(id) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let bytes = upload.parts.into_values().map(|part| part.bytes).collect::<Vec<_>>().concat();
        let object = self.store(&upload.key, bytes, upload.headers);
        let body = format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            object.etag()
        );
        Answer::xml(body).with("x-goog-generation", object.generation)
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else {
            return Answer::error(404, "NoSuchKey");
        };
        let date = |name| request.header(name).and_then(|v| DateTime::parse_from_rfc2822(v).ok());
        let modified = object.modified.timestamp();
        let if_match = request.header("if-match").filter(|_| !self.is_careless);
        let is_other = if_match.is_some_and(|etag| etag != object.etag())
            || date("if-unmodified-since").is_some_and(|at| modified > at.timestamp());
        if is_other {
            return Answer::error(412, "PreconditionFailed");
        }
        let is_same = request.header("if-none-match").is_some_and(|etag| etag == object.etag())
            || date("if-modified-since").is_some_and(|at| modified <= at.timestamp());
        if is_same {
            return Answer::new(304);
        }
        let len = object.bytes.len();
        let Some(range) = request.header("range").and_then(|r| r.strip_prefix("bytes=")) else {
            let mut answer = object.head(200);
            answer.body.clone_from(&object.bytes);
            return answer;
        };
        let (start, end) = range.split_once('-').unwrap_or((range, ""));
        let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
            (Ok(start), Ok(end)) => (start, end.saturating_add(1).min(len)),
            (Ok(start), Err(_)) => (start, len),
            (Err(_), Ok(suffix)) => (len.saturating_sub(suffix), len),
            (Err(_), Err(_)) => (0, len),
        };
        if start >= end {
            return Answer::error(416, "InvalidRange");
        }
        let range = format!("bytes {start}-{}/{len}", end - 1);
        let mut answer = object.head(206).with("content-range", range);
        answer.body = object.bytes[start..end].to_vec();
        answer
    }

    /// ListMultipartUploads, with URL-encoded keys.
    fn list_uploads(&self, request: &Request) -> Answer {
        if let Some(status) = self.refuses_uploads {
            return Answer::error(status, "AccessDenied");
        }
        let query = |name: &str| request.query.get(name).map_or("", String::as_str);
        let marker = (query("key-marker"), query("upload-id-marker"));
        let mut uploads: Vec<_> = self
            .uploads
            .iter()
            .filter(|(id, upload)| {
                upload.key.starts_with(query("prefix")) && (&*upload.key, id.as_str()) > marker
            })
            .collect();
        uploads.sort_unstable_by_key(|(id, upload)| (&upload.key, *id));
        let is_truncated = uploads.len() > UPLOADS;
        uploads.truncate(UPLOADS);
        let encode = |key: &str| utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
        let mut body = format!(
            "<ListMultipartUploadsResult><EncodingType>url</EncodingType>\
             <IsTruncated>{is_truncated}</IsTruncated>"
        );
        for (id, upload) in &uploads {
            let (key, begun) = (encode(&upload.key), upload.begun.format(TIME));
            body += &format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated>\
                 </Upload>"
            );
        }
        if let (true, Some((id, upload))) = (is_truncated, uploads.last()) {
            body += &format!(
                "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                encode(&upload.key)
            );
        }
        Answer::xml(body + "</ListMultipartUploadsResult>")
    }

    /// ListParts.
    fn list_parts(&self, request: &Request, id: &str) -> Answer {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.key == request.key) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let marker = request.query.get("part-number-marker").and_then(|n| n.parse().ok());
        let from = (Bound::Excluded(marker.unwrap_or(0)), Bound::Unbounded);
        let parts: Vec<_> = upload.parts.range(from).take(UPLOADS).collect();
        let last = parts.last().map_or(0, |(number, _)| **number);
        let is_truncated = upload.parts.range(last + 1..).next().is_some();
        let mut body = format!("<ListPartsResult><IsTruncated>{is_truncated}</IsTruncated>");
        for (number, part) in parts {
            let arrived = part.arrived.format(TIME);
            body += &format!(
                "<Part><PartNumber>{number}</PartNumber><LastModified>{arrived}</LastModified>\
                 </Part>"
            );
        }
        body += &format!("<NextPartNumberMarker>{last}</NextPartNumberMarker></ListPartsResult>");
        Answer::xml(body)
    }

    /// ListObjectsV2.
    fn list(&self, request: &Request) -> Answer {
        let query = |name: &str| request.query.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (query("prefix"), query("delimiter"));
        if self.refuses_next_pages && !query("continuation-token").is_empty() {
            return Answer::error(503, "SlowDown");
        }
        let after = query("start-after").max(query("continuation-token"));
        let mut body = "<ListBucketResult>".to_owned();
        let (mut count, mut last_prefix) = (0, String::new());
        let from = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
        for (key, object) in self.objects.range::<String, _>(from) {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let common = match rest.split_once(delimiter) {
                Some((first, _)) if !delimiter.is_empty() => {
                    Some(format!("{prefix}{first}{delimiter}"))
                }
                _ => None,
            };
            if let Some(common) = common {
                // A page may end within it.
                if common != last_prefix && !after.starts_with(&common) {
                    body += &format!(
                        "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                        xml(&common)
                    );
                    count += 1;
                }
                last_prefix = common;
            } else {
                body += &format!(
                    "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified><ETag>{}</ETag></Contents>",
                    xml(key),
                    object.bytes.len(),
                    object.modified.format("%Y-%m-%dT%H:%M:%SZ"),
                    xml(&object.etag()),
                );
                count += 1;
            }
            if count == PAGE {
                body += &format!("<NextContinuationToken>{}</NextContinuationToken>", xml(key));
                break;
            }
        }
        Answer::xml(body + "</ListBucketResult>")
    }
}

fn kept(request: &Request) -> Vec<(String, String)> {
    let is_kept = |name: &str| KEPT.iter().any(|kept| name.starts_with(kept));
    let all = request.headers.iter().filter(|(name, _)| is_kept(name));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
