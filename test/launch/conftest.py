"""The environment of a user who has set nothing; node tests in the same process set the variables."""

import pytest


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("FASTDDS", "FASTRTPS"):
        monkeypatch.delenv(f"{prefix}_DEFAULT_PROFILES_FILE", raising=False)
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)
