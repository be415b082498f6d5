//! What tests of both servers share.

use ezdfs_metadata::server::ServerOptions;
use ezdfs_testkit::servers::{ServerKind, TestDatabase};

use crate::{mysql, postgres};

pub(crate) fn options(database: &TestDatabase, prefix: &str) -> ServerOptions {
    match database.kind() {
        ServerKind::Mariadb => mysql::options(database, "ezdfsfile", prefix),
        ServerKind::Postgres => postgres::options(database, prefix),
    }
}

pub(crate) async fn install(database: &TestDatabase) {
    match database.kind() {
        ServerKind::Mariadb => mysql::install(database, None, "ezdfsfile").await,
        ServerKind::Postgres => postgres::install(database).await,
    }
}
