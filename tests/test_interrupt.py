import os
import signal
from collections.abc import Iterator

import pytest

from mtlsweep.interrupt import check, deferred

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _as_in_the_foreground() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, these tests perhaps among them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_waits_for_the_next_check(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012 (what happens in between is the point)
        check()
        os.kill(os.getpid(), number)
        reached = True
        check()
        pytest.fail("the check let it pass")
    assert reached


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_without_a_check_is_raised_at_the_end(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    check()  # nothing is left over


def test_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal waited")


def test_signal_is_not_lost_when_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred():
            os.kill(os.getpid(), signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, before)
