"""Random streams: found by their key alone, and the same in every version of this package."""

import pytest
import torch

from mtlsweep.randomness import seed_globals, seeded_torch, stream

KEY = (42, "order", 3)
OTHER_KEYS = [(43, "order", 3), (42, "augment", 3), (42, "order", 4), (3, "order", 42)]


def test_a_key_always_gives_the_same_stream() -> None:
    assert stream(*KEY).integers(2**63, size=100).tolist() == stream(*KEY).integers(2**63, size=100).tolist()


@pytest.mark.parametrize("other", OTHER_KEYS, ids=str)
def test_keys_that_differ_in_anything_give_unrelated_streams(other: tuple[int, str, int]) -> None:
    ours, theirs = stream(*KEY).random(10_000), stream(*other).random(10_000)
    assert not set(ours) & set(theirs)
    assert abs((ours - 0.5) @ (theirs - 0.5)) / 10_000 < 0.005  # six standard deviations of the covariance of independent draws


def test_a_stream_does_not_depend_on_what_others_drew_before() -> None:
    first = stream(*KEY).random()
    stream(42, "augment", 3).random(1000)
    assert stream(*KEY).random() == first


def test_the_epoch_is_zero_unless_given() -> None:
    assert stream(42, "order").random() == stream(42, "order", 0).random()


def test_streams_are_pinned() -> None:
    """A change here changes every published number: it must be a decision, never an accident."""
    assert stream(0, "order").permutation(8).tolist() == [3, 0, 5, 7, 1, 4, 2, 6]
    assert stream(42, "init", 3).integers(2**63) == 8423228449171876475


def test_torch_is_seeded_from_the_stream() -> None:
    with seeded_torch(0, "init"):
        assert torch.initial_seed() == stream(0, "init").integers(2**63) == 8219200760330385325


def test_seed_globals_fixes_what_torch_draws() -> None:
    with torch.random.fork_rng(devices=[]):
        seed_globals(0, "strategy", 5)
        first = torch.rand(10)
        seed_globals(0, "strategy", 5)
        assert torch.equal(torch.rand(10), first)
        seed_globals(0, "strategy", 6)
        assert not torch.equal(torch.rand(10), first)


def test_seeded_torch_draws_the_same_whatever_the_caller_drew() -> None:
    with seeded_torch(7, "init"):
        first = torch.rand(10)
    torch.rand(5)
    with seeded_torch(7, "init"):
        assert torch.equal(torch.rand(10), first)


@pytest.mark.parametrize("fails", [False, True])
def test_seeded_torch_puts_the_callers_generator_back(fails: bool) -> None:
    before = torch.get_rng_state()
    try:
        with seeded_torch(7, "init"):
            torch.rand(10)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    assert torch.equal(torch.get_rng_state(), before)
