"""Model cards: JSON files that describe a vision transformer of one's own. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lspsim.errors import ModelError

CARD_SCHEMA = "lspsim/model/v1"
"""The `schema` of a model card."""

_SHIPPED_FOLDER = Path(__file__).parent / "shipped"
_PREFIX = "lspsim/"


def shipped_models() -> dict[str, Path]:
    """Return the cards of the models that come with the package, by name ("lspsim/...")."""
    return {_PREFIX + card.stem: card for card in sorted(_SHIPPED_FOLDER.glob("*.json"))}


def card_of(name: str) -> Path | None:
    """Return the card that `name` is or stands for; None for a timm model."""
    return shipped_models().get(name) or (Path(name) if name.endswith(".json") else None)


def is_card(path: Path) -> bool:
    """Whether a file is a model card, rather than JSON of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == CARD_SCHEMA


def read_card(path: Path) -> dict[str, Any]:
    """Return a model card.

    Raises
    ------
    ModelError
        When the file cannot be read or is no model card.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model card {path}: cannot be read ({error})") from error
    if not isinstance(card, dict) or card.get("schema") != CARD_SCHEMA:
        raise ModelError(f'model card {path}: "schema" must be "{CARD_SCHEMA}"')
    if not isinstance(card.get("architecture"), dict):
        raise ModelError(f'model card {path}: "architecture" is missing')
    return card
