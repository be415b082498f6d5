//! The program on a container of Azure Blob Storage.

use ezdfs_testkit::TestContainer;

use super::*;

#[test]
fn commands_on_azure() {
    let Some(container) = TestContainer::azure() else { return };
    let home = Home::configured(&format!(
        "[store]\nbinarydata = \"azure\"\ndelete_grace = \"0s\"\n\
         [binarydata_handlers.azure]\nurl = \"az://{}/{PREFIX}\"\nendpoint = \"{}\"\n\
         account = \"{}\"\naccount_key = \"{}\"\n",
        container.name(),
        container.endpoint(),
        container.account(),
        container.account_key()
    ));
    home.put("images/a b+c%20d é.txt", "text");
    // In parts, with type and token.
    let large = pattern((11 << 20) + 7);
    let file = home.write("large.jpg", &large);
    home.ok(["put", file.to_str().unwrap(), "images/large.jpg"]);
    assert_eq!(home.stat("images/large.jpg")["type"], "image/jpeg");
    home.ok(["get", "images/large.jpg", "copy.jpg"]);
    assert!(home.read("copy.jpg") == large);
    home.put("images/a b+c%20d é.txt", "newer");
    assert_eq!(home.cat("images/a b+c%20d é.txt"), "newer");
    home.ok(["mv", "images", "other"]);
    home.ok(["cp", "other/large.jpg", "other/copy.jpg"]);
    home.ok(["rm", "other/large.jpg"]);
    home.ok(["gc"]);
    let text = home.ok(["fsck", "--deep", "--min-age", "0s"]);
    assert!(text.starts_with("clean: 2 rows, 2 objects"), "{text}");
    let err = home.feed(b"x", ["put", "-", "other/back\\slash"]).err;
    assert!(err.contains("back\\slash"), "{err}");
    let text = home.ok(["status"]);
    assert!(text.contains("PUT If-None-Match yes, PUT If-Match yes, complete"), "{text}");
    home.ok(["warmup", "other"]);
}
