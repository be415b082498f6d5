//! `probe`: which conditional requests a store honours. Some accept them and do as they please, so
//! each is tried on a throw-away object below `.ezdfs/probe/`, with a condition that holds and with
//! one that does not.

use ezdfs_core::{Conditions, KeyPrefix, Pin, Replaces, Token};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectKey;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    PutResult, Result, UpdateVersion,
};

use super::store::CloudStore;
use super::upload::complete_on;

/// Tries them all; leaves nothing behind, unless the store fails half-way. `parts`: where an upload
/// in parts can be completed on a condition.
///
/// # Errors
/// When the store does not answer, or does not let this user write.
pub(super) async fn probe(
    store: &CloudStore,
    prefix: &KeyPrefix,
    token: Token,
    parts: Option<&dyn MultipartStore>,
) -> Result<Conditions> {
    let key = prefix
        .reserved_key(&format!("probe/{token}"))
        .map_err(|e| Error::Generic { store: "ezdfs", source: Box::new(e) })?;
    let found = conditions(store, &key, parts).await;
    let deleted = store.delete(&key).await;
    let found = found?;
    deleted.map(|()| found)
}

async fn conditions(
    store: &CloudStore,
    key: &ObjectKey,
    parts: Option<&dyn MultipartStore>,
) -> Result<Conditions> {
    let first = put(store, key, "1", PutMode::Create).await?;
    let put_absent = is_refused(put(store, key, "2", PutMode::Create).await)?;
    let now = match put_absent {
        true => first.clone(),
        false => put(store, key, "3", PutMode::Overwrite).await?,
    };
    let next = match put(store, key, "4", PutMode::Update(version(&now))).await {
        Ok(next) => Some(next),
        // Ceph RGW 16 refuses the right etag as well.
        Err(Error::Precondition { .. } | Error::NotImplemented { .. } | Error::Generic { .. }) => {
            None
        }
        Err(e) => return Err(e),
    };
    let put_match = match &next {
        Some(_) => is_refused(put(store, key, "5", PutMode::Update(version(&now))).await)?,
        None => false,
    };
    let options = GetOptions { if_match: now.e_tag.clone(), ..GetOptions::default() };
    let get_match = match &next {
        Some(_) => is_refused(store.get_opts(key, options).await)?,
        None => false,
    };
    let (complete_absent, complete_match) = match parts {
        Some(parts) => on_completion(store, parts, key, &now).await?,
        None => (false, false),
    };
    let versions = first.version.is_some();
    Ok(Conditions {
        known: true,
        put_absent,
        put_match,
        complete_absent,
        complete_match,
        get_match,
        versions,
    })
}

/// `If-None-Match` and `If-Match` on completion; `stale` is a version that is there no more.
async fn on_completion(
    store: &CloudStore,
    parts: &dyn MultipartStore,
    key: &ObjectKey,
    stale: &PutResult,
) -> Result<(bool, bool)> {
    let absent = is_refused(complete_on(parts, key, Replaces::Nothing).await)?;
    let there = store.head(key).await?;
    let (Some(stale), Some(there)) = (
        Pin::new(stale.e_tag.as_deref(), stale.version.as_deref()),
        Pin::new(there.e_tag.as_deref(), there.version.as_deref()),
    ) else {
        return Ok((absent, false));
    };
    if stale == there || !is_refused(complete_on(parts, key, Replaces::Version(stale)).await)? {
        return Ok((absent, false));
    }
    match complete_on(parts, key, Replaces::Version(there)).await {
        Ok(_) => Ok((absent, true)),
        Err(Error::Precondition { .. } | Error::NotImplemented { .. } | Error::Generic { .. }) => {
            Ok((absent, false))
        }
        Err(e) => Err(e),
    }
}

async fn put(
    store: &CloudStore,
    key: &ObjectKey,
    bytes: &'static str,
    mode: PutMode,
) -> Result<PutResult> {
    let options = PutOptions { mode, ..PutOptions::default() };
    store.put_opts(key, PutPayload::from_static(bytes.as_bytes()), options).await
}

fn version(put: &PutResult) -> UpdateVersion {
    UpdateVersion { e_tag: put.e_tag.clone(), version: put.version.clone() }
}

/// Whether a request was refused for its condition; other refusals are errors.
fn is_refused<T>(answer: Result<T>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(false),
        Err(
            Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotModified { .. },
        ) => Ok(true),
        // Some say that they do not know the header (501), which is as good as ignoring it. If it is
        // the store that failed, the delete at the end fails as well.
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. } | Error::Generic { .. }) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}
