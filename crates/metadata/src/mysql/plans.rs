//! No statement of a hot path reads a whole table, whatever collation the base table has. Asked of a
//! real server.

#![allow(clippy::unwrap_used, clippy::panic)]

use ezdfs_testkit::TestDatabase;
use ezdfs_testkit::servers::{BaseTable, MariaVariant};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Mysql, query};
use crate::server::dialect::Dialect as _;
use crate::server::statement::{Param, Statement, params};
use crate::server::{Host, Password, ServerOptions, Tls};

const SIDE: &str = include_str!("../../../../schema/mysql/side.sql");
const HASH: &str = "00000000000000000000000000000007";

/// Some thousands of rows in each table: files in 40 directories, few of them hidden, few that
/// expire; many queued reaps and few holds.
const ROWS: [&str; 7] = [
    "CREATE TABLE numbers WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r \
     WHERE n < 4000) SELECT n FROM r",
    "INSERT INTO ezdfsfile (name, name_trunk, name_hash, size, mtime, expired) \
     SELECT CONCAT('var/d', n MOD 40, '/f', n), '', MD5(CONCAT('var/d', n MOD 40, '/f', n)), n, \
     IF(n MOD 100 = 0, -1, 1), n MOD 100 = 0 FROM numbers",
    "INSERT INTO ezdfs_node (path_hash, parent_hash, basename, kind, mtime_ns, ctime_ns, \
     expires_at) SELECT MD5(CONCAT('var/d', n MOD 40, '/f', n)), MD5(CONCAT('var/d', n MOD 40)), \
     CONCAT('f', n), 'file', 1, 1, IF(n MOD 50 = 0, n, NULL) FROM numbers",
    "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
     hold, lease_end, not_before) SELECT 'reap', 'var', CONCAT('d/f', n), MD5(n), 0, \
     MD5(CONCAT('t', n)), 'me', IF(n MOD 500 = 0, 'held', 'queued'), \
     IF(n MOD 500 = 0, MD5(n), NULL), n, n FROM numbers",
    "INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at) SELECT 'insert', MD5(n), \
     CONCAT('var/d/f', n), IF(n MOD 100 = 0, NULL, 'me'), IF(n MOD 100 = 0, 1, NULL), n FROM numbers",
    "DROP TABLE numbers",
    "ANALYZE TABLE ezdfsfile, ezdfs_node, ezdfs_pending, ezdfs_change",
];

/// What the server would do: a line for each table.
async fn plan(conn: &mut MySqlConnection, statement: &Statement, params: Vec<Param>) -> Vec<Step> {
    let (text, params) = statement.render(params);
    let rows = query(format!("EXPLAIN {text}").into(), params).fetch_all(conn).await.unwrap();
    let text = |row: &sqlx::mysql::MySqlRow, column: &str| {
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(column).unwrap();
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    };
    let step = |row| Step {
        table: text(row, "table"),
        access: text(row, "type"),
        key: text(row, "key"),
        extra: text(row, "Extra"),
    };
    rows.iter().map(step).collect()
}

#[derive(Debug)]
struct Step {
    table: String,
    access: String,
    key: String,
    extra: String,
}

impl Step {
    /// Whether it is one of the tables that grow.
    fn is_of_a_table(&self) -> bool {
        ["b", "n", "p", "c", "w", "y"].contains(&self.table.as_str())
            || self.table.starts_with("ezdfs")
    }
}

async fn check(base: BaseTable) {
    let Some(database) = TestDatabase::mariadb(MariaVariant::default()) else { return };
    database.create_base_table(base, "ezdfsfile");
    database.run(SIDE);
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    let options = ServerOptions {
        password: Some(Password::new(database.password())),
        tls: Tls::Off,
        ..ServerOptions::new(host.clone(), database.user(), database.database())
    };
    let mut conn = Mysql::connect(&options, &host).await.unwrap();
    for text in ROWS {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
    }
    let sql = Mysql::sql(&mut conn, "ezdfsfile").await.unwrap();
    let some: Vec<String> = (0..5).map(|n| format!("{n:032}")).collect();
    let above = some.clone();
    let place = || params![HASH, above.clone(), true, "var", "d/", "d0"];
    let below = |limit: i64| params!["", "var/d7/", "var/d70", "var/d7", limit];
    let node = || {
        let mut all = params![HASH, HASH, "f", "file"];
        all.extend((5..=15).map(|_| Param::Int(1)));
        all
    };
    let statements: Vec<(&str, &Statement, Vec<Param>)> = vec![
        ("record", &sql.record, params![HASH]),
        ("list", &sql.list, params![HASH, "f", 10]),
        ("scan", &sql.scan, below(10)),
        ("scan_all", &sql.scan_all, params![HASH, 10]),
        ("tombstones", &sql.tombstones, below(10)),
        ("expired", &sql.expired, params![500, true, "var/", "var0", 10]),
        ("intents_on", &sql.intents_on, params![HASH, above.clone()]),
        ("intents_of", &sql.intents_of, params![HASH]),
        ("due_lease", &sql.due_lease, params!["var", "held", 100, 10]),
        ("due_queue", &sql.due_queue, params!["var", 100, 10]),
        ("foreign_waits", &sql.foreign_waits, vec![]),
        ("nodes_change", &sql.nodes_change, params![some.clone()]),
        ("nodes_keep", &sql.nodes_keep, params![some.clone()]),
        ("bases", &sql.bases, params![some.clone()]),
        ("bases_change", &sql.bases_change, params![some.clone()]),
        ("unseen_below", &sql.unseen_below, params!["var/d7/", "var/d70", "", 10]),
        ("files_in", &sql.files_in, params![HASH, "", 10]),
        ("hide_base", &sql.hide_base, params![HASH, "var/a"]),
        ("delete_base", &sql.delete_base, params![HASH, "var/a"]),
        ("delete_node_of", &sql.delete_node_of, params![HASH, "file", HASH, "f"]),
        ("update_node", &sql.update_node, node()),
        ("delete_nodes", &sql.delete_nodes, params![some.clone()]),
        ("empty_dirs", &sql.empty_dirs, params![HASH]),
        ("has_subdir", &sql.has_subdir, params![HASH]),
        ("touch_dirs", &sql.touch_dirs, params![some.clone(), 5, 4]),
        ("count_holds", &sql.count_holds, params![HASH, vec!["held".to_owned()]]),
        ("blocker", &sql.blocker, place()),
        ("end_hold", &sql.end_hold, params![HASH]),
        ("keep_hold", &sql.keep_hold, params![HASH]),
        ("renew", &sql.renew, params![HASH, 5]),
        ("forget", &sql.forget, params![5]),
        ("todo_numbers", &sql.todo_numbers, params![10]),
        ("todo", &sql.todo, params![vec![1_i64, 2, 3]]),
        ("own_changes", &sql.own_changes, params![3_990, some.clone()]),
        ("todo_done", &sql.todo_done, params![vec![1_i64, 2, 3]]),
        ("trim", &sql.trim, params![vec![1_i64, 2, 3]]),
        ("walk", &sql.walk, params![HASH, 10]),
        ("orphans", &sql.orphans, params![HASH, 10]),
    ];
    for (name, statement, params) in statements {
        let steps = plan(&mut conn, statement, params).await;
        let reads: Vec<&Step> = steps.iter().filter(|s| s.is_of_a_table()).collect();
        assert!(!steps.is_empty(), "{name}");
        for step in reads {
            let walks = ["ALL", "index"].contains(&step.access.as_str());
            assert!(!walks && !step.key.is_empty(), "{base:?}: {name} walks: {steps:#?}");
            // From one side to the other by a unique key, in both directions.
            let is_joined = ["record", "list", "scan", "expired", "files_in", "walk", "orphans"];
            let is_inner = match name {
                "list" | "expired" | "files_in" | "orphans" => step.table == "b",
                _ => step.table == "n",
            };
            if is_joined.contains(&name) && is_inner {
                let by_key = ["const", "eq_ref"].contains(&step.access.as_str());
                assert!(by_key, "{base:?}: {name} joins without a key: {steps:#?}");
            }
        }
        // A page comes out of its index in order, and ends there.
        let sorts = steps.iter().any(|s| s.extra.contains("filesort"));
        let paged =
            ["record", "list", "scan_all", "expired", "files_in", "todo", "walk", "orphans"];
        assert!(!sorts || !paged.contains(&name), "{base:?}: {name} sorts: {steps:#?}");
    }
}

#[tokio::test]
async fn on_ibexas_table() {
    check(BaseTable::Ibexa).await;
}

#[tokio::test]
async fn on_a_table_of_the_servers_default() {
    check(BaseTable::IbexaGeneralCi).await;
}

#[tokio::test]
async fn on_a_table_of_ez_publish() {
    check(BaseTable::Legacy).await;
}
