//! `Reader`: a file service that reads as any reader of the store does and writes nothing.
//!
//! A reader of the engine may write: it remembers the pins of foreign rows, and reconciles rows
//! with an object that a foreign writer replaced. A migration must leave its source as it found
//! it, and a dry run its target too. So row writes end in an overlay that holds what a reconciled
//! row would be, for the file at hand only, and the object store takes none.

mod objects;
mod rows;

use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, FilePath, OsEntropy};
use ezdfs_engine::{FileService, Parts};

use objects::ReadOnlyObjects;
use rows::Overlay;

/// A file service to read with.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    service: FileService,
    overlay: Option<Arc<Overlay>>,
}

impl Reader {
    /// Reads what `service` reads, without effects.
    pub(crate) fn of(service: &FileService) -> Self {
        let overlay = Arc::new(Overlay::over(service.metadata().clone()));
        let mut binary = service.binary().clone();
        binary.store = Arc::new(ReadOnlyObjects(binary.store));
        // Without it nothing looks into limbo to bring bytes back from there.
        binary.capabilities.atomic_rename = false;
        let parts = Parts {
            metadata: overlay.clone(),
            binary,
            clock: service.clock().clone(),
            entropy: Arc::new(OsEntropy),
        };
        Self { service: FileService::new(parts, *service.options()), overlay: Some(overlay) }
    }

    /// Reads with `service` itself, which repairs what it finds broken: for a side that is written
    /// anyway.
    pub(crate) fn live(service: &FileService) -> Self {
        Self { service: service.clone(), overlay: None }
    }

    /// The service to read with.
    pub(crate) fn service(&self) -> &FileService {
        &self.service
    }

    /// Work on `path` is over.
    pub(crate) fn forget(&self, path: &FilePath) {
        if let Some(overlay) = &self.overlay {
            overlay.forget(path);
        }
    }
}

/// What reading cannot do without writing.
fn read_only() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "rows and object of the file disagree since an operation on it broke off, and this side is \
         only read; run `ezdfs gc` there, then migrate again",
    )
}
