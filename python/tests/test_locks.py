"""Sessions, locks and elections."""

import signal
import sys
import tempfile
import threading
import unittest
from contextlib import ExitStack
from pathlib import Path

import grpc

import soloist
from soloist import Condition, flows

from .support import Server, eventually, line_of, process


class Sessions(unittest.TestCase):
    def test_keys_end_with_their_session(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with client.session(5, id="worker") as session:
                self.assertEqual(session.id, "worker")
                client.write("a", 1, session=session)
                self.assertEqual(client.read("a").session, "worker")
                self.assertTrue(session.is_alive)
                session.check()
            self.assertIsNone(client.read("a"))
            self.assertFalse(session.is_alive)
            with self.assertRaises(soloist.SessionLost):
                session.check()

    def test_a_session_is_renewed_over_a_kill(self) -> None:
        with Server() as server, soloist.connect(server.address, timeout=30) as client:
            with client.session(1) as session:
                client.write("a", 1, session=session)
                self.assertFalse(session.wait_lost(1.5))
                server.restart()
                self.assertFalse(session.wait_lost(1.5))
                self.assertEqual(client.read("a").session, session.id)

    def test_a_loss_is_told(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            session = client.session(1, id="worker")
            told = threading.Event()
            session.on_lost(lambda error: told.set() if error.reason == "SESSION_TAKEN_OVER" else None)
            with client.session(1, id="worker", take_over=True):
                self.assertTrue(told.wait(30))
                self.assertTrue(session.wait_lost(0))
                with self.assertRaises(soloist.SessionLost) as caught:
                    session.check()
                self.assertEqual(caught.exception.reason, "SESSION_TAKEN_OVER")
                session.close()
            late = []
            session.on_lost(late.append)

    def test_a_server_that_is_away_for_longer_than_the_ttl_is_a_loss(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            session = client.session(1)
            server.kill()
            self.assertTrue(session.wait_lost(30))
            self.assertFalse(session.is_alive)
            server.start()
            session.close()


class Locks(unittest.TestCase):
    def test_one_holds_and_the_others_wait_in_order(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            turns, tokens = [], []

            def wait(number: int) -> None:
                with client.lock("l") as lock:
                    turns.append(number)
                    tokens.append(lock.token)

            with client.lock("l", value="me") as lock:
                self.assertTrue(lock.is_held)
                self.assertEqual(client.leader("l").value, "me")
                self.assertEqual(client.leader("l").key, lock.key)
                threads = []
                for number in range(5):
                    thread = threading.Thread(target=wait, args=(number,))
                    thread.start()
                    threads.append(thread)
                    places = number + 2
                    eventually(lambda places=places: len(list(client.list("l/"))) == places)
                self.assertEqual(turns, [])
                token = lock.token
            for thread in threads:
                thread.join()
            self.assertEqual(turns, list(range(5)))
            self.assertEqual(tokens, sorted(tokens))
            self.assertGreater(tokens[0], token)
            self.assertIsNone(client.leader("l"))
            self.assertFalse(lock.is_held)
            with self.assertRaises(soloist.LockLost):
                lock.check()
            with self.assertRaisesRegex(RuntimeError, "not held"):
                _ = lock.token

    def test_a_wait_has_an_end_and_leaves_no_place(self) -> None:
        with Server() as server, soloist.connect(server.address) as client, client.session(10) as session:
            with client.lock("l"):
                for given in [None, session]:
                    with self.assertRaises(soloist.Error) as caught:
                        client.lock("l", wait=0.1, session=given).acquire()
                    self.assertIs(caught.exception.code, grpc.StatusCode.DEADLINE_EXCEEDED)
                    self.assertEqual(len(list(client.list("l/"))), 1)

    def test_a_session_may_hold_several_locks(self) -> None:
        with Server() as server, soloist.connect(server.address) as client, client.session(10) as session:
            with client.lock("a", session=session) as one, client.lock("b", session=session) as other:
                self.assertEqual(one.session, other.session)
            self.assertTrue(session.is_alive)
            self.assertEqual(list(client.list("")), [])

    def test_a_lost_lock_ends_the_statement(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with self.assertRaises(soloist.LockLost), client.lock("l") as lock:
                # Somebody ends the session.
                client.session(10, id=lock.session.id, take_over=True).close()
                self.assertTrue(lock.session.wait_lost(30))
                self.assertFalse(lock.is_held)
            # The error of the body goes before.
            with self.assertRaises(KeyError), client.lock("l") as lock:
                client.session(10, id=lock.session.id, take_over=True).close()
                self.assertTrue(lock.session.wait_lost(30))
                raise KeyError

    def test_processes_contend_while_the_server_is_killed_and_holders_are_stopped(self) -> None:
        turns, holders = 6, 6
        with Server() as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            file = Path(folder) / "file"
            file.touch()
            command = [sys.executable, "-m", "tests.holder", server.address, str(file), str(turns)]
            root = Path(__file__).resolve().parents[1]
            started = [stack.enter_context(process(*command, cwd=root)) for _ in range(holders)]

            def lines() -> int:
                return len(file.read_text().splitlines())

            for kill in range(1, 4):
                eventually(lambda kill=kill: lines() >= 3 * kill, 120)
                server.restart()
                # A holder, or one who waits, stands still for longer than its ttl.
                stopped = started[kill]
                stopped.send_signal(signal.SIGSTOP)
                before = lines()
                eventually(lambda before=before: lines() > before + 1, 120)
                stopped.send_signal(signal.SIGCONT)
            said = []
            for holder in started:
                while (line := line_of(holder, 120)) != "done":
                    self.assertIn(line, ["turn", "lost", "refused"])
                    said.append(line)
            taken = [line.split() for line in file.read_text().splitlines()]
            tokens = [int(token) for token, _ in taken]
            # No write of an older holder came after that of a newer one.
            self.assertEqual(tokens, sorted(tokens))
            # Each had its turns. A turn whose end was lost is in the file, and was taken again.
            for holder in started:
                self.assertGreaterEqual(sum(int(pid) == holder.pid for _, pid in taken), turns)
            self.assertEqual(said.count("turn"), turns * holders)

    def test_a_name_may_be_the_beginning_of_another(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with client.lock("a/b"), client.lock("a", wait=5) as lock:
                self.assertEqual(client.leader("a").key, lock.key)
            with client.session(10, id="a/b") as session, self.assertRaisesRegex(ValueError, "no slash"):
                client.lock("l", session=session).acquire()

    def test_who_waits_is_told_that_the_session_is_lost(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            session = client.session(10, id="s")
            client.session(10, id="s", take_over=True).close()
            # Before it has a place, and when its place is gone.
            with self.assertRaises(soloist.SessionLost):
                client.lock("l", session=session).acquire()
            with self.assertRaises(soloist.SessionLost):
                client._run(flows.ahead("l", flows.Place("l/s", 1), client._settings))
            session.close()


class Elections(unittest.TestCase):
    def test_leaders_follow_each_other(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            leaders = client.observe("e")
            self.assertIsNone(next(leaders))
            with client.elect("e", "a") as leadership:
                self.assertEqual(next(leaders).value, "a")
                leadership.proclaim("a2")
                self.assertEqual(next(leaders).value, "a2")
                elected = threading.Event()
                end = threading.Event()

                def run() -> None:
                    with client.elect("e", "b"):
                        elected.set()
                        end.wait(30)

                other = threading.Thread(target=run)
                other.start()
                eventually(lambda: len(list(client.list("e/"))) == 2)
                self.assertFalse(elected.is_set())
            self.assertTrue(elected.wait(30))
            self.assertEqual(client.leader("e").value, "b")
            while (leader := next(leaders)) is None or leader.value != "b":
                pass
            end.set()
            other.join()
            with self.assertRaisesRegex(RuntimeError, "not held"):
                leadership.proclaim("late")
            leaders.close()

    def test_a_key_that_is_not_of_the_queue_is_told(self) -> None:
        with Server() as server, soloist.connect(server.address) as client, client.session(10, id="s") as session:
            client.write("l/s", 1, expect=Condition.missing())
            with self.assertRaisesRegex(soloist.Error, "without the session"):
                client.lock("l", session=session).acquire()
            with self.assertRaisesRegex(ValueError, "name"):
                client.lock("")
