"""`lift3d engine list` and `lift3d engine prune`: what the cache folder holds, and room for more."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli.engine_options import add_action

if TYPE_CHECKING:
    from lift3d_ros.engines.cache_contents import CacheEntry

LIST_DESCRIPTION = """\
List what the cache folder holds: exported graphs and built engines, with their sizes, the engines used last first.

'unused' marks what nothing would use any more, with the reason: graphs that were exported by another version of this
package, engines of such graphs or of another version of the runtime than the installed one, damaged engines, and what
interrupted runs left. Exit status: 0, or 1 where an engine is damaged; it is built again when it is needed.
"""

PRUNE_DESCRIPTION = """\
Delete what nothing would use any more, as 'lift3d engine list' marks it.

  lift3d engine prune                     only that
  lift3d engine prune --max-mb 1000       and the engines that were not used for longest, beyond so much
  lift3d engine prune --all               all graphs and engines

What was deleted is made again when it is needed; exporting a graph needs torch. Two versions of this package that share
the folder each take the graphs of the other one for unused.
"""

_TITLES = {
    "graph": "exported graphs",
    "engine": "engines",
    "timings": "what builds have measured",
    "remains": "left by interrupted runs and other versions",
}


def add_parsers(actions: Any) -> None:
    """Add both actions."""
    listing = add_action(actions, "list", "what the cache holds", LIST_DESCRIPTION)
    listing.set_defaults(run=run_list)
    pruning = add_action(actions, "prune", "delete what is not used", PRUNE_DESCRIPTION)
    how = pruning.add_mutually_exclusive_group()
    how.add_argument("--max-mb", type=int, metavar="MB", help="size that engines may have; 0 deletes all of them")
    how.add_argument("--all", action="store_true", help="delete all graphs and engines")
    pruning.set_defaults(run=run_prune)


def run_list(args: argparse.Namespace) -> int:
    """Print what is there; 1 where an engine is damaged."""
    from lift3d_ros.engines.cache_contents import cache_contents
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.resources import cache_dir

    cache = EngineCache()
    entries = cache_contents(cache)
    for kind, title in _TITLES.items():
        if found := [entry for entry in entries if entry.kind == kind]:
            print(f"{title}:")
            for entry in found:
                reason = f"; unused: {entry.unused}" if entry.unused and kind != "remains" else ""
                print(f"  {entry.text}{reason}")
    if not any(entry.kind == "engine" for entry in entries):
        print(f"{cache.folder} holds no engines; build one with 'lift3d engine build MODEL'")
    unused = [entry for entry in entries if entry.unused]
    remedy = f", {_megabytes(unused)} MB of it unused: 'lift3d engine prune' deletes that" if unused else ""
    print(f"{_megabytes(entries)} MB in {cache_dir()}{remedy}")
    damaged = [entry for entry in entries if entry.is_damaged]
    for entry in damaged:
        print(f"warning: {entry.unused}; it is built again when it is needed")
    return 1 if damaged else 0


def run_prune(args: argparse.Namespace) -> int:
    """Delete, and say what."""
    from lift3d_ros.engines.cache_contents import cache_contents, delete, engine_text
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.resources import cache_dir

    if args.max_mb is not None and args.max_mb < 0:
        raise ConfigError(f"--max-mb is {args.max_mb}; expected 0 or more")
    cache = EngineCache()
    entries = cache_contents(cache)
    chosen = [entry for entry in entries if entry.unused or args.all]
    for entry in chosen:
        delete([entry])
        print(f"deleted {entry.text}{f' ({entry.unused})' if entry.unused else ''}")
    if args.max_mb is not None:
        for record in cache.prune(args.max_mb * 1_000_000):
            print(f"deleted {engine_text(record)}")
    print(f"{_megabytes(cache_contents(cache))} MB stay in {cache_dir()}")
    return 0


def _megabytes(entries: Sequence[CacheEntry]) -> str:
    return f"{sum(entry.size for entry in entries) / 1e6:.0f}"
