//! Conditional puts, also racing.

use super::Home;

#[test]
fn only_if_there_is_none() {
    let home = Home::new();
    home.write("a", "first");
    home.write("b", "second");
    home.ok(["put", "a", "x", "--if-none-match", "*"]);
    let err = home.fails(1, ["put", "b", "x", "--if-none-match", "*"]);
    assert!(err.contains("`x`"), "{err}");
    assert_eq!(home.cat("x"), "first");
    home.fails(2, ["put", "b", "x", "--if-none-match", "\"tag\""]);
    home.fails(2, ["put", "b", "x", "--if-none-match", "*", "--if-match", "*"]);
}

#[test]
fn only_over_that_version() {
    let home = Home::new();
    home.write("a", "first");
    home.write("b", "second");
    assert!(home.fails(1, ["put", "a", "x", "--if-match", "*"]).contains("does not exist"));
    home.ok(["put", "a", "x"]);
    let etag = home.stat("x")["etag"].as_str().unwrap().to_owned();
    let bare = etag.trim_matches('"').to_owned();
    home.fails(1, ["put", "b", "x", "--if-match", "\"other\""]);
    home.fails(2, ["put", "b", "x", "--if-match", ""]);
    assert_eq!(home.cat("x"), "first");
    home.ok(["put", "b", "x", "--if-match", &etag]);
    assert_eq!(home.cat("x"), "second");
    let err = home.fails(1, ["put", "a", "x", "--if-match", &etag]);
    assert!(err.contains("is now"), "{err}");
    assert!(home.fails(1, ["rm", "x", "--if-match", &bare]).contains("is now"));
    let now = home.stat("x")["etag"].as_str().unwrap().to_owned();
    // On a command line the quotes may be left out.
    home.ok(["rm", "x", "--if-match", now.trim_matches('"')]);
    home.fails(1, ["stat", "x"]);
}

#[test]
fn a_refused_put_leaves_nothing_staged() {
    let home = Home::new();
    home.put("x", "x");
    let ran = home.feed(b"y", ["put", "-", "x", "--if-none-match", "*"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(home.staged(), 0);
}

#[test]
fn of_racing_creates_exactly_one_wins() {
    let home = Home::new();
    home.ok(["ls"]);
    for round in 0..3 {
        let path = format!("race/{round}");
        let children: Vec<_> = (0..10)
            .map(|i| {
                let name = home.write(format!("r{round}-{i}"), format!("writer {i}"));
                home.start(["put", name.to_str().unwrap(), &path, "--if-none-match", "*"])
            })
            .collect();
        let codes: Vec<i32> = children
            .into_iter()
            .map(|child| super::Ran::of(child.wait_with_output().unwrap()).code)
            .collect();
        let winners: Vec<usize> = (0..10).filter(|i| codes[*i] == 0).collect();
        assert_eq!(winners.len(), 1, "{codes:?}");
        assert!(codes.iter().all(|c| *c == 0 || *c == 1), "{codes:?}");
        assert_eq!(home.cat(&path), format!("writer {}", winners[0]));
    }
}

#[test]
fn of_racing_replacements_exactly_one_wins() {
    let home = Home::new();
    home.put("x", "base");
    let etag = home.stat("x")["etag"].as_str().unwrap().to_owned();
    let children: Vec<_> = (0..8)
        .map(|i| {
            let name = home.write(format!("w{i}"), format!("writer {i}"));
            home.start(["put", name.to_str().unwrap(), "x", "--if-match", &etag])
        })
        .collect();
    let codes: Vec<_> = children
        .into_iter()
        .map(|child| super::Ran::of(child.wait_with_output().unwrap()).code)
        .collect();
    let winners: Vec<usize> = (0..8).filter(|i| codes[*i] == 0).collect();
    assert_eq!(winners.len(), 1, "{codes:?}");
    assert_eq!(home.cat("x"), format!("writer {}", winners[0]));
}
