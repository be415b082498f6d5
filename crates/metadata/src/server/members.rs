//! Members: one row of `ezdfs_lease` for each long-lived process.

use std::time::Duration;

use ezdfs_core::{Member, MemberState, Result, Timestamp};

use super::Server;
use super::dialect::Dialect;
use super::statement::params;
use crate::decode;

impl<D: Dialect> Server<D> {
    /// Only a process itself writes its row, one time after the other; a row that was inserted twice
    /// by a call whose answer was lost is one member for whoever reads.
    pub(super) async fn announce(
        &self,
        member: &Member,
        lease: Duration,
        remember: Duration,
    ) -> Result<()> {
        let now = self.database_time().await?;
        let row = params![
            member.name.clone(),
            member.owner.clone(),
            now.plus(lease).nanos(),
            now.nanos(),
            decode::feed_seq(member),
            member.version.clone(),
        ];
        if self.change("renew a member", &self.sql.renew_member, row.clone()).await? == 0 {
            self.change("announce a member", &self.sql.add_member, row).await?;
        }
        self.forget(now.minus(remember)).await
    }

    async fn forget(&self, before: Timestamp) -> Result<()> {
        let params = params![before.nanos()];
        self.change("forget members", &self.sql.forget_members, params).await.map(drop)
    }

    pub(super) async fn leave(&self, name: &str) -> Result<()> {
        self.change("leave", &self.sql.leave, params![name]).await.map(drop)
    }

    pub(super) async fn read_members(&self) -> Result<Vec<MemberState>> {
        let what = "list members";
        let rows = self.query(what, &self.sql.members, vec![]).await?;
        let members: std::result::Result<Vec<_>, sqlx::Error> =
            rows.iter().map(decode::member).collect();
        let mut members = members.map_err(|e| self.connections.failed(what, e))?;
        // The latest of each name comes first.
        members.dedup_by(|later, first| later.member.name == first.member.name);
        Ok(members)
    }
}
