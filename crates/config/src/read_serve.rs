//! `[serve]` and `[admin]`, key by key.

use std::time::Duration;

use ezdfs_core::FilePath;

use crate::bytes::{self, ByteSize};
use crate::duration;
use crate::read::{absolute, address};
use crate::reader::{Reader, Refusal, Section, boolean, integer, list, text, word};
use crate::secret::secret;
use crate::settings::{
    AccessLog, AdminSettings, AdminToken, AdminVerb, CachePolicy, Freshness, Offload, Placeholder,
    PurgeHook, ServeSettings, ServeSite, SigningKey, path_glob,
};
use crate::tree::{Node, Value};
use crate::url_prefix::url_prefix;

const VERBS: [(&str, AdminVerb); 5] = [
    ("get", AdminVerb::Get),
    ("list", AdminVerb::List),
    ("put", AdminVerb::Put),
    ("delete", AdminVerb::Delete),
    ("purge", AdminVerb::Purge),
];
const LOGS: [(&str, AccessLog); 3] =
    [("combined", AccessLog::Combined), ("json", AccessLog::Json), ("off", AccessLog::Off)];
const OFFLOAD: [(&str, Offload); 3] = [
    ("off", Offload::Off),
    ("x-accel-redirect", Offload::XAccelRedirect),
    ("presigned", Offload::Presigned),
];
const FRESHNESS: [(&str, Freshness); 2] =
    [("feed", Freshness::Feed), ("strict", Freshness::Strict)];

pub(crate) fn serve(mut s: Section, r: &mut Reader) -> ServeSettings {
    let d = ServeSettings::default();
    let (second, year) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));
    let settings = ServeSettings {
        listen: s.get(r, "listen", address).unwrap_or(d.listen),
        url_prefix: s.get(r, "url_prefix", url_prefix).unwrap_or(d.url_prefix),
        public: s.get(r, "public", list(segment)).unwrap_or(d.public),
        freshness: s.get(r, "freshness", word(&FRESHNESS)).unwrap_or(d.freshness),
        access_log: s.get(r, "access_log", word(&LOGS)).unwrap_or(d.access_log),
        max_signed_life: s
            .get(r, "max_signed_life", duration::between(second, year))
            .unwrap_or(d.max_signed_life),
        inline: s.get(r, "inline", list(media_type)).unwrap_or(d.inline),
        surrogate_keys: s.get(r, "surrogate_keys", boolean).unwrap_or(d.surrogate_keys),
        cors_origins: s.get(r, "cors_origins", list(origin)).unwrap_or(d.cors_origins),
        http2: s.get(r, "http2", boolean).unwrap_or(d.http2),
        tls_certificate: s.get(r, "tls_certificate", absolute("file")),
        tls_key: s.get(r, "tls_key", absolute("file")),
        max_connections: s
            .get(r, "max_connections", integer(1, 1_000_000))
            .unwrap_or(d.max_connections),
        max_requests: s.get(r, "max_requests", integer(1, 1_000_000)).unwrap_or(d.max_requests),
        min_rate: s
            .get(r, "min_rate", bytes::within(ByteSize(0), ByteSize(1 << 30)))
            .unwrap_or(d.min_rate),
        shutdown_delay: s
            .get(r, "shutdown_delay", duration::between(Duration::ZERO, 600 * second))
            .unwrap_or(d.shutdown_delay),
        drain: s
            .get(r, "drain", duration::between(Duration::ZERO, 86_400 * second))
            .unwrap_or(d.drain),
        offload: s.get(r, "offload", word(&OFFLOAD)).unwrap_or(d.offload),
        offload_prefix: s.get(r, "offload_prefix", uri_prefix).unwrap_or(d.offload_prefix),
        offload_from: s
            .get(r, "offload_from", bytes::within(ByteSize(1), ByteSize(1024 << 40)))
            .unwrap_or(d.offload_from),
        cache_policy: tables(&mut s, "cache_policy", r, cache_policy).unwrap_or(d.cache_policy),
        placeholder: tables(&mut s, "placeholder", r, placeholder).unwrap_or_default(),
        signing_keys: tables(&mut s, "signing_keys", r, signing_key).unwrap_or_default(),
        sites: tables(&mut s, "sites", r, site).unwrap_or_default(),
    };
    both_or_none(&s, ["tls_certificate", "tls_key"], r);
    let ids: Vec<&str> = settings.signing_keys.iter().map(|k| &*k.id).collect();
    twins(&ids, "keys", &s.key("signing_keys"), r);
    s.finish(r);
    settings
}

pub(crate) fn admin(mut s: Section, r: &mut Reader) -> AdminSettings {
    let d = AdminSettings::default();
    let settings = AdminSettings {
        listen: s.get(r, "listen", address).unwrap_or(d.listen),
        max_file: s
            .get(r, "max_file", bytes::within(ByteSize(1), ByteSize(1024 << 40)))
            .unwrap_or(d.max_file),
        tokens: tables(&mut s, "tokens", r, admin_token).unwrap_or(d.tokens),
        purge_hooks: tables(&mut s, "purge_hooks", r, purge_hook).unwrap_or(d.purge_hooks),
    };
    let names: Vec<&str> = settings.tokens.iter().map(|t| &*t.name).collect();
    twins(&names, "tokens", &s.key("tokens"), r);
    let names: Vec<&str> = settings.purge_hooks.iter().map(|h| &*h.name).collect();
    twins(&names, "purge hooks", &s.key("purge_hooks"), r);
    s.finish(r);
    settings
}

/// A list of tables, `[[SECTION.NAME]]`; `None` when it is not there. What is refused is left out.
fn tables<T>(
    s: &mut Section,
    name: &'static str,
    r: &mut Reader,
    read: impl Fn(&mut Section, &mut Reader) -> Option<T>,
) -> Option<Vec<T>> {
    let key = s.key(name);
    let items = s.get(r, name, list(Ok))?;
    let mut found = Vec::new();
    for (i, node) in items.into_iter().enumerate() {
        let at = format!("{key}[{i}]");
        if !matches!(node.value, Value::Table(_)) {
            r.origins.insert(at.clone(), node.origin);
            let refusal = Refusal::wrong_type(&node.value, format!("write it as [[{key}]]"));
            r.refuse(&at, refusal);
            continue;
        }
        let mut s = Section::of(r, at, node);
        found.extend(read(&mut s, r));
        s.finish(r);
    }
    Some(found)
}

/// Reports keys that must be there and are not.
fn require(s: &Section, names: &[&str], r: &mut Reader) {
    for name in names {
        if !r.origins.contains_key(&s.key(name)) {
            let refusal = Refusal::new(format!("`{name}` is missing"), format!("add `{name}`"));
            r.refuse(s.path(), refusal);
        }
    }
}

fn cache_policy(s: &mut Section, r: &mut Reader) -> Option<CachePolicy> {
    let pattern = s.get(r, "match", glob);
    let hashed = s.get(r, "hashed", boolean).unwrap_or(false);
    let cache_control = s.get(r, "cache_control", field_value);
    let cdn_cache_control = s.get(r, "cdn_cache_control", field_value);
    require(s, &["match", "cache_control"], r);
    Some(CachePolicy {
        pattern: pattern?,
        hashed,
        cache_control: cache_control?,
        cdn_cache_control,
    })
}

fn placeholder(s: &mut Section, r: &mut Reader) -> Option<Placeholder> {
    let pattern = s.get(r, "match", glob);
    let path = s.get(r, "path", file);
    let status = s.get(r, "status", status).unwrap_or(404);
    require(s, &["match", "path"], r);
    Some(Placeholder { pattern: pattern?, path: path?, status })
}

fn site(s: &mut Section, r: &mut Reader) -> Option<ServeSite> {
    let prefix = s.get(r, "url_prefix", url_prefix);
    let metadata = s.get(r, "metadata", text);
    let binarydata = s.get(r, "binarydata", text);
    let public = s.get(r, "public", list(segment));
    require(s, &["url_prefix"], r);
    Some(ServeSite { url_prefix: prefix?, metadata, binarydata, public })
}

/// Two keys that are of use together only.
fn both_or_none(s: &Section, names: [&'static str; 2], r: &mut Reader) {
    let is_set = names.map(|name| r.origins.contains_key(&s.key(name)));
    for (i, name) in names.iter().enumerate() {
        let other = names[1 - i];
        if is_set[i] && !is_set[1 - i] {
            let refusal = Refusal::new(
                format!("`{name}` is of no use without `{other}`"),
                format!("add `{other}`, or remove the key"),
            );
            r.refuse(&s.key(name), refusal);
        }
    }
}

fn signing_key(s: &mut Section, r: &mut Reader) -> Option<SigningKey> {
    let id = s.get(r, "id", key_id);
    let secret = s.get(r, "secret", secret);
    require(s, &["id", "secret"], r);
    Some(SigningKey { id: id?, secret: secret? })
}

fn admin_token(s: &mut Section, r: &mut Reader) -> Option<AdminToken> {
    let name = s.get(r, "name", key_id);
    let sha256 = s.get(r, "sha256", digest);
    let verbs = s.get(r, "verbs", list(|item| word(&VERBS)(item)));
    let prefixes = s.get(r, "prefixes", list(directory));
    require(s, &["name", "sha256", "verbs", "prefixes"], r);
    Some(AdminToken { name: name?, sha256: sha256?, verbs: verbs?, prefixes: prefixes? })
}

fn purge_hook(s: &mut Section, r: &mut Reader) -> Option<PurgeHook> {
    let name = s.get(r, "name", key_id);
    let url = s.get(r, "url", hook_url);
    let method = s.get(r, "method", method).unwrap_or_else(|| "PURGE".to_owned());
    let headers = s.get(r, "headers", list(hook_field)).unwrap_or_default();
    let authorization = s.get(r, "authorization", secret);
    let body = s.get(r, "body", text);
    require(s, &["name", "url"], r);
    Some(PurgeHook { name: name?, url: url?, method, headers, authorization, body })
}

/// A path between slashes, as it stands in a URI.
fn uri_prefix(node: Node) -> Result<String, Refusal> {
    let prefix = text(node)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    let is_clean = !prefix.contains("//") && !prefix.split('/').any(|s| s == "." || s == "..");
    if prefix.len() > 1
        && prefix.starts_with('/')
        && prefix.ends_with('/')
        && prefix.bytes().all(plain)
        && is_clean
    {
        Ok(prefix)
    } else {
        Err(Refusal::new("not a path between slashes", "write e.g. \"/ezdfs-files/\""))
    }
}

fn hook_url(node: Node) -> Result<String, Refusal> {
    let url = text(node)?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '{']).next().unwrap_or_default());
    match host {
        Some(host) if host.contains('@') => Err(Refusal::new(
            "a user name or password in a URL ends up in logs",
            "use `authorization`, which is a secret",
        )),
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(Refusal::new(
            "not an http or https URL",
            "write e.g. \"http://127.0.0.1:6081{path}\"",
        )),
    }
}

fn method(node: Node) -> Result<String, Refusal> {
    let method = text(node)?;
    if !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(method)
    } else {
        Err(Refusal::new("not a method", "write e.g. \"PURGE\" or \"POST\""))
    }
}

/// `Name: value`.
fn hook_field(node: Node) -> Result<String, Refusal> {
    let line = text(node)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let visible = |b: u8| (b' '..0x7f).contains(&b);
    match line.split_once(':') {
        Some((name, value))
            if !name.is_empty() && name.bytes().all(plain) && value.bytes().all(visible) =>
        {
            Ok(line)
        }
        _ => Err(Refusal::new(
            "each item is a field, `Name: value`",
            "write e.g. [\"xkey: {tags}\"]",
        )),
    }
}

fn twins(names: &[&str], what: &str, key: &str, r: &mut Reader) {
    for (i, name) in names.iter().enumerate() {
        if names.iter().take(i).any(|other| other == name) {
            let refusal = Refusal::new(format!("two {what} are called `{name}`"), "rename one");
            r.refuse(key, refusal);
        }
    }
}

/// The digest of a token, so that the file holds no secret.
fn digest(node: Node) -> Result<String, Refusal> {
    let digest = text(node)?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digest.len() == 64 && digest.bytes().all(is_hex) {
        Ok(digest)
    } else {
        Err(Refusal::new(
            "not a SHA-256 in lower-case hex",
            "write what `printf %s TOKEN | sha256sum` prints",
        ))
    }
}

/// A directory of the store, with or without a slash at its end; nothing for all.
fn directory(node: Node) -> Result<String, Refusal> {
    let dir = text(node)?;
    let path = dir.strip_suffix('/').unwrap_or(&dir);
    if dir.is_empty() || path.parse::<FilePath>().is_ok() {
        Ok(dir)
    } else {
        Err(Refusal::new(
            "each item is a directory of the store",
            "write e.g. [\"images/\"], or [\"\"] for all",
        ))
    }
}

fn glob(node: Node) -> Result<String, Refusal> {
    let pattern = text(node)?;
    let fix = "write a pattern over the path, without a leading slash, e.g. \"images/**\"";
    if pattern.is_empty() || pattern.starts_with('/') {
        return Err(Refusal::new("this pattern matches no path", fix));
    }
    match path_glob(&pattern) {
        Ok(_) => Ok(pattern),
        Err(e) => Err(Refusal::new(format!("not a pattern: {}", e.kind()), fix)),
    }
}

fn field_value(node: Node) -> Result<String, Refusal> {
    let value = text(node)?;
    let visible = value.bytes().all(|b| (b' '..0x7f).contains(&b));
    if visible && !value.is_empty() && value.trim() == value {
        Ok(value)
    } else {
        Err(Refusal::new("not the value of a header field", "write e.g. \"public, max-age=60\""))
    }
}

fn file(node: Node) -> Result<String, Refusal> {
    let path = text(node)?;
    match path.parse::<FilePath>() {
        Ok(_) => Ok(path),
        Err(e) => Err(Refusal::new(e.to_string(), "write the path of a file in the store")),
    }
}

fn status(node: Node) -> Result<u32, Refusal> {
    match integer(200, 404)(node)? {
        status @ (200 | 404) => Ok(status),
        _ => Err(Refusal::new("not 200 or 404", "write 404, or 200 as if it were the file")),
    }
}

/// Part of a URL as it is.
fn key_id(node: Node) -> Result<String, Refusal> {
    let id = text(node)?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain && !id.is_empty() {
        Ok(id)
    } else {
        Err(Refusal::new("not the id of a key", "use letters, digits, -, _ and . only"))
    }
}

/// `type/subtype` or `type/*`, without parameters.
fn media_type(node: Node) -> Result<String, Refusal> {
    let item = text(node)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let is_name = |s: &str| !s.is_empty() && s.bytes().all(plain);
    match item.split_once('/') {
        Some((t, sub)) if is_name(t) && (sub == "*" || is_name(sub)) => Ok(item),
        _ => Err(Refusal::new(
            "each item is a media type",
            "write e.g. [\"image/*\", \"text/plain\"]",
        )),
    }
}

/// One segment of a path.
fn segment(node: Node) -> Result<String, Refusal> {
    let segment = text(node)?;
    match segment.parse::<FilePath>() {
        Ok(path) if path.segments().count() == 1 => Ok(segment),
        _ => Err(Refusal::new(
            "each item is one first path segment",
            "write names without a slash, e.g. [\"images\", \"images-versioned\"]",
        )),
    }
}

/// Scheme, host in lower case and port: as browsers send it (RFC 6454 §6.1).
fn origin(node: Node) -> Result<String, Refusal> {
    let origin = text(node)?;
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
    if host.is_some_and(|h| !h.is_empty() && h.bytes().all(plain)) {
        Ok(origin)
    } else {
        Err(Refusal::new(
            "each item is an origin",
            "write scheme, host in lower case and port only, e.g. [\"https://www.example.com\"]",
        ))
    }
}
