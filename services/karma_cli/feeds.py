"""What `karma enqueue` reads: files, datasets and Redis streams, as their names say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from karma.config.environment import Environment
from karma.errors import SettingsError
from karma_cli.progress import count_lines
from karma_gateway.json_values import names
from karma_gateway.sources import files, hub, redis_stream
from karma_gateway.sources.arrow_rows import count_rows
from karma_gateway.sources.following import follow
from karma_gateway.sources.hub import hub_chunks
from karma_gateway.sources.items import Item
from karma_gateway.sources.redis_stream import stream_chunks


@dataclass
class Feeds:
    """The sources of one command, in their order.

    Args:
        named: as the user names them.
        env: has the address of Redis.
        config: of datasets.
        split: of datasets.
        group: of consumers of Redis streams.
        follow: go on with what comes later, without end.

    Raises:
        SettingsError: a file is missing, or what cannot be followed is to be followed.
    """

    named: Sequence[str]
    env: Environment
    config: str | None = None
    split: str | None = None
    group: str = "karma"
    follow: bool = False
    files: dict[str, list[str]] = field(init=False)  # source → the files that it means

    def __post_init__(self) -> None:
        elsewhere = hub.PREFIX, redis_stream.PREFIX
        local = [source for source in self.named if not source.startswith(elsewhere)]
        self.files = {} if self.follow else {source: files.files_of(source) for source in local}
        datasets = [source for source in self.named if source.startswith(hub.PREFIX)]
        if (self.config or self.split) and not datasets:
            raise SettingsError("--config and --split are of a dataset: hf:NAME")
        if self.follow and (len(self.named) != 1 or datasets or self._cannot_grow(self.named[0])):
            raise SettingsError("--follow takes one file of JSON Lines, or one redis:STREAM")

    @staticmethod
    def _cannot_grow(source: str) -> bool:
        return source == files.STDIN or Path(source).is_dir()

    @property
    def acknowledges(self) -> bool:
        """Whether a source forgets what was read from it."""
        return any(source.startswith(redis_stream.PREFIX) for source in self.named)

    @property
    def reads_stdin(self) -> bool:
        """Whether standard input is among them."""
        return files.STDIN in self.named

    def chunks(self, max_bytes: int) -> Iterator[Sequence[Item]]:
        """The items in chunks to be taken together; each is taken before the next one is asked for.

        Raises:
            SettingsError: a source cannot be read.
            BrokerError: Redis is unavailable.
        """
        pending: list[str] = []
        for source in self.named:
            if source in self.files:
                pending += self.files[source]
                continue
            yield from files.read_files(pending, max_bytes)
            pending = []
            yield from self._elsewhere(source, max_bytes)
        yield from files.read_files(pending, max_bytes)

    def _elsewhere(self, source: str, max_bytes: int) -> Iterator[Sequence[Item]]:
        if source.startswith(hub.PREFIX):
            yield from hub_chunks(source.removeprefix(hub.PREFIX), self.config, self.split)
        elif source.startswith(redis_stream.PREFIX):
            url = self.env.source_redis_url or self.env.broker_url()
            yield from stream_chunks(url, source.removeprefix(redis_stream.PREFIX), self.group, self.follow)
        else:
            yield from follow(source, max_bytes)

    def expected(self) -> int | None:
        """The number of items, where it is known before they are read."""
        found = [name for several in self.files.values() for name in several]
        if len(self.files) < len(self.named):
            return None
        if len(found) == 1 and found[0].endswith(".jsonl"):
            return count_lines(found[0])
        return count_rows(found) if all(name.endswith(".parquet") for name in found) else None

    def sentences(self) -> list[str]:
        """The files that folders and patterns stand for."""
        return [
            f"{source}: {len(found)} files, {names(found)}" if len(found) > 1 else f"{source}: {found[0]}"
            for source, found in self.files.items()
            if found != [source]
        ]
