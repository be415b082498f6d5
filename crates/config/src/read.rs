//! Tree to settings, section by section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ezdfs_core::FilePath;

use crate::binary::binary_handler;
use crate::bytes::{self, ByteSize};
use crate::location::{Database, database};
use crate::reader::{Reader, Refusal, Section, integer, suggestion, text, word};
use crate::secret::secret;
use crate::settings::{
    CacheMode, CacheSettings, DEFAULT_HANDLER, Handlers, MetadataHandler, Settings, SqlHandler,
    StoreSettings, TlsMode,
};
use crate::tree::{Node, Table, Value};
use crate::{duration, read_serve, validate};

const DAY: Duration = Duration::from_secs(86_400);
const TLS: [(&str, TlsMode); 3] =
    [("off", TlsMode::Off), ("prefer", TlsMode::Prefer), ("verify", TlsMode::Verify)];

/// Reads every section and compares them. What is refused is reported and read as its default.
pub(crate) fn settings(root: Table, data_dir: &Path, r: &mut Reader) -> Settings {
    let mut root = Section::root(root);
    let store = root.section(r, "store");
    let metadata = root.section(r, "metadata_handlers");
    let binarydata = root.section(r, "binarydata_handlers");
    let serve = read_serve::serve(root.section(r, "serve"), r);
    let admin = read_serve::admin(root.section(r, "admin"), r);
    let cache = cache(root.section(r, "cache"), data_dir, r);
    root.finish(r);

    let metadata = handlers(metadata, r, |s, r| metadata_handler(s, data_dir, r));
    let binarydata = handlers(binarydata, r, |s, r| binary_handler(s, data_dir, r));
    let store = store_settings(store, &metadata.names, &binarydata.names, r);
    let settings = Settings {
        store,
        metadata_handlers: Handlers(metadata.read),
        binarydata_handlers: Handlers(binarydata.read),
        serve,
        admin,
        cache,
    };
    validate::handlers(&settings, &metadata.names, &binarydata.names, r);
    validate::listeners(&settings, r);
    settings
}

/// Handlers that could be read, and the names of all.
struct Found<T> {
    read: Vec<(String, T)>,
    names: Vec<String>,
}

fn handlers<T>(
    mut section: Section,
    r: &mut Reader,
    read: impl Fn(Section, &mut Reader) -> Option<T>,
) -> Found<T> {
    let mut found = Found { read: Vec::new(), names: Vec::new() };
    for (name, node) in section.take_all() {
        let key = section.key(&name);
        r.origins.insert(key.clone(), node.origin.clone());
        if let Err(refusal) = handler_name(&name) {
            r.refuse(&key, refusal);
            continue;
        }
        let is_table = matches!(node.value, Value::Table(_));
        let section = Section::of(r, key, node);
        // Anything else was reported just now; its missing keys need no mention.
        let handler = if is_table { read(section, r) } else { None };
        found.names.push(name.clone());
        found.read.extend(handler.map(|h| (name, h)));
    }
    found
}

/// Handler names stand in `--from=META,BIN` and in names of variables.
fn handler_name(name: &str) -> Result<(), Refusal> {
    if name == DEFAULT_HANDLER {
        return Err(Refusal::new(
            "the handler `default` always exists and is not configured here",
            "rename the handler; for the tree behind `default` set `store.default_root`",
        ));
    }
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if name.is_empty() || !plain || name.contains("__") {
        return Err(Refusal::new("not a handler name", "use letters, digits, - and single _ only"));
    }
    Ok(())
}

fn store_settings(
    mut s: Section,
    metadata: &[String],
    binarydata: &[String],
    r: &mut Reader,
) -> StoreSettings {
    let d = StoreSettings::default();
    let ms = Duration::from_millis;
    let store = StoreSettings {
        metadata: chosen(&mut s, "metadata", metadata, d.metadata, r),
        binarydata: chosen(&mut s, "binarydata", binarydata, d.binarydata, r),
        max_staleness: s
            .get(r, "max_staleness", duration::between(ms(100), ms(60_000)))
            .unwrap_or(d.max_staleness),
        delete_grace: s
            .get(r, "delete_grace", duration::between(Duration::ZERO, 30 * DAY))
            .unwrap_or(d.delete_grace),
        io_timeout: s
            .get(r, "io_timeout", duration::between(ms(100), ms(600_000)))
            .unwrap_or(d.io_timeout),
        rename_dir_max: s.get(r, "rename_dir_max", integer(1, 100_000)).unwrap_or(d.rename_dir_max),
        trash: s.get(r, "trash", duration::between(Duration::ZERO, 3650 * DAY)).unwrap_or(d.trash),
        stale_if_error: s
            .get(r, "stale_if_error", duration::between(Duration::ZERO, DAY))
            .unwrap_or(d.stale_if_error),
        default_root: s.get(r, "default_root", absolute("directory")),
    };
    s.finish(r);
    store
}

/// The name of a handler; the default only if there is a handler of that name.
fn chosen(
    s: &mut Section,
    name: &'static str,
    handlers: &[String],
    default: String,
    r: &mut Reader,
) -> String {
    let key = s.key(name);
    let known = |n: &str| n == DEFAULT_HANDLER || handlers.iter().any(|h| h == n);
    let Some(chosen) = s.get(r, name, text) else {
        if !r.origins.contains_key(&key) && !known(&default) {
            let first = handlers.first().map_or(DEFAULT_HANDLER, |h| h);
            r.refuse(
                &key,
                Refusal::new("not set", format!("add `{name} = \"{first}\"` to [store]")),
            );
        }
        return default;
    };
    if !known(&chosen) {
        let mut names: Vec<&str> = handlers.iter().map(String::as_str).collect();
        names.push(DEFAULT_HANDLER);
        let fix = suggestion(&chosen, &names);
        r.refuse(&key, Refusal::new(format!("there is no handler `{chosen}`"), fix));
    }
    chosen
}

/// A path from the root on; `what` is there.
pub(crate) fn absolute(what: &'static str) -> impl FnOnce(Node) -> Result<PathBuf, Refusal> {
    move |node| {
        let path = PathBuf::from(text(node)?);
        let plain = path
            .components()
            .all(|c| matches!(c, std::path::Component::RootDir | std::path::Component::Normal(_)));
        if path.is_absolute() && plain {
            Ok(path)
        } else {
            let message = format!("not an absolute {what}");
            Err(Refusal::new(message, "write it from / on, without `..`"))
        }
    }
}

fn metadata_handler(mut s: Section, data_dir: &Path, r: &mut Reader) -> Option<MetadataHandler> {
    let here = s.path().to_owned();
    let objects = s.take("objects");
    let handler = if let Some(node) = objects {
        let key = s.key("objects");
        r.origins.insert(key.clone(), node.origin.clone());
        for name in ["url", "password", "tls", "tls_ca", "connections", "table", "name_prefix"] {
            s.forbid(r, name, "does nothing beside `objects`");
        }
        text(node)
            .map_err(|refusal| r.refuse(&key, refusal))
            .ok()
            .map(|objects| MetadataHandler::Objects { objects })
    } else {
        let url_key = s.key("url");
        let url = s.get(r, "url", database(data_dir));
        let table = s.get(r, "table", identifier).unwrap_or_else(|| SqlHandler::TABLE.to_owned());
        let name_prefix = s
            .get(r, "name_prefix", name_prefix)
            .unwrap_or_else(|| SqlHandler::NAME_PREFIX.to_owned());
        let is_server = url.as_ref().is_some_and(|u| !matches!(u.database, Database::Sqlite(_)));
        if url.is_some() && !is_server {
            s.forbid(r, "password", "SQLite has no password");
            for name in ["tls", "tls_ca", "connections"] {
                s.forbid(r, name, "only the handler of a database server has this key");
            }
        }
        let password = s.get(r, "password", secret);
        let tls = s.get(r, "tls", word(&TLS));
        let tls_ca_key = s.key("tls_ca");
        let tls_ca = s.get(r, "tls_ca", absolute("file"));
        if is_server && tls_ca.is_some() && tls != Some(TlsMode::Verify) {
            r.refuse(
                &tls_ca_key,
                Refusal::new(
                    "certificates are checked with `tls = \"verify\"` only",
                    "set that as well, or remove the key",
                ),
            );
        }
        let connections = s.get(r, "connections", integer(2, 1000));
        if url.is_none() && !r.origins.contains_key(&url_key) {
            r.refuse(
                &here,
                Refusal::new(
                    "the handler has neither `url` nor `objects`",
                    "add `url = \"sqlite:ezdfs.db\"`, or `objects` with a binarydata handler",
                ),
            );
        }
        url.map(|url| {
            MetadataHandler::Sql(SqlHandler {
                url,
                password,
                tls: is_server.then(|| tls.unwrap_or_default()),
                tls_ca,
                connections: is_server.then(|| connections.unwrap_or(SqlHandler::CONNECTIONS)),
                table,
                name_prefix,
            })
        })
    };
    s.finish(r);
    handler
}

/// An unquoted SQL identifier, so that it needs no quotes on any database.
fn identifier(node: Node) -> Result<String, Refusal> {
    let table = text(node)?;
    let mut chars = table.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain && table.len() <= 63 {
        Ok(table)
    } else {
        Err(Refusal::new(
            "not a table name",
            "use letters, digits and _, at most 63, e.g. \"ezdfsfile\" or \"ibexa_dfs_file\"",
        ))
    }
}

/// Outer slashes do not count (Ibexa trims them); the rest must be a path, or nothing.
fn name_prefix(node: Node) -> Result<String, Refusal> {
    let prefix = text(node)?;
    let trimmed = prefix.trim_matches('/');
    if !trimmed.is_empty() {
        trimmed.parse::<FilePath>().map_err(|e| {
            Refusal::new(
                e.to_string(),
                "write Ibexa's $var_dir$/$storage_dir$, e.g. \"var/site/storage\"",
            )
        })?;
    }
    Ok(trimmed.to_owned())
}

pub(crate) fn address(node: Node) -> Result<SocketAddr, Refusal> {
    text(node)?.parse().map_err(|_| {
        Refusal::new(
            "not an IP address and port",
            "write e.g. \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"",
        )
    })
}

const CACHE: [(&str, CacheMode); 3] =
    [("auto", CacheMode::Auto), ("on", CacheMode::On), ("off", CacheMode::Off)];
/// A file of up to an eighth is kept: below this, hardly any.
const CACHE_MIN: ByteSize = ByteSize(16 << 20);
const CACHE_MAX: ByteSize = ByteSize(1024 << 40);

fn cache(mut s: Section, data_dir: &Path, r: &mut Reader) -> CacheSettings {
    let d = CacheSettings::in_data_dir(data_dir);
    let settings = CacheSettings {
        enabled: s.get(r, "enabled", word(&CACHE)).unwrap_or(d.enabled),
        dir: s.get(r, "dir", absolute("directory")).unwrap_or(d.dir),
        size: s.get(r, "size", bytes::within(CACHE_MIN, CACHE_MAX)).unwrap_or(d.size),
        min_free: s.get(r, "min_free", bytes::within(ByteSize(0), CACHE_MAX)).unwrap_or(d.min_free),
        memory: s.get(r, "memory", bytes::within(ByteSize(0), CACHE_MAX)).unwrap_or(d.memory),
    };
    s.finish(r);
    settings
}
