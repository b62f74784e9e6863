//! `watch`.

use crate::support::{Process, Running, Shell, soloist};

#[test]
fn changes_are_shown_as_they_happen() {
    let shell = Shell::start();
    shell.ok(&["put", "w/1", "a"]);
    let words = ["watch", "--prefix", "w/", "--initial", "--count", "4"];
    let mut watch = Running::start(shell.command(&words));
    assert_eq!(watch.line(), "is         w/1  a  revision 1");
    shell.ok(&["put", "w/2", "--int", "5"]);
    assert_eq!(watch.line(), "written    w/2  5  revision 2");
    shell.ok(&["put", "w/1", "two\nlines"]);
    assert_eq!(
        watch.line(),
        "written    w/1  \"two\\nlines\"  revision 3, created at 1"
    );
    shell.ok(&["delete", "w/1"]);
    assert_eq!(watch.line(), "deleted    w/1  revision 4");
    assert_eq!(watch.ended(), (0, String::new()));

    let past = shell.ok(&[
        "watch", "w/1", "--after", "0", "--count", "2", "-o", "value",
    ]);
    assert_eq!(past, "a\ntwo\nlines\n");
    shell.fails(3, &["watch", "w/1", "--after", "99"]);
    shell.fails(2, &["watch"]);
    shell.fails(2, &["watch", "w/1", "--after", "1", "--initial"]);
}

#[test]
fn a_command_runs_for_each_change() {
    let shell = Shell::start();
    shell.ok(&["put", "w/1", "a"]);
    shell.ok(&["put", "w/2", "b"]);
    shell.ok(&["delete", "w/1"]);
    let script = "echo $SOLOIST_EVENT_CAUSE $SOLOIST_EVENT_KEY $SOLOIST_EVENT_REVISION \"$(cat)\"; \
                  [ $SOLOIST_EVENT_REVISION = 2 ] && exit 9; exit 0";
    let words = [
        "watch", "--prefix", "", "--after", "0", "--count", "3", "--", "sh", "-c", script,
    ];
    let done = shell.run(&words);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        done.out,
        "WRITTEN w/1 1 a\nWRITTEN w/2 2 b\nDELETED w/1 3 \n"
    );
    assert_eq!(done.err, "soloist: sh: exit status: 9\n");
    let words = ["watch", "w/2", "--initial", "--", "no-such-command"];
    shell.fails(127, &words);
}

#[test]
fn a_watch_goes_on_after_the_server_was_killed() {
    let mut server = Process::start();
    let address = server.address();
    let run = |words: &[&str]| {
        let output = soloist(&address, words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    server.until_serving();
    run(&["put", "a", "1"]);
    let mut watch = Running::start(soloist(&address, &["watch", "a", "--initial"]));
    assert!(watch.line().starts_with("is         a  \"1\"  "));
    // A change follows the last of the initial entries, among which a watch cannot go on.
    run(&["put", "a", "2"]);
    assert!(watch.line().starts_with("written    a  \"2\"  "));
    server.kill();
    server.start_again();
    server.until_serving();
    run(&["put", "a", "3"]);
    assert!(watch.line().starts_with("written    a  \"3\"  "));
}
