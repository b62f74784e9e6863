"""TLS, certificates, tokens and Unix sockets."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import grpc

import soloist
import soloist.aio

from .support import ROOT, Server


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="soloist-python-")
        cls.addClassCleanup(folder.cleanup)
        cls.files = Path(folder.name) / "tls"
        subprocess.run([ROOT / "deploy/test-certificates", cls.files], check=True, stdout=subprocess.DEVNULL)
        cls.server = Server(
            *("--tls-cert", f"{cls.files}/server.pem", "--tls-key", f"{cls.files}/server.key"),
            *("--tls-client-ca", f"{cls.files}/ca.pem", "--tls-client-auth", "optional"),
            *("--access-file", f"{cls.files}/access.toml"),
        )
        cls.addClassCleanup(cls.server.close)
        cls.url = f"https://{cls.server.address}"
        cls.ca = cls.files / "ca.pem"

    def test_a_token_or_a_certificate_says_who_calls(self) -> None:
        token = self.files / "token"
        identity = (self.files / "client.pem", self.files / "client.key")
        for options in [
            {"token_file": token},
            {"token": token.read_text().strip()},
            {"identity_files": identity},
        ]:
            with self.subTest(options=options.keys()), soloist.connect(self.url, ca_file=self.ca, **options) as client:
                self.assertEqual(client.write("a", "x").replayed, False)
                with client.watch(key="a", initial=True) as watch:
                    self.assertEqual(next(iter(watch)).entry.value, "x")
                with client.lock("locks/tls") as lock:
                    self.assertTrue(lock.is_held)

    def test_whoever_is_not_known_is_refused(self) -> None:
        for options, reason in [({}, "CREDENTIALS_MISSING"), ({"token": "slst_x"}, "CREDENTIALS_UNKNOWN")]:
            with soloist.connect(self.url, ca_file=self.ca, **options) as client:
                with self.assertRaises(soloist.Error) as caught:
                    client.read("a")
                self.assertEqual(caught.exception.reason, reason)
                self.assertFalse(caught.exception.is_transient)

    def test_a_server_that_is_not_trusted_gets_no_call(self) -> None:
        with soloist.connect(self.url, token="slst_x", timeout=0.5) as client:
            with self.assertRaises(soloist.Error) as caught:
                client.write("a", 1)
            self.assertIs(caught.exception.code, grpc.StatusCode.UNAVAILABLE)
            self.assertIs(caught.exception.applied, False)

    def test_a_token_file_that_changes_is_read_again(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "token"
            file.write_text((self.files / "token").read_text())
            with soloist.connect(self.url, ca_file=self.ca, token_file=file) as client:
                client.read("a")
                new = Path(folder) / "new"
                new.write_text("slst_nobody\n")
                os.replace(new, file)
                # Within a second.
                with self.assertRaises(soloist.Error) as caught:
                    while True:
                        client.read("a")
                self.assertEqual(caught.exception.reason, "CREDENTIALS_UNKNOWN")

    def test_the_token_is_not_shown(self) -> None:
        with soloist.connect(self.url, ca_file=self.ca, token="slst_secret") as client:
            self.assertNotIn("secret", repr(client.__dict__))


class AioTls(unittest.IsolatedAsyncioTestCase):
    async def test_asyncio_has_the_same(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "tls"
            subprocess.run([ROOT / "deploy/test-certificates", files], check=True, stdout=subprocess.DEVNULL)
            flags = ("--tls-cert", f"{files}/server.pem", "--tls-key", f"{files}/server.key")
            with Server(*flags, "--access-file", f"{files}/access.toml") as server:
                options = {"ca_file": files / "ca.pem", "token_file": files / "token"}
                async with soloist.aio.connect(f"https://{server.address}", **options) as client:
                    self.assertEqual((await client.add("n")).value, 1)


class Unix(unittest.TestCase):
    def test_a_unix_socket_is_a_target(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with Server(listen=f"unix:{folder}/soloist.sock") as server:
                self.assertEqual(server.address, f"unix:{folder}/soloist.sock")
                for target in [server.address, f"unix://{folder}/soloist.sock"]:
                    with soloist.connect(target) as client:
                        self.assertGreaterEqual(client.add("n").value, 1)
