//! `BinaryStore`: an object store with its key prefix and capabilities, and the few calls that the
//! engine makes on it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{
    Capabilities, CloudSide, DirPath, Error, ErrorKind, FilePath, KeyPrefix, Pin, Result,
    Timestamp, Token,
};
use object_store::path::Path as ObjectKey;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt as _,
    RenameOptions, RenameTargetMode,
};

/// Where the bytes of a store live.
#[derive(Debug, Clone)]
pub struct BinaryStore {
    /// Handler name of the configuration, for messages.
    pub name: String,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// What stands before each path in the object key.
    pub prefix: KeyPrefix,
    /// What the store can do, as far as that was known when it was opened: see
    /// [`Self::capabilities`].
    pub capabilities: Capabilities,
    /// What only a cloud has.
    pub side: CloudSide,
    /// Longest silence of the store before a call counts as failed.
    pub io_timeout: Duration,
}

/// What a store says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Identity.
    pub pin: Option<Pin>,
    /// Bytes.
    pub size: u64,
    /// Last change, in the store's time.
    pub mtime: Timestamp,
    /// The token of the version, where attributes travel with the object.
    pub token: Option<Token>,
}

impl BinaryStore {
    /// What the store can do, as far as that is known by now.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let conditions = self.side.probed.get().unwrap_or(self.capabilities.conditions);
        Capabilities { conditions, ..self.capabilities }
    }

    /// The literal key of a path.
    ///
    /// # Errors
    /// [`ErrorKind::NameTooLong`] above what the store allows.
    pub fn key(&self, path: &FilePath) -> Result<ObjectKey> {
        self.prefix.key(path, self.capabilities.max_key_bytes)
    }

    /// The key below which the objects of a directory lie; `None` for everything.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn dir_key(&self, dir: &DirPath) -> Result<Option<ObjectKey>> {
        self.prefix.dir_key(dir, self.capabilities.max_key_bytes)
    }

    /// The limbo key of a piece of work.
    ///
    /// # Errors
    /// Never for a valid prefix.
    pub fn limbo_key(&self, token: Token) -> Result<ObjectKey> {
        self.prefix.reserved_key(&format!("limbo/{token}"))
    }

    /// Attributes of a new object; empty on stores that keep none.
    pub(crate) fn attributes(&self, datatype: &str, token: Token) -> Attributes {
        let mut attributes = Attributes::new();
        if self.capabilities.attributes {
            attributes.insert(Attribute::ContentType, datatype.to_owned().into());
            attributes
                .insert(Attribute::Metadata(TOKEN_ATTRIBUTE.into()), token.to_string().into());
        }
        attributes
    }

    /// Asks for an object; `None` when there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.bounded("HEAD", key, self.store.get_opts(key, options)).await {
            Ok(found) => Ok(Some(info(&found))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens an object, pinned where the pin is known. The answer may still carry another pin,
    /// because some stores ignore `If-Match`: the caller compares.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::PreconditionFailed`] when the pin differs, or a
    /// storage fault.
    pub(crate) async fn get(
        &self,
        key: &ObjectKey,
        pin: Option<&Pin>,
        range: Option<Range<u64>>,
    ) -> Result<GetResult> {
        let options = GetOptions {
            if_match: pin.and_then(|p| p.etag().map(str::to_owned)),
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        self.bounded("GET", key, self.store.get_opts(key, options)).await
    }

    /// Moves an object without replacing anything; `false` when there is nothing to move.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when the target exists, or a storage fault.
    pub(crate) async fn move_new(&self, from: &ObjectKey, to: &ObjectKey) -> Result<bool> {
        let options = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
        match self.bounded("rename", from, self.store.rename_opts(from, to, options)).await {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Moves an object over whatever is at the target.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing to move, or a storage fault.
    pub(crate) async fn move_over(&self, from: &ObjectKey, to: &ObjectKey) -> Result<()> {
        self.bounded("rename", from, self.store.rename_opts(from, to, RenameOptions::new())).await
    }

    /// Copies an object over whatever is at the target.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing to copy, or a storage fault.
    pub(crate) async fn copy_over(&self, from: &ObjectKey, to: &ObjectKey) -> Result<()> {
        let copy = self.store.copy_opts(from, to, object_store::CopyOptions::new());
        self.bounded("copy", from, copy).await
    }

    /// Deletes an object; a missing one is no error.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn delete(&self, key: &ObjectKey) -> Result<()> {
        match self.bounded("DELETE", key, self.store.delete(key)).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn bounded<T>(
        &self,
        what: &str,
        key: &ObjectKey,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.io_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(e)) => {
                Err(Error::from(e).context(format_args!("{what} {key} on `{}`", self.name)))
            }
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!("{what} {key} on `{}`: no answer in {:?}", self.name, self.io_timeout),
            )),
        }
    }
}

/// What a GET or HEAD says of its object.
pub(crate) fn info(found: &GetResult) -> ObjectInfo {
    let token = found
        .attributes
        .get(&Attribute::Metadata(TOKEN_ATTRIBUTE.into()))
        .and_then(|v| v.parse().ok());
    ObjectInfo {
        pin: Pin::new(found.meta.e_tag.as_deref(), found.meta.version.as_deref()),
        size: found.meta.size,
        mtime: Timestamp::from_nanos(
            found.meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
        ),
        token,
    }
}
