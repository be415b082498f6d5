//! What the commands do to a bucket.

use super::*;

/// Above one part: it goes up in parts.
const LARGE: usize = (11 << 20) + 7;

#[test]
fn commands_on_a_bucket_that_honours_conditions() {
    let Some(cloud) = Cloud::new() else { return };
    commands(&cloud);
    let found = cloud.json(["status", "--json"])["binarydata"]["conditions"].clone();
    for (what, is) in [
        ("known", true),
        ("put_if_none_match", true),
        ("put_if_match", true),
        ("complete_if_none_match", true),
        ("complete_if_match", false),
        ("get_if_match", true),
        ("versions", false),
    ] {
        assert_eq!(found[what], is, "{what}: {found}");
    }
    let text = cloud.home.ok(["status"]);
    assert!(text.contains("PUT If-None-Match yes, PUT If-Match yes"), "{text}");
}

#[test]
fn commands_on_a_bucket_that_ignores_conditions() {
    let Some(cloud) = Cloud::careless() else { return };
    commands(&cloud);
    let found = cloud.json(["status", "--json"])["binarydata"]["conditions"].clone();
    assert_eq!((&found["known"], &found["put_if_match"]), (&true.into(), &false.into()));
    assert!(cloud.home.ok(["status"]).contains("PUT If-None-Match no, PUT If-Match no"));
}

fn commands(cloud: &Cloud) {
    cloud.configure("delete_grace = \"0s\"", "");
    let home = &cloud.home;
    // Odd names are literal keys.
    let odd = "images/a b+c%20d é/#1?.txt";
    home.put(odd, "odd");
    home.put("images/1/small.txt", "first");
    let large = pattern(LARGE);
    let file = home.write("large.bin", &large);
    home.ok(["put", file.to_str().unwrap(), "images/1/large.bin"]);
    assert_eq!(cloud.files(), ["images/1/large.bin", "images/1/small.txt", odd]);
    assert!(cloud.bucket.read(&format!("{PREFIX}/images/1/large.bin")) == large);
    assert_eq!(home.cat(odd), "odd");

    home.put("images/1/small.txt", "second, and longer");
    assert_eq!(home.cat("images/1/small.txt"), "second, and longer");
    home.ok(["get", "images/1/large.bin", "copy.bin"]);
    assert!(home.read("copy.bin") == large);
    let stat = home.stat("images/1/large.bin");
    assert_eq!(stat["size"], LARGE, "{stat}");
    assert_eq!(home.ok(["ls", "images/1"]).lines().count(), 2);
    // An exclusive create.
    home.put("lock", "1");
    assert_eq!(home.feed(b"2", ["put", "--if-none-match", "*", "-", "lock"]).code, 1);
    assert_eq!(home.cat("lock"), "1");

    home.ok(["mv", "images/1/small.txt", "images/2/moved.txt"]);
    assert_eq!(home.cat("images/2/moved.txt"), "second, and longer");
    home.ok(["mv", "images/1", "images/3"]);
    home.ok(["cp", "images/3/large.bin", "images/4/large.bin"]);
    home.ok(["get", "images/4/large.bin", "copy.bin"]);
    assert!(home.read("copy.bin") == large);
    home.ok(["rm", "-r", "images/3"]);
    home.ok(["rm", odd]);
    home.fails(1, ["cat", odd]);
    // What was moved or deleted goes with its reap.
    home.ok(["gc"]);
    assert_eq!(cloud.files(), ["images/2/moved.txt", "images/4/large.bin", "lock"]);
    assert!(home.ok(["fsck", "--deep", "--min-age", "0s"]).starts_with("clean: 3 rows, 3 objects"));
    assert_eq!(cloud.bucket.keys().len(), 3, "nothing is left below .ezdfs");
}

/// Metadata from the objects themselves: no table.
#[test]
fn a_bucket_without_a_table() {
    let Some(cloud) = Cloud::new() else { return };
    cloud.configure("metadata = \"s3\"", "[metadata_handlers.s3]\nobjects = \"s3\"\n");
    let home = &cloud.home;
    home.put("images/1/a.txt", "text");
    cloud.bucket.put(&format!("{PREFIX}/images/2/b.txt"), "from another program");
    let large = pattern(LARGE);
    let file = home.write("large.bin", &large);
    home.ok(["put", file.to_str().unwrap(), "images/large.bin"]);
    assert_eq!(home.cat("images/2/b.txt"), "from another program");
    assert_eq!(
        home.ok(["ls", "-R", "--files-only"]).lines().collect::<Vec<_>>(),
        ["images/1/a.txt", "images/2/b.txt", "images/large.bin"]
    );
    assert_eq!(home.stat("images/1/a.txt")["type"], "text/plain");
    home.ok(["mv", "images/1/a.txt", "images/2/a.txt"]);
    home.ok(["rm", "images/2/b.txt"]);
    home.ok(["get", "images/large.bin", "copy.bin"]);
    assert!(home.read("copy.bin") == large);
    assert_eq!(cloud.files(), ["images/2/a.txt", "images/large.bin"]);
    assert!(home.ok(["fsck"]).contains("nothing to compare"));
}
