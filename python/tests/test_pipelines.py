"""Pipelines."""

import unittest

import soloist
from soloist import Add, Condition, Read, Write

from .support import Server


class Pipelines(unittest.TestCase):
    def test_frames_are_answered_in_order(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with client.pipeline(in_flight=8) as pipeline:
                answers = [pipeline.frame([Add("n"), Read("n")]) for _ in range(100)]
            for number, answer in enumerate(answers, 1):
                result = answer.result(0)
                self.assertEqual((result.results[0].value, result.results[1].value), (number, number))
            with self.assertRaisesRegex(soloist.Error, "closed|ended"):
                pipeline.frame([Read("n")])

    def test_errors_stand_in_their_place(self) -> None:
        with Server() as server, soloist.connect(server.address) as client, client.pipeline() as pipeline:
            refused = Write("a", 1, expect=Condition.exists())
            result = pipeline.frame([refused, Write("b", 1)]).result(30)
            self.assertEqual(result.results[0].reason, "KEY_NOT_FOUND")
            self.assertGreater(result.results[1].revision, 0)
            with self.assertRaises(soloist.Error) as caught:
                pipeline.frame([Write("b", 2), refused], atomic=True).result(30)
            self.assertEqual((caught.exception.reason, caught.exception.op), ("KEY_NOT_FOUND", 1))
            self.assertEqual(client.read("b").value, 1)
            with self.assertRaises(soloist.Error) as caught:
                pipeline.frame([]).result(30)
            self.assertIs(caught.exception.applied, False)

    def test_a_break_leaves_outcomes_unknown(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            pipeline = client.pipeline()
            self.assertEqual(pipeline.frame([Add("n")]).result(30).results[0].value, 1)
            server.kill()
            with self.assertRaises(soloist.Error):
                while True:
                    pipeline.frame([Add("n")]).result(30)
            pipeline.close()
            server.start()
            with client.pipeline() as pipeline:
                self.assertGreaterEqual(pipeline.frame([Read("n")]).result(30).results[0].value, 1)

    def test_bad_arguments(self) -> None:
        with Server() as server, soloist.connect(server.address) as client:
            with self.assertRaisesRegex(ValueError, "in_flight must be at least 1, not 0"):
                client.pipeline(in_flight=0)
