//! PHP nodes: rows by PHP's statements, bytes written in place or put into a bucket.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::IbexaNode as _;
use ezdfs_testkit::history::{Content, Op, Outcome, Payload};
use ezdfs_testkit::php::NewBinary;
use rand::Rng as _;

use crate::board::Board;
use crate::paths::{Class, hot};
use crate::plan::{self, PhpStep, PhpWhat};
use crate::readers::ALLOWANCE;
use crate::site::Site;
use crate::writers::media_type;

/// The actor of [`read`].
pub(crate) const READER: &str = "php-reader";

pub(crate) async fn write(number: usize, seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let actor = format!("php{number}");
    let mut rng = plan::of(seed, &actor);
    let mut count = 0_u64;
    while !board.is_stopping() {
        let step = PhpStep::draw(&mut rng);
        count += 1;
        let content = Content(u64::try_from(number + 101).unwrap() << 32 | count);
        let n = step.path % step.class.count();
        let path = step.class.path(n);
        match step.class {
            Class::Turns => {
                let _turn = site.turns[n].write().await;
                one(&actor, &path, step, content, &site, &board).await;
            }
            Class::Php => {
                let _turn = site.php_paths[n].lock().await;
                one(&actor, &path, step, content, &site, &board).await;
            }
            _ => one(&actor, &path, step, content, &site, &board).await,
        }
        board.pause(step.pause).await;
    }
}

async fn one(
    actor: &str,
    path: &str,
    step: PhpStep,
    content: Content,
    site: &Arc<Site>,
    board: &Board,
) {
    let op = match step.what {
        PhpWhat::Create => Op::Put(content),
        PhpWhat::Delete | PhpWhat::SoftDelete => Op::Clear,
    };
    let begun = board.begin(actor, path, op, Duration::ZERO);
    let connecting = {
        let site = site.clone();
        tokio::spawn(async move { site.php().await })
    };
    let Ok(php) = connecting.await else {
        return begun.ended(Outcome::Failed, "no connection");
    };
    let bytes = Payload { path, content }.bytes(step.size);
    let id = path.to_owned();
    // A statement that fails panics.
    let done = tokio::spawn(async move {
        let name = php.name(&id);
        match step.what {
            PhpWhat::Create => {
                // Ibexa's create would leave a soft-deleted row hidden.
                php.rows().purge(&name).await;
                php.create(&id, &NewBinary::new(&bytes, &media_type(content))).await
            }
            PhpWhat::Delete => match php.delete(&id).await {
                Err(ezdfs_testkit::php::NodeError::NotFound) => Ok(()),
                other => other,
            },
            PhpWhat::SoftDelete => php.soft_delete(&id).await,
        }
    });
    match done.await {
        Ok(Ok(())) => begun.ended(Outcome::Done, format!("{:?}", step.what)),
        Ok(Err(e)) => {
            board.interrupted(path);
            begun.ended(Outcome::Unknown, e.to_string());
        }
        Err(_) => {
            board.interrupted(path);
            begun.ended(Outcome::Unknown, "a statement failed");
        }
    }
}

/// Reads what ezdfs writes as a PHP node does: the row, then the bytes. What PHP nodes do to each
/// other's readers is not our business.
pub(crate) async fn read(seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, READER);
    let paths: Vec<String> =
        hot().into_iter().filter(|path| Class::of(path) == Class::Own).collect();
    while !board.is_stopping() {
        let path = paths[rng.random_range(0..paths.len())].clone();
        let begun = board.begin(READER, &path, Op::Read, ALLOWANCE);
        let (reader, id) = (site.clone(), path.clone());
        let reading = tokio::spawn(async move {
            let php = reader.php().await;
            match php.exists(&id).await {
                Ok(true) => php.contents(&id).await.ok().map(Some),
                Ok(false) => Some(None),
                Err(_) => None,
            }
        });
        match reading.await {
            Ok(Some(Some(bytes))) => match board.identify(READER, &path, &bytes) {
                Some(content) => begun.ended(Outcome::Seen(Some(content)), ""),
                None => begun.ended(Outcome::Failed, "torn"),
            },
            Ok(Some(None)) => begun.ended(Outcome::Seen(None), ""),
            Ok(None) => begun.ended(Outcome::Failed, "deleted between row and bytes"),
            Err(_) => begun.ended(Outcome::Failed, "no connection"),
        }
        board.pause(Duration::from_millis(rng.random_range(20..120))).await;
    }
}
