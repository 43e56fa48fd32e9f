"""A local service that does as it is told."""

from collections.abc import Iterator

import pytest
from tests.victims.stubs import Stub, serving


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as made:
        yield made
