"""Whether an engine may be used: it is compared with float32, and refused where its results are worse.

The record of an engine in the cache keeps the verdict, so that it is found once.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Literal

import lift3d_ros
from lift3d_ros.engines.engine_cache import EngineCache, EngineRecord
from lift3d_ros.engines.numerics import Judge, RefusedEngineError, Verdict
from lift3d_ros.engines.protocol import Engine
from lift3d_ros.errors import EngineError

# Facts of a record: the verdict, the release that found it, and whether a user took an engine that is worse.
VERDICT_FACT = "verdict"
_JUDGED_BY_FACT, _ACCEPTED_WORSE_FACT = "judged_by", "accepted_worse"

# Whether an engine that is worse is taken: not at all, this time, or from now on.
Acceptance = Literal["no", "once", "always"]

logger = logging.getLogger(__name__)


def check_verdict(
    engine: Engine, record: EngineRecord, cache: EngineCache, judge: Judge | None, accepts_worse: Acceptance
) -> None:
    """Refuse an engine whose results are worse than those of float32 by more than the limits.

    Args:
        judge: is asked where the record has no verdict of this release; None takes what the record says.
        accepts_worse: take it all the same; ``always`` is noted in the record, which holds from then on.

    Raises:
        RefusedEngineError: it is worse; names the figures and the limits.
        EngineError: the engine failed while it was compared.
    """
    facts = record.facts
    what = f"{record.key['model']} in {record.key['precision']}"
    if VERDICT_FACT in facts and (judge is None or facts.get(_JUDGED_BY_FACT) == lift3d_ros.__version__):
        verdict = Verdict.from_json(facts[VERDICT_FACT])
    elif judge is None:
        return
    else:
        logger.info("comparing %s with float32", what)
        verdict = judge(engine)
        logger.info("%s: %s", what, verdict.text())
        facts = {**facts, VERDICT_FACT: verdict.to_json(), _JUDGED_BY_FACT: lift3d_ros.__version__}
    is_taken = accepts_worse != "no" or bool(facts.get(_ACCEPTED_WORSE_FACT))
    if accepts_worse == "always" and not verdict.is_accepted:
        facts = {**facts, _ACCEPTED_WORSE_FACT: True}
    if facts != record.facts:
        with contextlib.suppress(EngineError):  # of a read-only folder: it is judged again next time
            cache.note(record, facts)
    refuse_worse(
        f"{what} on {engine.name}",
        verdict,
        "Take precision float32 or the backend onnxruntime; or accept it for this machine with 'lift3d engine build "
        "MODEL --accept-worse' and the same options, for a node with engine.accepts_worse",
        is_taken=is_taken,
    )


def refuse_worse(what: str, verdict: Verdict, remedy: str, *, is_taken: bool) -> None:
    """Refuse what is worse than float32, or log that it is and was accepted.

    Args:
        what: model, precision and backend.
        is_taken: whether it is accepted all the same.

    Raises:
        RefusedEngineError: it is worse; names the figures and the limits.
    """
    if verdict.is_accepted:
        return
    if not is_taken:
        raise RefusedEngineError(f"{what} is refused: {verdict.reason()}, against float32 on recorded scenes. {remedy}")
    logger.warning("%s is worse than float32 and was accepted: %s", what, verdict.reason())
