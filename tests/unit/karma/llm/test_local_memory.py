"""Free memory, errors of allocators, and batches that are halved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from karma.llm import local_memory
from karma.llm.local_memory import cache_bytes, host_free_bytes, is_out_of_memory, most_tokens, within_memory

CPU = SimpleNamespace(type="cpu")


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_an_allocator_s_error_is_told_from_others(error: Exception, is_short: bool) -> None:
    assert is_out_of_memory(error) is is_short


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each time that torch was to give memory back."""
    calls: list[None] = []
    monkeypatch.setattr(local_memory, "release", lambda: calls.append(None))
    return calls


def test_a_batch_is_halved_until_it_fits_and_only_what_does_not_fit_alone_fails(released: list[None]) -> None:
    def run(some: Sequence[int]) -> list[int]:
        if len(some) > 2 or 4 in some:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
        return [10 * index for index in some]

    found = list(within_memory([0, 1, 2, 3, 4], run))

    alone = "out of memory, even alone: CUDA out of memory. Tried to allocate 2 GiB"
    assert found == [([0, 1], [0, 10]), ([2], [20]), ([3], [30]), ([4], alone)]
    assert len(released) == 4


def test_other_errors_are_raised(released: list[None]) -> None:
    def run(_some: Sequence[int]) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(within_memory([0, 1], run))
    assert released == []


def test_the_cache_of_a_model_is_that_of_its_shared_heads() -> None:
    config = SimpleNamespace(num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, hidden_size=4096)

    assert cache_bytes(config, 2) == 2 * 32 * 8 * 128 * 2


def machine(folder: Path, available_kb: int) -> Path:
    (folder / "meminfo").write_text(f"MemTotal: 99999 kB\nMemAvailable:   {available_kb} kB\n")
    return folder


def test_free_memory_is_that_of_the_container_where_it_has_less(tmp_path: Path) -> None:
    proc = machine(tmp_path, 1000)
    assert host_free_bytes(proc, tmp_path / "none") == 1000 * 1024

    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert host_free_bytes(proc, tmp_path) == 1000 * 1024
    (tmp_path / "memory.max").write_text("1500\n")
    assert host_free_bytes(proc, tmp_path) == 800


def test_a_system_that_does_not_say_has_no_limit(tmp_path: Path) -> None:
    assert host_free_bytes(tmp_path) is None
    assert most_tokens(SimpleNamespace(type="mps"), 10.0) is None


def test_a_batch_takes_half_of_the_free_memory_in_steps_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_memory, "host_free_bytes", lambda: 10_000)

    assert [most_tokens(CPU, each) for each in (10.0, 11.0, 1e9)] == [256, 256, 1]
