"""How long is waited, and when no longer."""

from datetime import UTC, datetime

import pytest

from imgmine.archives.retry import RetryPolicy, TemporaryFailure, retry_after_seconds

NOW = datetime(2023, 5, 3, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 03 May 2023 12:00:30 GMT", 30.0),
        ("Wed, 03 May 2023 11:00:00 GMT", 0.0),
        ("Wed, 03 May 2023 12:00:30", 30.0),
        ("", None),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert retry_after_seconds({"Retry-After": text}, NOW) == seconds


def test_no_header_asks_for_nothing():
    assert retry_after_seconds({}) is None


def test_waits_double_up_to_the_longest_and_then_it_gives_up():
    waits = []
    policy = RetryPolicy(attempts=6, first_wait=1, longest_wait=4, sleep=waits.append)
    answers = [policy.wait(failures, TemporaryFailure("x")) for failures in range(1, 7)]
    assert answers == [True] * 5 + [False]
    for wait, most in zip(waits, [1, 2, 4, 4, 4], strict=True):
        assert most / 2 <= wait <= most


def test_what_the_server_asks_for_is_the_least():
    waits = []
    policy = RetryPolicy(first_wait=1, longest_retry_after=60, sleep=waits.append)
    assert policy.wait(1, TemporaryFailure("x", retry_after=60))
    assert not policy.wait(1, TemporaryFailure("x", retry_after=61))
    assert waits == [60]
