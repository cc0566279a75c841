"""What all tests share: the reference configs where they are present, and a cache of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# How long an example takes says how busy the machine is, and nothing of the product.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def reference_configs() -> Path:
    """The OD API's own configs, which lie beside the checkout and not in it."""
    folder = REPOSITORY.parent / "shared" / "facts" / "configs"
    if not folder.is_dir():
        pytest.skip("the reference configs are not beside this checkout (../shared/facts/configs)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests away from the user's cache; one for all, as data sets take time to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODAPI_REPRO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_told_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are as wide as where nobody tells a width, whatever started the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)


def pytest_configure() -> None:
    """Lets signals act in tests and in the processes that they start.

    A shell has what it starts in the background ignore SIGINT, and `nohup` SIGHUP; both are
    inherited, and the commands leave what is ignored as it is.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            ours = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, ours)
