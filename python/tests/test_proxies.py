"""A proxy that ends connections in order: no call fails because of that, also without retries."""

import threading
import unittest

import soloist

from .support import Nginx, Server, eventually


class Proxies(unittest.TestCase):
    def test_nginx_that_ends_connections_after_a_hundred_calls_fails_none(self) -> None:
        with Server() as server, Nginx(server) as nginx:
            with soloist.connect(nginx.address, retry=soloist.Retry(max_attempts=1)) as client:
                # Until it listens.
                eventually(lambda: _is_there(client))
                failures = []

                def count() -> None:
                    try:
                        for _ in range(250):
                            client.add("count")
                    except soloist.Error as error:
                        failures.append(error)

                with client.watch(key="count", after_revision=0) as watch:
                    counting = [threading.Thread(target=count) for _ in range(4)]
                    for thread in counting:
                        thread.start()
                    for thread in counting:
                        thread.join()
                    self.assertEqual(failures, [])
                    events = iter(watch)
                    sums = [next(events).entry.value for _ in range(1_000)]
                self.assertEqual(sums, list(range(1, 1_001)))
            self.assertGreaterEqual(nginx.connections(), 10)


def _is_there(client: soloist.Client) -> bool:
    try:
        return client.read("count") is None
    except soloist.Error:
        return False
