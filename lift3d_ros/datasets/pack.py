"""Prepared samples on disk: one file for each scene, and `pack.json` with what all of them have in common.

A file is written as a draft and renamed, so a folder may be read while others write into it. Pictures are kept as
WebP or as they are; everything else is kept exactly. Nothing is unpickled, and what a file claims to hold is
checked against its length before memory is taken.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.datasets.cell_depths import CELL
from lift3d_ros.datasets.pack_file import count_pictures, decode_samples, encode_samples
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.errors import DatasetError
from lift3d_ros.images.preprocess import InputSpec

FORMAT = 1
FACTS = "pack.json"
MAX_FILE_BYTES = 2 << 30

_SUFFIX = ".safetensors"
_MAX_NAME = 200


@dataclass(frozen=True)
class PackFacts:
    """What all samples of a pack have in common.

    Args:
        width, height: of the network input, px.
        class_names: classes that labels count through.
        source: where the samples come from, in words or as a path.
        seed: first seed of simulated data; None for recorded data.
        rig: file whose masks of the own vehicle were applied, with its SHA-256; None without one.
        made_with: other files that decide what the samples show, such as settings of a simulator or a table of
            classes, each with a digest; None without any.
        scenes_version: of the simulator, which decides what a seed gives; None for recorded data, and in packs of
            releases that did not note it.
    """

    width: int
    height: int
    class_names: tuple[str, ...]
    source: str = ""
    seed: int | None = None
    rig: str | None = None
    made_with: str | None = None
    scenes_version: int | None = None

    @property
    def spec(self) -> InputSpec:
        """The size of the network input."""
        return InputSpec(self.width, self.height)


def create_pack(folder: Path, facts: PackFacts) -> None:
    """Make the folder of a pack, or check that the one that is there has the same facts.

    Raises:
        DatasetError: the folder cannot be written, or holds a pack with other facts.
    """
    path = folder / FACTS
    if path.exists():
        _check_same(folder, facts)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        document = {"format": FORMAT, "cell": CELL, **dataclasses.asdict(facts)}
        write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    _check_same(folder, facts)  # another process may have made it in the meantime


def read_facts(folder: Path) -> PackFacts:
    """Return the facts of a pack.

    Raises:
        DatasetError: no pack, another version, or a damaged file.
    """
    return _facts_in(_document(folder), folder)


def _document(folder: Path) -> Mapping[str, Any]:
    path = folder / FACTS
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version, cell = document["format"], document["cell"]
    except FileNotFoundError:
        raise DatasetError(f"{path}: not found; expected a folder made by 'lift3d train ... --pack'") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from None
    if (version, cell) != (FORMAT, CELL):
        raise DatasetError(
            f"{path}: format {version} with cells of {cell} px; expected {FORMAT}, {CELL}. Prepare the data again"
        )
    return dict(document)


def _facts_in(document: Mapping[str, Any], folder: Path) -> PackFacts:
    """Return the facts of a document; those that older releases did not write are None."""
    try:
        seed, rig, made_with = document["seed"], document.get("rig"), document.get("made_with")
        scenes_version = document.get("scenes_version")
        return PackFacts(
            int(document["width"]),
            int(document["height"]),
            tuple(map(str, document["class_names"])),
            str(document["source"]),
            None if seed is None else int(seed),
            None if rig is None else str(rig),
            None if made_with is None else str(made_with),
            None if scenes_version is None else int(scenes_version),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder / FACTS, error) from None


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: not readable ({error!r}); prepare the data again")


def _check_same(folder: Path, facts: PackFacts) -> None:
    """Refuse to add to a pack of other facts."""
    document = _document(folder)
    found = _facts_in(document, folder)
    if found.scenes_version != facts.scenes_version and found.source == facts.source:
        raise DatasetError(
            f"{folder / FACTS}: its scenes are of version {found.scenes_version or 'unknown'} of the simulator, and "
            f"now version {facts.scenes_version} would be added: a seed gives another scene now. The pack can still be "
            "trained on; name another folder with --pack, as a training takes several, or remove this one to make all "
            "scenes again"
        )
    if "made_with" not in document:  # of an older release; whether files have changed cannot be told
        facts = dataclasses.replace(facts, made_with=None)
    elif found.made_with != facts.made_with and dataclasses.replace(found, made_with=facts.made_with) == facts:
        raise DatasetError(
            f"{folder / FACTS}: its scenes were made with {found.made_with or 'no such file'}, and now "
            f"{facts.made_with or 'no such file'} would be used: what these files say has changed. Name another folder "
            "with --pack, as a training takes several, or remove this one to make all scenes again"
        )
    _check_equal(folder / FACTS, found, facts)


def write_pack(folder: Path, scene: str, samples: Sequence[PreparedSample], quality: int | None = 80) -> Path:
    """Write the samples of one scene and return their file; a file of the same scene is replaced.

    Args:
        folder: made by :func:`create_pack`.
        quality: of the WebP pictures, 1..100; None keeps the pixels as they are.

    Raises:
        DatasetError: no pack in `folder`, samples that do not fit its facts, or the file cannot be written.
    """
    facts = read_facts(folder)
    path = folder / _file_name(scene)
    if quality is not None and not 1 <= quality <= 100:
        raise DatasetError(f"{path}: WebP quality {quality}; expected 1 to 100, or none to keep pixels as they are")
    content = encode_samples(samples, scene, facts.spec, len(facts.class_names), quality)
    if len(content) > MAX_FILE_BYTES:
        raise DatasetError(
            f"{path}: scene '{scene}' takes {len(content) / 1e9:.1f} GB; expected at most {MAX_FILE_BYTES / 1e9:.1f}. "
            "Use a lower picture quality, or cut the scene into shorter ones"
        )
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error.strerror}); free some space") from None
    return path


class PackReader:
    """The scenes of a pack; it may grow while it is read."""

    def __init__(self, folder: Path, spec: InputSpec | None = None, class_names: Sequence[str] | None = None) -> None:
        """Open a pack, and check that it was made for this size and these classes, where given.

        Raises:
            DatasetError: no pack, or one made for another network.
        """
        self.folder = folder
        self.facts = read_facts(folder)
        expected = dataclasses.replace(
            self.facts,
            width=self.facts.width if spec is None else spec.width,
            height=self.facts.height if spec is None else spec.height,
            class_names=self.facts.class_names if class_names is None else tuple(class_names),
        )
        _check_equal(folder / FACTS, self.facts, expected)
        self._scenes: tuple[str, ...] = ()
        self.refresh()

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes that were there at the last :meth:`refresh`, sorted."""
        return self._scenes

    def refresh(self) -> tuple[str, ...]:
        """Look for scenes that were added, and return the names of those."""
        known = set(self._scenes)
        self._scenes = tuple(
            sorted(unquote(path.name[: -len(_SUFFIX)]) for path in self.folder.glob(f"[!.]*{_SUFFIX}"))
        )
        return tuple(scene for scene in self._scenes if scene not in known)

    def num_pictures(self, scene: str) -> int:
        """Return how many pictures a scene has; reads the head of its file only.

        Raises:
            DatasetError: no such scene, or a damaged file.
        """
        path = self.folder / _file_name(scene)
        try:
            with path.open("rb") as file:
                return count_pictures(file, str(path))
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None

    def load(self, scene: str) -> list[PreparedSample]:
        """Return the samples of a scene in order of time.

        Raises:
            DatasetError: no such scene, or a damaged file.
        """
        path = self.folder / _file_name(scene)
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise DatasetError(f"{path}: {size / 1e9:.1f} GB; expected at most {MAX_FILE_BYTES / 1e9:.1f}")
            content = path.read_bytes()
        except FileNotFoundError:
            raise DatasetError(f"{path}: not found; the pack has {len(self._scenes)} other scenes") from None
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
        return decode_samples(content, scene, self.facts.spec, len(self.facts.class_names), str(path))


def _file_name(scene: str) -> str:
    name = quote(scene, safe="")
    if not scene or scene.startswith(".") or len(name) > _MAX_NAME:
        raise DatasetError(f"scene '{scene}': its name cannot be that of a file; expected 1 to {_MAX_NAME} letters")
    return name + _SUFFIX


def _check_equal(path: Path, found: PackFacts, expected: PackFacts) -> None:
    for field in dataclasses.fields(PackFacts):
        values: tuple[Any, Any] = getattr(found, field.name), getattr(expected, field.name)
        if values[0] != values[1]:
            raise DatasetError(
                f"{path}: field '{field.name}' is {values[0]!r}; expected {values[1]!r}. Prepare the data for this "
                "network, into another folder"
            )
