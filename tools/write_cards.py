"""Writes the card of every model of the package that has words for one (models/NAME.card.yaml).

python tools/write_cards.py            after weights or stored results have changed
"""

from __future__ import annotations

import sys
from pathlib import Path

from lift3d_ros.errors import Lift3dError
from lift3d_ros.weights.card import CARD_TEXT, write_card
from lift3d_ros.weights.manifest import read_manifest

MODELS = Path(__file__).resolve().parents[1] / "models"


def main() -> int:
    """Write the cards and return the exit status."""
    try:
        for name, entry in read_manifest(MODELS / "manifest.yaml").items():
            if (MODELS / f"{name}{CARD_TEXT}").is_file():
                print(write_card(name, entry, MODELS))
    except Lift3dError as error:
        print(f"write_cards: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
