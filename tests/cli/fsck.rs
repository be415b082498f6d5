//! fsck.

use super::{Home, json_lines};

#[test]
fn a_sound_store_is_clean() {
    let home = Home::new();
    home.put("d/a", "12345");
    home.put("b", "123");
    let text = home.ok(["fsck", "--deep"]);
    assert!(text.starts_with("clean: 2 rows, 2 objects (8 B), 2 read"), "{text}");
    let summary = &json_lines(&home.ok(["fsck", "--json", "--min-age", "0s"]))[0]["summary"];
    assert_eq!((&summary["rows"], &summary["objects"]), (&2.into(), &2.into()));
    assert!(home.fails(2, ["fsck", "--bwlimit", "1M"]).contains("--deep"));
}

#[test]
fn what_is_wrong_is_named_with_4() {
    let home = Home::new();
    for n in 0..5 {
        home.put(&format!("good/{n}"), "fine");
    }
    home.put("missing", "12345");
    std::fs::remove_file(home.path().join("ezdfs-data/files/missing")).unwrap();
    home.write("ezdfs-data/files/new", "orphan");
    home.write("ezdfs-data/files/bad\nname", "x");
    let ran = home.run(["fsck", "--json", "--min-age", "0s"]);
    assert_eq!((ran.code, ran.err.as_str()), (4, ""), "{ran:?}");
    let lines = json_lines(&ran.out);
    let kinds: Vec<_> = lines.iter().filter_map(|l| l["kind"].as_str()).collect();
    assert_eq!(kinds, ["bad-object", "missing-object", "orphan"]);
    let orphan = &lines[2];
    assert_eq!((&orphan["path"], &orphan["size"]), (&"new".into(), &6.into()));
    let summary = &lines[3]["summary"];
    assert_eq!(summary["found"]["orphan"], 1);
    assert_eq!(summary["orphan_bytes"], 6);

    let ran = home.run(["fsck"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("        1 rows without an object\n            missing: "), "{ran:?}");
    assert!(ran.out.contains("1 too young"), "{ran:?}");
    assert!(ran.out.contains("bad\\nname"), "no control character: {ran:?}");
    let ran = home.run(["-v", "fsck", "--prefix", "missing"]);
    assert!(ran.out.starts_with("missing-object      missing: "), "{ran:?}");
}

#[test]
fn a_store_that_is_not_mounted_is_suspicious() {
    let home = Home::new();
    home.put("a", "12345");
    std::fs::remove_file(home.path().join("ezdfs-data/files/a")).unwrap();
    let ran = home.run(["fsck"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("SUSPICIOUS: there is no object at all"), "{ran:?}");
    assert!(!home.run(["fsck", "--max-suspects", "1"]).out.contains("SUSPICIOUS"));
}

#[test]
fn derived_metadata_has_nothing_to_compare() {
    let home = Home::new();
    home.write("tree/a", "a");
    let root = home.path().join("tree");
    let toml = format!(
        "[store]\nmetadata = \"default\"\nbinarydata = \"default\"\ndefault_root = {root:?}\n"
    );
    home.write("ezdfs.toml", toml);
    assert!(home.ok(["fsck"]).contains("nothing to compare"));
}

#[test]
fn a_repair_is_told_and_can_be_taken_back() {
    let home = Home::configured("[store]\ndelete_grace = \"0s\"\n");
    home.put("good", "fine");
    let orphan = home.write("ezdfs-data/files/d/new", "orphan");
    make_old(&orphan);
    let ran = home.run(["fsck", "--repair", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let lines = json_lines(&ran.out);
    assert_eq!((&lines[1]["repaired"], &lines[1]["done"]), (&"orphan".into(), &true.into()));
    assert_eq!(lines[2]["summary"]["repaired"]["orphan"], 1);
    assert!(!orphan.exists());
    assert!(home.ok(["fsck"]).starts_with("clean"));
    let text = home.ok(["fsck", "--restore-quarantine"]);
    assert!(text.contains("        1 objects brought back"), "{text}");
    assert_eq!(std::fs::read(&orphan).unwrap(), b"orphan");
    let quarantine = home.path().join("ezdfs-data/files/.ezdfs/quarantine");
    assert!(!quarantine.exists(), "its empty directories go");

    // In part: a row without bytes stays.
    home.put("missing", "x");
    std::fs::remove_file(home.path().join("ezdfs-data/files/missing")).unwrap();
    let ran = home.run(["fsck", "--repair"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("1 objects without a row (6 B), 1 repaired"), "{ran:?}");
    assert_eq!(home.run(["fsck", "--repair"]).code, 4);
    assert_eq!(home.run(["fsck", "--hide-missing"]).code, 0);
    assert!(home.ok(["fsck"]).starts_with("clean"));
    // Not even with everything allowed when the store is not mounted.
    for file in ["good", "d/new"] {
        let _ = std::fs::remove_file(home.path().join("ezdfs-data/files").join(file));
    }
    let ran = home.run(["fsck", "--repair", "--hide-missing"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("Nothing was repaired"), "{ran:?}");
}

#[test]
fn a_restored_tree_is_adopted_by_the_program() {
    let home = Home::configured("[store]\ndefault_root = \"/nowhere\"\n");
    home.write("ezdfs.toml", format!("[store]\ndefault_root = {:?}\n", home.path().join("tree")));
    for n in 0..2_000 {
        home.write(format!("tree/{}/{n}", n % 40), format!("{n}"));
    }
    let migrate = ["migrate-files", "--from", "default,default", "--to", "dfs,nfs", "-n"];
    let ran = home.run(migrate);
    assert_eq!(ran.code, 0, "{ran:?}");
    for n in 0..2_000 {
        make_old(&home.path().join(format!("ezdfs-data/files/{}/{n}", n % 40)));
    }
    // Files made old behind our back: what is pinned has the same size only.
    home.ok(["fsck", "--adopt", "--deep", "--max-suspects", "100%"]);
    assert!(home.ok(["fsck"]).starts_with("clean: 2000 rows, 2000 objects"));

    let files = home.path().join("ezdfs-data/files");
    let backup = home.path().join("ezdfs-data/backup");
    let copied = std::process::Command::new("cp").arg("-a").args([&files, &backup]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(&files).unwrap();
    std::fs::rename(&backup, &files).unwrap();
    let ran = home.run(["fsck", "--repair"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("SUSPICIOUS: 2000 of 2000 objects"), "{ran:?}");
    let text = home.ok(["fsck", "--adopt"]);
    assert!(
        text.contains("     2000 objects that are not the pinned ones, 2000 repaired"),
        "{text}"
    );
    assert!(home.ok(["fsck", "--deep"]).starts_with("clean: 2000 rows, 2000 objects"));
    assert_eq!(home.cat("7/47"), "47");
}

/// Older than what a repair leaves alone.
fn make_old(file: &std::path::Path) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - std::time::Duration::from_secs(7_200)).unwrap();
}
