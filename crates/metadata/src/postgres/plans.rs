//! No statement of a hot path reads more rows than it answers with, near enough. Asked of a real
//! server, by what its executor counted.

#![allow(clippy::unwrap_used, clippy::panic)]

use ezdfs_testkit::TestDatabase;
use ezdfs_testkit::servers::{BaseTable, PostgresVariant};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Postgres, query};
use crate::server::dialect::Dialect as _;
use crate::server::sql::Sql;
use crate::server::statement::{Param, Statement, params};
use crate::server::{Host, Password, ServerOptions, Tls};

const SIDE: &str = include_str!("../../../../schema/postgres/side.sql");

/// 8,000 files in 40 directories, few that expire; many queued reaps and few holds. What was written
/// last is found by its place in the table, what the first statement wrote is not.
const ROWS: [&str; 5] = [
    "INSERT INTO ezdfsfile (name, name_trunk, name_hash, size, mtime) \
     SELECT x, '', md5(x), i, 1 FROM (SELECT i, 'var/d' || i % 40 || '/f' || lpad(i::text, 4, '0') AS x \
     FROM generate_series(0, 7999) i) names",
    "INSERT INTO ezdfs_node (path_hash, parent_hash, basename, kind, mtime_ns, ctime_ns, \
     expires_at, base_tid) SELECT name_hash, md5(split_part(name, '/f', 1)), 'f' || split_part(name, '/f', 2), \
     'file', 1, 1, CASE WHEN size % 50 = 0 THEN size END, ctid FROM ezdfsfile ORDER BY name_hash",
    "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
     hold, lease_end, not_before) SELECT 'reap', 'var', 'd/f' || i, md5(i::text), FALSE, \
     md5('t' || i), 'me', CASE WHEN i % 500 = 0 THEN 'held' ELSE 'queued' END, \
     CASE WHEN i % 500 = 0 THEN md5(i::text) END, i, i FROM generate_series(0, 7999) i",
    "INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at) SELECT 'insert', \
     md5(i::text), 'var/d/f' || i, CASE WHEN i % 100 > 0 THEN 'me' END, i % 100 = 0, i \
     FROM generate_series(0, 7999) i",
    "ANALYZE",
];

const PAGE: i64 = 50;

/// What the executor did in one place of a plan.
#[derive(Debug)]
struct Step {
    text: String,
    /// Rows in all loops together.
    rows: u64,
}

/// Runs a statement, and takes back what it did.
async fn run(conn: &mut PgConnection, statement: &Statement, params: Vec<Param>) -> Vec<Step> {
    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
    let (text, params) = statement.render(params);
    let text = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {text}");
    let lines = query(text.into(), params).fetch_all(&mut *conn).await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(conn).await.unwrap();
    let number = |line: &str, what: &str| {
        let digits = line.split_once(what)?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let mut steps: Vec<Step> = Vec::new();
    for line in &lines {
        let line: String = line.get(0);
        if let (Some(rows), Some(loops)) = (number(&line, "rows="), number(&line, "loops=")) {
            steps.push(Step { text: line, rows: rows * loops });
        } else if line.contains("(never executed)") {
            steps.push(Step { text: line, rows: 0 });
        } else if let (Some(removed), Some(last)) =
            (number(&line, "Removed by Filter: "), steps.last_mut())
        {
            last.rows += removed;
        }
    }
    steps
}

async fn prepared() -> Option<(TestDatabase, PgConnection, Sql)> {
    let database = TestDatabase::postgres(PostgresVariant::default())?;
    database.create_base_table(BaseTable::Ibexa, "ezdfsfile");
    database.run(SIDE);
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    let options = ServerOptions {
        password: Some(Password::new(database.password())),
        tls: Tls::Off,
        ..ServerOptions::new(host.clone(), database.user(), database.database())
    };
    let mut conn = Postgres::connect(&options, &host).await.unwrap();
    for text in ROWS {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
    }
    let sql = Postgres::sql(&mut conn, "ezdfsfile").await.unwrap();
    Some((database, conn, sql))
}

async fn text(conn: &mut PgConnection, query: &'static str) -> String {
    sqlx::query(query).fetch_one(conn).await.unwrap().get(0)
}

/// The directory that most of this is asked about, and a path in it.
const DIR: &str = "SELECT md5('var/d7')";
const FILE: &str = "SELECT md5('var/d7/f0007')";

#[tokio::test]
async fn no_statement_reads_much_more_than_it_answers() {
    let Some((_database, mut conn, sql)) = prepared().await else { return };
    let dir = text(&mut conn, DIR).await;
    let file = text(&mut conn, FILE).await;
    // Near the end of what is walked in the order of hashes.
    let late = "f0000000000000000000000000000000";
    let some = vec![file.clone()];
    let statements: Vec<(&str, &Statement, Vec<Param>)> = vec![
        ("record", &sql.record, params![file.clone()]),
        ("list", &sql.list, params![dir.clone(), "f0100", PAGE]),
        ("scan_all", &sql.scan_all, params![late, PAGE]),
        ("walk", &sql.walk, params![late, PAGE]),
        ("orphans", &sql.orphans, params![late, PAGE]),
        ("files_in", &sql.files_in, params![dir.clone(), "", PAGE]),
        ("bases", &sql.bases, params![some.clone()]),
        ("nodes_change", &sql.nodes_change, params![some.clone()]),
        ("has_subdir", &sql.has_subdir, params![dir.clone()]),
        ("due_lease", &sql.due_lease, params!["var", "held", 100, PAGE]),
        ("due_queue", &sql.due_queue, params!["var", 100, PAGE]),
        ("todo_numbers", &sql.todo_numbers, params![PAGE]),
        ("foreign_waits", &sql.foreign_waits, vec![]),
    ];
    for (name, statement, params) in statements {
        let steps = run(&mut conn, statement, params).await;
        assert!(!steps.is_empty(), "{name}");
        // All that comes behind `late` is 500 rows, and all of a directory is 200.
        let most = steps.iter().map(|step| step.rows).max().unwrap_or_default();
        assert!(most <= 600, "{name} reads {most} rows: {steps:#?}");
    }
}

/// The steps of a page that ask the base table's key.
fn by_key(steps: &[Step]) -> u64 {
    let key = steps.iter().filter(|s| s.text.contains("ezdfsfile_pkey"));
    key.map(|s| s.rows).sum()
}

#[tokio::test]
async fn a_page_finds_base_rows_where_they_lie() {
    let Some((_database, mut conn, sql)) = prepared().await else { return };
    let dir = text(&mut conn, DIR).await;
    let page = || params![dir.clone(), "", PAGE];
    assert_eq!(by_key(&run(&mut conn, &sql.list, page()).await), 0, "all lie where they lay");
    // PHP writes one of them, and one that is not on the page; the place of a third is another's.
    let moved = "UPDATE ezdfsfile SET mtime = 2 WHERE name IN ('var/d7/f0007', 'var/d7/f7967')";
    sqlx::raw_sql(moved).execute(&mut conn).await.unwrap();
    let another = "UPDATE ezdfs_node SET base_tid = (SELECT ctid FROM ezdfsfile \
         WHERE name = 'var/d8/f0008') WHERE path_hash = md5('var/d7/f0047')";
    sqlx::raw_sql(another).execute(&mut conn).await.unwrap();
    assert_eq!(by_key(&run(&mut conn, &sql.list, page()).await), 2, "those are found by the key");
    let (statement, params) = sql.list.render(page());
    let rows = query(statement, params).fetch_all(&mut conn).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected: Vec<String> = (0..50).map(|n| format!("var/d7/f{:04}", n * 40 + 7)).collect();
    assert_eq!(names, expected, "each with its own base row");
    let times: Vec<i64> = rows.iter().map(|row| row.get(4)).collect();
    assert_eq!(times[..2], [2, 1], "and with what was written last");
}
