//! Rows of a database as our types. Foreign writers may have stored anything: what has no meaning is
//! read as its nearest harmless value, and never as an error that would hide other rows.

use ezdfs_core::{
    Attrs, BaseRow, Error, ErrorKind, FilePath, Intent, IntentId, IntentKind, IntentState, Member,
    MemberState, NameHash, NodeKind, NodeRow, Pin, Result, Timestamp, Work,
};

use crate::rows::Stored;

/// First column behind those of base and node row.
pub(crate) const BEHIND: usize = 21;

/// Where the basename of the node row stands.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) const BASENAME: usize = 7;

/// A row, read by position, whatever types the columns say they have: statements cast where the
/// representation would differ.
pub(crate) trait Fields {
    /// A whole number.
    fn int(&self, at: usize) -> Result<Option<i64>, sqlx::Error>;
    /// Text or bytes, as they are.
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error>;
}

/// The same for the rows of every database.
macro_rules! fields {
    ($row:ty) => {
        impl $crate::decode::Fields for $row {
            fn int(&self, at: usize) -> Result<Option<i64>, sqlx::Error> {
                sqlx::Row::try_get_unchecked(self, at)
            }

            fn bytes(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error> {
                sqlx::Row::try_get_unchecked(self, at)
            }
        }
    };
}
pub(crate) use fields;

pub(crate) fn int(row: &impl Fields, at: usize) -> Result<Option<i64>, sqlx::Error> {
    row.int(at)
}

pub(crate) fn text(row: &impl Fields, at: usize) -> Result<Option<String>, sqlx::Error> {
    // PHP stores bytes that are no UTF-8 as they are; such a name is never one of ours.
    Ok(row.bytes(at)?.map(|b| String::from_utf8_lossy(b).into_owned()))
}

/// The base row's name as it is stored, for cursors.
#[cfg(feature = "sqlite")]
pub(crate) fn name_bytes(row: &impl Fields) -> Result<Vec<u8>, sqlx::Error> {
    Ok(row.bytes(0)?.unwrap_or_default().to_vec())
}

/// Base and node row at the start of a row.
pub(crate) fn stored(row: &impl Fields) -> Result<Stored, sqlx::Error> {
    Ok(Stored { base: base(row)?, node: node(row)? })
}

fn base(row: &impl Fields) -> Result<Option<BaseRow>, sqlx::Error> {
    let Some(name) = text(row, 0)? else { return Ok(None) };
    Ok(Some(BaseRow {
        name,
        datatype: text(row, 1)?.unwrap_or_default(),
        scope: text(row, 2)?.unwrap_or_default(),
        size: int(row, 3)?.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        mtime: int(row, 4)?.unwrap_or_default(),
        // NULL is not "not true": PHP's condition hides such a row.
        expired: int(row, 5)? != Some(0),
    }))
}

fn node(row: &impl Fields) -> Result<Option<NodeRow>, sqlx::Error> {
    let Some(kind) = text(row, 8)? else { return Ok(None) };
    // A kind of a newer version.
    let Some(kind) = NodeKind::from_row(&kind) else { return Ok(None) };
    let parent = text(row, 6)?.unwrap_or_default();
    let parent: NameHash = parent.parse().map_err(|e: Error| sqlx::Error::Decode(Box::new(e)))?;
    let unsigned = |at| Ok::<_, sqlx::Error>(int(row, at)?.and_then(|n| u32::try_from(n).ok()));
    let nanos = |at| Ok::<_, sqlx::Error>(Timestamp::from_nanos(int(row, at)?.unwrap_or_default()));
    Ok(Some(NodeRow {
        parent,
        basename: text(row, 7)?.unwrap_or_default(),
        kind,
        attrs: Attrs {
            ino: int(row, 9)?.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
            mode: unsigned(10)?,
            uid: unsigned(11)?,
            gid: unsigned(12)?,
            ctime: nanos(14)?,
        },
        mtime: nanos(13)?,
        pin: text(row, 15)?.map(|p| Pin::from_row(&p)),
        token: text(row, 16)?.and_then(|t| t.parse().ok()),
        sha256: text(row, 17)?.and_then(|t| t.parse().ok()),
        expires: int(row, 18)?.map(Timestamp::from_millis),
        base_size: int(row, 19)?.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        base_mtime: int(row, 20)?.unwrap_or_default(),
    }))
}

/// As written to `ezdfs_pending.state`.
pub(crate) fn state_text(state: IntentState) -> &'static str {
    match state {
        IntentState::Held => "held",
        IntentState::Ended => "ended",
        IntentState::Queued => "queued",
    }
}

/// A pending row.
///
/// # Errors
/// [`ErrorKind::Corrupt`]: a row that this version did not write. It is not passed over, because
/// it may hold a path.
pub(crate) fn intent(row: &impl Fields) -> Result<Intent> {
    let id = int(row, 0).ok().flatten().unwrap_or_default();
    try_intent(row, id).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("row {id} of ezdfs_pending makes no sense"))
            .with_source(e)
    })
}

fn try_intent(
    row: &impl Fields,
    id: i64,
) -> Result<Intent, Box<dyn std::error::Error + Send + Sync>> {
    let want = |at| text(row, at)?.ok_or_else(|| sqlx::Error::Decode("a column is NULL".into()));
    let number = |at| int(row, at)?.ok_or_else(|| sqlx::Error::Decode("a column is NULL".into()));
    let path: FilePath = want(2)?.parse()?;
    let state = match want(6)?.as_str() {
        "held" => IntentState::Held,
        "ended" => IntentState::Ended,
        "queued" => IntentState::Queued,
        other => return Err(format!("`{other}` is no state").into()),
    };
    let pin = text(row, 14)?.map(|p| Pin::from_row(&p));
    let kind = want(1)?;
    let work = match IntentKind::from_row(&kind) {
        Some(IntentKind::Publish) => Work::Publish {
            size: u64::try_from(number(9)?)?,
            sha256: want(10)?.parse()?,
            datatype: want(11)?,
            mtime: Timestamp::from_nanos(number(12)?),
            expires: int(row, 13)?.map(Timestamp::from_millis),
            pin,
        },
        Some(IntentKind::Rename) => {
            Work::Rename { to: text(row, 15)?.map(|p| p.parse()).transpose()? }
        }
        Some(IntentKind::Delete) => Work::Delete,
        Some(IntentKind::Reap) => {
            Work::Reap { key: want(16)?, pin, not_before: Timestamp::from_nanos(number(8)?) }
        }
        Some(IntentKind::Repair) => Work::Repair,
        None => return Err(format!("`{kind}` is work of a newer version").into()),
    };
    Ok(Intent {
        id: IntentId(id),
        path,
        subtree: number(3)? != 0,
        token: want(4)?.parse()?,
        owner: want(5)?,
        state,
        lease_end: Timestamp::from_nanos(number(7)?),
        work,
    })
}

// Members, in SQL that every database speaks.

/// ?1 name, ?2 owner, ?3 lease end, ?4 heartbeat, ?5 number of a change, ?6 version.
pub(crate) const RENEW_MEMBER: &str = "UPDATE ezdfs_lease SET owner = ?2, lease_end = ?3, \
     heartbeat = ?4, feed_seq = ?5, version = ?6 WHERE node = ?1 AND lock_hash IS NULL";
/// The same.
pub(crate) const ADD_MEMBER: &str = "INSERT INTO ezdfs_lease \
     (node, owner, lease_end, heartbeat, feed_seq, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// ?1 lease end.
pub(crate) const FORGET_MEMBERS: &str =
    "DELETE FROM ezdfs_lease WHERE lock_hash IS NULL AND lease_end < ?1";
/// ?1 name.
pub(crate) const LEAVE: &str = "DELETE FROM ezdfs_lease WHERE node = ?1 AND lock_hash IS NULL";
/// As [`member`] reads them; by name, the latest first.
pub(crate) const MEMBERS: &str = "SELECT node, owner, version, heartbeat, lease_end, feed_seq, \
     (SELECT max(seq) FROM ezdfs_change) FROM ezdfs_lease WHERE lock_hash IS NULL \
     ORDER BY node, heartbeat DESC";

/// The column `feed_seq`; 0 for a member that follows no feed.
pub(crate) fn feed_seq(member: &Member) -> i64 {
    member.feed_seq.map_or(0, |seq| i64::try_from(seq).unwrap_or(i64::MAX))
}

/// A row of [`MEMBERS`].
pub(crate) fn member(row: &impl Fields) -> Result<MemberState, sqlx::Error> {
    let number = |at| Ok::<_, sqlx::Error>(int(row, at)?.unwrap_or_default());
    let word = |at| Ok::<_, sqlx::Error>(text(row, at)?.unwrap_or_default());
    let feed_seq = u64::try_from(number(5)?).ok().filter(|seq| *seq > 0);
    let last = u64::try_from(number(6)?).unwrap_or_default();
    Ok(MemberState {
        member: Member { name: word(0)?, owner: word(1)?, version: word(2)?, feed_seq },
        heartbeat: Timestamp::from_nanos(number(3)?),
        lease_end: Timestamp::from_nanos(number(4)?),
        feed_lag: feed_seq.map(|seq| last.saturating_sub(seq)),
    })
}
