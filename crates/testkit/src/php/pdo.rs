//! `PdoNode`: an Ibexa node in PHP, with PHP's own database drivers and file functions.

use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use ezdfs_core::{BaseRow, NameHash};
use ezdfs_metadata::memory::ForeignRow;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::{BinaryPathError, IbexaNode, LoadedBinary, NewBinary, NodeError};
use crate::foreign_writer::{ForeignError, ForeignWriter, ibexa_row};
use crate::servers::{ServerKind, TestDatabase};
use crate::skip::skipped;

const SCRIPT: &str = include_str!("ibexa_mimic.php");

/// A PHP process with one database connection. Calls go one after the other, as in PHP; several
/// nodes are several processes. It ends with this value.
#[derive(Debug)]
pub struct PdoNode(Mutex<Process>);

#[derive(Debug)]
struct Process {
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    // Killed when dropped.
    _child: Child,
}

impl PdoNode {
    /// Starts PHP with the base table `table`; `root` and `prefix` as in
    /// [`PhpNode::new`](super::PhpNode::new). `None` without PHP or its driver, after saying so.
    ///
    /// # Panics
    /// When PHP cannot connect, or is missing with `EZDFS_REQUIRE=all`.
    pub async fn start(
        database: &TestDatabase,
        table: &str,
        root: &Path,
        prefix: &str,
    ) -> Option<Self> {
        let (driver, package) = match database.kind() {
            ServerKind::Mariadb => ("mysql", "php-mysql"),
            ServerKind::Postgres => ("pgsql", "php-pgsql"),
        };
        if !has_driver(driver).await {
            let why = format!("php with pdo_{driver} is missing (packages php-cli, {package})");
            skipped("a test with PHP", &why);
            return None;
        }
        let mut child = Command::new("php")
            .args(["-d", "display_errors=stderr", "-d", "error_reporting=-1", "-r"])
            .arg(SCRIPT.strip_prefix("<?php").expect("a PHP script"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("php starts");
        let stdin = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let node = Self(Mutex::new(Process { stdin, answers, _child: child }));
        // On stdin, for everybody can read arguments.
        let settings = json!({
            "driver": driver, "host": database.host(), "port": database.port(),
            "user": database.user(), "password": database.password(),
            "database": database.database(), "table": table, "prefix": prefix, "root": root,
        });
        node.call(&settings).await.expect("PHP connects");
        Some(node)
    }

    /// Begins a transaction: the statements that follow are of it. With the content connection
    /// for its files, Ibexa writes rows inside of content transactions.
    pub async fn begin(&self) {
        self.call(&json!({"op": "begin"})).await.expect("begin");
    }

    /// Commits.
    pub async fn commit(&self) {
        self.call(&json!({"op": "commit"})).await.expect("commit");
    }

    /// Rolls back.
    pub async fn rollback(&self) {
        self.call(&json!({"op": "rollback"})).await.expect("rollback");
    }

    /// One line there, one line back.
    async fn call(&self, call: &Value) -> Result<Value, NodeError> {
        let mut process = self.0.lock().await;
        let line = format!("{call}\n");
        process.stdin.write_all(line.as_bytes()).await.expect("PHP reads");
        let answer = process.answers.next_line().await.expect("PHP writes");
        let answer = answer.expect("PHP is alive; its last words are on stderr");
        let mut answer: Value = serde_json::from_str(&answer).expect("PHP writes JSON");
        let Some(error) = answer.get("error").and_then(Value::as_str) else {
            return Ok(answer.get_mut("ok").map(Value::take).unwrap_or_default());
        };
        let text = |key| answer.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").unwrap_or_default();
        Err(match error {
            "NotFound" => NodeError::NotFound,
            "CorruptedPath" => BinaryPathError::Corrupted.into(),
            "PathTraversal" => BinaryPathError::Traversal.into(),
            "Database" => ForeignError { sqlstate: text("sqlstate"), message }.into(),
            // Warnings of file functions.
            "ErrorException" | "RuntimeException" => std::io::Error::other(message).into(),
            other => panic!("the PHP script failed: {other}: {message}"),
        })
    }

    /// A call that nothing but the database can fail.
    async fn rows(&self, call: Value) -> Result<Value, ForeignError> {
        self.call(&call).await.map_err(|e| match e {
            NodeError::Database(e) => e,
            other => panic!("{call}: {other}"),
        })
    }

    async fn by_name(&self, op: &str, name: &str) -> Value {
        let call = json!({"op": op, "name": name});
        self.rows(call).await.unwrap_or_else(|e| panic!("{op} of `{name}`: {e}"))
    }
}

async fn has_driver(driver: &str) -> bool {
    let test = format!("exit(in_array('{driver}', PDO::getAvailableDrivers()) ? 0 : 1);");
    let mut php = Command::new("php");
    php.args(["-r", &test]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    php.status().await.is_ok_and(|s| s.success())
}

#[async_trait]
impl IbexaNode for PdoNode {
    async fn create(&self, id: &str, file: &NewBinary<'_>) -> Result<(), NodeError> {
        let call = json!({
            "op": "create", "id": id, "bytes": hex::encode(file.bytes),
            "size": file.size.to_string(), "mtime": file.mtime, "datatype": file.datatype,
        });
        self.call(&call).await.map(drop)
    }

    async fn load(&self, id: &str) -> Result<LoadedBinary, NodeError> {
        let row = self.call(&json!({"op": "load", "id": id})).await?;
        Ok(LoadedBinary { size: size(&row), mtime: mtime(&row) })
    }

    async fn exists(&self, id: &str) -> Result<bool, NodeError> {
        Ok(self.call(&json!({"op": "exists", "id": id})).await?.as_bool().expect("a boolean"))
    }

    async fn mime_type(&self, id: &str) -> Result<String, NodeError> {
        let answer = self.call(&json!({"op": "mime_type", "id": id})).await?;
        Ok(answer.as_str().expect("text").to_owned())
    }

    async fn contents(&self, id: &str) -> Result<Vec<u8>, NodeError> {
        let answer = self.call(&json!({"op": "contents", "id": id})).await?;
        Ok(hex::decode(answer.as_str().expect("text")).expect("hex"))
    }

    async fn delete(&self, id: &str) -> Result<(), NodeError> {
        self.call(&json!({"op": "delete", "id": id})).await.map(drop)
    }

    async fn delete_directory(&self, id: &str) -> Result<(), NodeError> {
        self.call(&json!({"op": "delete_directory", "id": id})).await.map(drop)
    }

    async fn soft_delete(&self, id: &str) -> Result<(), NodeError> {
        self.call(&json!({"op": "soft_delete", "id": id})).await.map(drop)
    }
}

/// Rows alone, so that suites of foreign writers run with PHP's drivers.
#[async_trait]
impl ForeignWriter for PdoNode {
    async fn store_row(&self, row: &ForeignRow) -> Result<(), ForeignError> {
        self.rows(json!({"op": "row_store", "row": as_json(row)})).await.map(drop)
    }

    async fn legacy_store(&self, name: &str, size: u64, mtime: i64, datatype: &str) {
        let row = as_json(&ibexa_row(name, size, mtime, datatype));
        self.rows(json!({"op": "row_legacy_store", "row": row})).await.expect("legacy store");
    }

    async fn load(&self, name: &str) -> Option<ForeignRow> {
        from_json(&self.by_name("row_load", name).await)
    }

    async fn delete(&self, name: &str) -> bool {
        self.by_name("row_delete", name).await.as_bool().expect("a boolean")
    }

    async fn soft_delete(&self, name: &str) {
        self.by_name("row_soft_delete", name).await;
    }

    async fn purge(&self, name: &str) -> bool {
        self.by_name("row_purge", name).await.as_bool().expect("a boolean")
    }

    async fn delete_directory(&self, name: &str) {
        self.by_name("row_delete_directory", name).await;
    }

    async fn set(&self, hash: NameHash, row: &ForeignRow) {
        let call = json!({"op": "row_set", "hash": hash.to_hex(), "row": as_json(row)});
        self.rows(call).await.expect("set");
    }

    async fn get(&self, hash: NameHash) -> Option<ForeignRow> {
        let call = json!({"op": "row_get", "hash": hash.to_hex()});
        from_json(&self.rows(call).await.expect("get"))
    }
}

fn as_json(row: &ForeignRow) -> Value {
    let base = &row.base;
    json!({
        "name": base.name, "name_trunk": row.name_trunk, "datatype": base.datatype,
        "scope": base.scope, "size": base.size.to_string(), "mtime": base.mtime,
        "expired": base.expired, "status": row.status,
    })
}

fn from_json(row: &Value) -> Option<ForeignRow> {
    if row.is_null() {
        return None;
    }
    let text = |key: &str| row[key].as_str().expect("text").to_owned();
    let flag = |key: &str| row[key].as_bool().expect("a boolean");
    Some(ForeignRow {
        base: BaseRow {
            name: text("name"),
            datatype: text("datatype"),
            scope: text("scope"),
            size: size(row),
            mtime: mtime(row),
            expired: flag("expired"),
        },
        name_trunk: text("name_trunk"),
        status: flag("status"),
    })
}

/// As text, for PHP has no unsigned numbers.
fn size(row: &Value) -> u64 {
    row["size"].as_str().expect("text").parse().expect("a size")
}

fn mtime(row: &Value) -> i64 {
    row["mtime"].as_i64().expect("a number")
}
