//! The most frequent change in one round trip, where the dialect has a statement for it.

use ezdfs_core::{Change, FilePath, Guard, NewFile, Op, Timestamp, Token};

use super::Server;
use super::bind;
use super::dialect::Dialect;
use super::statement::params;
use super::write::number;
use crate::change::{TOUCH_EVERY, check_new_file, rows_of};
use crate::place::below;

/// The one shape of a change that the statement is for.
fn shape(change: &Change) -> Option<(Token, &FilePath, &NewFile)> {
    let [Guard::Holds(held)] = change.guards.as_slice() else { return None };
    let [Op::PutFile { path, file }, Op::EndHold { token, keep: false }] = change.ops.as_slice()
    else {
        return None;
    };
    (held == token).then_some((*token, path, file))
}

impl<D: Dialect> Server<D> {
    /// Whether the change was made. `false`: nothing was done, and the longer way decides.
    pub(super) async fn publish(
        &self,
        conn: &mut D::Conn,
        change: &Change,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let (Some(statement), false) = (&self.sql.publish, self.is_degraded) else {
            return Ok(false);
        };
        let Some((token, path, file)) = shape(change) else { return Ok(false) };
        // Files in the root of a store have no directory row.
        if path.ancestors().next().is_none() || check_new_file(path, file).is_err() {
            return Ok(false);
        }
        let name = self.options.prefix.name(path);
        let (base, node) = rows_of(&name, path, file, None, now);
        let (low, high) = below(name.as_str()).unwrap_or_default();
        let mut all = bind::node(name.hash(), &node);
        all.extend(params![
            token.to_string(),
            name.as_str(),
            base.datatype,
            base.scope,
            now.minus(TOUCH_EVERY).nanos(),
            low,
            high,
        ]);
        let done = D::fetch(conn, statement, all).await?;
        Ok(done.first().map(|row| number(row, 0)).transpose()?.unwrap_or_default() > 0)
    }
}
