//! `fsck` and `gc` on a bucket.

use std::time::Duration;

use super::super::json_lines;
use super::*;

/// Above one part: such objects have another kind of etag.
const LARGE: usize = (6 << 20) + 11;

#[test]
fn fsck_on_a_bucket_that_honours_conditions() {
    if let Some(cloud) = Cloud::new() {
        fsck(&cloud);
    }
}

#[test]
fn fsck_on_a_bucket_that_ignores_conditions() {
    if let Some(cloud) = Cloud::careless() {
        fsck(&cloud);
    }
}

/// How many of each kind, and the exit code.
fn found(home: &Home, args: &[&str]) -> (Value, i32) {
    let ran = home.run([&["fsck", "--json", "--min-age", "0s"], args].concat());
    assert_eq!(ran.err, "", "{ran:?}");
    let last = json_lines(&ran.out).pop().unwrap();
    (last["summary"].clone(), ran.code)
}

fn fsck(cloud: &Cloud) {
    cloud.configure("delete_grace = \"0s\"", "");
    let home = &cloud.home;
    let key = |path: &str| format!("{PREFIX}/{path}");
    for n in 0..8 {
        home.write(format!("tree/good/{n}"), format!("file {n}"));
    }
    for path in ["missing", "longer", "other"] {
        home.write(format!("tree/{path}"), "12345");
    }
    let large = pattern(LARGE);
    home.write("tree/large.bin", &large);
    home.ok(["put", "-r", "tree", "images"]);
    let (summary, code) = found(home, &["--deep"]);
    let clean = (0, &12.into(), &12.into());
    assert_eq!((code, &summary["rows"], &summary["read"]), clean, "{summary}");

    // What can go wrong; a restore makes the large object one of one part.
    cloud.bucket.delete(&key("images/missing"));
    cloud.bucket.put(&key("images/orphan"), "nobody's");
    cloud.bucket.put(&key("images/longer"), "123456");
    cloud.bucket.put(&key("images/other"), "54321");
    cloud.bucket.put(&key("images/large.bin"), large.clone());
    // What another program has just changed is left alone.
    assert_eq!(found(home, &[]).0["young"], 3);
    std::thread::sleep(Duration::from_millis(6_500));
    let (summary, code) = found(home, &[]);
    let kinds = serde_json::json!({ "missing-object": 1, "orphan": 1, "size": 1, "pin": 2 });
    assert_eq!((&summary["found"], code), (&kinds, 4), "{summary}");
    let (deep, _) = found(home, &["--deep"]);
    assert_eq!((&deep["found"], &deep["adoptable"]), (&kinds, &1.into()), "{deep}");

    let (summary, code) = found(home, &["--adopt", "--deep"]);
    assert_eq!((&summary["repaired"], code), (&serde_json::json!({ "pin": 1 }), 3), "{summary}");
    let (summary, code) = found(home, &["--repair"]);
    let repaired = serde_json::json!({ "orphan": 1, "size": 1, "pin": 1 });
    assert_eq!((&summary["repaired"], code), (&repaired, 3), "{summary}");
    assert_eq!((&*home.cat("images/longer"), &*home.cat("images/other")), ("123456", "54321"));
    home.ok(["get", "images/large.bin", "copy.bin"]);
    assert!(home.read("copy.bin") == large);

    // On a cloud the bytes of an orphan stay where they are, unseen, until their time comes.
    let (summary, code) = found(home, &[]);
    assert_eq!((&summary["found"], code), (&serde_json::json!({ "missing-object": 1 }), 4));
    assert!(cloud.bucket.keys().iter().any(|key| key.ends_with("orphan")));
    let text = home.ok(["fsck", "--restore-quarantine"]);
    assert!(text.contains("        1 objects brought back"), "{text}");
    assert_eq!(found(home, &[]).0["found"]["orphan"], 1);
    assert_eq!(found(home, &["--hide-missing"]).1, 3);

    // Another prefix, or an emptied bucket: nothing is believed, and nothing touched.
    for key in cloud.bucket.keys() {
        cloud.bucket.delete(&key);
    }
    let ran = home.run(["fsck", "--repair", "--hide-missing", "--min-age", "0s"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("SUSPICIOUS: there is no object at all"), "{ran:?}");
    assert!(ran.out.contains("Nothing was repaired"), "{ran:?}");
    assert_eq!(home.ok(["ls", "images"]).lines().count(), 4);
}

/// The server says that all uploads are of 2010; a part tells the truth.
#[test]
fn abandoned_uploads_are_found_and_aborted() {
    let Some(cloud) = Cloud::new() else { return };
    let home = &cloud.home;
    home.put("images/a.txt", "text");
    let [old, live, foreign] = ["images/old.bin", "images/live.bin", "elsewhere/old.bin"];
    cloud.bucket.begin_upload(&format!("{PREFIX}/{old}"), 0);
    cloud.bucket.begin_upload(&format!("{PREFIX}/{live}"), 1);
    cloud.bucket.begin_upload(foreign, 0);
    let ran = home.run(["fsck"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("        1 abandoned uploads\n"), "{ran:?}");
    assert!(ran.out.contains(&format!("{PREFIX}/{old}: an upload in parts")), "{ran:?}");
    let text = home.ok(["fsck", "--repair"]);
    assert!(text.contains("1 abandoned uploads, 1 repaired"), "{text}");
    assert!(home.ok(["fsck"]).starts_with("clean"));

    // gc does the same.
    cloud.bucket.begin_upload(&format!("{PREFIX}/{old}"), 0);
    let done = cloud.json(["gc", "--json"]);
    assert_eq!((&done["uploads_aborted"], &done["uploads_kept"]), (&1.into(), &1.into()));
    let done = cloud.json(["gc", "--json", "--staging-age", "0s"]);
    assert_eq!((&done["uploads_aborted"], &done["uploads_kept"]), (&1.into(), &0.into()));
    assert_eq!(cloud.bucket.uploads(), [foreign]);
    assert_eq!(home.cat("images/a.txt"), "text");
}

/// A put that is killed in the middle leaves one.
#[test]
fn a_large_put_that_is_killed_leaves_an_upload_that_gc_aborts() {
    let Some(cloud) = Cloud::new() else { return };
    let home = &cloud.home;
    let mut child = home.start(["put", "-", "images/large.bin"]);
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &pattern(12 << 20)).unwrap();
    super::super::wait_for("the parts", || !cloud.bucket.uploads().is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(cloud.bucket.uploads(), [format!("{PREFIX}/images/large.bin")]);
    assert_eq!(cloud.json(["gc", "--json"])["uploads_kept"], 1, "it may be going on");
    assert_eq!(cloud.json(["gc", "--json", "--staging-age", "0s"])["uploads_aborted"], 1);
    assert_eq!(cloud.bucket.uploads(), Vec::<String>::new());
    assert_eq!(home.ok(["ls"]), "");
}
