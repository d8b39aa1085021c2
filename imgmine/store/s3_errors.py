"""What the errors of an S3 server, and of the way to it, mean to a person, and what to do about each.

Nothing is asked of a server here.
"""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as S3ConnectionError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from imgmine.store.base import StoreError, StoreRefused

S3_ERRORS = (ClientError, BotoCoreError, ResponseParserError, HTTPError)
"""Everything that a call of boto3 raises for reasons that lie outside this program."""

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    TokenRetrievalError,
)
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidClientTokenId",
    "ExpiredToken",
    "Unauthorized",
    "401",
}
_NO_PERMISSION = {"AccessDenied", "AllAccessDisabled", "Forbidden", "403"}
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "404"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "500", "502", "503", "504"}


def error_code(error: BaseException) -> str:
    """Return the server's code for the error ('NoSuchKey', or the HTTP status where it gave none), else ''."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def explained(error: BaseException, uri: str, endpoint_url: str | None) -> StoreError:
    """Return the error as one that says what happened, where, and what to do."""
    where = f"{uri} at {endpoint_url or 'AWS'}"
    if isinstance(error, ClientError):
        return _refusal(error, where)
    if isinstance(error, _NO_CREDENTIALS):
        return StoreRefused(
            f"{where}: no credentials ({error}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        )
    if isinstance(error, ParamValidationError):
        return StoreRefused(f"{where}: {error}. Correct IMGMINE_STORE or IMGMINE_S3_ENDPOINT.")
    if isinstance(error, SSLError):
        return StoreError(
            f"{where}: no secure connection ({error}). See that IMGMINE_S3_ENDPOINT begins with https:// or http:// "
            "as the server speaks it, and that its certificate is known here (AWS_CA_BUNDLE)."
        )
    if isinstance(error, S3ConnectionError | HTTPClientError | HTTPError | IncompleteReadError):
        return StoreError(
            f"{where}: the server cannot be reached, or broke off ({error}). See that it runs, that "
            "IMGMINE_S3_ENDPOINT is its address, and that the network is up; then run again."
        )
    return StoreError(f"{where}: {error}. See that IMGMINE_STORE and IMGMINE_S3_ENDPOINT are right; then run again.")


def _refusal(error: ClientError, where: str) -> StoreError:
    code = error_code(error)
    said = f"{where}: {code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": .")
    if code in _BAD_CREDENTIALS:
        return StoreRefused(f"{said}. Correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN).")
    if code in _NO_PERMISSION:
        return StoreRefused(
            f"{said}. The credentials (AWS_ACCESS_KEY_ID …) are wrong, or lack the right to list, read, write and "
            "delete objects in this bucket."
        )
    if code in _NO_BUCKET:
        return StoreRefused(f"{said}. Create the bucket, or correct IMGMINE_STORE or IMGMINE_S3_ENDPOINT.")
    if code in _WRONG_REGION:
        return StoreRefused(f"{said}. Set AWS_DEFAULT_REGION to the region of the bucket ('auto' on R2).")
    if code == "RequestTimeTooSkewed":
        return StoreRefused(f"{said}. Set this machine's clock.")
    if code in _BUSY:
        return StoreError(f"{said}. The server is overloaded or restarting: run again later.")
    return StoreError(f"{said}. See what the server's documentation says of this code; then run again.")
