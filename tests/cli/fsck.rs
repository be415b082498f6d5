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
