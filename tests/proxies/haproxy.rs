//! HAProxy.

use std::process::Command;

use super::{Front, IMAGE, Site, check, example, free_address, program};
use crate::cli::serve::Serving;
use crate::cli::wait_for;

#[test]
fn haproxy_in_front_of_two_nodes() {
    let Some(haproxy) = program("haproxy") else { return };
    let site = Site::new("");
    let second = Serving::start(&site.home);
    let address = free_address();
    let text = site
        .addressed(&example("haproxy.cfg"))
        .replace("bind :80\n", &format!("bind {address}\n"))
        .replace(
            "port 8081\n    # server node2 web2:8080 port 8081",
            &format!(
                "port {}\n    server node2 {} port {}",
                site.ezdfs.admin.port(),
                second.assets,
                second.admin.port()
            ),
        );
    assert!(text.contains("server node2 127"), "{text}");
    let conf = site.home.write("haproxy.cfg", text);
    let mut command = Command::new(haproxy);
    command.args(["-db", "-f"]).arg(conf);
    let front = Front::start(&site, &mut command, address);
    wait_for("both nodes are up", || front.get(IMAGE, &[]).status == 200);
    check(&front);

    // One node is stopped, then the other, the first being back: nobody notices.
    let targets: Vec<String> =
        (0..40).map(|n| format!("/var/site/storage/images/{n}.txt")).collect();
    for n in 0..40 {
        site.home.put(&format!("images/{n}.txt"), "small");
    }
    let all = |when: &str| {
        for target in &targets {
            let answer = front.get(target, &[]);
            assert_eq!(
                (answer.status, answer.body.as_slice()),
                (200, b"small".as_slice()),
                "{when}"
            );
        }
    };
    all("both nodes");
    site.ezdfs.stop();
    all("one node was stopped");
    second.stop();
    wait_for("without any node it is an error", || front.get(IMAGE, &[]).status == 503);
}
