"""`lift3d doctor`: check this machine."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser("doctor", help="check this machine, a recording or a running system")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    del args
    print("nothing is checked yet")
    return 0
