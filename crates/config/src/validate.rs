//! What only shows when sections are compared.

use crate::reader::{Reader, Refusal, suggestion};
use crate::settings::{DEFAULT_HANDLER, MetadataHandler, Settings};

/// Handlers that name other handlers, and the tree behind `default`. `names` are all configured
/// ones, those that could not be read included: one fault is reported once.
pub(crate) fn handlers(
    settings: &Settings,
    metadata: &[String],
    binarydata: &[String],
    r: &mut Reader,
) {
    for (name, handler) in settings.metadata_handlers.iter() {
        let MetadataHandler::Objects { objects } = handler else { continue };
        let key = format!("metadata_handlers.{name}.objects");
        if objects == DEFAULT_HANDLER {
            need_default_root(settings, &key, r);
        } else if !binarydata.contains(objects) {
            let refusal = Refusal::new(
                format!("there is no binarydata handler `{objects}`"),
                suggestion(objects, binarydata),
            );
            r.refuse(&key, refusal);
        }
    }
    if settings.store.binarydata == DEFAULT_HANDLER {
        need_default_root(settings, "store.binarydata", r);
    }
    sites(settings, metadata, binarydata, r);
    need_rows(settings, r);
    unlike(metadata, "metadata_handlers", r);
    unlike(binarydata, "binarydata_handlers", r);
}

/// Sites name handlers that exist, and no two have one place in the URL space.
fn sites(settings: &Settings, metadata: &[String], binarydata: &[String], r: &mut Reader) {
    let serve = &settings.serve;
    let mut taken = vec![&serve.url_prefix];
    for (i, site) in serve.sites.iter().enumerate() {
        let at = format!("serve.sites[{i}]");
        let both =
            [("metadata", &site.metadata, metadata), ("binarydata", &site.binarydata, binarydata)];
        for (key, name, known) in both {
            let Some(name) = name else { continue };
            if name != DEFAULT_HANDLER && !known.contains(name) {
                let refusal = Refusal::new(
                    format!("there is no {key} handler `{name}`"),
                    suggestion(name, known),
                );
                r.refuse(&format!("{at}.{key}"), refusal);
            }
        }
        if site.binarydata.as_deref() == Some(DEFAULT_HANDLER) {
            need_default_root(settings, &format!("{at}.binarydata"), r);
        }
        if taken.contains(&&site.url_prefix) {
            let refusal = Refusal::new(
                format!("two sites have the URL prefix `{}`", site.url_prefix),
                "give one of them another one",
            );
            r.refuse(&format!("{at}.url_prefix"), refusal);
        }
        taken.push(&site.url_prefix);
    }
}

/// A trash needs rows to hide. Without them a delete would be for good, silently.
fn need_rows(settings: &Settings, r: &mut Reader) {
    let name = &settings.store.metadata;
    let derived = name == DEFAULT_HANDLER
        || matches!(settings.metadata_handlers.get(name), Some(MetadataHandler::Objects { .. }));
    if derived && !settings.store.trash.is_zero() {
        r.refuse(
            "store.trash",
            Refusal::new(
                format!(
                    "the metadata handler `{name}` is derived from the objects and keeps no trash"
                ),
                "set `trash = \"0s\"`, or use a metadata handler with a table",
            ),
        );
    }
}

fn need_default_root(settings: &Settings, key: &str, r: &mut Reader) {
    let set = settings.store.default_root.is_some() || r.origins.contains_key("store.default_root");
    if !set {
        r.refuse(
            key,
            Refusal::new(
                "the binarydata handler `default` needs a directory",
                "add `default_root = \"/absolute/directory\"` to [store]",
            ),
        );
    }
}

/// Names that the environment could not tell apart.
fn unlike(names: &[String], section: &str, r: &mut Reader) {
    let form = crate::env::variable_form;
    for (i, name) in names.iter().enumerate() {
        if let Some(twin) = names.iter().take(i).find(|n| form(n) == form(name)) {
            let refusal = Refusal::new(
                format!("differs from `{twin}` only in case or in - and _"),
                "rename one of them",
            );
            r.refuse(&format!("{section}.{name}"), refusal);
        }
    }
}

/// Two listeners cannot share an address.
pub(crate) fn listeners(settings: &Settings, r: &mut Reader) {
    let (serve, admin) = (settings.serve.listen, settings.admin.listen);
    let same_ip =
        serve.ip() == admin.ip() || serve.ip().is_unspecified() || admin.ip().is_unspecified();
    if serve.port() == admin.port() && serve.port() != 0 && same_ip {
        let key =
            if r.origins.contains_key("admin.listen") { "admin.listen" } else { "serve.listen" };
        r.refuse(
            key,
            Refusal::new(
                format!("asset and admin listener share port {}", serve.port()),
                "give one of them another port",
            ),
        );
    }
}
