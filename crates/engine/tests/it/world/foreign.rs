//! What PHP does.

use bytes::Bytes;
use ezdfs_core::Clock as _;
use ezdfs_testkit::SqliteForeignWriter;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectKey;

use super::{DATABASE, PREFIX, TABLE, World};

impl World {
    /// Writes an object as PHP does: without a token, in place of whatever is there.
    pub(crate) async fn php_object(&self, at: &str, bytes: impl Into<Bytes>) {
        let key = ObjectKey::parse(at).unwrap();
        self.objects.put(&key, bytes.into().into()).await.unwrap();
    }

    /// Inserts or updates a row as Ibexa does.
    pub(crate) async fn php_row(&self, at: &str, size: usize) {
        let (name, size) = (format!("{PREFIX}/{at}"), u64::try_from(size).unwrap());
        self.foreign.store(&name, size, self.clock.now().secs(), "text/plain").await;
    }

    /// Ibexa's create: bytes first, row second.
    pub(crate) async fn php_create(&self, at: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let size = bytes.len();
        self.php_object(at, bytes).await;
        self.php_row(at, size).await;
    }

    /// Ibexa's delete: row first, bytes second.
    pub(crate) async fn php_delete(&self, at: &str) {
        self.foreign.delete(&format!("{PREFIX}/{at}")).await;
        match self.objects.delete(&ObjectKey::parse(at).unwrap()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// Statements on the database of the embedded default.
    pub(crate) async fn sql(&self) -> SqliteForeignWriter {
        assert!(self.backend.sqlite);
        SqliteForeignWriter::connect(&self.dir.path().join(DATABASE), TABLE).await
    }
}
