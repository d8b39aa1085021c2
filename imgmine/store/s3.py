"""A store in an S3 bucket: AWS, Cloudflare R2, MinIO, SeaweedFS and what else speaks S3.

What an S3 error means to a person is in `s3_errors`, the local copy that DuckDB reads in `mirror`.
"""

import base64
import hashlib
import io
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.session import Session

from imgmine.store.base import (
    PENDING,
    NotInStore,
    Store,
    StoredObject,
    StoreRefused,
    check_key,
    check_prefix,
    check_range,
)
from imgmine.store.mirror import bring_up_to_date
from imgmine.store.s3_errors import S3_ERRORS, error_code, explained

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_CHUNK = 1 << 20
_IS_THERE = frozenset({"PreconditionFailed", "412"})

# `check` is asked at the start, when a person waits for the answer.
_CHECK_ATTEMPTS = 2
_CHECK_CONNECT_TIMEOUT_S = 3
_CHECK_READ_TIMEOUT_S = 10


class S3Store(Store):
    """Objects under `prefix` in a bucket that exists already.

    `endpoint_url` is None for AWS. Credentials and region are the usual ones of boto3 (`AWS_*`, profiles, roles)
    unless given. What fails and may yet succeed is tried `attempts` times, with growing pauses (at most 7 s in all
    for 4). Files of `part_bytes` and more are put in parts of that size, side by side; such an upload is invisible
    until it is complete, and is aborted when it fails. One whose sender is killed stays behind, invisible: have a
    lifecycle rule of the bucket end incomplete multipart uploads (R2 has one by default, after 7 days).
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint_url: str | None = None,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        part_bytes: int = 16 << 20,
        attempts: int = 4,
    ) -> None:
        self.bucket = bucket
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._before_key = f"{check_key(prefix)}/" if prefix else ""
        self._endpoint_url = endpoint_url
        self._access_key = access_key
        self._secret_key = secret_key
        self._attempts = attempts
        self._bucket_seen = False
        self._client = self._connect(attempts, _CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
        self._transfer = TransferConfig(
            multipart_threshold=part_bytes,
            multipart_chunksize=part_bytes,
            max_concurrency=4,
            preferred_transfer_client="classic",
        )

    def _connect(self, attempts: int, connect_timeout: float, read_timeout: float) -> Any:
        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            tcp_keepalive=True,
            # The checksums that boto3 adds by itself are not known to every S3.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Buckets are seldom names in the DNS of an endpoint that is not Amazon's.
            s3={"addressing_style": "path" if self._endpoint_url else "auto"},
        )
        # A session of its own, since to make a client is not safe across threads, while to use one is. What takes the
        # time in making one is to read the description of S3: that is shared.
        session = Session()
        session.register_component("data_loader", _description_loader())
        try:
            with self._explaining(self.url):
                return session.create_client(
                    "s3",
                    endpoint_url=self._endpoint_url,
                    # Signing needs a region's name: R2 takes this one for its own, and others do not look at it.
                    region_name=session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1",
                    aws_access_key_id=self._access_key,
                    aws_secret_access_key=self._secret_key,
                    config=config,
                )
        except ValueError as error:
            raise StoreRefused(f"IMGMINE_S3_ENDPOINT={self._endpoint_url!r}: {error}.") from error

    @contextmanager
    def _explaining(self, uri: str) -> Iterator[None]:
        try:
            yield
        except S3_ERRORS as error:
            raise explained(error, uri, self._endpoint_url) from error

    def _name(self, key: str) -> str:
        return self._before_key + check_key(key)

    def put_file(self, key: str, source: Path) -> None:
        if source.stat().st_size < self._transfer.multipart_threshold:
            self.put_bytes(key, source.read_bytes())
            return
        with self._explaining(self.uri(key)), create_transfer_manager(self._client, self._transfer) as manager:
            manager.upload(str(source), self.bucket, self._name(key)).result()

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._explaining(self.uri(key)):
            self._client.put_object(Bucket=self.bucket, Key=self._name(key), Body=data, ContentMD5=_content_md5(data))

    def put_new(self, key: str, data: bytes) -> bool:
        for attempt in range(self._attempts):
            try:
                self._client.put_object(
                    Bucket=self.bucket, Key=self._name(key), Body=data, ContentMD5=_content_md5(data), IfNoneMatch="*"
                )
            except S3_ERRORS as error:
                if error_code(error) in _IS_THERE:
                    return False
                # Another put of the same key is under way; who is first is not known yet.
                if error_code(error) == "ConditionalRequestConflict" and attempt + 1 < self._attempts:
                    time.sleep(0.1 * 2**attempt)
                    continue
                raise explained(error, self.uri(key), self._endpoint_url) from error
            return True
        raise AssertionError("unreachable")

    def get_bytes(self, key: str) -> bytes:
        out = io.BytesIO()
        self._fetch(key, out)
        return out.getvalue()

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        check_range(offset, size)
        if size == 0:
            if self.stat(key) is None:
                raise NotInStore(self.uri(key))
            return b""
        out = io.BytesIO()
        self._fetch(key, out, offset, size)
        return out.getvalue()

    def _fetch(self, key: str, out: BinaryIO, offset: int = 0, size: int | None = None) -> str:
        """Write the bytes from `offset` on to `out`, which is empty, and return the object's tag.

        A connection that is cut is taken up where it was cut, as long as the object is still the same one.
        """
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": self._name(key)}
        end = "" if size is None else offset + size - 1
        failures = 0
        while True:
            start = offset + out.tell()
            request["Range"] = f"bytes={start}-{end}"
            if start == 0 and size is None:
                del request["Range"]  # it would be refused where the object is empty
            try:
                answer = self._client.get_object(**request)
            except S3_ERRORS as error:
                match error_code(error):
                    case "NoSuchKey":
                        raise NotInStore(self.uri(key)) from None
                    case "InvalidRange":  # it begins at the object's end, or after
                        return _tag({"ETag": request.get("IfMatch", "")})
                    case "PreconditionFailed":  # another object is there now: from its beginning
                        del request["IfMatch"]
                        out.seek(0)
                        out.truncate()
                        continue
                raise explained(error, self.uri(key), self._endpoint_url) from error
            request["IfMatch"] = answer["ETag"]
            try:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    out.write(chunk)
                    failures = 0
                return _tag(answer)
            except S3_ERRORS as error:
                failures += 1
                if failures == self._attempts:
                    raise explained(error, self.uri(key), self._endpoint_url) from error

    def local_copy(self, key: str, folder: Path) -> Path:
        path = folder / check_key(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fetch_file(key, path)
        return path

    def _fetch_file(self, key: str, path: Path) -> str:
        """Fetch the object into a file, which appears whole, and return its tag."""
        draft = path.with_name(f"{PENDING}{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as out:
                tag = self._fetch(key, out)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return tag

    def stat(self, key: str) -> StoredObject | None:
        try:
            answer = self._client.head_object(Bucket=self.bucket, Key=self._name(key))
        except S3_ERRORS as error:
            if error_code(error) in ("403", "404") and not self._bucket_seen:
                # The answer has no body that would say what is missing or refused: asking for a list tells.
                with self._explaining(self.url):
                    self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._name(key), MaxKeys=1)
                self._bucket_seen = True
            if error_code(error) == "404":
                return None
            raise explained(error, self.uri(key), self._endpoint_url) from error
        return StoredObject(key, answer["ContentLength"], _tag(answer))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        start = self._before_key + check_prefix(prefix)
        return self._listed(start)

    def _listed(self, start: str) -> Iterator[StoredObject]:
        with self._explaining(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
            found = [
                StoredObject(entry["Key"].removeprefix(self._before_key), entry["Size"], _tag(entry))
                for page in pages
                for entry in page.get("Contents", ())
                # Consoles mark folders by empty objects whose names end so.
                if entry["Key"].startswith(start) and not entry["Key"].endswith("/")
            ]
        # SeaweedFS lists a folder before the names that sort before its slash.
        yield from sorted(found, key=lambda stored: stored.key)

    def delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))
        except S3_ERRORS as error:
            if error_code(error) != "NoSuchKey":
                raise explained(error, self.uri(key), self._endpoint_url) from error

    def mirror_path(self, prefix: str, folder: Path) -> Path:
        return folder / check_key(prefix)

    def mirror(self, prefix: str, suffix: str, folder: Path) -> Path:
        target = self.mirror_path(prefix, folder)
        inside = f"{prefix}/"
        wanted = {
            stored.key.removeprefix(inside): stored
            for stored in self.list(inside)
            if stored.key.endswith(suffix) and "/" not in stored.key.removeprefix(inside)
        }
        bring_up_to_date(target, suffix, wanted, self._fetch_file)
        return target

    def check(self) -> None:
        client = self._connect(_CHECK_ATTEMPTS, _CHECK_CONNECT_TIMEOUT_S, _CHECK_READ_TIMEOUT_S)
        probe = f"{self._before_key}{PENDING}check"
        with self._explaining(self.url):
            client.list_objects_v2(Bucket=self.bucket, Prefix=probe, MaxKeys=1)
            # Asks for the right to write, and never makes an object that others would see.
            upload = client.create_multipart_upload(Bucket=self.bucket, Key=probe)
            if "UploadId" not in upload:
                raise StoreRefused(
                    f"{self.url}: what answers at {client.meta.endpoint_url} is not S3. Correct IMGMINE_S3_ENDPOINT."
                )
            client.abort_multipart_upload(Bucket=self.bucket, Key=probe, UploadId=upload["UploadId"])
            try:
                client.get_object(Bucket=self.bucket, Key=probe)
            except ClientError as error:
                if error_code(error) != "NoSuchKey":
                    raise


@cache
def _description_loader() -> Any:
    return Loader()


def _content_md5(data: bytes) -> str:
    """Return what the server is to find the body to be. Without it SeaweedFS 4.48 takes one that never comes, as of a
    client that is killed just then, for an empty object, and puts it in the place of the former one.
    """
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _tag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')
