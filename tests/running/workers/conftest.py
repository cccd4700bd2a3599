from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers import worker_studies as studies


@pytest.fixture(autouse=True)
def _connections_closed() -> Iterator[None]:
    """Close what tests have opened: drivers warn of connections that are forgotten."""
    yield
    while studies.engines:
        studies.engines.pop().dispose()
