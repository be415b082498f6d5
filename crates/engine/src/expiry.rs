//! Per-file expiry: the sweep that hides files whose time is over, so that PHP does not see them
//! either, and queues their bytes (seed-systems.md §7). Readers do not wait for it: they compare
//! the clock.

use ezdfs_core::{Change, DirPath, ErrorKind, FilePath, Guard, Op, Record, Result};

use crate::service::FileService;

/// Files that are looked at at once.
const BATCH: u32 = 1_000;

impl FileService {
    /// Hides the files below a directory whose time is over, so that they do not keep it alive:
    /// nobody sees them any more, and a rename leaves them behind.
    pub(crate) async fn expire_below(&self, dir: &FilePath) -> Result<()> {
        if !self.inner.metadata.is_separate() {
            return Ok(());
        }
        let dir = DirPath::from(dir.clone());
        self.materialise().await?;
        let now = self.inner.metadata.now().await?;
        for (path, record) in self.inner.metadata.expired(now, BATCH).await? {
            if dir.contains(&path) {
                self.expire(&path, &record).await?;
            }
        }
        Ok(())
    }

    /// Hides one expired file by compare-and-set; `false` when a writer was faster.
    pub(crate) async fn expire(&self, path: &FilePath, record: &Record) -> Result<bool> {
        let Some(file) = record.file(path) else { return Ok(false) };
        let token = self.inner.entropy.token();
        let not_before = self.inner.metadata.now().await?.plus(self.inner.options.delete_grace);
        let key = self.reap_key(path, token)?.to_string();
        let (pin, set_pin) = match file.pin {
            Some(pin) => (Some(pin), None),
            None => {
                let object = self.inner.binary.head(&self.inner.binary.key(path)?).await?;
                let pin = object.and_then(|o| o.pin);
                (pin.clone(), pin)
            }
        };
        let mut change = Change::new()
            .guard(Guard::Unchanged { path: path.clone(), witness: Some(file.witness) })
            .guard(Guard::Free { path: path.clone(), subtree: false });
        if let Some(pin) = set_pin {
            change = change.op(Op::SetPin { path: path.clone(), pin });
        }
        let change = change
            .op(Op::HideFile(path.clone()))
            .op(Op::AddIntent(self.reap_intent(path, token, key, pin, not_before)));
        match self.inner.metadata.apply(change).await {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::Stale | ErrorKind::Busy) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
