//! What the file alone cannot tell: whether secrets and certificates are there, and whether this build can open the
//! handlers.

use crate::load::Loaded;
use crate::location::{Database, Storage};
use crate::problem::Problem;
use crate::settings::MetadataHandler;

/// Every handler that could not be opened for one of these reasons. Opens nothing.
#[must_use]
pub fn check(loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, handler) in loaded.settings.metadata_handlers.iter() {
        let MetadataHandler::Sql(sql) = handler else { continue };
        let in_build = match sql.url.database {
            Database::Sqlite(_) => cfg!(feature = "sqlite"),
            Database::Mysql(_) => cfg!(feature = "mysql"),
            Database::Postgres(_) => cfg!(feature = "postgres"),
        };
        if !in_build {
            problems.push(no_database(loaded, name, &sql.url.database));
        }
        if let Some(Err(e)) = sql.password.as_ref().map(|secret| secret.resolve(&loaded.env)) {
            let key = format!("metadata_handlers.{name}.password");
            problems.push(loaded.problem(&key, e.to_string(), "then check again"));
        }
        #[cfg(any(feature = "mysql", feature = "postgres"))]
        if let Some(Err(e)) = sql.tls_ca.as_deref().map(crate::authorities::read) {
            let key = format!("metadata_handlers.{name}.tls_ca");
            problems.push(loaded.problem(&key, e.to_string(), "then check again"));
        }
    }
    for (i, key) in loaded.settings.serve.signing_keys.iter().enumerate() {
        if let Err(e) = key.secret.resolve(&loaded.env) {
            let key = format!("serve.signing_keys[{i}].secret");
            problems.push(loaded.problem(&key, e.to_string(), "then check again"));
        }
    }
    for (i, hook) in loaded.settings.admin.purge_hooks.iter().enumerate() {
        if let Some(Err(e)) = hook.authorization.as_ref().map(|secret| secret.resolve(&loaded.env))
        {
            let key = format!("admin.purge_hooks[{i}].authorization");
            problems.push(loaded.problem(&key, e.to_string(), "then check again"));
        }
    }
    for (name, handler) in loaded.settings.binarydata_handlers.iter() {
        let storage = &handler.url.storage;
        let in_build = match storage {
            Storage::File(_) | Storage::Memory(_) => true,
            Storage::S3 { .. } => cfg!(feature = "aws"),
            Storage::Gcs { .. } => cfg!(feature = "gcp"),
            Storage::Azure { .. } => cfg!(feature = "azure"),
        };
        if !in_build {
            problems.push(no_storage(loaded, name, storage));
        }
        let secrets = [
            ("access_key_id", &handler.access_key_id),
            ("secret_access_key", &handler.secret_access_key),
            ("service_account", &handler.service_account),
            ("account_key", &handler.account_key),
        ];
        for (key, secret) in secrets {
            if let Some(Err(e)) = secret.as_ref().map(|secret| secret.resolve(&loaded.env)) {
                let key = format!("binarydata_handlers.{name}.{key}");
                problems.push(loaded.problem(&key, e.to_string(), "then check again"));
            }
        }
        #[cfg(feature = "cloud")]
        if let Some(Err(e)) = handler.tls_ca.as_deref().map(crate::authorities::pem) {
            let key = format!("binarydata_handlers.{name}.tls_ca");
            problems.push(loaded.problem(&key, e.to_string(), "then check again"));
        }
    }
    problems
}

/// This build cannot open the database of a handler.
#[must_use]
pub fn no_database(loaded: &Loaded, name: &str, database: &Database) -> Problem {
    let kind = database.handler();
    let message = format!("this build has no {kind} handler");
    let fix = format!("use a build with the feature `{kind}`, or another handler");
    loaded.problem(&format!("metadata_handlers.{name}.url"), message, fix)
}

/// This build cannot open the store of a handler.
pub(crate) fn no_storage(loaded: &Loaded, name: &str, storage: &Storage) -> Problem {
    let message = format!("this build has no {} handler", storage.handler());
    let fix = format!("use a build with the feature `{}`, or another handler", storage.feature());
    loaded.problem(&format!("binarydata_handlers.{name}.url"), message, fix)
}
