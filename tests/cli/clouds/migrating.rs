//! `migrate-files` into a bucket and out of it.

use std::time::Duration;

use super::super::wait_for;
use super::*;

const FILES: usize = 120;
/// Its files, each with metadata from its object, and a table of their own.
const OBJECTS: &str = "[metadata_handlers.dfs]\nurl = \"sqlite:ezdfs.db\"\n\
    [metadata_handlers.objects]\nobjects = \"s3\"\n\
    [binarydata_handlers.nfs]\nurl = \"file:files\"\n";

const MIGRATE: [&str; 6] = ["migrate-files", "--from", "default,default", "--to", "dfs,s3", "-n"];

/// Killed in the middle, the same command goes on; what is in the bucket is the tree.
#[test]
fn a_tree_moves_into_a_bucket_and_survives_a_kill() {
    let Some(cloud) = Cloud::new() else { return };
    let home = &cloud.home;
    for n in 0..FILES {
        home.write(format!("tree/images/{}/{n}.txt", n % 7), format!("content {n}"));
    }
    let large = pattern((6 << 20) + 1);
    home.write("tree/large.bin", &large);
    let root = home.path().join("tree");
    cloud.configure(&format!("default_root = {root:?}"), "");

    let mut killed = home.start(MIGRATE);
    wait_for("the first objects", || {
        std::thread::sleep(Duration::from_millis(50));
        cloud.files().len() >= 10
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let so_far = cloud.files().len();
    assert!(so_far <= FILES, "it was killed too late: {so_far}");

    let ran = home.run(MIGRATE);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(cloud.files().len(), FILES + 1);
    for n in [0, 1, 63, FILES - 1] {
        assert_eq!(home.cat(&format!("images/{}/{n}.txt", n % 7)), format!("content {n}"));
    }
    assert!(cloud.bucket.read(&format!("{PREFIX}/large.bin")) == large);
    let again = home.ok(MIGRATE);
    let unchanged = format!("= {} unchanged, + 0 copied", FILES + 1);
    assert!(again.contains(&unchanged), "{again}");
    assert!(home.ok(["fsck", "--deep"]).contains(&format!("{0} rows, {0} objects", FILES + 1)));
}

/// Out of the bucket again, from its objects alone.
#[test]
fn a_bucket_without_a_table_moves_to_a_disk() {
    let Some(cloud) = Cloud::new() else { return };
    cloud.configure("metadata = \"dfs\"", OBJECTS);
    for n in 0..20 {
        cloud.bucket.put(&format!("{PREFIX}/images/{n}.txt"), format!("content {n}"));
    }
    let ran = cloud.home.ok(["migrate-files", "--from", "objects,s3", "--to", "dfs,nfs", "-n"]);
    assert!(ran.contains("+ 20 copied"), "{ran}");
    let there = cloud.home.read("ezdfs-data/files/images/7.txt");
    assert_eq!(there, b"content 7");
}
