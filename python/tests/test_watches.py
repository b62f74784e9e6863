"""Watches, and what becomes of them when the server is killed."""

import threading
import unittest

import grpc

import soloist
from soloist import Cause

from .support import Server


class Watches(unittest.TestCase):
    def test_each_change_comes_once_over_kills(self) -> None:
        with Server() as server, soloist.connect(server.address, timeout=30) as client:
            client.write("a/0", 0)
            seen = []
            with client.watch(prefix="a/", initial=True) as watch:
                self.assertFalse(watch.caught_up)
                events = iter(watch)
                first = next(events)
                self.assertEqual((first.cause, first.entry.value), (Cause.INITIAL, 0))
                for number in range(1, 31):
                    client.write("a/0", number)
                    if number % 10 == 0:
                        server.restart()
                    seen.append(next(events))
                self.assertTrue(watch.caught_up)
                self.assertGreaterEqual(watch.revision, seen[-1].revision)
            self.assertEqual([event.entry.value for event in seen], list(range(1, 31)))
            self.assertTrue(all(event.cause is Cause.WRITTEN for event in seen))
            revisions = [event.revision for event in seen]
            self.assertEqual(revisions, sorted(set(revisions)))

            # And once more, from the first of these revisions on.
            with client.watch(prefix="a/", after_revision=first.revision) as watch:
                again = [event for _, event in zip(range(30), watch, strict=False)]
            self.assertEqual(again, seen)

    def test_a_deletion_has_no_entry(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            client.write("a", 1)
            with client.watch(key="a", previous=True) as watch:
                client.delete("a")
                event = next(iter(watch))
            self.assertEqual((event.cause, event.key, event.entry), (Cause.DELETED, "a", None))
            self.assertEqual(event.previous.value, 1)

    def test_all_changes_of_a_batch_are_one_message(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with client.watch(prefix="") as watch:
                client.batch([soloist.Write("a", 1), soloist.Write("b", 2)])
                messages = watch.messages()
                first = next(messages)
                message = next(messages) if not first.events else first
            self.assertEqual([event.key for event in message.events], ["a", "b"])
            self.assertEqual(message.revision, message.events[0].revision)

    def test_closing_ends_the_iteration(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            watch = client.watch(prefix="")
            ended = threading.Thread(target=lambda: list(watch))
            ended.start()
            watch.close()
            ended.join(30)
            self.assertFalse(ended.is_alive())

    def test_another_store_ends_a_watch(self) -> None:
        with Server() as first, soloist.connect(first.address) as client:
            watch = client.watch(prefix="")
            address = first.address
            first.kill()
            # Another store at the same address.
            first._folder.cleanup()
            first.address = address
            first.start()
            with self.assertRaises(soloist.Error) as caught:
                list(watch)
            self.assertEqual(caught.exception.reason, "STORE_CHANGED")

    def test_bad_watches_are_refused(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            for key, prefix in [(None, None), ("a", "b")]:
                with self.assertRaisesRegex(ValueError, "a key or a prefix"):
                    client.watch(key=key, prefix=prefix)
            with self.assertRaises(soloist.Error) as caught:
                client.watch(key="a", initial=True, after_revision=1)
            self.assertEqual(caught.exception.reason, "BAD_WATCH")
        with soloist.connect("127.0.0.1:1", timeout=0.2) as client:
            with self.assertRaises(soloist.Error) as caught:
                client.watch(key="a")
            self.assertIs(caught.exception.code, grpc.StatusCode.UNAVAILABLE)
