//! What a network does to a database server's clients.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Change, ErrorKind, Guard, Hold, MetadataStore, Op, Work};
use ezdfs_metadata::server::{Host, ServerOptions};
use ezdfs_metadata::{mysql, postgres};
use ezdfs_testkit::metadata_suite::{
    LEASE, PREFIX, file, hold, intent, is_file, list, path, publish, put, token, version,
};
use ezdfs_testkit::proxy::Proxy;
use ezdfs_testkit::servers::{MariaVariant, PostgresVariant, ServerKind, TestDatabase};
use tokio::time::Instant;

use crate::servers::{install, options};

async fn database(kind: ServerKind) -> Option<TestDatabase> {
    let database = match kind {
        ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default())?,
        ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default())?,
    };
    install(&database).await;
    Some(database)
}

async fn open(kind: ServerKind, options: ServerOptions) -> Arc<dyn MetadataStore> {
    match kind {
        ServerKind::Mariadb => mysql::open(options).await,
        ServerKind::Postgres => postgres::open(options).await,
    }
    .unwrap()
}

struct Behind {
    store: Arc<dyn MetadataStore>,
    proxy: Proxy,
    /// Dropped last.
    database: TestDatabase,
}

/// A store whose connections go through a proxy.
async fn behind(kind: ServerKind, connections: usize, io_timeout: Duration) -> Option<Behind> {
    let database = database(kind).await?;
    let proxy = Proxy::start(database.host(), database.port()).await;
    let host = Host { name: "127.0.0.1".to_owned(), port: Some(proxy.port()) };
    let options =
        ServerOptions { hosts: vec![host], connections, io_timeout, ..options(&database, PREFIX) };
    Some(Behind { store: open(kind, options).await, proxy, database })
}

async fn hold_and_publish(store: &dyn MetadataStore, at: &str, n: u8) {
    assert_eq!(hold(store, at, n).await, Hold::Held);
    store.record(&path(at)).await.unwrap();
    let change = put(at, version(1, n))
        .guard(Guard::Holds(token(n)))
        .op(Op::EndHold { token: token(n), keep: false });
    store.apply(change).await.unwrap();
}

/// A publish asks the database three times: take the path, look at it, write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_three_round_trips_on_postgres() {
    let Some(b) = behind(ServerKind::Postgres, 1, Duration::from_secs(20)).await else { return };
    for n in 1..=2 {
        // Statements are prepared once, and the directory is made.
        hold_and_publish(&*b.store, "a/warm", n).await;
        hold_and_publish(&*b.store, &format!("a/warm{n}"), n).await;
    }
    list(&*b.store, "a").await;
    let _ = b.proxy.take_round_trips();
    hold_and_publish(&*b.store, "a/new", 3).await;
    assert_eq!(b.proxy.take_round_trips(), 3, "a new file");
    hold_and_publish(&*b.store, "a/new", 4).await;
    assert_eq!(b.proxy.take_round_trips(), 3, "a new version");
    b.store.record(&path("a/new")).await.unwrap();
    assert_eq!(b.proxy.take_round_trips(), 1, "a load");
    assert_eq!(list(&*b.store, "a").await.len(), 4);
    assert_eq!(b.proxy.take_round_trips(), 2, "a listing: anything new, and the page");
    drop(b.database);
}

/// A transaction of several statements; its length is bounded here so that it does not grow unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_at_most_seventeen_round_trips_on_mariadb() {
    let Some(b) = behind(ServerKind::Mariadb, 1, Duration::from_secs(20)).await else { return };
    for n in 1..=2 {
        hold_and_publish(&*b.store, "a/warm", n).await;
        hold_and_publish(&*b.store, &format!("a/warm{n}"), n).await;
    }
    let _ = b.proxy.take_round_trips();
    hold_and_publish(&*b.store, "a/new", 3).await;
    let round_trips = b.proxy.take_round_trips();
    assert!(round_trips <= 17, "{round_trips}");
    drop(b.database);
}

/// The short way of a publish does what the long way does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_of_a_publish_write_the_same() {
    let Some(b) = behind(ServerKind::Postgres, 1, Duration::from_secs(20)).await else { return };
    for (n, at) in [(1, "s/short"), (2, "s/long")] {
        let first = ezdfs_core::NewFile { mode: Some(0o600), uid: Some(7), ..version(5, 9) };
        publish(&*b.store, at, first).await;
        assert_eq!(hold(&*b.store, at, n).await, Hold::Held);
        let mut change = put(at, version(6, 3)).guard(Guard::Holds(token(n)));
        if at == "s/long" {
            // One more step, and the statement for the usual case does not apply.
            change = change.op(Op::SetPin { path: path(at), pin: version(6, 3).pin.unwrap() });
        }
        b.store.apply(change.op(Op::EndHold { token: token(n), keep: false })).await.unwrap();
    }
    let short = b.store.record(&path("s/short")).await.unwrap();
    let long = b.store.record(&path("s/long")).await.unwrap();
    let (mut one, mut other) = (short.node.unwrap(), long.node.unwrap());
    assert_ne!(one.attrs.ino, other.attrs.ino);
    (other.basename, other.attrs.ino) = (one.basename.clone(), one.attrs.ino);
    (one.attrs.ctime, other.attrs.ctime) = (one.mtime, one.mtime);
    assert_eq!(one, other);
    let (mut one, other) = (short.base.unwrap(), long.base.unwrap());
    one.name.clone_from(&other.name);
    assert_eq!(one, other);
    assert_eq!(b.store.figures().await.unwrap().held, 0);
}

async fn cut_connections_are_made_anew(kind: ServerKind) {
    let Some(b) = behind(kind, 4, Duration::from_secs(20)).await else { return };
    for n in 1..=10 {
        hold_and_publish(&*b.store, "c/a", n).await;
        b.proxy.cut();
        assert_eq!(file(&*b.store, "c/a").await.token, Some(token(n)));
        b.proxy.cut();
    }
    drop(b.database);
}

/// Whatever was acknowledged is there; nothing is there in part.
async fn cut_in_the_middle(kind: ServerKind) {
    let Some(b) = behind(kind, 6, Duration::from_secs(20)).await else { return };
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..6_u8 {
        let store = Arc::clone(&b.store);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for round in 0..60 {
                let at = format!("m/{n}-{round}");
                let both = put(&at, version(1, 1))
                    .op(Op::PutFile { path: path(&format!("{at}-twin")), file: version(1, 1) });
                match store.apply(both).await {
                    Ok(()) => acknowledged.push(at),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}"),
                }
            }
            acknowledged
        });
    }
    let mut acknowledged = Vec::new();
    // Longer each time, so that on a busy machine something gets through in the end.
    let mut pause = Duration::from_millis(90);
    loop {
        tokio::select! {
            done = writers.join_next() => match done {
                Some(done) => acknowledged.extend(done.unwrap()),
                None => break,
            },
            () = tokio::time::sleep(pause) => {
                b.proxy.cut();
                pause = pause * 5 / 4;
            }
        }
    }
    assert!(!acknowledged.is_empty());
    for at in acknowledged {
        assert!(is_file(&*b.store, &at).await, "`{at}` was acknowledged");
    }
    for base in list(&*b.store, "m").await {
        let twin = base.strip_suffix("-twin").map_or_else(|| format!("{base}-twin"), str::to_owned);
        assert!(is_file(&*b.store, &format!("m/{twin}")).await, "`{base}` has no twin");
    }
    drop(b.database);
}

async fn a_silent_server_is_an_error_in_time(kind: ServerKind) {
    let Some(b) = behind(kind, 2, Duration::from_millis(700)).await else { return };
    publish(&*b.store, "s/a", version(1, 1)).await;
    b.proxy.silence(true);
    let begin = Instant::now();
    let read = b.store.record(&path("s/a")).await.unwrap_err();
    let write = b.store.apply(put("s/b", version(1, 1))).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    for e in [&read, &write] {
        assert!(matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::Unavailable), "{e}");
        assert!(e.to_string().contains("127.0.0.1"), "{e}");
    }
    b.proxy.silence(false);
    b.proxy.cut();
    assert!(is_file(&*b.store, "s/a").await);
    publish(&*b.store, "s/b", version(1, 1)).await;
    drop(b.database);
}

async fn a_lost_answer_to_a_hold_is_no_other_holder(kind: ServerKind) {
    let Some(b) = behind(kind, 2, Duration::from_secs(5)).await else { return };
    for n in 1..40_u8 {
        let at = format!("l/{n}");
        let wanted = [intent(&at, token(n), Work::Repair)];
        let take = b.store.hold(&wanted, LEASE);
        let cut = async {
            tokio::time::sleep(Duration::from_micros(u64::from(n) * 60)).await;
            b.proxy.cut();
        };
        let (taken, ()) = tokio::join!(take, cut);
        match taken {
            Ok(hold) => assert_eq!(hold, Hold::Held, "{at}"),
            // Unknown: then the path may stay taken until the lease ends.
            Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}"),
        }
        let end = Change::new().op(Op::EndHold { token: token(n), keep: false });
        b.store.apply(end).await.unwrap();
    }
    assert_eq!(b.store.figures().await.unwrap().held, 0);
    drop(b.database);
}

async fn the_next_host_is_tried(kind: ServerKind) {
    let Some(database) = database(kind).await else { return };
    let (one, two) = (
        Proxy::start(database.host(), database.port()).await,
        Proxy::start(database.host(), database.port()).await,
    );
    one.refuse(true);
    let host = |proxy: &Proxy| Host { name: "127.0.0.1".to_owned(), port: Some(proxy.port()) };
    let hosts = vec![host(&one), host(&two)];
    let options = ServerOptions { hosts, connections: 2, ..options(&database, PREFIX) };
    let store = open(kind, options).await;
    publish(&*store, "h/a", version(1, 1)).await;
    one.refuse(false);
    two.refuse(true);
    two.cut();
    assert!(is_file(&*store, "h/a").await, "the first one is back");
    publish(&*store, "h/b", version(1, 1)).await;
}

/// Refuses writes of whoever comes from an address in `refused`, with the error of a server that
/// became read-only.
fn refuse_some(database: &TestDatabase) {
    match database.kind() {
        ServerKind::Mariadb => {
            database.run("CREATE TABLE refused (address varchar(64))");
            for (table, event) in [
                ("ezdfs_pending", "INSERT"),
                ("ezdfs_pending", "UPDATE"),
                ("ezdfs_node", "INSERT"),
                ("ezdfs_node", "UPDATE"),
            ] {
                database.run(&format!(
                    "CREATE TRIGGER refuse_{table}_{event} BEFORE {event} ON {table} FOR EACH ROW
                     BEGIN
                         IF SUBSTRING_INDEX(USER(), '@', -1) IN (SELECT address FROM refused) THEN
                             SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only';
                         END IF;
                     END"
                ));
            }
        }
        ServerKind::Postgres => database.run(
            "CREATE TABLE refused (address inet);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF inet_client_addr() IN (SELECT address FROM refused) THEN
                     RAISE EXCEPTION 'read-only' USING ERRCODE = '25006';
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON ezdfs_pending
                 FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON ezdfs_node
                 FOR EACH ROW EXECUTE FUNCTION refuse()",
        ),
    }
}

async fn a_host_that_became_read_only_is_left(kind: ServerKind) {
    const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let Some(database) = database(kind).await else { return };
    let one = Proxy::start(database.host(), database.port()).await;
    let two = Proxy::start_on(TWO, database.host(), database.port()).await;
    let host = |name: &str, proxy: &Proxy| Host { name: name.to_owned(), port: Some(proxy.port()) };
    let hosts = vec![host("127.0.0.1", &one), host("127.0.0.2", &two)];
    let options = ServerOptions { hosts, connections: 3, ..options(&database, PREFIX) };
    let store = open(kind, options.clone()).await;
    let at = path("f/a");
    let read = async || {
        tokio::try_join!(store.record(&at), store.record(&at), store.record(&at)).unwrap();
    };
    // Three connections to the first host.
    read().await;
    assert_eq!(two.take_round_trips(), 0);
    refuse_some(&database);

    // A transaction of several statements, or one statement.
    database.run("INSERT INTO refused VALUES ('127.0.0.1')");
    assert_eq!(hold(&*store, "f/a", 1).await, Hold::Held);
    let _ = one.take_round_trips();
    read().await;
    assert_eq!(one.take_round_trips(), 0, "connections to the host that was left");

    // A publish.
    database.run("UPDATE refused SET address = '127.0.0.2'");
    let publish = || put("f/a", version(1, 1)).guard(Guard::Holds(token(1)));
    store.apply(publish()).await.unwrap();
    assert!(one.take_round_trips() > 0);
    assert!(is_file(&*store, "f/a").await);

    // A statement of its own.
    database.run("UPDATE refused SET address = '127.0.0.1'");
    assert!(store.renew(token(1), LEASE).await.unwrap());

    // Nowhere else to go: an error, and not for ever.
    database.run("INSERT INTO refused VALUES ('127.0.0.2')");
    let refused = store.apply(publish()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
    let hosts = options.hosts[..1].to_vec();
    let alone = open(kind, ServerOptions { hosts, connections: 1, ..options }).await;
    alone.record(&at).await.unwrap();
    let _ = one.take_round_trips();
    let refused = alone.renew(token(1), LEASE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
    let asked = one.take_round_trips();
    assert!(asked < 10, "one host is asked once, not {asked} times");

    // What was refused did nothing.
    database.run("DELETE FROM refused");
    store.apply(Change::new().op(Op::EndHold { token: token(1), keep: false })).await.unwrap();
    assert_eq!(store.figures().await.unwrap().held, 0);
    assert_eq!(list(&*store, "f").await, ["a"]);
}

/// As administrators do before they move a database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_was_told_to_take_no_writes() {
    let Some(database) = database(ServerKind::Postgres).await else { return };
    database.run(&format!(
        "ALTER DATABASE \"{}\" SET default_transaction_read_only = on",
        database.database()
    ));
    let one = options(&database, PREFIX);
    let store = postgres::open(one.clone()).await.unwrap();
    let wanted = [intent("a", token(1), Work::Repair)];
    let refused = store.hold(&wanted, LEASE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
    let hosts = vec![one.hosts[0].clone(), one.hosts[0].clone()];
    let refused = postgres::open(ServerOptions { hosts, ..one }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
}

macro_rules! on_both {
    ($($case:ident)+) => {
        mod on_mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::ServerKind::Mariadb).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::ServerKind::Postgres).await;
            })+
        }
    };
}
on_both! {
    cut_connections_are_made_anew
    cut_in_the_middle
    a_silent_server_is_an_error_in_time
    a_lost_answer_to_a_hold_is_no_other_holder
    the_next_host_is_tried
    a_host_that_became_read_only_is_left
}
