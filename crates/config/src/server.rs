//! How the database server of a handler is opened.

use std::path::Path;

use ezdfs_core::{NamePrefix, Result};
use ezdfs_metadata::ServerOptions;
use ezdfs_metadata::server::{Host, Password, TimeSource, Tls};

use crate::authorities;
use crate::load::Loaded;
use crate::process::this_process;
use crate::server_url::ServerUrl;
use crate::settings::{SqlHandler, TlsMode};

/// What opens the database of a handler. Opens nothing itself.
///
/// # Errors
/// [`ezdfs_core::ErrorKind::Config`] when password or certificates are not where the settings say.
pub fn server_options(
    loaded: &Loaded,
    name: &str,
    handler: &SqlHandler,
    url: &ServerUrl,
) -> Result<ServerOptions> {
    let password = handler.password.as_ref().map(|secret| secret.resolve(&loaded.env)).transpose();
    let password =
        password.map_err(|e| loaded.at(&format!("metadata_handlers.{name}.password"), e))?;
    let read = |path: &Path| {
        authorities::read(path)
            .map_err(|e| loaded.at(&format!("metadata_handlers.{name}.tls_ca"), e))
    };
    let hosts = url.hosts.iter().map(|host| Host { name: host.name.clone(), port: host.port });
    Ok(ServerOptions {
        hosts: hosts.collect(),
        user: url.user.clone(),
        password: password.map(|password| Password::new(password.expose())),
        database: url.database.clone(),
        tls: match handler.tls.unwrap_or_default() {
            TlsMode::Off => Tls::Off,
            TlsMode::Prefer => Tls::Prefer,
            TlsMode::Verify => Tls::Verify(handler.tls_ca.as_deref().map(read).transpose()?),
        },
        table: handler.table.clone(),
        prefix: NamePrefix::new(&handler.name_prefix),
        origin: this_process(),
        connections: usize::try_from(handler.connections.unwrap_or(SqlHandler::CONNECTIONS))
            .unwrap_or(ServerOptions::CONNECTIONS),
        io_timeout: loaded.settings.store.io_timeout,
        scan_pause: ServerOptions::SCAN_PAUSE,
        time: TimeSource::Database,
    })
}
