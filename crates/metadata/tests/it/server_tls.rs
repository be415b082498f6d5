//! Encrypted connections, and whose certificates are believed.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use ezdfs_core::{ErrorKind, MetadataStore, Result};
use ezdfs_metadata::server::{Authorities, Host, ServerOptions, Tls};
use ezdfs_metadata::{mysql, postgres};
use ezdfs_testkit::metadata_suite::{PREFIX, publish, version};
use ezdfs_testkit::proxy::Proxy;
use ezdfs_testkit::servers::{self, MariaVariant, PostgresVariant, ServerKind, TestDatabase};
use sqlx::ConnectOptions as _;

use crate::servers::{install, options};

/// A database, and the authority of its server.
async fn ready(kind: ServerKind) -> Option<(TestDatabase, Tls)> {
    let ca = Authorities::from_pem(servers::tls_ca()?).unwrap();
    let database = match kind {
        ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default())?,
        ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default())?,
    };
    install(&database).await;
    Some((database, Tls::Verify(Some(ca))))
}

fn on(database: &TestDatabase, host: &str, port: u16, tls: &Tls) -> ServerOptions {
    let hosts = vec![Host { name: host.to_owned(), port: Some(port) }];
    ServerOptions { hosts, tls: tls.clone(), ..options(database, PREFIX) }
}

async fn open(kind: ServerKind, options: ServerOptions) -> Result<Arc<dyn MetadataStore>> {
    match kind {
        ServerKind::Mariadb => mysql::open(options).await,
        ServerKind::Postgres => postgres::open(options).await,
    }
}

/// An authority of the same name that signed nothing.
fn impostor() -> Tls {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-keyout", "/dev/null", "-days", "2", "-subj", "/CN=ezdfs test authority"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Tls::Verify(Some(Authorities::from_pem(made.stdout).unwrap()))
}

/// How many connections of stores are encrypted, and how many are not.
async fn count_on_postgres(database: &TestDatabase) -> (i64, i64) {
    let mut conn = database.postgres_options().connect().await.unwrap();
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) \
         FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE datname = current_database() AND application_name = 'ezdfs'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn postgres_is_encrypted_as_told() {
    let Some((database, verify)) = ready(ServerKind::Postgres).await else { return };
    for (tls, expected) in [(Tls::Off, (0, 1)), (Tls::Prefer, (1, 0)), (verify, (1, 0))] {
        let options = ServerOptions {
            connections: 1,
            ..on(&database, database.host(), database.port(), &tls)
        };
        let store = postgres::open(options).await.unwrap();
        publish(&*store, "a", version(1, 1)).await;
        assert_eq!(count_on_postgres(&database).await, expected, "{tls:?}");
        drop(store);
        // The server learns a moment later that a connection was closed.
        while count_on_postgres(&database).await != (0, 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn mariadb_is_encrypted_as_told() {
    let Some((database, verify)) = ready(ServerKind::Mariadb).await else { return };
    let name = database.database();
    database.run(&format!(
        "CREATE USER '{name}'@'%' IDENTIFIED BY '{password}' REQUIRE SSL;
         GRANT ALL ON `{name}`.* TO '{name}'@'%'",
        password = database.password()
    ));
    let on = |tls: &Tls| ServerOptions {
        user: name.to_owned(),
        ..on(&database, database.host(), database.port(), tls)
    };
    let refused = mysql::open(on(&Tls::Off)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    for tls in [Tls::Prefer, verify] {
        let store = mysql::open(on(&tls)).await.unwrap();
        publish(&*store, "a", version(1, 1)).await;
    }
    database.run(&format!("DROP USER '{name}'@'%'"));
    let store = mysql::open(ServerOptions { tls: Tls::Off, ..options(&database, PREFIX) }).await;
    publish(&*store.unwrap(), "a", version(1, 1)).await;
}

async fn an_unknown_authority_is_refused(kind: ServerKind) {
    let Some((database, _)) = ready(kind).await else { return };
    for tls in [Tls::Verify(None), impostor()] {
        let options = on(&database, database.host(), database.port(), &tls);
        let error = open(kind, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate is refused"), "{error}");
    }
}

async fn a_certificate_of_another_host_is_refused(kind: ServerKind) {
    let Some((database, verify)) = ready(kind).await else { return };
    let (own, port) = (Ipv4Addr::new(127, 0, 0, 2), database.port());
    let proxy = Proxy::start_on(own, database.host(), port).await;
    let elsewhere = |tls: &Tls| on(&database, "127.0.0.2", proxy.port(), tls);
    let error = open(kind, elsewhere(&verify)).await.unwrap_err();
    assert!(error.to_string().contains("certificate is refused"), "{error}");
    for options in [elsewhere(&Tls::Prefer), on(&database, "localhost", port, &verify)] {
        publish(&*open(kind, options).await.unwrap(), "a", version(1, 1)).await;
    }
}

macro_rules! on_both {
    ($($case:ident)+) => {
        mod on_mariadb {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::ServerKind::Mariadb).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::ServerKind::Postgres).await;
            })+
        }
    };
}
on_both! {
    an_unknown_authority_is_refused
    a_certificate_of_another_host_is_refused
}
