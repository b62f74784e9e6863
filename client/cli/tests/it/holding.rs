//! `lock` and `elect`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Running, Shell};

#[test]
fn a_command_runs_with_the_lock_and_its_exit_code_is_passed_on() {
    let shell = Shell::start();
    let script = "echo $SOLOIST_LOCK_KEY $SOLOIST_LOCK_TOKEN; exit 7";
    let done = shell.run(&["lock", "a/b", "--value", "ben", "--", "sh", "-c", script]);
    assert_eq!(done.code, 7, "{done:?}");
    let (key, token) = done.out.trim().split_once(' ').unwrap();
    assert!(key.starts_with("a/b/"), "{key}");
    assert_eq!(token, "2");
    // It is free at once.
    assert_eq!(shell.ok(&["list"]), "");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["no-such-command"], 127),
        (&["/"], 126),
    ] {
        let done = shell.run(&[&["lock", "a", "--"], command].concat());
        assert_eq!(done.code, code, "{done:?}");
        assert_eq!(shell.ok(&["list"]), "");
    }
    let tokens: Vec<i64> = (0..3)
        .map(|_| shell.ok(&["lock", "a", "--", "sh", "-c", "echo $SOLOIST_LOCK_TOKEN"]))
        .map(|token| token.trim().parse().unwrap())
        .collect();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

#[test]
fn a_lock_may_have_several_holders() {
    let shell = Shell::start();
    let words = ["lock", "l", "--holders", "2", "--ttl", "1h"];
    let mut holders = [0, 1].map(|_| Running::start(shell.command(&words)));
    for holder in &mut holders {
        assert!(holder.line().starts_with("holds the lock l  token "));
    }
    let third = [&words[..4], &["--wait", "50ms", "--", "true"]].concat();
    shell.fails(124, &third);
    let [one, _other] = holders;
    one.signal(Signal::SIGTERM);
    assert_eq!(one.ended().0, 143);
    shell.ok(&["lock", "l", "--holders", "2", "--", "true"]);
    shell.fails(2, &["lock", "l", "--holders", "0", "--", "true"]);
    let error = shell.fails(2, &["lock", "l", "true"]);
    assert!(error.contains("behind two dashes"), "{error}");
}

#[test]
fn a_lock_that_is_held_is_waited_for() {
    let shell = Shell::start();
    let mut holder = Running::start(shell.command(&["lock", "l", "--ttl", "1h"]));
    assert!(
        holder
            .line()
            .starts_with("holds the lock l  token 2, key l/")
    );
    let error = shell.fails(124, &["lock", "l", "--wait", "50ms", "--", "true"]);
    assert!(
        error.contains("the lock l was not free within 50ms"),
        "{error}"
    );
    // It has left the queue.
    assert_eq!(shell.ok(&["list", "l/", "--keys"]).lines().count(), 1);

    let mut next = Running::start(shell.command(&["lock", "l", "--", "echo", "mine"]));
    while shell.ok(&["list", "l/", "--keys"]).lines().count() < 2 {}
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.ended(), (143, String::new()));
    assert_eq!(next.line(), "mine");
    assert_eq!(next.ended().0, 0);
    // One that is still waiting gives up its place.
    let holder = Running::start(shell.command(&["lock", "l", "--ttl", "1h"]));
    while shell.ok(&["list", "l/", "--keys"]).lines().count() < 1 {}
    let waiting = Running::start(shell.command(&["lock", "l", "--ttl", "1h", "--", "true"]));
    while shell.ok(&["list", "l/", "--keys"]).lines().count() < 2 {}
    waiting.signal(Signal::SIGINT);
    assert_eq!(waiting.ended().0, 130);
    assert_eq!(shell.ok(&["list", "l/", "--keys"]).lines().count(), 1);
    drop(holder);
}

#[test]
fn signals_are_for_the_command() {
    let shell = Shell::start();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = Running::start(shell.command(&["lock", "l", "--", "sh", "-c", script]));
    assert_eq!(running.line(), "ready");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().0, 5);
    assert_eq!(shell.ok(&["list"]), "");
}

#[test]
fn a_lost_lock_kills_the_command_and_its_children() {
    let shell = Shell::start();
    let script = "sleep 1000 & echo $!; wait";
    let words = ["lock", "l", "--ttl", "3s", "--", "sh", "-c", script];
    let mut running = Running::start(shell.command(&words));
    let grandchild: i32 = running.line().parse().unwrap();
    let session = shell.ok(&["session", "list", "-o", "value"]);
    assert_eq!(
        shell.ok(&["session", "close", session.trim()]),
        "closed, with 1 key\n"
    );
    let (code, error) = running.ended();
    assert_eq!(code, 75, "{error}");
    assert!(error.contains("error: the lock l was lost: "), "{error}");
    // Gone, or dead and not yet awaited by whoever has inherited it.
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
        kill(Pid::from_raw(grandchild), None).is_err()
            || stat.is_ok_and(|stat| stat.contains(") Z "))
    };
    while !is_dead() {}
}

#[test]
fn a_lock_that_was_lost_while_the_command_ran_is_not_passed_over() {
    let shell = Shell::start();
    // The command itself ends the session, and ends before the holder notices.
    let soloist = env!("CARGO_BIN_EXE_soloist");
    let script = format!("{soloist} session close $({soloist} session list -o value)");
    let done = shell.run(&["lock", "l", "--ttl", "1h", "--", "sh", "-c", &script]);
    assert_eq!(done.code, 75, "{done:?}");
    assert!(
        done.err.contains("the lock l was lost before the end"),
        "{done:?}"
    );
}

#[test]
fn who_leads_is_observed() {
    let shell = Shell::start();
    let mut observer = Running::start(shell.command(&["elect", "e", "--observe"]));
    assert_eq!(observer.line(), "nobody leads");
    let anna = Running::start(shell.command(&["elect", "e", "anna", "--ttl", "1h"]));
    assert!(observer.line().starts_with("anna leads  term 2, key e/"));
    let script = "echo $SOLOIST_ELECT_KEY $SOLOIST_ELECT_TERM; read x";
    let words = ["elect", "e", "ben", "--ttl", "1h", "--", "sh", "-c", script];
    let mut command = shell.command(&words);
    command.stdin(std::process::Stdio::piped());
    let mut ben = Running::start(command);
    while shell.ok(&["list", "e/", "--keys"]).lines().count() < 2 {}
    anna.signal(Signal::SIGTERM);
    assert_eq!(anna.ended().0, 143);
    let line = ben.line();
    let (key, term) = line.split_once(' ').unwrap();
    assert_eq!(
        observer.line(),
        format!("ben leads  term {term}, key {key}")
    );
    drop(ben.child.stdin.take());
    assert_eq!(ben.ended().0, 1);
    assert_eq!(observer.line(), "nobody leads");

    let json = shell.command(&["elect", "e", "--observe", "-o", "json"]);
    let mut json = Running::start(json);
    assert_eq!(json.line(), "{}");
    shell.fails(2, &["elect", "e"]);
    shell.fails(2, &["elect", "e", "x", "--observe"]);
    assert!(
        shell
            .fails(2, &["lock", "a\nb", "--", "true"])
            .contains("BAD_KEY")
    );
}
