//! migrate-files: moves the files of one pair of handlers (metadata, binary data) to another,
//! verified and resumable, while the site is live.
//!
//! The command line parses options, asks the question of [`texts::QUESTION`] and draws progress;
//! everything else is here. [`texts`] says in which order things happen.
//!
//! ```no_run
//! # use ezdfs_migrate::*;
//! # async fn example(source: Side, target: Side) -> ezdfs_core::Result<()> {
//! let handlers = Handlers::new(["dfs"], ["nfs", "aws_s3"]);
//! let (from, to) = resolve(None, Some("dfs,aws_s3"), &handlers)?;
//! println!("{}", texts::pairs(&from, &to));
//! let options = Options { journal: Some("data/journal".into()), ..Options::default() };
//! let migration = Migration::new(source, target, options).await?;
//! println!("{}", texts::total(migration.count().await?, migration.mode()));
//! let summary = migration.run().await?;
//! println!("{}", texts::totals(&summary));
//! # Ok(())
//! # }
//! ```
//!
//! # What is migrated
//!
//! Where a handler is the same on both sides its half is skipped ([`Halves`]): with the same
//! binarydata handler only rows are written, no byte is copied; with the same metadata handler only
//! objects are written, no row is touched. Media type, mtime, expiry, mode and owner are kept; a
//! target whose metadata is derived from its objects keeps what these can hold. The source is only
//! read, and never repaired; `--delete-source` alone changes it. Sides that overlap are refused.
//!
//! # When a file is the same (`=`)
//!
//! - **`--verify sha256`** (the default): size and SHA-256 are equal. A digest is taken from a row
//!   only if one HEAD shows that the row's pin is that of the stored object; else the bytes are
//!   read. So a second run over a source without digests reads every source file once and copies
//!   nothing, and a change that keeps size and mtime is noticed. A target without rows of its own
//!   is read as well, unless its object carries the token of the source's version.
//! - **`--verify size` and `none`**: where both rows have a digest, it decides; else size and mtime
//!   are equal (a target that keeps no mtimes: was written after the source changed). Nothing is
//!   read; a change that keeps size and mtime is not noticed.
//! - **Rows only**: the target's row has size and pin of the object, and a digest if one is wanted.
//!   A row without a pin, as PHP writes it, is the same when size and mtime are. With
//!   `--verify sha256` bytes without a known digest are read once, for the row.
//!
//! # How a copy is checked
//!
//! The bytes are hashed on their way; if the source's row has a digest they must have it, or nothing
//! is published. With `sha256` the target's object is then read back and hashed, with `size` its
//! size is asked for. A copy that fails its check is removed from the target again.
//!
//! # Failure
//!
//! One bad file never ends a run: it is reported as `!` with its reason, a source without bytes or
//! row as `-`. Failures that may pass are tried again. A list that cannot be read to its end does
//! end the run. An unfinished run is resumed from its journal (files that ended as `!` are tried
//! again by the next full pass, not by the resumed one); a finished one is followed by a fresh pass.
//! Files that appear before the place that the walk has reached are found by the next pass.
//!
//! # Memory
//!
//! Two pages of the lister, a window of 1,024 paths, and for each of the `jobs` files in flight the
//! buffers of one read and one upload: nothing grows with the number of files or their size.
//!
//! | file | subject |
//! |---|---|
//! | [`sides`], [`texts`] | `META,BIN`, handlers, and what is printed |
//! | [`options`], [`filter`] | options, globs |
//! | [`side`], [`place`] | one end, and whether two overlap |
//! | [`lister`], [`position`] | listers, and names in their order |
//! | [`run`], `drive`, `window` | the run |
//! | `worker`, `compare`, `transfer`, `reader` | one file |
//! | `journal`, [`progress`], `report` | what was done |

mod compare;
mod drive;
pub mod filter;
mod journal;
pub mod lister;
pub mod options;
pub mod place;
pub mod position;
pub mod progress;
mod reader;
mod report;
pub mod run;
pub mod side;
pub mod sides;
pub mod texts;
mod transfer;
mod window;
mod worker;

pub use ezdfs_engine::throttle::Rate;
pub use filter::Filter;
pub use lister::{Entry, Listed, Lister, TableLister, TreeLister};
pub use options::{DEFAULT_BULK_COUNT, Options, SourceMode, Verify, default_jobs};
pub use place::{Place, Places};
pub use position::Spot;
pub use progress::{Counts, FileDone, Progress, Symbol};
pub use run::{Ending, Migration, Summary};
pub use side::Side;
pub use sides::{DEFAULT_HANDLER, End, Halves, Handlers, SidePair, parse_bulk_count, resolve};
/// The token that cancels a run.
pub use tokio_util::sync::CancellationToken;
